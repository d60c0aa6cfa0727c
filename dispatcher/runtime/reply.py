"""What a run gives: the plan before it, the events during it, the reply after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dispatcher.llm.client import COMPLETE_STOPS, NOT_SENT, Attempt, Completion, Request, TextDelta, Usage
from dispatcher.routing.decision import Decision

if TYPE_CHECKING:
    from dispatcher.llm import ModelChoice
    from dispatcher.runtime.claude_code import ClaudeCode
    from dispatcher.runtime.handoffs import Peers
    from dispatcher.runtime.shapes import Shape
    from dispatcher.runtime.tools import Tool, ToolCall, ToolResult
    from dispatcher.sessions import Handoff, Turn

__all__ = [
    "ABSTAINED",
    "MAX_ITERATIONS",
    "AgentAnswered",
    "AgentAsked",
    "DecisionMade",
    "Event",
    "HandedOver",
    "HistoryTrimmed",
    "Piece",
    "Plan",
    "Reply",
    "Stopped",
    "ToolCalled",
    "ToolReturned",
    "TornTurnFound",
    "UsageReported",
]

ABSTAINED = "abstained"
"""The stop reason of a run for which no agent was sure enough; nothing was sent."""

MAX_ITERATIONS = "max_iterations"
"""The stop reason of a turn whose model wanted to call tools once more than it may be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is going to do: who, which model, what is sent, and which tools may be called; `peers` are the
    agents that this one may turn to, and `shape` is what the answer has to look like, if that is laid down. With an
    `executor` that one runs the agent, with tools of its own.

    Without a request where the router abstained.
    """

    decision: Decision
    model: ModelChoice | None = None
    request: Request | None = None
    notices: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    peers: Peers | None = field(default=None, repr=False, compare=False)
    shape: Shape | None = None
    executor: ClaudeCode | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The outcome of a run.

    `stop_reason` is the Messages API's word, or `not_sent` (no credential), `abstained` or `max_iterations`. `text` is
    what was said last, `usage` and `cost` are those of all requests of the turn; `cost` is in US dollars, None where a
    model's price is not known. `attempts` are the requests that were made for it, the last of which brought the
    answer; `model` may be a fallback of the plan's. `plan` is that of the agent that answered, which need not be the
    one that was chosen first: `handoffs` tells who passed it on, or was asked. `turn` is what its session keeps of it,
    if it has one. `value` is the answer as an object of the schema that was asked for: of the pydantic model, or a
    dict; None where no schema was given or no answer came.
    """

    plan: Plan
    text: str
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)
    turn: Turn | None = None
    handoffs: tuple[Handoff, ...] = ()
    value: Any = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TornTurnFound:
    """The session's last turn was cut off by the end of its process; it is kept, and not sent with the next ones."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The conversation goes from one agent to another: for a new subject, or since the first one passed it on."""

    before: str
    after: str
    reason: str
    is_new_subject: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAsked:
    """An agent asks another one, and goes on with its answer."""

    before: str
    after: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAnswered:
    """What the asked agent answered; `is_error` where it did not come to an answer."""

    before: str
    after: str
    answer: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTrimmed:
    """The oldest turns of the conversation don't fit into the model's window any more, and are not sent.

    `turns` says how many. `was_refused` tells that the service itself found the conversation too long; the request is
    then made again without them.
    """

    turns: int
    was_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """The model calls a tool; it has not been approved yet."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """What the model is given for its call."""

    result: ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported:
    """What one request took; `cost` is in US dollars, None where the model's price is not known."""

    model: str
    usage: Usage
    cost: float | None


Piece = TextDelta | ToolCalled | ToolReturned | Completion
"""What comes of a request: of a model, or of a program that runs the agent by itself."""

Event = (
    DecisionMade
    | TornTurnFound
    | HandedOver
    | AgentAsked
    | AgentAnswered
    | HistoryTrimmed
    | TextDelta
    | ToolCalled
    | ToolReturned
    | UsageReported
    | Stopped
)
