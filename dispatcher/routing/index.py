"""The index: all routable agents, and what every scorer says of a task.

Knows of no weights: it gives each agent a row of numbers, and how they are put together is learned elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.dense import DenseIndex
from dispatcher.routing.postings import VIEW_NAMES, Postings, Query
from dispatcher.routing.regression import ExampleRegression
from dispatcher.routing.scorers import DENSE, KEYWORDS, REGRESSION, SCORERS
from dispatcher.routing.spelling import Spelling
from dispatcher.routing.text import VIEWS, Word, readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "LONGEST_KEYWORD", "Index", "TaskScores", "best_of"]

FEATURES: tuple[str, ...] = (*(scorer.name for scorer in SCORERS), KEYWORDS, REGRESSION, *DENSE)
_OF_POSTINGS = slice(len(SCORERS))
_KEYWORDS, _REGRESSION = FEATURES.index(KEYWORDS), FEATURES.index(REGRESSION)
_DENSE = [FEATURES.index(name) for name in DENSE]

# Vectors of any two texts have something in common, so the nearest agent counts in full from this cosine on only.
_FULL_LIKENESS = 0.5
_LEAST_BEST = np.array([_FULL_LIKENESS if name in DENSE else 0.0 for name in FEATURES])

# Log odds say by themselves how clear they are, so they are not divided by the best, but by about what a clear one is.
_CLEAR_LOG_ODDS = 10.0
_IS_LOG_ODDS = np.array([name == REGRESSION for name in FEATURES])
LONGEST_KEYWORD = 4  # words
_CELLS_AT_A_TIME = 250_000  # of the tables of many tasks: 2 MB, which stay near the processor


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What the scorers say of some tasks.

    `raw` has the shape (tasks, agents, features); `lengths`, (tasks, features), make cosines of the raw sums. `best`,
    of the same shape, is what the columns are divided by before they are put together: mostly the largest of each.
    """

    raw: NDArray[np.float64]
    lengths: NDArray[np.float64]
    best: NDArray[np.float64]

    @classmethod
    def of(cls, raw: NDArray[np.float64], lengths: NDArray[np.float64]) -> TaskScores:
        return cls(raw, lengths, best_of(raw))

    @property
    def divisors(self) -> NDArray[np.float64]:
        """What the columns are divided by: their best, or 1 where nothing meets the task; shape (tasks, features)."""
        return np.where(self.best > 0, self.best, 1.0)

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The columns, each divided by its best, put together by weights; shape (tasks, agents)."""
        return np.asarray(np.einsum("taf,tf->ta", self.raw, weights / self.divisors))

    def cosines(self, column: int) -> NDArray[np.float64]:
        """A column divided by the length of the task's vector: cosines, for a TF-IDF scorer; shape (tasks, agents)."""
        lengths = self.lengths[:, column]
        return np.asarray(self.raw[:, :, column] / np.where(lengths > 0, lengths, 1.0)[:, None])

    def one(self, task: int) -> TaskScores:
        """The scores of one of the tasks."""
        place = slice(task, task + 1)
        return TaskScores(self.raw[place], self.lengths[place], self.best[place])

    def among(self, rows: Sequence[int]) -> TaskScores:
        """The scores of some agents alone."""
        return TaskScores.of(self.raw[:, rows], self.lengths)


def best_of(raw: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """What the columns of some agents' scores are divided by, mostly the largest of each; shape (..., agents, features)
    to (..., features)."""
    largest = raw.max(axis=-2, initial=0.0)
    return np.where(largest > 0, np.where(_IS_LOG_ODDS, _CLEAR_LOG_ODDS, np.maximum(largest, _LEAST_BEST)), 0.0)


@dataclass(frozen=True, slots=True)
class Index:
    """The postings, the spelling of the words of all agents, the agents of each keyword, their vectors, the
    regression where there is one, how many words of examples, descriptions and bodies each agent has, and the share of
    examples among them; the shape of `sizes` is (agents, 3)."""

    postings: Postings
    spelling: Spelling
    keywords: Mapping[tuple[str, ...], tuple[int, ...]]
    dense: DenseIndex
    regression: ExampleRegression | None
    sizes: NDArray[np.uint32]
    example_share: float

    @property
    def agent_count(self) -> int:
        return len(self.sizes)

    def score(self, words: Sequence[Word]) -> TaskScores:
        """What every feature says of every agent for one task."""
        return self._score([words])

    def score_many(self, tasks: Sequence[Sequence[Word]]) -> Iterator[TaskScores]:
        """The same for many tasks, so many at a time as have room in the memory."""
        chunk = max(1, _CELLS_AT_A_TIME // (max(1, self.agent_count) * len(FEATURES)))
        for begun in range(0, len(tasks), chunk):
            yield self._score(tasks[begun : begun + chunk])

    def _score(self, tasks: Sequence[Sequence[Word]]) -> TaskScores:
        # The agents of a column lie side by side, as they are gone through column by column.
        raw = np.zeros((len(tasks), len(FEATURES), self.agent_count)).transpose(0, 2, 1)
        lengths = np.ones((len(tasks), len(FEATURES)))
        found, lengths[:, _OF_POSTINGS] = self.postings.score([self._queries(words) for words in tasks])
        raw[:, :, _OF_POSTINGS] = found.transpose(0, 2, 1)
        return self._completed(raw, lengths, tasks)

    def _completed(
        self, raw: NDArray[np.float64], lengths: NDArray[np.float64], tasks: Sequence[Sequence[Word]]
    ) -> TaskScores:
        """The scores with those that do not come from postings."""
        raw[:, :, _DENSE] = self.dense.score(tasks)
        for number, words in enumerate(tasks):
            for keyword in self.keywords_in(words):
                raw[number, list(self.keywords[keyword]), _KEYWORDS] += len(keyword)
            if self.regression is not None:
                raw[number, :, _REGRESSION] = self.regression.scores(words)
        return TaskScores.of(raw, lengths)

    def keywords_in(self, words: Sequence[Word]) -> list[tuple[str, ...]]:
        """The keywords that stand in a task, each once."""
        spans = (
            tuple(stems[start : start + size])
            for stems in readings(words)
            for start in range(len(stems))
            for size in range(1, min(LONGEST_KEYWORD, len(stems) - start) + 1)
        )
        return [span for span in dict.fromkeys(spans) if span in self.keywords]

    def contributions(self, words: Sequence[Word], row: int) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
        """What each term of the task gives to one agent: view, term, and an amount a feature."""
        met = [(view, *entry) for view in VIEW_NAMES for entry in Counter(VIEWS[view](words)).items()]
        given = np.zeros((len(met), len(FEATURES)))
        given[:, _OF_POSTINGS] = self.postings.contributions(
            [self._query(view, {term: count}) for view, term, count in met], row
        )
        yield from ((view, term, amounts) for (view, term, _), amounts in zip(met, given, strict=True) if amounts.any())
        for view, term, amount in self.regression.contributions(words, row) if self.regression is not None else ():
            of_term = np.zeros(len(FEATURES))
            of_term[_REGRESSION] = amount
            yield view, term, of_term

    def _queries(self, words: Sequence[Word]) -> Iterator[Query]:
        return (self._query(view, Counter(VIEWS[view](words))) for view in VIEW_NAMES)

    def _query(self, view: str, counts: Mapping[str, int]) -> Query:
        return self.spelling.query(counts) if view == "spelling" else self.postings.query(view, counts)
