"""dispatch enrich: a model writes example tasks for the agents, and the offline router learns from them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.cli.enrich_setting import Workplace
    from dispatcher.enrich import Enriching, Estimate, Job
    from dispatcher.evaluation import LabelledTask
    from dispatcher.llm import AnthropicClient

__all__ = ["enrich"]

_MISSED = 1
_INCOMPLETE = 5


def enrich(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="AGENT", help="Only these agents, by name or slug.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, max=100, help="Tasks to ask for each agent.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model that writes them.")] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", metavar="FILE", help="Labelled tasks, to measure the gain on.")
    ] = None,
    reject_if_worse: Annotated[
        bool, typer.Option("--reject-if-worse", help="If --tasks do worse, put nothing in place and exit with 1.")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Ask through the Message Batches API: half the price, within a day.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="N", min=1, max=64, help="Calls at a time.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", metavar="DOLLARS", min=0.0, help="Stop before it costs more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make the calls without asking first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be asked; ask nothing.")] = False,
    enriched: Annotated[
        Path | None, typer.Option("--enriched", metavar="FILE", help="The file to write, for all agents.")
    ] = None,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Let a model write example tasks for agents whose file is new or changed. Routing stays offline."""
    from dispatcher.cli.enrich_setting import load_workplace
    from dispatcher.cli.enrich_view import show_plan
    from dispatcher.enrich import Enriching, Journals
    from dispatcher.errors import UsageError

    console = Console(quiet=quiet, verbose=verbose)
    if reject_if_worse and tasks is None:
        raise UsageError("--reject-if-worse needs labelled tasks", hint="name a file of them with --tasks")
    flags = {"enrich.count": count, "enrich.concurrency": concurrency}
    place = load_workplace(
        console, names, flags=flags, model=model, max_cost=max_cost, agents=agents, config=config, enriched=enriched
    )
    labelled = place.labelled(tasks) if tasks is not None else None
    if dry_run:
        plan = place.preview()
        estimate = place.estimate(plan, is_batch=batch)
        show_plan(plan, estimate, place.options, console, in_full=True)
        return 0
    with Journals(place.paths) as journals:
        run = Enriching(journals, place.registry.agents, place.options)
        try:
            left_out = _ask(run, place, console, is_batch=batch, is_agreed=yes)
        except BaseException:
            _keep_what_came(run, console, puts_in_place=not reject_if_worse)
            raise
        return _finish(run, place, labelled, console, left_out=left_out, may_reject=reject_if_worse)


def _ask(run: Enriching, place: Workplace, console: Console, *, is_batch: bool, is_agreed: bool) -> int:
    """Collects what was submitted before, asks for the rest, and returns how many agents were left out for the cost."""
    from dispatcher.cli.enrich_view import show_plan
    from dispatcher.enrich import submit
    from dispatcher.llm import AnthropicBatches, AnthropicClient

    client = AnthropicClient(place.settings.llm)
    try:
        _collect(run, client, console, waits=is_batch)
        plan = place.plan(run.journals.texts(), run.journals.contents)
        estimate = run.estimate(plan.jobs, is_batch=is_batch)
        show_plan(plan, estimate, place.options, console)
        if not plan.jobs:
            return 0
        client.check_credential()
        if not is_agreed:
            _confirm(estimate, console)
        if is_batch:
            submit(run, plan.jobs, AnthropicBatches(client))
            _collect(run, client, console, waits=True)
            return 0
        return _ask_each(run, plan.jobs, client, place, console)
    finally:
        client.close()


def _ask_each(run: Enriching, jobs: Sequence[Job], client: AnthropicClient, place: Workplace, console: Console) -> int:
    from dispatcher.cli.evaluate import progress_bar
    from dispatcher.enrich import ask

    with progress_bar(console, len(jobs), "asking", least=1) as advance:
        return ask(run, jobs, client, concurrency=place.settings.enrich.concurrency, progress=advance)


