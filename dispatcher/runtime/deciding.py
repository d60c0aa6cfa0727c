"""A task → a decision, as others see it. Needs nothing of what carries a decision out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dispatcher.routing import Candidate, Decision, Router
from dispatcher.tracing import Spanned

__all__ = ["observed_route", "observed_route_after"]


def observed_route(router: Router, task: str, **options: Any) -> Decision:
    """What the router decides, with a span around it; `options` are those of `Router.route`."""
    return observed_route_after(router, task, "", **options)[0]


def observed_route_after(router: Router, task: str, said: str, **options: Any) -> tuple[Decision, Sequence[Candidate]]:
    """The same with what was said before; `options` are those of `Router.route_after`."""
    with Spanned("route", {"gen_ai.operation.name": "route"}, is_current=True) as span:
        decision, before = router.route_after(task, said, **options)
        span.note(
            {
                "gen_ai.agent.name": decision.agent.name if decision.agent is not None else None,
                "dispatcher.outcome": str(decision.outcome),
                "dispatcher.how": str(decision.how),
                "dispatcher.confidence": decision.confidence,
                "dispatcher.margin": decision.margin,
            }
        )
        return decision, before
