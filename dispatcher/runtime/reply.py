"""What a run gives: the plan before it, the events during it, the reply after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.llm.client import COMPLETE_STOPS, NOT_SENT, Attempt, Request, TextDelta, Usage
from dispatcher.routing.decision import Decision

if TYPE_CHECKING:
    from dispatcher.llm import ModelChoice

__all__ = ["ABSTAINED", "DecisionMade", "Event", "Plan", "Reply", "Stopped"]

ABSTAINED = "abstained"
"""The stop reason of a run for which no agent was sure enough; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is going to do: who, which model, what is sent. Without a request where the router abstained."""

    decision: Decision
    model: ModelChoice | None = None
    request: Request | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The outcome of a run.

    `stop_reason` is the Messages API's word, or `not_sent` (no credential), or `abstained`. `cost` is in US dollars,
    and None where the model's price is not known. `attempts` are the requests that were made for it, the last of which
    brought the answer; `model` may be a fallback of the plan's.
    """

    plan: Plan
    text: str
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)

    @property
    def decision(self) -> Decision:
        return self.plan.decision

    @property
    def was_sent(self) -> bool:
        return self.stop_reason not in (NOT_SENT, ABSTAINED)

    @property
    def is_complete(self) -> bool:
        """Whether `text` is a whole answer."""
        return self.stop_reason in COMPLETE_STOPS


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade:
    """The first event of a run."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The last event of a run."""

    reply: Reply


Event = DecisionMade | TextDelta | Stopped
