"""dispatch log: what was asked, who took it, how it ended and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, one_line, short

if TYPE_CHECKING:
    from dispatcher.decisionlog import DecisionLog, LogEntry

__all__ = ["log"]


def log(
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Runs of this agent.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Runs since a day (2026-05-31), or the last 30m, 12h, 7d."),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome",
            metavar="HOW",
            help="Runs that ended so: answered, incomplete, abstained, failed, over-budget or cancelled.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="WORDS", help="Runs whose task has these words.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Show at most so many, the last ones.")
    ] = 20,
    by_agent: Annotated[bool, typer.Option("--by-agent", help="Show what each agent's runs took and cost.")] = False,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Show the log of runs, the last one first."""
    from dispatcher.cli.decision_log import log_of
    from dispatcher.cli.moments import parse_outcome, parse_since
    from dispatcher.decisionlog import LogFilter
    from dispatcher.settings import load_settings

    console = Console(quiet=quiet or as_json)
    wanted = LogFilter(agent=agent, since=parse_since(since), outcome=parse_outcome(outcome), text=text)
    loaded = load_settings(config=config)
    for notice in loaded.notices:
        console.notice(notice)
    kept = log_of(loaded.settings.log)
    entries, faults = kept.entries(wanted)
    if as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, LogOutput, to_json

        shown = list(entries[:limit])
        output: LogOutput = {
            "schema_version": SCHEMA_VERSION,
            "path": str(kept.folder),
            "entries": shown,
            "faults": list(faults),
        }
        console.result(to_json(LogOutput, output))
        return 0
    if by_agent:
        _print_agents(entries, console)
    else:
        _print_entries(entries[:limit], console)
    for fault in faults:
        console.notice(fault)
    if agent is not None and not kept.entries(LogFilter(agent=agent))[0]:
        _tell_nearest(agent, kept, console)
    console.say(f"{_total(entries)} in {short(kept.folder)}", style="dim")
    if len(entries) > limit and not by_agent:
        console.say(f"the last {limit} are shown; --limit shows more", style="dim")
    return 0


def _tell_nearest(agent: str, kept: DecisionLog, console: Console) -> None:
    """Which agent of the log may have been meant, where none of it has that name."""
    from rapidfuzz import process

    names = {entry.agent for entry in kept.entries()[0] if entry.agent is not None}
    near = process.extractOne(agent, sorted(names), score_cutoff=70)
    if near is not None:
        console.notice(f'there is no run of "{agent}"; did you mean "{near[0]}"?')


def _print_entries(entries: Sequence[LogEntry], console: Console) -> None:
    for entry in entries:
        who = f"{entry.agent} ({entry.confidence:.2f})" if entry.agent else "nobody"
        why = {"failed": f" ({entry.error})", "incomplete": f" ({entry.stop_reason})"}.get(entry.outcome, "")
        console.result(one_line(f"{entry.id}: {who}, {entry.outcome}{why}, {_cost(entry.cost)}", console.width))
        console.result(f"  {one_line(entry.task, console.width - 2)}")


def _print_agents(entries: Sequence[LogEntry], console: Console) -> None:
    by_agent: dict[str, list[LogEntry]] = {}
    for entry in entries:
        by_agent.setdefault(entry.agent or "nobody", []).append(entry)
    for name, found in sorted(by_agent.items(), key=lambda item: (-_known_cost(item[1]), item[0])):
        console.result(one_line(f"{name}: {_total(found)}", console.width))


def _total(entries: Sequence[LogEntry]) -> str:
    from dispatcher.llm import in_dollars

    tokens_in = sum(entry.usage.prompt_tokens for entry in entries)
    tokens_out = sum(entry.usage.output_tokens for entry in entries)
    runs = "1 run" if len(entries) == 1 else f"{len(entries)} runs"
    return f"{runs}, {tokens_in:,} tokens in, {tokens_out:,} out, {in_dollars(_known_cost(entries))}"


def _known_cost(entries: Sequence[LogEntry]) -> float:
    return sum(entry.cost for entry in entries if entry.cost is not None)


def _cost(cost: float | None) -> str:
    from dispatcher.llm import in_dollars

    return "cost unknown" if cost is None else in_dollars(cost)
