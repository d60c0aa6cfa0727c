"""What routing decides: who, how, how sure, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dispatcher.agent import Agent

__all__ = ["Candidate", "Decision", "Evidence", "How", "Outcome"]


class Outcome(StrEnum):
    """Whether an agent was chosen."""

    ROUTED = "routed"
    ABSTAINED = "abstained"


class How(StrEnum):
    """What decided."""

    FORCED = "forced"
    """The caller named the agent."""
    MENTION = "mention"
    """The task begins with @name."""
    RULE = "rule"
    """A keyword rule of config.yaml."""
    SCORED = "scored"
    """The scores."""
    CHOSEN = "chosen"
    """A person, from the best candidates."""
    FALLBACK = "fallback"
    """Nobody was sure enough, and config names who answers then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Words of the task that met a passage of an agent's file, and what they gave.

    `contribution` is the part of the candidate's score that comes from these words in this field; it is negative where
    the passage says what the agent is not for.
    """

    field: str
    words: tuple[str, ...]
    text: str
    path: Path
    line: int | None
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An agent with its raw score, between 0 and 1."""

    agent: Agent
    score: float

    @property
    def name(self) -> str:
        return self.agent.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to "who takes this task?".

    `confidence` is the probability that the first candidate is right, once `is_calibrated`; until then it only orders
    decisions by how sure they are. `margin` is the first candidate's score less the second's. `task` is what the agent
    is given: the text without a leading @name. `candidates` are ranked, best first, also when the router abstains.
    """

    task: str
    outcome: Outcome
    how: How
    agent: Agent | None
    confidence: float
    is_calibrated: bool = False
    threshold: float = 0.0
    margin: float = 0.0
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
    explain: Callable[[Agent], tuple[Evidence, ...]] = field(default=lambda agent: (), repr=False, compare=False)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence for the chosen agent, or else for the best candidate; worked out when asked for."""
        subject = self.agent or (self.candidates[0].agent if self.candidates else None)
        return self.explain(subject) if subject is not None else ()
