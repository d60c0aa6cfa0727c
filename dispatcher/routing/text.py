"""Text → terms: what is compared of a text.

Three views of the same words: `words` (stems without words that only say how something is asked, and pairs of
neighbours), `phrases` (all stems, and pairs), and `spelling` (words as they are written, for those that are written
alike: typos and word families). The same for tasks and for agent files, and the same on every machine. Knows of nothing
else in the package.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import Stemmer

__all__ = ["VIEWS", "Word", "all_pieces", "analyze", "content_stems", "pieces", "readings", "stemmer_version"]

# Names whose signs are part of the word, then runs of letters and digits of any script.
_WORD = re.compile(r"c\+\+|[cf]#|\.net\b|[^\W_]+(?:['’][^\W_]+)?", re.IGNORECASE)
_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FIRST_UNSPACED = "\u0e00"
_UNSPACED = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]"  # compiled where such letters may stand
_PIECES = (3, 4, 5)
_LONGEST_WORD = 60

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
    """A word as it was written, its stem, whether it can carry meaning, and whether it is a part of the one before."""

    written: str
    stem: str
    carries_meaning: bool
    is_part: bool = False


def analyze(text: str) -> list[Word]:
    """The words of a text in order; one that is put together (JavaScript, parseJSON) also in its parts."""
    if not text.isascii():
        text = _spaced(unicodedata.normalize("NFKC", text))
    return list(itertools.chain.from_iterable(map(_with_parts, _WORD.findall(text))))


def _spaced(text: str) -> str:
    """A text in which letters of scripts that put no spaces between words stand by themselves."""
    # The expression takes longer to compile than all else that is read of a file whose only such sign is a dash.
    if not any(sign >= _FIRST_UNSPACED and sign.isalnum() for sign in text):
        return text
    return re.sub(_UNSPACED, r" \g<0> ", text)


def content_stems(words: Sequence[Word]) -> list[str]:
    """The stems of the whole words that can carry meaning."""
    return [word.stem for word in words if word.carries_meaning and not word.is_part]


def readings(words: Sequence[Word]) -> tuple[list[str], ...]:
    """The stems that can carry meaning as they can be read: compounds whole, and, if there are any, in their parts."""
    if not any(word.is_part for word in words):
        return (content_stems(words),)
    followed_by_part = [after.is_part for after in words[1:]] + [False]
    in_parts = [
        word.stem
        for word, has_parts in zip(words, followed_by_part, strict=True)
        if word.carries_meaning and (word.is_part or not has_parts)
    ]
    return content_stems(words), in_parts


def all_pieces(words: Sequence[Word]) -> list[str]:
    """The pieces of all whole words, also of those that only say how something is asked."""
    return [piece for word in words if not word.is_part for piece in pieces(word.written)]


def _word_terms(words: Sequence[Word]) -> list[str]:
    return [word.stem for word in words if word.carries_meaning] + _pairs(content_stems(words))


def _phrase_terms(words: Sequence[Word]) -> list[str]:
    return [word.stem for word in words] + _pairs([word.stem for word in words if not word.is_part])


def _written_terms(words: Sequence[Word]) -> list[str]:
    return [word.written for word in words if word.carries_meaning and not word.is_part]


VIEWS: Mapping[str, Callable[[Sequence[Word]], list[str]]] = {
    "words": _word_terms,
    "phrases": _phrase_terms,
    "spelling": _written_terms,
}
"""The terms of a text's words, by the name of the view."""


@functools.lru_cache(maxsize=100_000)
def _with_parts(written: str) -> tuple[Word, ...]:
    """A word as it stands in a text, and after it its parts if it has any."""
    whole = _word(written.casefold())
    parts = () if written.islower() else _PARTS.split(written)
    return (whole, *(replace(_word(part.casefold()), is_part=True) for part in parts)) if len(parts) > 1 else (whole,)


def _word(written: str) -> Word:
    written = written.replace("’", "'")[:_LONGEST_WORD]
    stem = _stemmer().stemWord(written.removesuffix("'s"))
    return Word(written, stem, written not in STOP_WORDS)


@functools.lru_cache(maxsize=50_000)
def pieces(written: str) -> tuple[str, ...]:
    """The pieces of 3 to 5 letters of a word, with its beginning and end."""
    padded = f" {written} "
    return tuple(padded[at : at + size] for size in _PIECES for at in range(len(padded) - size + 1))


def _pairs(stems: Sequence[str]) -> list[str]:
    return [f"{first} {second}" for first, second in itertools.pairwise(stems)]


def stemmer_version() -> str:
    """What stems depend on besides this module."""
    return str(Stemmer.version())


@functools.cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
