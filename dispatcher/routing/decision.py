"""What routing decides: who, how, how sure, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, overload

from dispatcher.agent import Agent
from dispatcher.llm.client import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Candidate",
    "Decision",
    "Evidence",
    "Explanation",
    "How",
    "Judgement",
    "Outcome",
    "Ranked",
    "fallen_back",
    "led_by",
    "scores_of",
]


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
    JUDGED = "judged"
    """A judge, such as a model, among the best by the scores."""
    CHOSEN = "chosen"
    """A person, from the best candidates."""
    STICKY = "sticky"
    """The conversation: a follow-up stays with its agent, or goes back to the one it was of."""
    HANDOFF = "handoff"
    """Another agent, which passed the conversation on or asked."""
    FALLBACK = "fallback"
    """Nobody was sure enough, and config names who answers then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Words of the task that met a passage of an agent's file, and what they gave.

    `contribution` is the part of the candidate's score that comes from these words in this field; it is negative where
    the passage says what the agent is not for. A word that met by its spelling is given with the one it met, as
    "databse ~ database". Without words, the passage is the one nearest to the task in meaning.
    """

    field: str
    words: tuple[str, ...]
    text: str
    path: Path
    line: int | None
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one candidate has its score: what each field gave, from which words and passages, and the rules that held."""

    agent: Agent
    score: float
    by_field: tuple[tuple[str, float], ...]
    evidence: tuple[Evidence, ...]
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An agent with its raw score: at most 1 by its file, to which rules add what they give.

    It is below 0 where nothing but what the agent is not for meets the task.
    """

    agent: Agent
    score: float

    @property
    def name(self) -> str:
        return self.agent.name


class Ranked(Sequence[Candidate]):
    """Candidates, best first, each made when it is looked at: of thousands, a caller wants the first few.

    Parameters
    ----------
    agents: those that `rows` are numbers of.
    rows: the agents that are ranked, shape (candidates,).
    scores: theirs, of the same shape.
    """

    __slots__ = ("_agents", "_rows", "_scores")

    def __init__(self, agents: Sequence[Agent], rows: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        self._agents = agents
        self._rows = rows
        self._scores = scores

    @overload
    def __getitem__(self, place: int) -> Candidate: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Candidate, ...]: ...

    def __getitem__(self, place: int | slice) -> Candidate | tuple[Candidate, ...]:
        if isinstance(place, slice):
            return tuple(map(self.__getitem__, range(*place.indices(len(self)))))
        return Candidate(agent=self._agents[self._rows[place]], score=float(self._scores[place]))

    def __iter__(self) -> Iterator[Candidate]:
        pairs = zip(self._rows.tolist(), self._scores.tolist(), strict=True)
        return (Candidate(agent=self._agents[row], score=score) for row, score in pairs)

    def __len__(self) -> int:
        return len(self._rows)

    def scores(self) -> dict[str, float]:
        """The score of each by its name, without making any."""
        pairs = zip(self._rows.tolist(), self._scores.tolist(), strict=True)
        return {self._agents[row].name: score for row, score in pairs}

    def led_by(self, name: str) -> Ranked:
        """The same with the one of a name put first."""
        place = next(place for place, row in enumerate(self._rows.tolist()) if self._agents[row].name == name)
        order = [place, *range(place), *range(place + 1, len(self))]
        return Ranked(self._agents, self._rows[order], self._scores[order])

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Ranked | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def scores_of(candidates: Sequence[Candidate]) -> Mapping[str, float]:
    """The score of each candidate by its name, best first."""
    if isinstance(candidates, Ranked):
        return candidates.scores()
    return {candidate.name: candidate.score for candidate in candidates}


def led_by(candidates: Sequence[Candidate], name: str) -> Sequence[Candidate]:
    """Candidates with the one of a name put first; the others keep their order."""
    if isinstance(candidates, Ranked):
        return candidates.led_by(name)
    return tuple(sorted(candidates, key=lambda candidate: candidate.name != name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came of asking a judge.

    `pick` is the agent that it named, None if it said that none fits, or gave no answer that can be used; then
    `failure` says why, and the router's own pick stands. `was_asked` is False where not even asking was possible.
    `offline_pick` and `offline_confidence` are what the scores alone came to. `sureness` is the judge's own, between 0
    and 1. `latency` is in seconds; `cost` in US dollars, None where it is not known. With `is_estimated`, nothing was
    sent, and usage and cost are what it would have taken, about.
    """

    pick: str | None = None
    reason: str = ""
    failure: str | None = None
    was_asked: bool = True
    offline_pick: str | None = None
    offline_confidence: float = 0.0
    sureness: float | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    latency: float = 0.0
    is_cached: bool = False
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to "who takes this task?".

    `confidence` is the probability that the first candidate is right, once `is_calibrated`. `margin` is the first
    candidate's score less the second's. `task` is what the agent is given: the text without a leading @name.
    `candidates` are ranked, best first, also when the router abstains. `rules` are the keyword rules that held.
    `fallback` is the agent that takes what nobody else does, if config names one. `judgement` says what came of asking
    a judge, where that was to be done. `explain` tells why a candidate has its score and `smallest_change` what would
    let the runner-up win; nothing is worked out before it is asked for.
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
    candidates: Sequence[Candidate] = ()
    rules: tuple[str, ...] = ()
    fallback: Agent | None = None
    judgement: Judgement | None = None
    explain: Callable[[Agent], Explanation | None] = field(default=lambda agent: None, repr=False, compare=False)
    smallest_change: Callable[[], str | None] = field(default=lambda: None, repr=False, compare=False)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence for the chosen agent, or else for the best candidate; worked out when asked for."""
        subject = self.agent or (self.candidates[0].agent if self.candidates else None)
        explanation = self.explain(subject) if subject is not None else None
        return explanation.evidence if explanation is not None else ()

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The explanations of the first candidate and of the runner-up, if anything spoke for them."""
        found = (self.explain(candidate.agent) for candidate in self.candidates[:2] if candidate.score != 0)
        return tuple(explanation for explanation in found if explanation is not None)


def fallen_back(decision: Decision) -> Decision:
    """What becomes of a decision that chose nobody: the fallback's, if there is one."""
    if decision.fallback is None:
        return decision
    reason = f'{decision.reason}; "{decision.fallback.name}" is the fallback'
    return replace(decision, outcome=Outcome.ROUTED, how=How.FALLBACK, agent=decision.fallback, reason=reason)
