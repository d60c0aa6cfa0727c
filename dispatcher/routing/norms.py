"""What the sums of postings are set against: the lengths of the agents' TF-IDF vectors, and of their texts for BM25."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.postings import GROUPS, K1, SUBLINEAR, B, Postings, columns_of, inverse_frequency
from dispatcher.routing.scorers import SCORERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["with_norms"]

_AT_A_TIME = 1_000_000  # postings whose weights are worked out together
_SQUARES = np.square(SUBLINEAR)


def with_norms(postings: Postings) -> Postings:
    """The same with its norms, which depend on all of the rest."""
    agent_count = postings.lengths.shape[1]
    norms = np.ones((len(SCORERS), agent_count), np.float32)
    tfidf, bm25 = columns_of("tfidf"), columns_of("bm25")
    squares = _squares(postings, np.flatnonzero(tfidf >= 0), agent_count)
    for group in range(len(GROUPS)):
        if tfidf[group] >= 0:
            norms[tfidf[group]] = np.where(squares[group] > 0, np.sqrt(squares[group]), 1.0)
        if bm25[group] >= 0 and agent_count:
            own = postings.lengths[group]
            norms[bm25[group]] = K1 * (1 - B + B * own / max(own.mean(), 1e-9))
    return dataclasses.replace(postings, norms=norms)


def _squares(postings: Postings, groups: NDArray[np.int64], agent_count: int) -> NDArray[np.float64]:
    """The squared lengths of the agents' TF-IDF vectors in some groups, shape (all groups, agents)."""
    found = np.zeros((len(GROUPS), agent_count))
    idf = np.square(inverse_frequency("tfidf", postings.frequency, agent_count))
    wanted = np.isin(postings.groups, groups)
    _add_rare(postings, np.where(wanted, idf, 0.0), found)
    for group in groups:
        common = np.flatnonzero(postings.groups[postings.common] == group)
        for some in _pieces(common, max(1, _AT_A_TIME // max(1, agent_count))):
            found[group] += idf[postings.common[some]] @ _SQUARES[postings.table[some]]
    return found


def _add_rare(postings: Postings, idf: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    starts, agent_count = postings.starts, found.shape[1]
    ends = np.arange(_AT_A_TIME, len(postings.rows) + _AT_A_TIME, _AT_A_TIME)
    first = 0
    for last in np.unique(np.searchsorted(starts, ends).clip(0, len(idf))).tolist():
        inside, sizes = slice(starts[first], starts[last]), np.diff(starts[first : last + 1])
        weights = _SQUARES[postings.counts[inside]] * np.repeat(idf[first:last], sizes)
        keys = np.repeat(postings.groups[first:last].astype(np.int64) * agent_count, sizes) + postings.rows[inside]
        found += np.bincount(keys, weights, found.size).reshape(found.shape)
        first = last


def _pieces(values: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [values[begun : begun + size] for begun in range(0, len(values), size)]
