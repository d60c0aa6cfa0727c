"""Postings brought up to date: those of agents that are gone taken out, those of new ones put in.

Only what changed is looked at one by one, so this costs little of what building costs. A cell stays in the table, or
out of it, as it was: where its counts stand decides nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.routing.norms import with_norms
from dispatcher.routing.postings import GROUPS, Postings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["updated"]


@dataclass(frozen=True, slots=True)
class _Entries:
    """Single postings: for each the key of its cell, the number of its term times that of all groups plus that of the
    group; the agent's row, its count and the share of it that counts. All of the shape (postings,)."""

    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    counts: NDArray[np.uint8]
    kept: NDArray[np.float16]

    def at(self, places: NDArray[np.int64]) -> _Entries:
        return _Entries(self.keys[places], self.rows[places], self.counts[places], self.kept[places])


def updated(postings: Postings, rows: NDArray[np.int64], added: Postings) -> Postings:
    """The postings of other agents, most of which these already have.

    Parameters
    ----------
    rows: for each agent its row in these postings, or -1; shape (agents,).
    added: the postings of the agents without such a row, in their order.
    """
    left = _without_rest(postings, rows)
    vocabulary = {term: number for number, term in enumerate(postings.vocabulary)}
    numbers = np.array([vocabulary.setdefault(term, len(vocabulary)) for term in added.vocabulary], np.int64)
    fresh = np.flatnonzero(rows < 0)
    entries = _entries(added, numbers, fresh)
    lengths = postings.lengths[:, rows]
    lengths[:, fresh] = added.lengths
    wider = _with_cells(dataclasses.replace(left, vocabulary=vocabulary, lengths=lengths), entries.keys)
    return with_norms(_with_entries(wider, entries))


def _without_rest(postings: Postings, rows: NDArray[np.int64]) -> Postings:
    """Those of the agents that have a row, which are given their new ones; cells that nobody has any more are left
    out, and what the new agents have is still empty."""
    now = np.full(postings.lengths.shape[1], -1, np.min_scalar_type(-max(1, len(rows))))
    now[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    moved = now[postings.rows]
    gone = np.flatnonzero(moved < 0)
    cells = np.searchsorted(postings.starts, gone, side="right") - 1
    frequency = postings.frequency - np.bincount(cells, minlength=len(postings.frequency)).astype(np.uint32)
    frequency[postings.common] -= np.count_nonzero(postings.table[:, now < 0], axis=1).astype(np.uint32)
    sizes = np.diff(postings.starts).astype(np.int64) - np.bincount(cells, minlength=len(postings.frequency))
    table = postings.table[:, rows]
    table[:, rows < 0] = 0
    table_kept = postings.table_kept[:, rows]
    table_kept[:, rows < 0] = 1
    return dataclasses.replace(
        postings,
        frequency=frequency,
        starts=np.append(0, np.cumsum(sizes)).astype(np.uint32),
        rows=np.delete(moved, gone).astype(np.min_scalar_type(len(rows))),
        counts=np.delete(postings.counts, gone),
        kept=np.delete(postings.kept, gone) if len(postings.kept) else postings.kept,
        table=table,
        table_kept=table_kept,
    )


def _entries(postings: Postings, numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> _Entries:
    """All postings one by one, by cell and row; `numbers` and `rows` are the new ones of terms and agents."""
    keys = numbers[postings.terms] * len(GROUPS) + postings.groups
    in_table = np.nonzero(postings.table)
    cells = np.concatenate(
        [np.repeat(np.arange(len(keys)), np.diff(postings.starts).astype(np.int64)), postings.common[in_table[0]]]
    )
    kept, table_kept = _all_kept(postings)
    found = _Entries(
        keys=keys[cells],
        rows=rows[np.concatenate([postings.rows, in_table[1]])],
        counts=np.concatenate([postings.counts, postings.table[in_table]]),
        kept=np.concatenate([kept, table_kept[in_table]]),
    )
    return found.at(np.lexsort((found.rows, found.keys)))


def _with_cells(postings: Postings, keys: NDArray[np.int64]) -> Postings:
    """The same with empty cells for those of the keys that have none, and without those that nobody has."""
    own = postings.terms * len(GROUPS) + postings.groups
    keys = np.unique(keys)
    stay = np.flatnonzero((postings.frequency > 0) | np.isin(own, keys))
    every = np.sort(np.concatenate([own[stay], np.setdiff1d(keys, own, assume_unique=True)]))
    places = np.searchsorted(every, own[stay])
    frequency, sizes = np.zeros(len(every), np.uint32), np.zeros(len(every), np.int64)
    frequency[places] = postings.frequency[stay]
    sizes[places] = np.diff(postings.starts).astype(np.int64)[stay]
    in_table = np.isin(postings.common, stay)
    return dataclasses.replace(
        postings,
        cells=np.searchsorted(every // len(GROUPS), np.arange(len(postings.vocabulary) + 1)).astype(np.uint32),
        groups=(every % len(GROUPS)).astype(np.uint8),
        frequency=frequency,
        starts=np.append(0, np.cumsum(sizes)).astype(np.uint32),
        common=places[np.searchsorted(stay, postings.common[in_table])].astype(np.uint32),
        table=postings.table[in_table],
        table_kept=postings.table_kept[in_table] if len(postings.table_kept) else postings.table_kept,
    )


def _with_entries(postings: Postings, entries: _Entries) -> Postings:
    """The same with single postings put in their places; their cells are there."""
    cells = np.searchsorted(postings.terms * len(GROUPS) + postings.groups, entries.keys)
    frequency = postings.frequency + np.bincount(cells, minlength=len(postings.frequency)).astype(np.uint32)
    row_of_table = np.full(len(postings.groups), -1)
    row_of_table[postings.common] = np.arange(len(postings.common))
    common, rare = (np.flatnonzero(which) for which in (row_of_table[cells] >= 0, row_of_table[cells] < 0))
    postings.table[row_of_table[cells[common]], entries.rows[common]] = entries.counts[common]
    places = [
        postings.starts[cell] + np.searchsorted(postings.rows[postings.starts[cell] : postings.starts[cell + 1]], row)
        for cell, row in zip(cells[rare].tolist(), entries.rows[rare].tolist(), strict=True)
    ]
    kept, table_kept = postings.kept, postings.table_kept
    if len(kept) or len(table_kept) or (entries.kept < 1).any():
        kept, table_kept = _all_kept(postings)
        table_kept[row_of_table[cells[common]], entries.rows[common]] = entries.kept[common]
        kept = np.insert(kept, places, entries.kept[rare])
    sizes = np.diff(postings.starts).astype(np.int64) + np.bincount(cells[rare], minlength=len(frequency))
    return dataclasses.replace(
        postings,
        frequency=frequency,
        starts=np.append(0, np.cumsum(sizes)).astype(np.uint32),
        rows=np.insert(postings.rows, places, entries.rows[rare]),
        counts=np.insert(postings.counts, places, entries.counts[rare]),
        kept=kept,
        table_kept=table_kept,
    )


def _all_kept(postings: Postings) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """`kept` and `table_kept`, full of ones where they are empty since all counts in full."""
    kept = postings.kept if len(postings.kept) else np.ones(len(postings.rows), np.float16)
    table_kept = postings.table_kept if len(postings.table_kept) else np.ones(postings.table.shape, np.float16)
    return kept, table_kept
