"""Where no agent is sure enough: the three best, for a person to choose from."""

from __future__ import annotations

import dataclasses

import typer

from dispatcher.cli.console import Console
from dispatcher.cli.views import offered, show_abstained
from dispatcher.routing import Decision, How, Outcome

__all__ = ["choose"]


def choose(decision: Decision, console: Console) -> Decision | None:
    """The decision of the person at the terminal; None if there is nobody, or nobody of the three will do."""
    show_abstained(decision, console)
    candidates = offered(decision)
    if not candidates or not console.is_interactive or console.quiet:
        console.say("Name one with --agent NAME, or say more of the task.", indent=2)
        return None
    answer = typer.prompt("Which one? (number, or Enter for none)", default="", show_default=False, err=True)
    if answer.strip() not in [str(number) for number in range(1, len(candidates) + 1)]:
        return None
    chosen = candidates[int(answer) - 1].agent
    return dataclasses.replace(
        decision, outcome=Outcome.ROUTED, how=How.CHOSEN, agent=chosen, reason="it was chosen from the three best"
    )
