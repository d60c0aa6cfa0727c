"""Line numbers of positions in a text."""

from __future__ import annotations

import bisect
import itertools

__all__ = ["LineIndex"]


class LineIndex:
    """Tells the line of a position, for a text whose first line is line `first_line` of its file."""

    def __init__(self, text: str, *, first_line: int = 1) -> None:
        self._first_line = first_line
        lengths = (len(line) for line in text.split("\n"))
        self._ends = list(itertools.accumulate(length + 1 for length in lengths))

    def line_of(self, position: int) -> int:
        return self._first_line + bisect.bisect_right(self._ends, position)
