"""The building of postings: agents one after the other, and everything turned round at the end."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.dense import FieldWords
from dispatcher.routing.postings import (
    K1,
    MOST_COUNTED,
    SUBLINEAR,
    B,
    Postings,
    columns_of,
    groups_of,
    inverse_frequency,
)
from dispatcher.routing.scorers import scorers_of
from dispatcher.routing.text import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PostingsBuilder"]

_COMMON_SHARE = 0.25  # of the agents; from a third on a row of counts takes less room, and it is sooner summed anyway
_AT_A_TIME = 1_000_000  # postings whose weights are worked out together


class PostingsBuilder:
    """Collects what the agents have in one view."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._fields = frozenset(field for group in groups_of(view) for field in group)
        self._vocabulary: defaultdict[str, int] = defaultdict()
        self._vocabulary.default_factory = self._vocabulary.__len__  # a new term gets the next number
        self._terms: list[NDArray[np.uint32]] = []  # an entry an agent and group, as in the lists that follow
        self._counts: list[NDArray[np.uint8]] = []
        self._lengths: list[int] = []
        self._kept: dict[int, NDArray[np.float16]] = {}  # only where something does not count in full

    def add(self, agent: FieldWords) -> None:
        """Takes up the next agent."""
        terms: dict[str, list[str]] = {}
        lost: dict[str, Counter[str]] = {}
        for field, words, weight in agent:
            if field in self._fields:
                own = VIEWS[self._view](words)
                terms.setdefault(field, []).extend(own)
                if weight < 1:
                    discount = lost.setdefault(field, Counter())
                    for term in own:
                        discount[term] += 1 - weight  # type: ignore[assignment]
        for group in groups_of(self._view):
            self._add_group([terms[field] for field in group if field in terms], [lost[f] for f in group if f in lost])

    def _add_group(self, fields: Sequence[Sequence[str]], lost: Sequence[Counter[str]]) -> None:
        counts: Counter[str] = Counter()
        for terms in fields:
            counts.update(terms)
        if lost:
            shares = (1 - sum(field[term] for field in lost) / count for term, count in counts.items())
            self._kept[len(self._terms)] = np.fromiter(shares, np.float16, len(counts))
        self._terms.append(np.fromiter(map(self._vocabulary.__getitem__, counts), np.uint32, len(counts)))
        found = np.fromiter(counts.values(), np.int64, len(counts))
        self._counts.append(np.minimum(found, MOST_COUNTED).astype(np.uint8))
        self._lengths.append(int(found.sum()))

    def build(self) -> Postings:
        """The postings of all agents that were added; the builder is of no use afterwards."""
        group_count = len(groups_of(self._view))
        agent_count = len(self._terms) // group_count
        sizes = np.array([len(terms) for terms in self._terms], np.int64)
        terms = _joined(self._terms, np.uint32)
        groups = np.repeat(np.tile(np.arange(group_count, dtype=np.uint8), agent_count), sizes)
        # Terms and then groups ascend, and the agents within them, since a stable sort keeps their order.
        keys = terms.astype(np.uint64) * np.uint64(group_count) + groups
        order = np.argsort(keys, kind="stable")
        del terms, groups
        keys = keys[order]
        firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
        starts = np.append(firsts, len(keys)).astype(np.int64)
        cell_terms, cell_groups = np.divmod(keys[firsts], np.uint64(group_count))
        del keys
        every_row = np.arange(agent_count, dtype=np.min_scalar_type(agent_count))
        rows = np.repeat(np.repeat(every_row, group_count), sizes)[order]
        counts = _joined(self._counts, np.uint8)[order]
        kept = self._kept_shares(sizes)[order] if self._kept else np.zeros(0, np.float16)
        cells = np.searchsorted(cell_terms, np.arange(len(self._vocabulary) + 1)).astype(np.uint32)
        self._vocabulary.default_factory = None
        groups_of_cells = cell_groups.astype(np.uint8)
        norms = self._norms(agent_count, groups_of_cells, starts, rows, counts)
        return _with_table(
            Postings(
                view=self._view,
                vocabulary=self._vocabulary,
                cells=cells,
                groups=groups_of_cells,
                frequency=np.diff(starts).astype(np.uint32),
                starts=starts.astype(np.uint32),
                rows=rows,
                counts=counts,
                kept=kept,
                common=np.zeros(0, np.uint32),
                table=np.zeros((0, agent_count), np.uint8),
                table_kept=np.zeros((0, agent_count), np.float16),
                norms=norms,
            )
        )

    def _kept_shares(self, sizes: NDArray[np.int64]) -> NDArray[np.float16]:
        found = np.ones(int(sizes.sum()), np.float16)
        ends = np.cumsum(sizes)
        for place, shares in self._kept.items():
            found[ends[place] - len(shares) : ends[place]] = shares
        return found

    def _norms(
        self,
        agent_count: int,
        groups: NDArray[np.uint8],
        starts: NDArray[np.int64],
        rows: NDArray[np.unsignedinteger[Any]],
        counts: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """The lengths of the agents' vectors, and what BM25 makes of the lengths of their texts."""
        scorers = [scorer for _, scorer in scorers_of(self._view)]
        norms = np.ones((len(scorers), agent_count), np.float32)
        lengths = np.array(self._lengths, float).reshape(agent_count, len(groups_of(self._view)))
        squares = _squares(agent_count, len(groups_of(self._view)), groups, starts, rows, counts)
        for group, (tfidf, bm25) in enumerate(
            zip(columns_of(self._view, "tfidf"), columns_of(self._view, "bm25"), strict=True)
        ):
            if tfidf >= 0:
                norms[tfidf] = np.where(squares[group] > 0, np.sqrt(squares[group]), 1.0)
            if bm25 >= 0 and agent_count:
                own = lengths[:, group]
                norms[bm25] = K1 * (1 - B + B * own / max(own.mean(), 1e-9))
        return norms


def _squares(
    agent_count: int,
    group_count: int,
    groups: NDArray[np.uint8],
    starts: NDArray[np.int64],
    rows: NDArray[np.unsignedinteger[Any]],
    counts: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """The squared lengths of the agents' TF-IDF vectors, shape (groups, agents)."""
    frequency = np.diff(starts)
    idf = inverse_frequency("tfidf", frequency, agent_count)
    found = np.zeros(group_count * agent_count)
    blocks = np.unique(np.searchsorted(starts, np.arange(0, len(rows) + _AT_A_TIME, _AT_A_TIME)).clip(0, len(idf)))
    for first, last in itertools.pairwise(blocks.tolist()):
        inside = slice(starts[first], starts[last])
        sizes = frequency[first:last]
        weights = SUBLINEAR[counts[inside]] * np.repeat(idf[first:last], sizes)
        keys = np.repeat(groups[first:last].astype(np.int64) * agent_count, sizes) + rows[inside]
        found += np.bincount(keys, weights**2, len(found))
    return found.reshape(group_count, agent_count)


def _with_table(postings: Postings) -> Postings:
    """The same, with the cells that many agents have in a table."""
    agent_count = postings.norms.shape[1]
    is_common = postings.frequency > _COMMON_SHARE * agent_count
    common = np.flatnonzero(is_common)
    in_table = np.repeat(is_common, postings.frequency)
    places = (np.repeat(np.arange(len(common)), postings.frequency[common]), postings.rows[in_table])
    table = np.zeros((len(common), agent_count), np.uint8)
    table[places] = postings.counts[in_table]
    table_kept = postings.table_kept
    if len(postings.kept):
        table_kept = np.ones(table.shape, np.float16)
        table_kept[places] = postings.kept[in_table]
    rare = ~in_table
    return dataclasses.replace(
        postings,
        starts=np.append(0, np.cumsum(np.where(is_common, 0, postings.frequency))).astype(np.uint32),
        rows=postings.rows[rare],
        counts=postings.counts[rare],
        kept=postings.kept[rare] if len(postings.kept) else postings.kept,
        common=common.astype(np.uint32),
        table=table,
        table_kept=table_kept,
    )


def _joined(parts: list[NDArray[Any]], kind: type) -> NDArray[Any]:
    """The arrays one after the other; the list is emptied, since both together take much memory."""
    found = np.concatenate([np.zeros(0, kind), *parts])
    parts.clear()
    return found
