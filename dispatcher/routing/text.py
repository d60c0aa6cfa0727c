"""Text → terms: the words that are compared, stemmed, alone and in pairs.

The same for tasks and for agent files, and the same on every machine. Knows of nothing else in the package.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import Stemmer

__all__ = ["Word", "pairs_of", "terms", "words"]

# Names whose signs are part of the word, then runs of letters and digits of any script.
_WORD = re.compile(r"c\+\+|[cf]#|\.net\b|[^\W_]+(?:['’][^\W_]+)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")

# Words that say how something is asked and not what for.
STOP_WORDS = frozenset(
    word
    for line in (
        "a about above after again all also am an and any are aren't as at be because been before being below",
        "between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during",
        "each few for from further had hadn't has hasn't have haven't having he her here hers herself him himself",
        "his how i i'd i'll i'm i've if in into is isn't it it's its itself just let let's me more most my myself",
        "no nor not of off on once only or other our ours ourselves out over own please same shall she should so",
        "some such than that that's the their theirs them themselves then there these they they're this those",
        "through to too under until up very was wasn't we we're we've were what when where which while who whom",
        "why will with won't would you you'd you'll you're you've your yours yourself",
    )
    for word in line.split()
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was written, and its stem."""

    written: str
    stem: str


def words(text: str) -> list[Word]:
    """The words of a text that can carry meaning, in order."""
    stem = _stemmer().stemWord
    found = []
    for match in _WORD.finditer(_CAMEL.sub(" ", unicodedata.normalize("NFKC", text)).casefold()):
        written = match[0].replace("’", "'")
        if written not in STOP_WORDS:
            found.append(Word(written, stem(written.removesuffix("'s"))))
    return found


def terms(text: str) -> list[str]:
    """The stems of a text's words, then those of neighbouring words in pairs."""
    stems = [word.stem for word in words(text)]
    return stems + pairs_of(stems)


def pairs_of(stems: Sequence[str]) -> list[str]:
    return [f"{first} {second}" for first, second in itertools.pairwise(stems)]


@functools.cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
