"""What is typed while an answer comes: it waits for the next prompt, and does not show in the middle of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unechoed"]

if sys.platform == "win32":

    @contextmanager
    def unechoed() -> Iterator[None]:
        """Nothing to do: this terminal shows what is typed only where somebody reads it."""
        yield

else:
    import termios

    @contextmanager
    def unechoed() -> Iterator[None]:
        """Keeps the terminal on standard input, if there is one, from showing what is typed. Ctrl-C still works."""
        if not sys.stdin.isatty():
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        silent = [*before]
        silent[3] = before[3] & ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
