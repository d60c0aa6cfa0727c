"""The decision log of the command line: where it is, and what is told of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dispatcher.cli.console import Console, short
from dispatcher.decisionlog import DecisionLog, LogEntry, Redaction, log_folder
from dispatcher.errors import DispatcherError, UsageError
from dispatcher.settings import LogSettings

__all__ = ["find_entry", "log_of", "open_log"]

LAST = "last"


class AnnouncedLog(DecisionLog):
    """A log that says so before its first line is written, and whose failure spoils no run.

    Nobody's words are kept without their knowledge: where little is said, and the log was not begun yet, nothing is.
    """

    def __init__(self, settings: LogSettings, console: Console) -> None:
        super().__init__(**_options(settings))
        self._console = console
        self._days = settings.keep_days

    def add(self, entry: LogEntry) -> None:
        if not self.files():
            if self._console.quiet:
                return
            self._console.notice(
                f"tasks and who took them, not the answers, are logged in {short(self.folder)}, readable by you alone, "
                f"for {self._days:g} days; `dispatch log` shows them, --no-store or log.store: false keeps none"
            )
        try:
            super().add(entry)
        except DispatcherError as problem:
            self._console.notice(f"this run is not logged: {problem.message}")


def open_log(settings: LogSettings, console: Console) -> DecisionLog | None:
    """The log that runs are written to; None where the user wants none."""
    return AnnouncedLog(settings, console) if settings.store else None


def log_of(settings: LogSettings) -> DecisionLog:
    """The log to read, without the files whose time is over."""
    log = DecisionLog(**_options(settings))
    try:
        log.sweep()
    except OSError as problem:
        raise DispatcherError(f"{log.folder}: the decision log can't be used: {problem.strerror or problem}") from None
    return log


def find_entry(log: DecisionLog, name: str) -> LogEntry:
    """The entry of a name, or the last one for "last". Raises UsageError, with the nearest name."""
    entries, _ = log.entries()
    if not entries:
        raise UsageError("the decision log is empty", hint="run a task first; without a key nothing is logged")
    if name == LAST:
        return entries[0]
    found = next((entry for entry in entries if entry.id == name), None)
    if found is not None:
        return found
    from rapidfuzz import process

    near = process.extractOne(name, [entry.id for entry in entries], score_cutoff=80)
    hint = f'did you mean "{near[0]}"?' if near else "`dispatch log` shows the ids; `last` is the last run"
    raise UsageError(f'there is no entry "{name}" in the decision log', hint=hint)


def _options(settings: LogSettings) -> dict[str, Any]:
    return {
        "folder": Path(settings.path).expanduser() if settings.path is not None else log_folder(os.environ),
        "redaction": Redaction(settings.redact),
        "keep_days": settings.keep_days,
        "max_bytes": settings.max_bytes,
    }
