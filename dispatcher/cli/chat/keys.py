"""What keys do while an answer comes: they wait for the next prompt, and Ctrl-C does not spoil the terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unechoed", "uninterrupted"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignores Ctrl-C where the terminal is put in order, which takes no longer than a glance."""
    if threading.current_thread() is not threading.main_thread():  # which Ctrl-C does not reach
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
