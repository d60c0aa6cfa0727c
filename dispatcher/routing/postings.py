"""One view of all agents as postings: for each term the agents that have it, with the weight that each scorer gives it.

A term's inverse document frequency counts twice in a cosine, once for the task and once for the agent; both are in the
stored weight, so that scoring is a sum over the postings of the task's terms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.scorers import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Counts", "Postings", "build_postings"]

Counts = Sequence[Mapping[str, Mapping[str, float]]]
"""For each agent, by field, how often each term stands there."""

_Collected = tuple[dict[str, "NDArray[np.int64]"], dict[str, "NDArray[np.float64]"]]
_K1, _B = 1.2, 0.75  # BM25's usual constants


@dataclass(frozen=True, slots=True)
class Postings:
    """The postings of one view.

    `starts[t]` to `starts[t + 1]` are those of term t; `rows` their agents; `weights` has a column for each scorer.
    `squares` is, by term and scorer, the squared inverse document frequency, for the length of a task's vector.
    """

    vocabulary: Mapping[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    squares: NDArray[np.float32]
    agent_count: int

    def score(self, terms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each agent gets from each scorer, before the task's length counts, and that length for each scorer;
        shapes (agents, scorers) and (scorers,)."""
        numbers, tasks, unknown = self._counted(terms)
        found = np.zeros((self.agent_count, self.weights.shape[1]))
        if not numbers:
            return found, np.sqrt(np.full(self.weights.shape[1], unknown))
        places, lengths = self._places(numbers)
        weights = self.weights[places] * np.repeat(tasks, lengths)[:, None]
        rows = self.rows[places]
        for column in range(weights.shape[1]):
            found[:, column] = np.bincount(rows, weights=weights[:, column], minlength=self.agent_count)
        squares = (np.square(tasks)[:, None] * self.squares[numbers]).sum(axis=0)
        return found, np.sqrt(squares + unknown)

    def score_many(
        self, tasks: Sequence[Sequence[str]], chunk: int
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """The same for many tasks, so many at a time; shapes (tasks, agents, scorers) and (tasks, scorers).

        Much faster for hundreds of tasks; for a few it is not worth loading scipy.
        """
        from scipy.sparse import csr_matrix

        shape = (len(self.vocabulary), self.agent_count)
        # Copies, since leaving out the zeros changes them in place.
        tables = [
            csr_matrix((column, self.rows, self.starts), shape=shape, copy=True)
            for column in self.weights.T.astype(float)
        ]
        for table in tables:
            table.eliminate_zeros()
        for begun in range(0, len(tasks), chunk):
            of_tasks, unknown = self._counted_many(tasks[begun : begun + chunk])
            found = np.empty((of_tasks.shape[0], self.agent_count, len(tables)))
            for column, table in enumerate(tables):
                found[:, :, column] = (of_tasks @ table).toarray()
            yield found, np.sqrt(of_tasks.multiply(of_tasks).tocsr() @ self.squares + unknown[:, None])

    def contributions(self, terms: Sequence[str], row: int) -> dict[str, NDArray[np.float64]]:
        """What each term of the task gives to one agent, by scorer."""
        given = {}
        for term, count in Counter(terms).items():
            number = self.vocabulary.get(term)
            if number is None:
                continue
            start, stop = self.starts[number], self.starts[number + 1]
            place = start + np.searchsorted(self.rows[start:stop], row)
            if place < stop and self.rows[place] == row:
                given[term] = _sublinear(count) * self.weights[place].astype(float)
        return given

    def _counted_many(self, tasks: Sequence[Sequence[str]]) -> tuple[Any, NDArray[np.float64]]:
        """What `_counted` says of many tasks, as a sparse matrix (tasks, terms) and the rests of their lengths."""
        from scipy.sparse import csr_matrix

        size = len(self.vocabulary)
        numbers = [[self.vocabulary.get(term, size) for term in terms] for terms in tasks]
        owners = np.repeat(np.arange(len(tasks)), [len(terms) for terms in tasks])
        keys, counts = np.unique(owners * (size + 1) + np.array([*chain(*numbers)], np.int64), return_counts=True)
        rows, columns = np.divmod(keys, size + 1)
        is_known = columns < size
        weights = np.array([_sublinear(count) for count in range(1, counts.max(initial=0) + 1)])[counts - 1]
        starts = np.searchsorted(rows[is_known], np.arange(len(tasks) + 1))
        matrix = csr_matrix((weights[is_known], columns[is_known], starts), shape=(len(tasks), size))
        rests = [
            self._rest(Counter(term for term in terms if term not in self.vocabulary)) if size in found else 0.0
            for terms, found in zip(tasks, numbers, strict=True)
        ]
        return matrix, np.array(rests)

    def _counted(self, terms: Sequence[str]) -> tuple[list[int], NDArray[np.float64], float]:
        """The numbers of the terms that some agent has, ascending, with what they count in the task; and what all the
        others add to the square of its length: each as the rarest term would."""
        counts = Counter(terms)
        numbered = [(self.vocabulary.get(term), term, count) for term, count in counts.items()]
        known = sorted((number, count) for number, _, count in numbered if number is not None)
        rest = self._rest({term: count for number, term, count in numbered if number is None})
        weights = np.array([_sublinear(count) for _, count in known], float)
        return [number for number, _ in known], weights, rest

    def _rest(self, unknown: Mapping[str, int]) -> float:
        rarest = (math.log(1 + self.agent_count) + 1) ** 2
        return sum(_sublinear(count) ** 2 for count in unknown.values()) * rarest

    def _places(self, numbers: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the postings of some terms stand, one term after the other, and how many each has."""
        starts = self.starts[numbers]
        lengths = self.starts[np.asarray(numbers) + 1] - starts
        ends = np.cumsum(lengths)
        return np.arange(ends[-1]) - np.repeat(ends - lengths - starts, lengths), lengths


def build_postings(counts: Counts, scorers: Sequence[Scorer], discounts: Counts = ()) -> Postings:
    """The postings of one view for some scorers.

    `discounts` is, in the form of `counts`, how much of them does not count, since it stands in passages of less
    weight. It is taken from what is stored at the end: a cosine would not notice that all its terms are fewer.
    """
    vocabulary: dict[str, int] = {}
    collected = _collect(counts, vocabulary)
    agent_count = len(counts)
    columns = [_scorer_column(scorer, *collected, agent_count, len(vocabulary)) for scorer in scorers]
    if any(discounts):
        discounted = _collect(discounts, vocabulary)
        columns = [
            (keys, values * _share_kept(scorer, collected, discounted, keys), idf)
            for scorer, (keys, values, idf) in zip(scorers, columns, strict=True)
        ]
    keys = _distinct(np.concatenate([np.zeros(0, np.int64), *(keys for keys, _, _ in columns)]))
    weights = np.zeros((len(keys), len(scorers)), np.float32)
    squares = np.zeros((len(vocabulary), len(scorers)), np.float32)
    for number, (own, values, idf) in enumerate(columns):
        weights[np.searchsorted(keys, own), number] = values
        squares[:, number] = idf**2
    terms, rows = np.divmod(keys, max(agent_count, 1))
    starts = np.searchsorted(terms, np.arange(len(vocabulary) + 1))
    return Postings(vocabulary, starts.astype(np.int64), rows.astype(np.int32), weights, squares, agent_count)


def _share_kept(scorer: Scorer, counted: _Collected, discounted: _Collected, keys: NDArray[np.int64]) -> Any:
    """The share of a scorer's counts that is left after the discounts, for each of its keys."""
    sums = [np.zeros(len(keys)), np.zeros(len(keys))]
    for total, (keys_of_field, values_of_field) in zip(sums, (counted, discounted), strict=True):
        for field in scorer.fields:
            if field in keys_of_field:
                np.add.at(total, np.searchsorted(keys, keys_of_field[field]), values_of_field[field])
    return 1 - sums[1] / np.maximum(sums[0], 1e-9)


def _collect(counts: Counts, vocabulary: dict[str, int]) -> _Collected:
    """Every (term, agent) of each field as one number, `term * agents + agent`, with its count; sorted."""
    keys: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    agent_count = len(counts)
    for row, fields in enumerate(counts):
        for field, terms in fields.items():
            own = keys.setdefault(field, [])
            own.extend(vocabulary.setdefault(term, len(vocabulary)) * agent_count + row for term in terms)
            values.setdefault(field, []).extend(terms.values())
    sorted_keys, sorted_values = {}, {}
    for field, own in keys.items():
        array = np.asarray(own, np.int64)
        order = np.argsort(array)
        sorted_keys[field] = array[order]
        sorted_values[field] = np.asarray(values[field], float)[order]
    return sorted_keys, sorted_values


def _scorer_column(
    scorer: Scorer,
    keys_of_field: Mapping[str, NDArray[np.int64]],
    values_of_field: Mapping[str, NDArray[np.float64]],
    agent_count: int,
    term_count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """A scorer's keys, their weights, and the inverse document frequency of every term."""
    fields = [field for field in scorer.fields if field in keys_of_field]
    if not fields:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(term_count)
    keys, inverse = np.unique(np.concatenate([keys_of_field[field] for field in fields]), return_inverse=True)
    counts = np.bincount(inverse, weights=np.concatenate([values_of_field[field] for field in fields]))
    terms, rows = np.divmod(keys, agent_count)
    frequency = np.bincount(terms, minlength=term_count)
    if scorer.weighting == "bm25":
        idf = np.log(1 + (agent_count - frequency + 0.5) / (frequency + 0.5))
        lengths = np.bincount(rows, weights=counts, minlength=agent_count)
        norm = _K1 * (1 - _B + _B * lengths / max(lengths.mean(), 1e-9))
        return keys, idf[terms] * counts * (_K1 + 1) / (counts + norm[rows]), idf
    idf = np.log((1 + agent_count) / (1 + frequency)) + 1
    weights = (1 + np.log(counts)) * idf[terms]
    norms = np.sqrt(np.bincount(rows, weights=weights**2, minlength=agent_count))
    return keys, weights / norms[rows] * idf[terms], idf


def _distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number once, ascending; millions of them sooner than np.unique."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _sublinear(count: int) -> float:
    return 1.0 if count == 1 else 1 + math.log(count)
