"""One view of all agents as postings: for each term the agents that have it, with the weight that each scorer gives it.

A term's inverse document frequency counts twice in a cosine, once for the task and once for the agent; both are in the
stored weight, so that scoring is a sum over the postings of the task's terms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.routing.scorers import Scorer

__all__ = ["Counts", "Postings", "build_postings"]

Counts = Sequence[Mapping[str, Counter[str]]]
"""For each agent, by field, how often each term stands there."""

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

    def scores(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """What each agent gets from each scorer, before the task's length counts; shape (agents, scorers)."""
        known = self._known(terms)
        found = np.zeros((self.agent_count, self.weights.shape[1]))
        if not known:
            return found
        places, tasks = self._places(list(known)), np.fromiter(map(_sublinear, known.values()), float, len(known))
        lengths = np.diff(self.starts)[list(known)]
        weights = self.weights[places] * np.repeat(tasks, lengths)[:, None]
        rows = self.rows[places]
        for column in range(weights.shape[1]):
            found[:, column] = np.bincount(rows, weights=weights[:, column], minlength=self.agent_count)
        return found

    def lengths(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """The length of the task's vector for each scorer; a term that no agent has counts as the rarest would."""
        counts = Counter(terms)
        known = self._known(terms)
        tasks = np.fromiter(map(_sublinear, known.values()), float, len(known))
        squares = (tasks[:, None] ** 2 * self.squares[list(known)]).sum(axis=0) if known else 0.0
        unknown = sum(_sublinear(count) ** 2 for term, count in counts.items() if term not in self.vocabulary)
        rarest = (math.log(1 + self.agent_count) + 1) ** 2
        return np.asarray(np.sqrt(squares + unknown * rarest) + np.zeros(self.weights.shape[1]))

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

    def _known(self, terms: Sequence[str]) -> dict[int, int]:
        """The numbers of the terms that some agent has, with how often they stand in the task, in a fixed order."""
        numbers = (self.vocabulary.get(term) for term in terms)
        return dict(sorted(Counter(number for number in numbers if number is not None).items()))

    def _places(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        starts = self.starts[numbers]
        lengths = self.starts[np.asarray(numbers) + 1] - starts
        ends = np.cumsum(lengths)
        return np.asarray(np.arange(ends[-1]) - np.repeat(ends - lengths - starts, lengths))


def build_postings(counts: Counts, scorers: Sequence[Scorer]) -> Postings:
    """The postings of one view for some scorers."""
    vocabulary: dict[str, int] = {}
    keys_of_field, values_of_field = _collect(counts, vocabulary)
    agent_count = len(counts)
    columns = [
        _scorer_column(scorer, keys_of_field, values_of_field, agent_count, len(vocabulary)) for scorer in scorers
    ]
    keys = np.unique(np.concatenate([keys for keys, _, _ in columns])) if columns else np.zeros(0, np.int64)
    weights = np.zeros((len(keys), len(scorers)), np.float32)
    squares = np.zeros((len(vocabulary), len(scorers)), np.float32)
    for number, (own, values, idf) in enumerate(columns):
        weights[np.searchsorted(keys, own), number] = values
        squares[:, number] = idf**2
    terms, rows = np.divmod(keys, max(agent_count, 1))
    starts = np.searchsorted(terms, np.arange(len(vocabulary) + 1))
    return Postings(vocabulary, starts.astype(np.int64), rows.astype(np.int32), weights, squares, agent_count)


def _collect(
    counts: Counts, vocabulary: dict[str, int]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.float64]]]:
    """Every (term, agent) of each field as one number, `term * agents + agent`, with its count; sorted."""
    keys: dict[str, list[int]] = {}
    values: dict[str, list[int]] = {}
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


def _sublinear(count: int) -> float:
    return 1 + math.log(count)
