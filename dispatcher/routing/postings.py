"""The words of all agents as postings: for each term and group of fields the agents that have it, and how often.

Counts are kept in place of weights, in a byte each: what a scorer makes of a count follows from it, from how many
agents have the term and from a number an agent, so that scorers over the same fields share their postings and a large
registry takes little more room than its files. What many agents have is a row of counts with a place for each agent,
which takes less room than a list of them and is soonest summed. Many tasks are scored as one, by the same sums.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.scorers import SCORERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GROUPS", "VIEW_NAMES", "Postings", "Query", "columns_of", "sublinear"]

K1, B = 1.2, 0.75  # BM25's usual constants
WEIGHTINGS = ("tfidf", "bm25")
MOST_COUNTED = 255
# Counts that are summed at a time: they stay near the processor, and are too few for BLAS to call on other threads, for
# which it waits long on a busy machine.
_TOGETHER = 32_768
SUBLINEAR = np.concatenate([[0.0], 1 + np.log(np.arange(1, MOST_COUNTED + 1))])
"""What a count weighs in a TF-IDF scorer."""

GROUPS = tuple(dict.fromkeys((scorer.view, scorer.fields) for scorer in SCORERS))
"""What is compared: groups of fields, each in a view."""

VIEW_NAMES = tuple(dict.fromkeys(view for view, _ in GROUPS))
_VIEW_OF_GROUP = np.array([VIEW_NAMES.index(view) for view, _ in GROUPS])
_VIEW_OF_SCORER = np.array([VIEW_NAMES.index(scorer.view) for scorer in SCORERS])
_IS_TFIDF = np.array([scorer.weighting == "tfidf" for scorer in SCORERS])


@functools.cache
def columns_of(weighting: str) -> NDArray[np.int64]:
    """For each group the column of its scorer of that weighting; -1 without one."""
    columns = {
        (scorer.view, scorer.fields): column for column, scorer in enumerate(SCORERS) if scorer.weighting == weighting
    }
    return np.array([columns.get(group, -1) for group in GROUPS])


@dataclass(frozen=True, slots=True)
class Query:
    """The terms of a task in one view: the numbers of those that are known, what each counts, and for the rest the sum
    of the squares of what they count."""

    view: str
    numbers: NDArray[np.int64]
    weights: NDArray[np.float64]
    unknown: float


@dataclass(frozen=True, slots=True)
class Postings:
    """The postings of all groups.

    A cell is a term in a group. `cells[t]` to `cells[t + 1]` are those of term t; `groups` says of which group each is,
    `frequency` how many agents have it, and `starts[c]` to `starts[c + 1]` are the postings of cell c: `rows`, the
    agents, and `counts`. Those of `common` cells, whose numbers ascend, stand in `table` instead, of the shape (common
    cells, agents). `kept` and `table_kept` are the share of each count that counts at the end, where the rest stands in
    passages of less weight; they are empty where all count in full. `lengths`, of the shape (groups, agents), says how
    many terms each has, and `norms`, (scorers, agents), what a TF-IDF sum is divided by, and what BM25 adds to a count.
    """

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
    lengths: NDArray[np.uint32]
    norms: NDArray[np.float32]

    @property
    def terms(self) -> NDArray[np.int64]:
        """The number of the term of each cell."""
        return np.repeat(np.arange(len(self.cells) - 1), np.diff(self.cells).astype(np.int64))

    @property
    def unused_share(self) -> float:
        """The share of the terms that no agent has."""
        return float(np.count_nonzero(np.diff(self.cells) == 0)) / max(1, len(self.cells) - 1)

    def query(self, view: str, counts: Mapping[str, int]) -> Query:
        """The terms of a task in a view, by how often each stands in it."""
        numbers, weights, unknown = [], [], 0.0
        for term, count in counts.items():
            if (number := self.vocabulary.get(term)) is not None:
                numbers.append(number)
                weights.append(sublinear(count))
            else:
                unknown += sublinear(count) ** 2
        return Query(view, np.array(numbers, np.int64), np.array(weights, float), unknown)

    def score(self, tasks: Sequence[Iterable[Query]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each agent gets from each scorer for the queries of each task, before the task's length counts, and that
        length for each scorer; shapes (tasks, scorers, agents) and (tasks, scorers)."""
        scorer_count, agent_count = self.norms.shape
        found = np.zeros((len(tasks), scorer_count, agent_count))
        everything = np.zeros((len(tasks), len(VIEW_NAMES)))
        asked = [(owner, query) for owner, queries in enumerate(tasks) for query in queries]
        for owner, query in asked:
            everything[owner, VIEW_NAMES.index(query.view)] += np.square(query.weights).sum() + query.unknown
        met = self._met(asked)
        rarest = math.log(1 + agent_count) + 1  # which a term is that no agent has
        squares = everything[:, _VIEW_OF_SCORER] * rarest**2
        for weighting in WEIGHTINGS:
            own = met.of(weighting)
            idf = own.idf(weighting, agent_count)
            if weighting == "tfidf":
                rests = np.square(own.weights) * (np.square(idf) - rarest**2)
                squares += np.bincount(own.places(scorer_count), rests, squares.size).reshape(squares.shape)
            factors = own.factors(weighting, idf)
            self._add_rare(weighting, own, factors, found)
            self._add_common(weighting, own, factors, found)
        found[:, _IS_TFIDF] /= self.norms[_IS_TFIDF]
        return found, np.sqrt(np.maximum(squares, 0.0))

    def contributions(self, queries: Sequence[Query], row: int) -> NDArray[np.float64]:
        """What each of some queries gives to one agent; shape (queries, scorers)."""
        met = self._met(list(enumerate(queries)))
        scorer_count, agent_count = self.norms.shape
        given = np.zeros((len(queries), scorer_count))
        for weighting in WEIGHTINGS:
            own = met.of(weighting)
            factors = own.factors(weighting, own.idf(weighting, agent_count))
            values = np.array([self._value(weighting, own, cell, row) for cell in range(len(own.owners))])
            given += np.bincount(own.places(scorer_count), values * factors, given.size).reshape(given.shape)
        return given / np.where(_IS_TFIDF, self.norms[:, row], 1.0)

    def _add_rare(
        self, weighting: str, cells: _Cells, factors: NDArray[np.float64], found: NDArray[np.float64]
    ) -> None:
        """Adds what the cells of few agents give."""
        _, scorer_count, agent_count = found.shape
        postings = ranges(cells.starts, cells.lengths)
        if not len(postings):
            return
        keys = (cells.places(scorer_count) * agent_count).repeat(cells.lengths) + self.rows[postings]
        norms = self.norms.ravel()[keys % self.norms.size] if weighting == "bm25" else self.norms
        amounts = self._weighed(weighting, self.counts[postings], norms)
        amounts *= factors.repeat(cells.lengths)
        if len(self.kept):
            amounts *= self.kept[postings]
        found += np.bincount(keys, amounts, found.size).reshape(found.shape)

    def _add_common(
        self, weighting: str, cells: _Cells, factors: NDArray[np.float64], found: NDArray[np.float64]
    ) -> None:
        """Adds what the cells of many agents give, a task at a time."""
        common = np.flatnonzero(cells.common >= 0)
        common = common[np.argsort(cells.columns[common], kind="stable")]
        owners = cells.owners[common]
        at_a_time = max(1, _TOGETHER // max(1, found.shape[-1]))
        for owner in range(len(found)):
            of_task = common[owners == owner]
            for begun in range(0, len(of_task), at_a_time):
                some = of_task[begun : begun + at_a_time]
                rows, columns = cells.common[some], cells.columns[some]
                amounts = self._weighed(weighting, self.table[rows], self.norms[columns])
                if len(self.table_kept):
                    amounts *= self.table_kept[rows]
                firsts = np.flatnonzero(np.diff(columns, prepend=-1)).tolist()
                for first, last in itertools.pairwise([*firsts, len(some)]):
                    found[owner, columns[first]] += factors[some[first:last]] @ amounts[first:last]

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

    def _met(self, queries: Sequence[tuple[int, Query]]) -> _Cells:
        """The cells that queries meet, each with the number of the task whose it is."""
        numbers = joined([query.numbers for _, query in queries], np.int64)
        weights = joined([query.weights for _, query in queries], np.float64)
        counts = [len(query.numbers) for _, query in queries]
        owners = np.repeat(np.array([owner for owner, _ in queries], np.int64), counts)
        views = np.repeat(np.array([VIEW_NAMES.index(query.view) for _, query in queries], np.int64), counts)
        first = self.cells[numbers].astype(np.int64)
        sizes = self.cells[numbers + 1] - first
        cells, terms = ranges(first, sizes), np.repeat(np.arange(len(numbers)), sizes)
        groups = self.groups[cells]
        asked = np.flatnonzero(_VIEW_OF_GROUP[groups] == views[terms])
        cells, terms = cells[asked], terms[asked]
        starts = self.starts[cells].astype(np.int64)
        common = np.searchsorted(self.common, cells)
        is_common = self.common[np.minimum(common, len(self.common) - 1)] == cells if len(self.common) else False
        return _Cells(
            owners=owners[terms],
            weights=weights[terms],
            columns=groups[asked].astype(np.int64),
            frequency=self.frequency[cells],
            common=np.where(is_common, common, -1),
            starts=starts,
            lengths=self.starts[cells + 1].astype(np.int64) - starts,
        )


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

    def of(self, weighting: str) -> _Cells:
        """Those that a scorer of this weighting looks at, its column in place of the group."""
        columns = columns_of(weighting)[self.columns]
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


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, so many each, one range after the other."""
    ends = lengths.cumsum()
    return np.asarray(np.arange(ends[-1] if len(ends) else 0) + (starts - ends + lengths).repeat(lengths))


def joined(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    """Arrays one after the other; an empty one where there are none."""
    return np.concatenate(parts) if parts else np.zeros(0, kind)


@functools.lru_cache(maxsize=1_000)
def sublinear(count: int) -> float:
    """What a term counts that stands so often in a task."""
    return 1 + math.log(count)
