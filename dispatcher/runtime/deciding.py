"""A task → a decision, as others see it. Needs nothing of what carries a decision out."""

from __future__ import annotations

from typing import Any

from dispatcher.routing import Decision, Router
from dispatcher.tracing import Spanned

__all__ = ["observed_route"]


def observed_route(router: Router, task: str, **options: Any) -> Decision:
    """What the router decides, with a span around it; `options` are those of `Router.route`."""
    with Spanned("route", {"gen_ai.operation.name": "route"}, is_current=True) as span:
        decision = router.route(task, **options)
        span.note(
            {
                "gen_ai.agent.name": decision.agent.name if decision.agent is not None else None,
                "dispatcher.outcome": str(decision.outcome),
                "dispatcher.how": str(decision.how),
                "dispatcher.confidence": decision.confidence,
                "dispatcher.margin": decision.margin,
            }
        )
        return decision
