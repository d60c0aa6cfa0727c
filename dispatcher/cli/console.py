"""What goes where: the answer alone to stdout, everything else to stderr, so that it pipes.

Colors only where a person reads and NO_COLOR is not set; text from files and services is stripped of control characters
before it reaches a terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dispatcher.errors import DispatcherError, LLMError

if TYPE_CHECKING:
    from dispatcher.agent import Diagnostic

__all__ = ["Console", "one_line", "printable", "short"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "green": "32"}
_SEVERITY_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_WIDEST = 100


class Console:
    """Prints for people on stderr and results on stdout. `quiet` keeps all but errors back."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.width = max(40, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns))

    @property
    def is_watched(self) -> bool:
        """Whether a person sees what is said."""
        return sys.stderr.isatty() and not self.quiet

    @property
    def is_interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str, *, is_fresh: bool = False) -> str:
        """What the person at the terminal types. The question, too, stays out of stdout.

        Parameters
        ----------
        is_fresh: whether what was typed before the question was seen is no answer to it.
        """
        if is_fresh:
            _forget_what_was_typed()
        sys.stderr.write(f"{printable(question)} ")
        sys.stderr.flush()
        return sys.stdin.readline().strip()

    def result(self, text: str, *, end: str = "\n") -> None:
        """A piece of the result."""
        try:
            sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + end)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DispatcherError(f"the output could not be written: {error.strerror or error}") from error

    def say(self, text: str = "", *, style: str | None = None, indent: int = 0) -> None:
        """A line for the person in front, wrapped to the width of the terminal."""
        if not self.quiet:
            self._write(sys.stderr, text, style, indent)

    def wrapped(self, text: str) -> None:
        """A line of a result that is prose for people."""
        self._write(sys.stdout, text, None, 0)

    def insist(self, text: str) -> None:
        """A line that is said even where all but errors is kept back."""
        self._write(sys.stderr, text, None, 0)

    def notice(self, text: str) -> None:
        self.say(f"note: {text}", style="dim")

    def problem(self, error: DispatcherError) -> None:
        """An error as its user meets it."""
        first, *others = error.message.splitlines()
        self._write(sys.stderr, f"error: {first}", "red", 0)
        for line in others:
            self._write(sys.stderr, line, None, 2)
        if error.hint:
            self._write(sys.stderr, error.hint, None, 2)
        if isinstance(error, LLMError) and error.request_id:
            self._write(sys.stderr, f"request id: {error.request_id}", "dim", 2)

    def diagnostic(self, found: Diagnostic, *, write: TextIO | None = None) -> None:
        """A reader's finding: where, what, and how to mend it."""
        stream = write or sys.stderr
        place = short(found.path) if found.line is None else f"{short(found.path)}:{found.line}"
        self._write(stream, f"{place}: {found.severity}: {found.message}", _SEVERITY_STYLES[found.severity], 0)
        if found.hint:
            self._write(stream, found.hint, None, 4)

    def styled(self, text: str, style: str, stream: TextIO | None = None) -> str:
        if not _has_color(stream or sys.stderr):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def _write(self, stream: TextIO, text: str, style: str | None, indent: int) -> None:
        margin = " " * indent
        lines = textwrap.wrap(
            printable(text),
            self.width,
            break_long_words=False,
            break_on_hyphens=False,
            initial_indent=margin,
            subsequent_indent=margin if indent else "  ",
        ) or [""]
        with contextlib.suppress(BrokenPipeError):
            for line in lines:
                stream.write((self.styled(line, style, stream) if style else line) + "\n")
            stream.flush()


def _forget_what_was_typed() -> None:
    if sys.platform != "win32" and sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def short(path: Path) -> str:
    """A path as a person would write it: relative to here, or to the home folder."""
    absolute = path.absolute()
    for base, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if absolute.is_relative_to(base):
            return prefix + str(absolute.relative_to(base))
    return str(path)


def printable(text: str) -> str:
    """A text that can't move the cursor, change colors or turn its own direction around."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n"))


def one_line(text: str, width: int) -> str:
    """The beginning of a text on one line of at most `width` characters."""
    folded = " ".join(printable(text).split())
    return folded if len(folded) <= width else folded[: max(0, width - 3)].rstrip() + "..."


def _has_color(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
