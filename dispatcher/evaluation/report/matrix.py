"""Which part of a confusion matrix is worth showing: of hundreds of agents, those that are confused most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dispatcher.evaluation.metrics import AgentMetrics, Confusion

__all__ = ["Matrix", "most_confused"]

_MOST_AGENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A square part of a confusion matrix.

    `counts` are tasks by row (expected) and column (first pick), places in `names`; cells without tasks are absent.
    `left_out` are the wrong picks that have no cell.
    """

    names: tuple[str | None, ...]
    counts: Mapping[tuple[int, int], int]
    left_out: int


def most_confused(
    agents: Sequence[AgentMetrics], confusions: Sequence[Confusion], *, most: int = _MOST_AGENTS
) -> Matrix:
    """The part of the matrix for at most `most` agents, taking the most frequent pairs first."""
    chosen: dict[str | None, None] = {}
    for pair in confusions:
        wanted = {**chosen, pair.expected: None, pair.predicted: None}
        if len(wanted) <= most:
            chosen = wanted
    names = tuple(sorted(chosen, key=lambda name: (name is None, name or "")))
    place = {name: at for at, name in enumerate(names)}
    counts = {
        (place[pair.expected], place[pair.predicted]): len(pair.tasks)
        for pair in confusions
        if pair.expected in place and pair.predicted in place
    }
    shown = sum(counts.values())
    for agent in agents:
        # Recall is the share of an agent's tasks that it got.
        right = round((agent.recall or 0.0) * agent.n)
        if agent.agent in place and right:
            counts[place[agent.agent], place[agent.agent]] = right
    return Matrix(names=names, counts=counts, left_out=sum(len(pair.tasks) for pair in confusions) - shown)
