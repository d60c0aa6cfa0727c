"""Markdown as a person reads it: its words without markup, and its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["plain_text", "sentences"]

_MARKED_UP = re.compile(r"[*_`\[]")
# Each alternative begins with a character of its own, by which the text is searched; so the looks behind come after it.
_MARKUP = re.compile(
    r"\*(?:\*|(?<!\w\*)(?=\S)|(?<=\S\*)(?!\w))|_(?:_|(?<!\w_)(?=\S)|(?<=\S_)(?!\w))|`",
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'“*(]?[A-Z0-9])|\n+")


def plain_text(text: str) -> str:
    """A line of Markdown as a person reads it: no emphasis, no backquotes, links as their text, single spaces."""
    if _MARKED_UP.search(text) is not None:
        text = _MARKUP.sub("", _LINK.sub(r"\1", text) if "](" in text else text)
    return " ".join(text.split())


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, one line end or more being the end of one."""
    for part in _SENTENCE_END.split(text):
        cleaned = " ".join(part.split()).strip("-* ")
        if cleaned:
            yield cleaned
