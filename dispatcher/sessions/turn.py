"""What is kept of one turn: who took it and why, every message of it, how it ended and what it cost."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from dispatcher.llm import Message, Usage

__all__ = [
    "Handoff",
    "SessionInfo",
    "Turn",
    "TurnState",
    "new_session_id",
    "new_turn_id",
    "now",
    "total_cost",
    "total_usage",
]


class TurnState(StrEnum):
    """How far a turn came."""

    OPEN = "open"
    """It is under way, or its process ended in the middle of it."""
    DONE = "done"
    """It ended by itself; `stop_reason` says how."""
    CANCELLED = "cancelled"
    """The caller stopped it; what had come is kept."""
    FAILED = "failed"
    """An error ended it; what had come is kept."""
    TORN = "torn"
    """Its process ended in the middle of it, which was found out later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """An agent that turned to another within a turn.

    `message` is what the other was told or asked. `answer` is what it answered; None where it took the conversation
    over, or did not come to an answer.
    """

    before: str
    after: str
    message: str
    is_question: bool = False
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a conversation.

    `id` is its own for ever; `number` is its place in the session, from 1. `task` is what the user typed, less a
    leading @name. `messages` are those of this turn alone: the user's, the answer, and between them the calls of tools
    and their results. `agent` is the one that had it last, None where nobody was sure enough. `cost` is in US dollars,
    None where not known. `handoffs` are the agents' own doing: whom they passed it on to, or asked.
    """

    id: str
    number: int
    task: str
    started: datetime
    state: TurnState = TurnState.OPEN
    agent: str | None = None
    how: str = ""
    reason: str = ""
    confidence: float = 0.0
    messages: tuple[Message, ...] = ()
    stop_reason: str | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    ended: datetime | None = None
    error: str | None = None
    handoffs: tuple[Handoff, ...] = ()

    @property
    def answer(self) -> str:
        """The text of the agent's messages, those before calls of tools included."""
        return "\n\n".join(text for text in map(_text_of, self.messages) if text)

    @property
    def is_answered(self) -> bool:
        """Whether its messages can stand in the conversation that is sent with the next turn: the agent said or did
        something, and each call of a tool has its result.

        Not if it failed over such results, which may be what the service refused.
        """
        if self.state is TurnState.OPEN or all(message.role != "assistant" for message in self.messages):
            return False
        last = self.messages[-1]
        if last.role != "assistant":
            return self.state is not TurnState.FAILED
        if isinstance(last.content, str):
            return True
        return all(block.get("type") != "tool_use" for block in last.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as a list shows it. `title` is the first task; `cost` leaves out turns whose cost is not known."""

    id: str
    created: datetime
    updated: datetime
    turns: int
    title: str
    agents: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0


def now() -> datetime:
    """The time as it is kept: UTC, whole microseconds."""
    return datetime.now(UTC)


def new_session_id() -> str:
    """A name for a session that nobody has named: the day, so that people find it, and something of its own."""
    return f"{datetime.now().astimezone():%Y%m%d-%H%M}-{secrets.token_hex(3)}"


def new_turn_id() -> str:
    return secrets.token_hex(16)


def total_usage(turns: Iterable[Turn]) -> Usage:
    total = Usage()
    for turn in turns:
        total = total + turn.usage
    return total


def total_cost(turns: Iterable[Turn]) -> float:
    """In US dollars; turns whose cost is not known are left out."""
    return sum(turn.cost for turn in turns if turn.cost is not None)


def _text_of(message: Message) -> str:
    """What an agent's message says; nothing for those of others."""
    if message.role != "assistant":
        return ""
    if isinstance(message.content, str):
        return message.content
    return "".join(str(block.get("text", "")) for block in message.content if block.get("type") == "text")
