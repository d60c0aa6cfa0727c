"""The building of postings: agents one after the other, turned round a run at a time and put together at the end.

The terms of a few hundred agents are numbers in one list, sorted at once; so neither the texts of all agents nor more
than one copy of their postings need be in memory.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.routing.dense import FieldWords
from dispatcher.routing.norms import with_norms
from dispatcher.routing.postings import GROUPS, MOST_COUNTED, Postings
from dispatcher.routing.text import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PostingsBuilder"]

_COMMON_SHARE = 0.25  # of the agents; from a third on a row of counts takes less room, and it is sooner summed anyway
_TERMS_A_RUN = 1_000_000

_SOURCES = tuple(dict.fromkeys((view, field) for view, fields in GROUPS for field in fields))
"""Where terms come from: a field in a view."""

_VIEWS_OF_FIELD = {
    wanted: [(view, number) for number, (view, field) in enumerate(_SOURCES) if field == wanted]
    for _, wanted in _SOURCES
}
_HAS_SOURCE = np.array([[view == own and field in fields for view, field in _SOURCES] for own, fields in GROUPS])


@dataclass(frozen=True, slots=True)
class _Run:
    """The postings of some agents, by term and group, and the agents ascending within them. A key is the number of a
    term times that of all groups, plus that of the group; `kept` is None where all count in full."""

    keys: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    kept: NDArray[np.float16] | None
    lengths: NDArray[np.int64]


class PostingsBuilder:
    """Collects what the agents have."""

    def __init__(self) -> None:
        self._vocabulary: defaultdict[str, int] = defaultdict()
        self._vocabulary.default_factory = self._vocabulary.__len__  # a new term gets the next number
        self._agent_count = 0
        self._runs: list[_Run] = []
        self._begin_run()

    def _begin_run(self) -> None:
        self._first = self._agent_count
        self._terms = array("I")
        self._passages: list[tuple[int, int, int, float]] = []  # source, agent, how many terms, what they count

    def add(self, agent: FieldWords) -> None:
        """Takes up the next agent."""
        number_of = self._vocabulary.__getitem__
        for field, words, weight in agent:
            for view, source in _VIEWS_OF_FIELD.get(field, ()):
                terms = VIEWS[view](words)
                self._terms.extend(map(number_of, terms))
                self._passages.append((source, self._agent_count, len(terms), weight))
        self._agent_count += 1
        if len(self._terms) >= _TERMS_A_RUN:
            self._end_run()

    def _end_run(self) -> None:
        """Turns round what was added since the last run."""
        count = self._agent_count - self._first
        terms = np.array(self._terms, np.uint32)
        by_passage = np.array(self._passages, float).reshape(-1, 4)
        sizes = by_passage[:, 2].astype(np.int64)
        sources = np.repeat(by_passage[:, 0].astype(np.uint8), sizes)
        rows = np.repeat(by_passage[:, 1].astype(np.int64) - self._first, sizes)
        keys, chosen, lengths = [], [], np.zeros((len(GROUPS), count), np.int64)
        for group, has_source in enumerate(_HAS_SOURCE):
            own = np.flatnonzero(has_source[sources])
            keys.append((terms[own].astype(np.int64) * len(GROUPS) + group) * count + rows[own])
            lengths[group] = np.bincount(rows[own], minlength=count)
            chosen.append(own)
        every_key = np.concatenate(keys)
        shares: NDArray[np.float16] | None = None
        if (by_passage[:, 3] < 1).any():
            order = np.argsort(every_key, kind="stable")
            weights = np.repeat(by_passage[:, 3], sizes)[np.concatenate(chosen)[order]]
            found, firsts, counts = np.unique(every_key[order], return_index=True, return_counts=True)
            shares = (np.add.reduceat(weights, firsts) / counts).astype(np.float16)
        else:
            found, counts = np.unique(every_key, return_counts=True)
        self._runs.append(
            _Run(
                keys=(found // max(1, count)).astype(np.uint32),
                rows=(found % max(1, count) + self._first).astype(np.uint32),
                counts=np.minimum(counts, MOST_COUNTED).astype(np.uint8),
                kept=shares,
                lengths=lengths,
            )
        )
        self._begin_run()

    def build(self) -> Postings:
        """The postings of all agents that were added; the builder is of no use afterwards."""
        if self._agent_count > self._first:
            self._end_run()
        vocabulary, place_of = self._sorted_vocabulary()
        totals = np.zeros(len(vocabulary) * len(GROUPS), np.uint32)
        for run in self._runs:
            totals += np.bincount(place_of[run.keys], minlength=len(totals)).astype(np.uint32)
        keys = np.flatnonzero(totals)
        frequency = totals[keys]
        is_common = frequency > _COMMON_SHARE * self._agent_count
        starts = np.append(0, np.cumsum(np.where(is_common, 0, frequency))).astype(np.uint32)
        terms, groups = np.divmod(keys, len(GROUPS))
        common = np.flatnonzero(is_common).astype(np.uint32)
        has_shares = any(run.kept is not None for run in self._runs)
        table = (len(common), self._agent_count)
        postings = Postings(
            vocabulary=vocabulary,
            cells=np.searchsorted(terms, np.arange(len(vocabulary) + 1)).astype(np.uint32),
            groups=groups.astype(np.uint8),
            frequency=frequency,
            starts=starts,
            rows=np.zeros(starts[-1], np.min_scalar_type(self._agent_count)),
            counts=np.zeros(starts[-1], np.uint8),
            kept=np.ones(starts[-1] if has_shares else 0, np.float16),
            common=common,
            table=np.zeros(table, np.uint8),
            table_kept=np.ones(table if has_shares else (0, self._agent_count), np.float16),
            lengths=np.hstack(
                [np.zeros((len(GROUPS), 0), np.uint32), *(run.lengths.astype(np.uint32) for run in self._runs)]
            ),
            norms=np.ones(0, np.float32),
        )
        totals[keys] = np.arange(len(keys))  # from here on the number of the cell
        self._fill(postings, totals[place_of])
        return with_norms(postings)

    def _sorted_vocabulary(self) -> tuple[dict[str, int], NDArray[np.int64]]:
        """The terms in order, which makes the next sorting quick, and for each key what it is by their new numbers."""
        terms = sorted(self._vocabulary)
        before = np.fromiter(map(self._vocabulary.__getitem__, terms), np.int64, len(terms))
        now = np.zeros(len(terms), np.int64)
        now[before] = np.arange(len(terms))
        every_group = np.arange(len(GROUPS))
        return {term: number for number, term in enumerate(terms)}, (now[:, None] * len(GROUPS) + every_group).ravel()

    def _fill(self, postings: Postings, cell_of: NDArray[np.uint32]) -> None:
        """Puts the postings of all runs in their places, run by run."""
        row_of_table = np.full(len(postings.groups), -1)
        row_of_table[postings.common] = np.arange(len(postings.common))
        ends = postings.starts[:-1].astype(np.int64)  # of what is filled of each cell
        while self._runs:
            run = self._runs.pop(0)
            cells = cell_of[run.keys].astype(np.int64)
            in_table = row_of_table[cells]
            common = np.flatnonzero(in_table >= 0)
            rare = np.flatnonzero(in_table < 0)
            postings.table[in_table[common], run.rows[common]] = run.counts[common]
            # A run has the postings of a cell side by side.
            firsts = np.flatnonzero(np.diff(cells[rare], prepend=-1))
            met, counts = cells[rare][firsts], np.diff(firsts, append=len(rare))
            places = np.repeat(ends[met] - firsts, counts) + np.arange(len(rare))
            ends[met] += counts
            postings.rows[places] = run.rows[rare]
            postings.counts[places] = run.counts[rare]
            if run.kept is not None:
                postings.kept[places] = run.kept[rare]
                postings.table_kept[in_table[common], run.rows[common]] = run.kept[common]
