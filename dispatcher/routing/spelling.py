"""Which words of a registry are written like a word of the task: typos, and families of words.

Two words are alike by the pieces of 3 to 5 letters that both have, each counting more the fewer words have it (Salton
and Buckley 1988); those that are enough alike stand for the word, each for so much. So a task meets an agent's words by
their spelling at the price of a few more words, and nothing need be kept of an agent's pieces (compare SoftTFIDF in
Cohen, Ravikumar and Fienberg 2003).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.routing.postings import Query, sublinear
from dispatcher.routing.text import pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Spelling", "learn_spelling"]

_LEAST_ALIKE = 0.2
_SHARPNESS = 2.0  # the power by which a likeness counts
_MOST_REMEMBERED = 10_000  # words of tasks

_Alike = tuple["NDArray[np.int64]", "NDArray[np.float64]"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """The words of a registry by their pieces.

    `terms` are the numbers of the words among all terms. `starts[p]` to `starts[p + 1]` are the places of piece p in
    `words`, which says what words have it; `lengths` are those of the words' vectors. What was asked is remembered.
    """

    terms: NDArray[np.uint32]
    numbers: Mapping[str, int]
    starts: NDArray[np.uint32]
    words: NDArray[np.uint32]
    lengths: NDArray[np.float32]
    remembered: dict[str, _Alike] = dataclasses.field(init=False, default_factory=dict, compare=False)

    def query(self, counts: Mapping[str, int]) -> Query:
        """The words of a task as those of the registry that are written like them."""
        numbers: list[NDArray[np.int64]] = []
        weights: list[NDArray[np.float64]] = []
        unknown = 0.0
        for word, count in counts.items():
            alike, likeness = self.alike(word)
            numbers.append(alike)
            weights.append(sublinear(count) * likeness)
            unknown += 0.0 if len(alike) else sublinear(count) ** 2
        if not numbers:
            return Query("spelling", np.zeros(0, np.int64), np.zeros(0), unknown)
        every, counted = np.concatenate(numbers), np.concatenate(weights)
        order = np.argsort(every, kind="stable")
        firsts = np.flatnonzero(np.diff(every[order], prepend=-1))
        summed = np.add.reduceat(counted[order], firsts) if len(firsts) else counted
        return Query("spelling", every[order][firsts], summed, unknown)

    def alike(self, word: str) -> _Alike:
        """The numbers of the words that are written like a word, and what each counts, 1 for the word itself."""
        found = self.remembered.get(word)
        if found is None:
            if len(self.remembered) >= _MOST_REMEMBERED:
                self.remembered.clear()
            found = self.remembered[word] = self._alike(word)
        return found

    def _alike(self, word: str) -> _Alike:
        own = dict.fromkeys(pieces(word))
        known = np.array(sorted(self.numbers[piece] for piece in own if piece in self.numbers), np.int64)
        starts, ends = self.starts[known].astype(np.int64), self.starts[known + 1].astype(np.int64)
        rarity = np.square(_rarity(ends - starts, len(self.lengths)))
        length = math.sqrt(rarity.sum() + (len(own) - len(known)) * float(_rarity(0, len(self.lengths))) ** 2)
        holding = [self.words[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        if not holding:
            return np.zeros(0, np.int64), np.zeros(0)
        shared = np.bincount(np.concatenate(holding), np.repeat(rarity, ends - starts), len(self.lengths))
        likeness = shared / (self.lengths * length)
        numbers = np.flatnonzero(likeness >= _LEAST_ALIKE)
        return self.terms[numbers].astype(np.int64), np.minimum(likeness[numbers], 1.0) ** _SHARPNESS


def learn_spelling(words: Sequence[str], terms: NDArray[np.uint32]) -> Spelling:
    """The spelling of words; `terms` are their numbers among all terms, ascending."""
    numbers: dict[str, int] = {}
    held = [[numbers.setdefault(piece, len(numbers)) for piece in dict.fromkeys(pieces(word))] for word in words]
    of_words = np.repeat(np.arange(len(words), dtype=np.uint32), [len(own) for own in held])
    of_pieces = np.fromiter((piece for own in held for piece in own), np.int64, len(of_words))
    counts = np.bincount(of_pieces, minlength=len(numbers))
    squares = np.bincount(of_words, np.square(_rarity(counts, len(words)))[of_pieces], len(words))
    return Spelling(
        terms=terms,
        numbers=numbers,
        starts=np.append(0, np.cumsum(counts)).astype(np.uint32),
        words=of_words[np.argsort(of_pieces, kind="stable")],
        lengths=np.sqrt(squares).astype(np.float32),
    )


def _rarity(counts: NDArray[np.int64] | int, word_count: int) -> NDArray[np.float64]:
    """What a piece counts that so many words have."""
    return np.asarray(np.log((1 + word_count) / (1 + np.asarray(counts))) + 1)
