"""Where no agent is sure enough: the three best, for a person to choose from."""

from __future__ import annotations

import dataclasses

from dispatcher.cli.console import Console
from dispatcher.cli.views import offered, show_decision
from dispatcher.routing import Decision, How, Outcome

__all__ = ["choose"]

_ADVICE = "Name one with --agent NAME, or say more of the task."


def choose(decision: Decision, console: Console, *, explain: bool = False, advice: str = _ADVICE) -> Decision | None:
    """The decision of the person at the terminal; None if there is nobody, or nobody of the three will do.

    Parameters
    ----------
    explain: whether to say in full why nobody was chosen.
    advice: what is said where nobody of the three will do.
    """
    show_decision(decision, console, in_full=explain)
    candidates = offered(decision)
    by_number = {str(number): candidate.agent for number, candidate in enumerate(candidates, start=1)}
    may_ask = bool(candidates) and console.is_interactive and not console.quiet
    chosen = by_number.get(console.ask("Which one? (number, or Enter for none)")) if may_ask else None
    if chosen is None:
        console.say(advice, indent=2)
        return None
    return dataclasses.replace(
        decision, outcome=Outcome.ROUTED, how=How.CHOSEN, agent=chosen, reason="it was chosen from the three best"
    )
