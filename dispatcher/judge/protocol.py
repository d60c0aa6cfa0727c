"""What a judge is asked and what it answers. Any object with the two methods is a judge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dispatcher.llm import Usage

__all__ = ["Judge", "Option", "Question", "Said", "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An agent that may be picked."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said before in the conversation, by the `role` user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which of the agents on the shortlist should take a task?

    The shortlist is sorted by name, so that nothing tells what the router thinks of it. `turns` are the last ones of
    the conversation, oldest first.
    """

    task: str
    shortlist: tuple[Option, ...]
    turns: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer.

    `pick` is a name on the shortlist, or None if no agent on it fits. With a `fault`, there is no answer, and it says
    why. `sureness` is between 0 and 1, None if the judge doesn't tell. `cost` is in US dollars, None where it is not
    known. With `is_estimated`, nothing was sent, and usage and cost are what it would have taken, about.

    Raises ValueError for a sureness, or TypeError for a pick, of another kind.
    """

    pick: str | None
    reason: str = ""
    sureness: float | None = None
    fault: str | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    is_estimated: bool = False

    def __post_init__(self) -> None:
        if self.pick is not None and not isinstance(self.pick, str):
            raise TypeError(f"a pick is the name of an agent, not {self.pick!r}")
        if self.sureness is not None and not 0 <= self.sureness <= 1:
            raise ValueError(f"the sureness {self.sureness} is not between 0 and 1")
        if self.cost is not None and not (math.isfinite(self.cost) and self.cost >= 0):
            raise ValueError(f"the cost {self.cost} is no sum of dollars")


@runtime_checkable
class Judge(Protocol):
    """Who picks. Whatever a judge raises counts as no answer; the router's own pick then stands."""

    def judge(self, question: Question) -> Verdict: ...

    async def ajudge(self, question: Question) -> Verdict: ...
