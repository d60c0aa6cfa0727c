"""dispatch feedback: was the choice right? As a labelled task for `dispatch eval` and `tune`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, one_line, short

if TYPE_CHECKING:
    from dispatcher.decisionlog import LogEntry

__all__ = ["feedback"]


def feedback(
    entry: Annotated[str, typer.Argument(metavar="ID|last", help="The run, by its id in the log, or the last one.")],
    verdict: Annotated[str, typer.Argument(metavar="good|wrong", help="Whether the right agent took it.")],
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="The agent that should have taken it.")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="No agent fits this task.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file of labelled tasks; else one for this folder.")
    ] = None,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Say whether a run went to the right agent, and keep it as a labelled task."""
    import os

    from dispatcher.cli.decision_log import find_entry, log_of
    from dispatcher.cli.setting_up import load_registry
    from dispatcher.decisionlog import add_feedback, feedback_path, labelled

    console = Console(quiet=quiet)
    _check(verdict, agent, nobody=nobody)
    registry, loaded = load_registry(console, agents=agents, config=config)
    found = find_entry(log_of(loaded.settings.log), entry)
    name = found.agent if verdict == "good" else agent
    label = registry.find(name).name if name is not None else None
    _check_label(found, label, verdict, {each.name for each in registry.routable})
    path = out or feedback_path(Path(found.folder or Path.cwd()), os.environ)
    count = add_feedback(path, labelled(found, label))
    tasks = "1 task" if count == 1 else f"{count} tasks"
    console.say(f"{label or 'nobody'}: {one_line(found.task, console.width - len(label or 'nobody') - 2)}")
    console.say(f"{tasks} in {short(path)}; `dispatch eval --tasks` and `dispatch tune --set AGENTS=` take it as it is")
    return 0


def _check(verdict: str, agent: str | None, *, nobody: bool) -> None:
    from dispatcher.errors import UsageError

    if verdict not in ("good", "wrong"):
        raise UsageError(
            f'"{verdict}" is no verdict', hint="it is good or wrong: dispatch feedback last wrong --agent NAME"
        )
    if verdict == "good" and (agent is not None or nobody):
        raise UsageError("good says that the choice was right", hint="say wrong, or leave --agent and --nobody out")
    if verdict == "wrong" and (agent is None) != nobody:
        raise UsageError(
            "which agent should have taken it?", hint="name one with --agent, or say --nobody if none fits; not both"
        )


def _check_label(entry: LogEntry, label: str | None, verdict: str, routable: Collection[str]) -> None:
    from dispatcher.errors import UsageError

    if label is not None and label not in routable:
        raise UsageError(
            f'"{label}" is kept out of routing, so no task can be its', hint="say --nobody, or name another agent"
        )
    if verdict == "wrong" and label == entry.agent:
        raise UsageError(f'"{label or "nobody"}" is who took it', hint="say good if that was right")
