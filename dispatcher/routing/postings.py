"""One view of all agents as postings: for each term and group of fields the agents that have it, and how often.

Counts are kept in place of weights, in a byte each: what a scorer makes of a count follows from it, from how many
agents have the term and from a number an agent, so that scorers over the same fields share their postings and a large
registry takes little more room than its files. What many agents have is a row of counts with a place for each agent,
which takes less room than a list of them and is soonest summed. Many tasks are scored as one, by the same sums.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.scorers import scorers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Postings", "columns_of", "groups_of"]

K1, B = 1.2, 0.75  # BM25's usual constants
WEIGHTINGS = ("tfidf", "bm25")
MOST_COUNTED = 255
_TOGETHER = 65_536  # counts that are summed at a time, so that they stay near the processor
SUBLINEAR = np.concatenate([[0.0], 1 + np.log(np.arange(1, MOST_COUNTED + 1))])
"""What a count weighs in a TF-IDF scorer."""


@functools.cache
def groups_of(view: str) -> tuple[tuple[str, ...], ...]:
    """The groups of fields that the scorers of a view compare."""
    return tuple(dict.fromkeys(scorer.fields for _, scorer in scorers_of(view)))


@functools.cache
def columns_of(view: str, weighting: str) -> NDArray[np.int64]:
    """For each group the column of its scorer of that weighting, among the scorers of the view; -1 without one."""
    scorers = [scorer for _, scorer in scorers_of(view)]
    places = {scorer.fields: column for column, scorer in enumerate(scorers) if scorer.weighting == weighting}
    return np.array([places.get(fields, -1) for fields in groups_of(view)])


@dataclass(frozen=True, slots=True)
class Postings:
    """The postings of one view.

    A cell is a term in a group of fields. `cells[t]` to `cells[t + 1]` are those of term t; `groups` says of which
    group each is, `frequency` how many agents have it, and `starts[c]` to `starts[c + 1]` are the postings of cell c:
    `rows`, the agents, and `counts`. Those of `common` cells, whose numbers ascend, stand in `table` instead, of the
    shape (common cells, agents). `kept` and `table_kept` are the share of each count that counts at the end, where the
    rest stands in passages of less weight; they are empty where all count in full. `norms`, of the shape (scorers,
    agents), is what a TF-IDF sum is divided by, and what BM25 adds to a count.
    """

    view: str
    vocabulary: Mapping[str, int]
    cells: NDArray[np.uint32]
    groups: NDArray[np.uint8]
    frequency: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    rows: NDArray[np.unsignedinteger[Any]]
    counts: NDArray[np.uint8]
    kept: NDArray[np.float16]
    common: NDArray[np.uint32]
    table: NDArray[np.uint8]
    table_kept: NDArray[np.float16]
    norms: NDArray[np.float32]

    def score(self, tasks: Sequence[Sequence[str]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each agent gets from each scorer for the terms of each task, before the task's length counts, and that
        length for each scorer; shapes (tasks, scorers, agents) and (tasks, scorers)."""
        scorer_count, agent_count = self.norms.shape
        found = np.zeros((len(tasks), scorer_count, agent_count))
        squares = np.zeros((len(tasks), scorer_count))
        met, everything = self._met(tasks)
        for weighting in WEIGHTINGS:
            own = met.of(self.view, weighting)
            idf = own.idf(weighting, agent_count)
            if weighting == "tfidf":
                rarest = math.log(1 + agent_count) + 1  # which a term is that no agent has
                rests = np.square(own.weights) * (np.square(idf) - rarest**2)
                squares += np.bincount(own.places(scorer_count), rests, squares.size).reshape(squares.shape)
                squares += everything[:, None] * rarest**2
            factors = own.factors(weighting, idf)
            self._add_rare(weighting, own, factors, found)
            self._add_common(weighting, own, factors, found)
        found /= self._divisors
        return found, np.sqrt(np.maximum(squares, 0.0))

    def contributions(self, terms: Sequence[str], row: int) -> dict[str, NDArray[np.float64]]:
        """What each term of the task gives to one agent, by scorer."""
        counts = Counter(terms)
        known = [term for term in counts if term in self.vocabulary]
        met, _ = self._met([[term] * counts[term] for term in known])
        scorer_count, agent_count = self.norms.shape
        given = np.zeros((len(known), scorer_count))
        for weighting in WEIGHTINGS:
            own = met.of(self.view, weighting)
            factors = own.factors(weighting, own.idf(weighting, agent_count))
            values = [self._value(weighting, own, cell, row) for cell in range(len(own.owners))]
            given[own.owners, own.columns] = np.array(values) * factors
        given /= self._divisors[:, row]
        return {term: amounts for term, amounts in zip(known, given, strict=True) if amounts.any()}

    def _add_rare(
        self, weighting: str, cells: _Cells, factors: NDArray[np.float64], found: NDArray[np.float64]
    ) -> None:
        """Adds what the cells of few agents give."""
        _, scorer_count, agent_count = found.shape
        postings = _ranges(cells.starts, cells.lengths)
        if not len(postings):
            return
        rows, counts = self.rows[postings], self.counts[postings]
        amounts = self._weighed(weighting, counts, self.norms[np.repeat(cells.columns, cells.lengths), rows])
        amounts *= np.repeat(factors, cells.lengths)
        if len(self.kept):
            amounts *= self.kept[postings]
        keys = np.repeat(cells.places(scorer_count) * agent_count, cells.lengths) + rows
        found += np.bincount(keys, amounts, found.size).reshape(found.shape)

    def _add_common(
        self, weighting: str, cells: _Cells, factors: NDArray[np.float64], found: NDArray[np.float64]
    ) -> None:
        """Adds what the cells of many agents give."""
        common = np.flatnonzero(cells.common >= 0)
        if not len(common):
            return
        _, scorer_count, agent_count = found.shape
        of_scorers = found.reshape(-1, agent_count)
        places = cells.places(scorer_count)
        common = common[np.argsort(places[common], kind="stable")]
        at_a_time = max(1, _TOGETHER // max(1, agent_count))
        of_places, firsts = np.unique(places[common], return_index=True)
        for place, first, last in zip(of_places.tolist(), firsts, np.append(firsts, len(common))[1:], strict=True):
            for begun in range(first, last, at_a_time):
                some = common[begun : min(begun + at_a_time, last)]
                rows = cells.common[some]
                amounts = self._weighed(weighting, self.table[rows], self.norms[place % scorer_count])
                if len(self.table_kept):
                    amounts *= self.table_kept[rows]
                of_scorers[place] += factors[some] @ amounts

    def _value(self, weighting: str, cells: _Cells, cell: int, row: int) -> float:
        """What one agent gets from a cell, before its factor counts."""
        if (common := cells.common[cell]) >= 0:
            count, kept = self.table[common, row], self.table_kept[common, row] if len(self.table_kept) else 1.0
        else:
            start = cells.starts[cell]
            place = start + np.searchsorted(self.rows[start : start + cells.lengths[cell]], row)
            if place == start + cells.lengths[cell] or self.rows[place] != row:
                return 0.0
            count, kept = self.counts[place], self.kept[place] if len(self.kept) else 1.0
        return float(self._weighed(weighting, np.array([count]), self.norms[cells.columns[cell], row])[0] * kept)

    def _weighed(self, weighting: str, counts: NDArray[np.uint8], norms: NDArray[np.float32]) -> NDArray[np.float64]:
        """What counts come to by themselves, in agents of these norms."""
        if weighting == "tfidf":
            return SUBLINEAR[counts]
        return np.asarray(counts * (K1 + 1) / (counts + norms.astype(float)))

    @property
    def _divisors(self) -> NDArray[np.float64]:
        """What the sums are divided by; shape (scorers, agents)."""
        is_tfidf = np.array([scorer.weighting == "tfidf" for _, scorer in scorers_of(self.view)])
        return np.where(is_tfidf[:, None], self.norms, 1.0)

    def _met(self, tasks: Sequence[Sequence[str]]) -> tuple[_Cells, NDArray[np.float64]]:
        """The cells that tasks meet, and for each task the squares of what all its terms count, also those that no
        agent has."""
        known: list[tuple[int, int, float]] = []
        everything = np.zeros(len(tasks))
        for owner, terms in enumerate(tasks):
            counts = Counter(terms)
            numbered = [(self.vocabulary.get(term), _sublinear(count)) for term, count in counts.items()]
            known += sorted((owner, number, weight) for number, weight in numbered if number is not None)
            everything[owner] = sum(weight**2 for _, weight in numbered)
        owners, numbers = (np.array([each[part] for each in known], np.int64) for part in (0, 1))
        first = self.cells[numbers].astype(np.int64)
        sizes = self.cells[numbers + 1] - first
        cells = _ranges(first, sizes)
        starts = self.starts[cells].astype(np.int64)
        common = np.searchsorted(self.common, cells)
        is_common = self.common[np.minimum(common, len(self.common) - 1)] == cells if len(self.common) else False
        return _Cells(
            owners=np.repeat(owners, sizes),
            weights=np.repeat(np.array([weight for _, _, weight in known], float), sizes),
            columns=self.groups[cells].astype(np.int64),
            frequency=self.frequency[cells],
            common=np.where(is_common, common, -1),
            starts=starts,
            lengths=self.starts[cells + 1].astype(np.int64) - starts,
        ), everything


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells that tasks meet: `owners` are the tasks, `weights` what the term counts there, `columns` the groups, or the
    scorers of one weighting; `frequency` says how many agents have it; `common` is the row of the table, or -1;
    `starts` and `lengths` say where the postings are. All of the shape (cells,)."""

    owners: NDArray[np.int64]
    weights: NDArray[np.float64]
    columns: NDArray[np.int64]
    frequency: NDArray[np.uint32]
    common: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def of(self, view: str, weighting: str) -> _Cells:
        """Those that a scorer of this weighting looks at, its column in place of the group."""
        columns = columns_of(view, weighting)[self.columns]
        kept = np.flatnonzero(columns >= 0)
        return _Cells(
            owners=self.owners[kept],
            weights=self.weights[kept],
            columns=columns[kept],
            frequency=self.frequency[kept],
            common=self.common[kept],
            starts=self.starts[kept],
            lengths=self.lengths[kept],
        )

    def places(self, scorer_count: int) -> NDArray[np.int64]:
        """The place of each in a table of the shape (tasks, scorers)."""
        return self.owners * scorer_count + self.columns

    def idf(self, weighting: str, agent_count: int) -> NDArray[np.float64]:
        return inverse_frequency(weighting, self.frequency, agent_count)

    def factors(self, weighting: str, idf: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each counts in the task. A term's inverse document frequency counts twice in a cosine, once for the task
        and once for the agent."""
        return self.weights * (idf**2 if weighting == "tfidf" else idf)


def inverse_frequency(weighting: str, frequency: NDArray[np.integer[Any]], agent_count: int) -> NDArray[np.float64]:
    """The inverse document frequency of terms that so many agents have."""
    if weighting == "bm25":
        return np.asarray(np.log(1 + (agent_count - frequency + 0.5) / (frequency + 0.5)))
    return np.asarray(np.log((1 + agent_count) / (1 + frequency)) + 1)


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, so many each, one range after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


@functools.lru_cache(maxsize=1_000)
def _sublinear(count: int) -> float:
    return 1 + math.log(count)
