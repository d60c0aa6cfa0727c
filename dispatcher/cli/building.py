"""The bar that shows how far reading and indexing are, where they take over a second."""

from __future__ import annotations

import sys
import time
from typing import Any

import typer

from dispatcher.cli.console import Console

__all__ = ["BuildingBar"]

_SECONDS_WITHOUT = 1.0


class BuildingBar:
    """Shows what it is told of, to a person who has waited for a second."""

    def __init__(self, console: Console) -> None:
        self._is_watched = console.is_watched
        self._since = time.monotonic()
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self._is_watched or time.monotonic() - self._since < _SECONDS_WITHOUT:
            return
        if self._bar is None or self._what != what:
            self._what = what
            self._bar = typer.progressbar(length=total, label=what, file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)
        if done >= total:
            self._bar.render_finish()
            self._bar = None
