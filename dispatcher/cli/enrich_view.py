"""How the plan and the outcome of `dispatch enrich` look to a person."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dispatcher.cli.console import Console, one_line, short
from dispatcher.enrich import AskOptions, Enriching, Estimate, Plan, Reason, WrittenLine
from dispatcher.evaluation import Gain, Metrics
from dispatcher.llm import in_dollars

__all__ = ["show_gain", "show_outcome", "show_plan"]

_MOST_REFUSED = 10
_MOST_MOVED = 5
_FIGURES = ("top1", "top3", "mrr", "auroc", "ece")


def show_plan(plan: Plan, estimate: Estimate, options: AskOptions, console: Console, *, in_full: bool = False) -> None:
    """What is to be asked and what that takes; in full, which is then the result, each agent with its reason."""
    say = console.wrapped if in_full else console.say
    for line in _plan_lines(plan, estimate, options):
        say(line)
    if not (in_full or console.verbose):
        return
    for job in plan.jobs:
        neighbours = ", ".join(each.name for each in job.neighbours) or "none"
        line = f"  {job.agent.name}: {job.reason}; neighbours: {neighbours}"
        say(line if not sys.stdout.isatty() else one_line(line, console.width))


def show_outcome(run: Enriching, placed: Mapping[Path, Sequence[WrittenLine]], console: Console) -> None:
    """What was written, what was refused and what it took."""
    for path, lines in placed.items():
        examples = sum(len(line.examples) for line in lines)
        near_misses = sum(len(line.near_misses) for line in lines)
        console.result(f"{short(path)}: {_counted(len(lines), 'agent')}, {examples} tasks, {near_misses} near misses")
    _show_refused(run, console)
    for failure in run.failures:
        console.say(f"{failure.agent}: {failure.error.message}", style="yellow")
    if run.usage.prompt_tokens or run.usage.output_tokens:
        cost = f"${run.spent:.4f}" if run.spent is not None else "cost unknown: add the model to llm.prices"
        used = f"{run.usage.prompt_tokens:,} tokens in, {run.usage.output_tokens:,} out, {cost}"
        console.say(used, style="dim")


def show_gain(gain: Gain, console: Console) -> None:
    """The figures before and after, and the tasks that moved."""
    metrics = gain.after
    console.result(f"{metrics.n} held-out tasks with an agent, {metrics.n_out_of_scope} that fit none")
    console.result(f"{'':12}{'before':>8}{'after':>8}")
    for name in _FIGURES:
        console.result(f"{name:12}{_figure(gain.before, name):>8}{_figure(metrics, name):>8}")
    moved = gain.comparison
    counts = f"tasks that moved: {len(moved.up)} up, {len(moved.down)} down"
    console.result(f"{counts}; exact McNemar test p = {moved.p_value:.3f}")
    for move in moved.down[:_MOST_MOVED]:
        line = f"down: {move.old or 'nobody'} -> {move.new or 'nobody'}: {move.task}"
        console.result(one_line(line, console.width))


def _plan_lines(plan: Plan, estimate: Estimate, options: AskOptions) -> Iterator[str]:
    if plan.under_way:
        yield f"{_counted(plan.under_way, 'agent')} in a batch under way"
    if not plan.jobs:
        yield f"nothing to ask: {_counted(plan.up_to_date, 'agent')} up to date"
        return
    reasons = Counter(job.reason for job in plan.jobs)
    counts = ", ".join(f"{reasons[reason]} {reason}" for reason in Reason if reasons[reason])
    yield f"{_counted(len(plan.jobs), 'agent')} to ask for ({counts}), {plan.up_to_date} up to date"
    cost = f"about {in_dollars(estimate.cost)}" if estimate.cost is not None else "at a price that is not known"
    yield (
        f"{_counted(estimate.calls, 'call')} of {options.model} for {options.count} tasks each: about "
        f"{estimate.input_tokens:,} tokens in, {estimate.output_tokens:,} out, {cost}"
    )
    for path in dict.fromkeys(job.path for job in plan.jobs):
        yield f"into {short(path)}"


def _show_refused(run: Enriching, console: Console) -> None:
    if not run.refused:
        return
    shown = run.refused if console.verbose else run.refused[:_MOST_REFUSED]
    console.say(f"{_counted(len(run.refused), 'task')} of the answers not used:")
    for each in shown:
        console.say(one_line(f'{each.agent}: {each.reason}: "{each.text}"', console.width - 2), indent=2)
    if len(shown) < len(run.refused):
        console.say(f"and {len(run.refused) - len(shown)} more, which -v shows", indent=2)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _figure(metrics: Metrics, name: str) -> str:
    value = getattr(metrics, name)
    return "-" if value is None else f"{value:.3f}"
