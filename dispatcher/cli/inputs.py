"""The task: the words of the command line, and standard input where it is meant.

Standard input is read when the task is `-`, when there is no task, or when it is a pipe or a file that belongs to this
command. A terminal is never waited for, nor is a pipe that was only inherited and on which nothing comes; a file that
somebody else has begun to read (`while read line`) is left alone.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Sequence

from dispatcher.cli.console import Console
from dispatcher.errors import UsageError

__all__ = ["read_task"]

_PATIENCE_SECONDS = 2.0
_PATIENCE_WITH_A_PERSON_SECONDS = 60.0
_LARGEST_INPUT = 10_000_000


def read_task(words: Sequence[str], console: Console, *, may_be_empty: bool = False) -> tuple[str, str]:
    """The task, and what comes with it: typed words and standard input, or standard input alone and nothing.

    Raises UsageError if there is no task and there has to be one.
    """
    typed = " ".join(word for word in words if word != "-").strip()
    if "-" in words or not (typed or may_be_empty):
        given = _read_all() if "-" in words or not sys.stdin.isatty() else ""
    else:
        given = _read_all() if _has_input(console) else ""
    given = given.strip("\n") if given.strip() else ""
    if not (typed or given or may_be_empty):
        hint = 'write what is to be done: dispatch "design a user API"; `dispatch --help` shows everything'
        raise UsageError("there is no task", hint=hint)
    return (typed, given) if typed else (given, "")


def _has_input(console: Console) -> bool:
    """Whether something that is meant for this command stands on standard input."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) or sys.platform == "win32":
        return False
    if _comes(descriptor, _PATIENCE_SECONDS):
        return True
    if console.is_watched:
        console.notice("waiting for standard input; Ctrl-C stops, and </dev/null goes without it")
        if _comes(descriptor, _PATIENCE_WITH_A_PERSON_SECONDS):
            return True
    console.notice("nothing came on standard input, so it was left out; add - to the task to wait for it")
    return False


def _comes(descriptor: int, seconds: float) -> bool:
    """Whether something, if only the end, comes on a pipe in time."""
    ready, _, _ = select.select([descriptor], [], [], seconds)
    return bool(ready)


def _read_all() -> str:
    """Standard input to its end, as UTF-8."""
    content = sys.stdin.buffer.read(_LARGEST_INPUT + 1)
    if len(content) > _LARGEST_INPUT:
        raise UsageError(f"standard input has more than {_LARGEST_INPUT:,} bytes", hint="send a part of it")
    if b"\0" in content:
        raise UsageError("standard input is not text", hint="give images and PDF with --file")
    return content.decode("utf-8-sig", errors="replace")