def _collect(run: Enriching, client: AnthropicClient, console: Console, *, waits: bool) -> None:
    """Takes the results of every batch that has ended; waits for the others, or says that they are under way."""
    from dispatcher.enrich import collect
    from dispatcher.llm import AnthropicBatches

    for journal in run.journals:
        for batch in journal.content.batches:
            client.check_credential()
            calls = f"{len(batch.requests)} call{'' if len(batch.requests) == 1 else 's'}"
            about = f"batch {batch.id}, {calls}, submitted {batch.submitted}"
            if waits:
                console.say(f"waiting for {about}; it goes on at the service if this is interrupted")
            if not collect(run, journal, batch, AnthropicBatches(client), waits=waits):
                console.notice(f"{about}, has not ended; --batch waits for it")


def _confirm(estimate: Estimate, console: Console) -> None:
    """Raises UsageError unless somebody agrees to the calls."""
    from dispatcher.errors import UsageError
    from dispatcher.llm import in_dollars

    if not console.is_interactive:
        raise UsageError("nothing was asked, since nobody is there to agree to it", hint="add --yes")
    calls = "1 call" if estimate.calls == 1 else f"{estimate.calls} calls"
    cost = f" for about {in_dollars(estimate.cost)}" if estimate.cost is not None else ""
    if console.ask(f"Make {calls}{cost}? [y/N]").lower() not in ("y", "yes"):
        raise UsageError("nothing was asked", hint="--dry-run shows the plan alone, --yes goes ahead")


def _keep_what_came(run: Enriching, console: Console, *, puts_in_place: bool) -> None:
    """Where a run was ended: what came is put in place, and it is said how to go on."""
    from dispatcher.cli.enrich_view import show_outcome
    from dispatcher.errors import DispatcherError

    came = len(run.lines)
    if puts_in_place:
        with contextlib.suppress(DispatcherError):  # then it stays in the journal
            run.journals.put_in_place()
    show_outcome(run, {}, console)
    if came:
        where = "is kept" if any(journal.content.lines for journal in run.journals) else "is in place"
        agents = f"{came} agent{'' if came == 1 else 's'}"
        console.insist(f"what came for {agents} {where}; the same command goes on with the rest")
    for batch in (each.id for journal in run.journals for each in journal.content.batches):
        console.insist(f"the batch {batch} is remembered; `dispatch enrich --batch` waits for it")


def _finish(
    run: Enriching,
    place: Workplace,
    labelled: Sequence[LabelledTask] | None,
    console: Console,
    *,
    left_out: int,
    may_reject: bool,
) -> int:
    """Puts what came in place, unless it is to be rejected, and says what it gives."""
    from dispatcher.cli.enrich_view import show_gain, show_outcome

    journals = run.journals
    placed = {journal.target: journal.content.lines for journal in journals if journal.content.lines}
    gain = place.gain(journals.texts(), labelled) if labelled is not None and placed else None
    if may_reject and gain is not None and gain.is_worse:
        aside = journals.set_aside()
        show_outcome(run, {}, console)
        show_gain(gain, console)
        listed = ", ".join(short(path) for path in aside)
        console.result(f"the tasks do worse with them, so nothing was put in place; they are in {listed}")
        return _MISSED
    journals.put_in_place()
    show_outcome(run, placed, console)
    if gain is not None:
        show_gain(gain, console)
    elif placed:
        missing = (
            "all tasks are examples of agents" if labelled else "there are no labelled tasks; --tasks FILE names some"
        )
        console.notice(f"the gain was not measured, since {missing}")
    return _exit_code(run, console, left_out=left_out)


def _exit_code(run: Enriching, console: Console, *, left_out: int) -> int:
    from dispatcher.errors import DispatcherError, LLMError

    if left_out:
        message = f"{left_out} agent{' was' if left_out == 1 else 's were'} left out, to stay within --max-cost"
        console.problem(DispatcherError(message, hint="the same command with more goes on with them"))
    if run.failures:
        first = run.failures[0].error
        message = f"nothing came for {', '.join(each.agent for each in run.failures)}"
        console.problem(LLMError(message, hint="the same command asks for them again", request_id=first.request_id))
        return _INCOMPLETE
    return _MISSED if left_out else 0
