"""Line numbers of positions in a text."""

from __future__ import annotations

import bisect
import functools
import itertools

__all__ = ["LineIndex"]


class LineIndex:
    """Tells the line of a position, for a text whose first line is line `first_line` of its file."""

    def __init__(self, text: str, *, first_line: int = 1) -> None:
        self._text = text
        self._first_line = first_line

    @functools.cached_property
    def _ends(self) -> list[int]:
        """Where each line ends; few texts are ever asked."""
        return list(itertools.accumulate(len(line) + 1 for line in self._text.split("\n")))

    def line_of(self, position: int) -> int:
        return self._first_line + bisect.bisect_right(self._ends, position)
