"""The building of an index from agents, whole or from an earlier one of which most is still right.

Either way gives the same scores; an earlier index only saves the reading of those agents that have not changed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.agent import Agent
from dispatcher.progress import Progress
from dispatcher.routing.dense import DenseIndex, FieldWords, vectors_of
from dispatcher.routing.encoder import Encoder
from dispatcher.routing.index import LONGEST_KEYWORD, Index
from dispatcher.routing.postings import GROUPS, Postings
from dispatcher.routing.postings_builder import PostingsBuilder
from dispatcher.routing.postings_update import updated
from dispatcher.routing.regression import ExampleRegression, fit_regression
from dispatcher.routing.spelling import Spelling, learn_spelling
from dispatcher.routing.text import analyze, content_stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["build_index", "update_index"]

_AGENTS_AT_A_TIME = 100  # whose words are in memory together
_MEASURED = ("example", "description", "body")
_IS_SPELLING = np.array([view == "spelling" for view, _ in GROUPS])

# Where examples are much of what is known of the agents, it pays to learn from them; and it costs the square of their
# number, and memory too, for each agent, so there is a limit.
_EXAMPLE_SHARE_TO_LEARN = 0.35
_FEWEST_EXAMPLES_TO_LEARN = 4  # an agent, in the mean
_MOST_DOCUMENTS_TO_LEARN = 6_000
_MOST_WORK_TO_LEARN = 6_000_000_000


def build_index(agents: Sequence[Agent], encoder: Encoder, progress: Progress | None = None) -> Index:
    """Indexes agents; their order is that of the rows."""
    builder, vectors, sizes = _read(agents, encoder, progress)
    return _index(agents, builder.build(), DenseIndex(encoder, vectors), _keywords(agents), sizes)


def update_index(
    earlier: Index, rows: NDArray[np.int64], agents: Sequence[Agent], encoder: Encoder, progress: Progress | None = None
) -> Index:
    """The index of agents of which most, and one at least, are in an earlier one.

    Parameters
    ----------
    rows: for each agent its row in the earlier index, or -1 for one that is new or has changed; shape (agents,).
    """
    fresh = np.flatnonzero(rows < 0)
    changed = [agents[row] for row in fresh.tolist()]
    builder, vectors, sizes = _read(changed, encoder, progress)
    dense = earlier.dense.vectors[:, rows]
    dense[:, fresh] = vectors
    all_sizes = earlier.sizes[rows]
    all_sizes[fresh] = sizes
    keywords = _moved_keywords(earlier.keywords, rows, len(earlier.sizes))
    for keyword, found in _keywords(changed).items():
        keywords[keyword] = tuple(sorted((*keywords.get(keyword, ()), *fresh[list(found)].tolist())))
    postings = updated(earlier.postings, rows, builder.build())
    return _index(agents, postings, DenseIndex(encoder, dense), keywords, all_sizes)


def _index(
    agents: Sequence[Agent],
    postings: Postings,
    dense: DenseIndex,
    keywords: Mapping[tuple[str, ...], tuple[int, ...]],
    sizes: NDArray[np.uint32],
) -> Index:
    examples, *others = sizes.sum(axis=0, dtype=int).tolist()
    share = examples / max(1, examples + sum(others))
    return Index(
        postings=postings,
        spelling=_spelling(postings),
        keywords=keywords,
        dense=dense,
        regression=_learn(agents) if share > _EXAMPLE_SHARE_TO_LEARN else None,
        sizes=sizes,
        example_share=share,
    )


def _read(
    agents: Sequence[Agent], encoder: Encoder, progress: Progress | None
) -> tuple[PostingsBuilder, NDArray[np.float32], NDArray[np.uint32]]:
    """What agents have, their vectors and their sizes, some agents at a time."""
    tell = functools.partial(progress or _tell_nobody, "indexing")
    builder = PostingsBuilder()
    vectors: list[NDArray[np.float32]] = []
    sizes: list[NDArray[np.uint32]] = []
    for begun in range(0, max(1, len(agents)), _AGENTS_AT_A_TIME):
        read = [_words_of(agent) for agent in agents[begun : begun + _AGENTS_AT_A_TIME]]
        for of_agent in read:
            builder.add(of_agent)
        vectors.append(vectors_of(read, encoder))
        sizes.append(np.array([_sizes(of_agent) for of_agent in read], np.uint32).reshape(-1, len(_MEASURED)))
        tell(begun + len(read), len(agents))
    return builder, np.concatenate(vectors, axis=1), np.concatenate(sizes)


def _words_of(agent: Agent) -> FieldWords:
    from dispatcher.routing.passages import passages

    return [(passage.field, analyze(passage.text), passage.weight) for passage in passages(agent)]


def _sizes(agent: FieldWords) -> list[int]:
    """How many words an agent has in the fields that are measured."""
    counts = Counter[str]()
    for field, words, _ in agent:
        counts[field] += len(words)
    return [counts[field] for field in _MEASURED]


def _spelling(postings: Postings) -> Spelling:
    """The spelling of the words that any agent has."""
    is_met = _IS_SPELLING[postings.groups] & (postings.frequency > 0)
    numbers = np.unique(postings.terms[is_met])
    terms = list(postings.vocabulary)
    return learn_spelling([terms[number] for number in numbers.tolist()], numbers.astype(np.uint32))


def _tell_nobody(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def _moved_keywords(
    keywords: Mapping[tuple[str, ...], tuple[int, ...]], rows: NDArray[np.int64], earlier_count: int
) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The keywords of the agents that stay, with the rows that they have now."""
    now = np.full(earlier_count, -1)
    now[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    moved = ((keyword, now[list(found)]) for keyword, found in keywords.items())
    return {keyword: tuple(found[found >= 0].tolist()) for keyword, found in moved if (found >= 0).any()}


def _keywords(agents: Sequence[Agent]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The short triggers and topics of all agents, as stems, with the rows of those who have them."""
    from dispatcher.routing.passages import keywords

    rows: dict[tuple[str, ...], dict[int, None]] = {}
    for row, agent in enumerate(agents):
        for keyword in keywords(agent):
            stems = tuple(content_stems(analyze(keyword.text)))
            if 0 < len(stems) <= LONGEST_KEYWORD:
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
