"""The index: all routable agents in all views, and what every scorer says of a task.

Knows of no weights: it gives each agent a row of numbers, and how they are put together is learned elsewhere.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.agent import Agent
from dispatcher.progress import Progress
from dispatcher.routing.dense import DenseIndex, build_dense
from dispatcher.routing.encoder import Encoder
from dispatcher.routing.postings import Postings
from dispatcher.routing.postings_builder import PostingsBuilder
from dispatcher.routing.regression import ExampleRegression, fit_regression
from dispatcher.routing.scorers import DENSE, KEYWORDS, REGRESSION, SCORERS, scorers_of
from dispatcher.routing.text import VIEWS, Word, analyze, content_stems, readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "Index", "TaskScores", "best_of", "build_index"]

FEATURES: tuple[str, ...] = (*(scorer.name for scorer in SCORERS), KEYWORDS, REGRESSION, *DENSE)
_KEYWORDS, _REGRESSION = FEATURES.index(KEYWORDS), FEATURES.index(REGRESSION)
_DENSE = [FEATURES.index(name) for name in DENSE]

# Vectors of any two texts have something in common, so the nearest agent counts in full from this cosine on only.
_FULL_LIKENESS = 0.5
_LEAST_BEST = np.array([_FULL_LIKENESS if name in DENSE else 0.0 for name in FEATURES])

# Log odds say by themselves how clear they are, so they are not divided by the best, but by about what a clear one is.
_CLEAR_LOG_ODDS = 10.0
_IS_LOG_ODDS = np.array([name == REGRESSION for name in FEATURES])
_LONGEST_KEYWORD = 4  # words
_CELLS_AT_A_TIME = 250_000  # of the tables of many tasks: 2 MB, which stay near the processor

# Where examples are much of what is known of the agents, it pays to learn from them; and it costs the square of their
# number, and memory too, for each agent, so there is a limit.
_EXAMPLE_SHARE_TO_LEARN = 0.35
_FEWEST_EXAMPLES_TO_LEARN = 4  # an agent, in the mean
_MOST_DOCUMENTS_TO_LEARN = 6_000
_MOST_WORK_TO_LEARN = 6_000_000_000


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
        return (self.raw @ (weights / self.divisors)[:, :, None])[:, :, 0]

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
    """The postings by view, the agents of each keyword, their vectors, the regression where there is one, and the
    share of examples in what is known of the agents."""

    postings: Mapping[str, Postings]
    keywords: Mapping[tuple[str, ...], tuple[int, ...]]
    dense: DenseIndex
    regression: ExampleRegression | None
    example_share: float
    agent_count: int

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
        for view, postings in self.postings.items():
            columns = _columns(view)
            found, lengths[:, columns] = postings.score([VIEWS[view](words) for words in tasks])
            raw[:, :, columns] = found.transpose(0, 2, 1)
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
            for size in range(1, min(_LONGEST_KEYWORD, len(stems) - start) + 1)
        )
        return [span for span in dict.fromkeys(spans) if span in self.keywords]

    def contributions(self, words: Sequence[Word], row: int) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
        """What each term of the task gives to one agent: view, term, and an amount a feature."""
        for view, postings in self.postings.items():
            columns = _columns(view)
            for term, amounts in postings.contributions(VIEWS[view](words), row).items():
                given = np.zeros(len(FEATURES))
                given[columns] = amounts
                yield view, term, given
        for view, term, amount in self.regression.contributions(words, row) if self.regression is not None else ():
            given = np.zeros(len(FEATURES))
            given[_REGRESSION] = amount
            yield view, term, given


def _columns(view: str) -> list[int]:
    """The columns of a view's scorers."""
    return [place for place, _ in scorers_of(view)]


def build_index(agents: Sequence[Agent], encoder: Encoder, progress: Progress | None = None) -> Index:
    """Indexes agents; their order is that of the rows."""
    from dispatcher.routing.passages import passages

    tell = functools.partial(progress or _tell_nobody, "indexing")
    steps = 2 * len(agents)  # the counting of each view takes about as long as reading, all together
    read = []
    for number, agent in enumerate(agents, start=1):
        read.append([(passage.field, analyze(passage.text), passage.weight) for passage in passages(agent)])
        tell(number, steps)
    sizes: Counter[str] = Counter()
    for of_agent in read:
        for field, words, _ in of_agent:
            sizes[field] += len(words)
    share = sizes["example"] / max(1, sum(sizes[field] for field in ("example", "description", "body")))
    postings = {}
    for number, view in enumerate(VIEWS, start=1):
        builder = PostingsBuilder(view)
        for of_agent in read:
            builder.add(of_agent)
        postings[view] = builder.build()
        tell(len(agents) + number * len(agents) // len(VIEWS), steps)
    return Index(
        keywords=_keywords(agents),
        postings=postings,
        dense=build_dense(read, encoder),
        regression=_learn(agents) if share > _EXAMPLE_SHARE_TO_LEARN else None,
        example_share=share,
        agent_count=len(agents),
    )


def _tell_nobody(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def _keywords(agents: Sequence[Agent]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The short triggers and topics of all agents, as stems, with the rows of those who have them."""
    from dispatcher.routing.passages import keywords

    rows: dict[tuple[str, ...], dict[int, None]] = {}
    for row, agent in enumerate(agents):
        for keyword in keywords(agent):
            stems = tuple(content_stems(analyze(keyword.text)))
            if 0 < len(stems) <= _LONGEST_KEYWORD:
                rows.setdefault(stems, {})[row] = None
    return {stems: tuple(found) for stems, found in rows.items()}


def _learn(agents: Sequence[Agent]) -> ExampleRegression | None:
    documents, rows, weights = [], [], []
    for row, agent in enumerate(agents):
        for text, weight in ((f"{agent.name} {agent.description}", 1.0), *_example_tasks(agent)):
            documents.append(analyze(text))
            rows.append(row)
            weights.append(weight)
    work = len(documents) ** 2 * len(agents)
    is_too_little = len(documents) < (1 + _FEWEST_EXAMPLES_TO_LEARN) * len(agents)
    is_too_much = len(documents) > _MOST_DOCUMENTS_TO_LEARN or work > _MOST_WORK_TO_LEARN
    return None if is_too_little or is_too_much else fit_regression(documents, rows, len(agents), weights)


def _example_tasks(agent: Agent) -> list[tuple[str, float]]:
    """The example tasks of an agent with what each counts."""
    written = [(example.user, 1.0) for example in agent.examples]
    return [*written, *((passage.text, passage.weight) for passage in agent.enriched)]
