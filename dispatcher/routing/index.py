"""The index: all routable agents in all views, and what every scorer says of a task.

Knows of no weights: it gives each agent a row of numbers, and how they are put together is learned elsewhere.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.agent import Agent
from dispatcher.progress import Progress
from dispatcher.routing.dense import DenseIndex, FieldWords, build_dense
from dispatcher.routing.encoder import Encoder
from dispatcher.routing.postings import Postings, build_postings
from dispatcher.routing.regression import ExampleRegression, fit_regression
from dispatcher.routing.scorers import DENSE, KEYWORDS, REGRESSION, SCORERS, scorers_of
from dispatcher.routing.text import VIEWS, Word, analyze, content_stems, readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "Index", "TaskScores", "build_index"]

FEATURES: tuple[str, ...] = (*(scorer.name for scorer in SCORERS), KEYWORDS, REGRESSION, *DENSE)
_KEYWORDS, _REGRESSION = FEATURES.index(KEYWORDS), FEATURES.index(REGRESSION)
_DENSE = [FEATURES.index(name) for name in DENSE]
_LONGEST_KEYWORD = 4  # words
_CELLS_AT_A_TIME = 2_000_000  # of the tables of many tasks: 16 MB

# Where examples are most of what is known of the agents, it pays to learn from them; and it costs the cube of their
# number, so there is a limit.
_EXAMPLE_SHARE_TO_LEARN = 0.5
_MOST_DOCUMENTS_TO_LEARN = 6_000
_VIEW_FIELDS: Mapping[str, frozenset[str]] = {
    view: frozenset(field for _, scorer in scorers_of(view) for field in scorer.fields) for view in VIEWS
}


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What the scorers say of a task.

    `raw` has a row an agent and a column a feature; `best` is the largest of each column, by which the columns are
    divided before they are put together; `lengths` make cosines of the raw sums.
    """

    raw: NDArray[np.float64]
    best: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def of(self, rows: Sequence[int]) -> TaskScores:
        """The scores of some agents alone."""
        raw = self.raw[rows]
        return TaskScores(raw, raw.max(axis=0, initial=0.0), self.lengths)

    @property
    def relative(self) -> NDArray[np.float64]:
        """Each column divided by its best; a column without any match stays 0."""
        return self.raw / np.where(self.best > 0, self.best, 1.0)

    @property
    def cosines(self) -> NDArray[np.float64]:
        """Each column divided by the length of the task's vector: cosines, for the TF-IDF scorers."""
        return self.raw / np.where(self.lengths > 0, self.lengths, 1.0)


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
        """Every agent by every feature."""
        raw = np.zeros((self.agent_count, len(FEATURES)))
        lengths = np.ones(len(FEATURES))
        for view, postings in self.postings.items():
            columns = _columns(view)
            raw[:, columns], lengths[columns] = postings.score(VIEWS[view](words))
        raw[:, _DENSE] = self.dense.score([words])[0]
        return self._completed(raw, lengths, words)

    def score_many(self, tasks: Sequence[Sequence[Word]]) -> Iterator[TaskScores]:
        """The same for many tasks, which share the work."""
        chunk = max(1, _CELLS_AT_A_TIME // (max(1, self.agent_count) * len(FEATURES)))
        views = [
            (_columns(view), postings.score_many([VIEWS[view](words) for words in tasks], chunk))
            for view, postings in self.postings.items()
        ]
        for begun in range(0, len(tasks), chunk):
            together = tasks[begun : begun + chunk]
            raw = np.zeros((len(together), self.agent_count, len(FEATURES)))
            lengths = np.ones((len(together), len(FEATURES)))
            for columns, scored in views:
                raw[:, :, columns], lengths[:, columns] = next(scored)
            raw[:, :, _DENSE] = self.dense.score(together)
            yield from map(self._completed, raw, lengths, together)

    def _completed(self, raw: NDArray[np.float64], lengths: NDArray[np.float64], words: Sequence[Word]) -> TaskScores:
        """The scores with those that are not worked out for all tasks together."""
        for keyword in self.keywords_in(words):
            raw[list(self.keywords[keyword]), _KEYWORDS] += len(keyword)
        if self.regression is not None:
            raw[:, _REGRESSION] = self.regression.scores(_regression_terms(words))
        return TaskScores(raw, raw.max(axis=0, initial=0.0), lengths)

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
        postings[view] = build_postings(
            [_counts(agent, view) for agent in read],
            [scorer for _, scorer in scorers_of(view)],
            [_discounts(agent, view) for agent in read],
        )
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


def _counts(agent: FieldWords, view: str) -> dict[str, Counter[str]]:
    """How often each term of a view stands in each field of an agent."""
    found: dict[str, Counter[str]] = {}
    for field, words, _ in agent:
        if field in _VIEW_FIELDS[view]:
            found.setdefault(field, Counter()).update(VIEWS[view](words))
    return found


def _discounts(agent: FieldWords, view: str) -> dict[str, dict[str, float]]:
    """Of these counts, what does not count, since the passage counts less than 1."""
    found: dict[str, dict[str, float]] = {}
    for field, words, weight in agent:
        if field in _VIEW_FIELDS[view] and weight < 1:
            lost = found.setdefault(field, {})
            for term in VIEWS[view](words):
                lost[term] = lost.get(term, 0.0) + 1 - weight
    return found


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
            documents.append(_regression_terms(analyze(text)))
            rows.append(row)
            weights.append(weight)
    is_too_much = len(documents) > _MOST_DOCUMENTS_TO_LEARN
    return None if is_too_much else fit_regression(documents, rows, len(agents), weights)


def _example_tasks(agent: Agent) -> list[tuple[str, float]]:
    """The example tasks of an agent with what each counts."""
    written = [(example.user, 1.0) for example in agent.examples]
    return [*written, *((passage.text, passage.weight) for passage in agent.enriched)]


def _regression_terms(words: Sequence[Word]) -> list[str]:
    return [*VIEWS["phrases"](words), *(f"#{piece}" for piece in VIEWS["characters"](words))]
