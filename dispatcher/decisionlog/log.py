"""The files of the log: one JSON object a line, a file for each day and another when that is full.

So keeping to a time is deleting files, and nothing is ever written anew. A line is appended in one piece; of a process
that is killed, or a full disk, at most a torn line is left, which is passed over and told of, and ends where the next
one begins.
"""

from __future__ import annotations

import datetime
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dispatcher.agent import slugify
from dispatcher.decisionlog.entry import EntryOutcome, LogEntry, entry_from_json, entry_to_json
from dispatcher.decisionlog.redaction import Redaction
from dispatcher.errors import DispatcherError
from dispatcher.private import open_private
from dispatcher.settings.files import user_state_folder

__all__ = ["DecisionLog", "LogFilter", "log_folder"]

_LARGEST_FILE = 4_000_000


def log_folder(environment: Mapping[str, str]) -> Path:
    """Where the command line keeps its log."""
    return user_state_folder(environment) / "decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which entries are wanted; what is None does not count. `text` is looked for in the task, in any case."""

    agent: str | None = None
    since: datetime.datetime | None = None
    outcome: EntryOutcome | None = None
    text: str | None = None

    def takes(self, entry: LogEntry) -> bool:
        return (
            (self.agent is None or slugify(entry.agent or "") == slugify(self.agent))
            and (self.since is None or entry.time >= self.since)
            and (self.outcome is None or entry.outcome == self.outcome)
            and (self.text is None or self.text.lower() in entry.task.lower())
        )


class DecisionLog:
    """A log in a folder of its own.

    Parameters
    ----------
    folder: where its files are; made when the first line is written.
    redaction: what is taken out of tasks and reasons before they are written.
    keep_days: the days after which a file is deleted.
    max_bytes: the size of all files together beyond which the oldest are deleted.

    Safe for any number of threads and processes.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        redaction: Redaction | None = None,
        keep_days: float = 30.0,
        max_bytes: int = 50_000_000,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._redaction = redaction or Redaction()
        self._keep_days = keep_days
        self._max_bytes = max_bytes

    def add(self, entry: LogEntry) -> None:
        """Writes an entry, less what is redacted. Raises DispatcherError where that can't be done."""
        redacted = replace(entry, task=self._redaction(entry.task), reason=self._redaction(entry.reason))
        line = (entry_to_json(redacted) + "\n").encode("utf-8", "replace")
        try:
            path = self._current(entry.time)
            is_new = not path.exists()
            _append(path, line)
            if is_new:
                self.sweep()
        except OSError as problem:
            reason = problem.strerror or problem
            raise DispatcherError(
                f"{self.folder}: the decision log can't be written: {reason}",
                hint="make room, mend the rights, or keep none with log.store: false",
            ) from None

    def entries(self, wanted: LogFilter | None = None) -> tuple[tuple[LogEntry, ...], tuple[str, ...]]:
        """The entries that are wanted, the last one first, and what is wrong with lines, by file and number.

        Raises DispatcherError for a file that can't be read.
        """
        found: list[LogEntry] = []
        faults: list[str] = []
        for path in self.files():
            for number, line in _lines(path):
                try:
                    entry = entry_from_json(line)
                except ValueError:
                    faults.append(f"{path}:{number}: this line is torn or of another form, and is passed over")
                    continue
                if wanted is None or wanted.takes(entry):
                    found.append(entry)
        found.reverse()  # first, as those of one moment stay as they lie
        found.sort(key=lambda entry: entry.time, reverse=True)
        return tuple(found), tuple(faults)

    def files(self) -> tuple[Path, ...]:
        """The files, the oldest first."""
        found = [path for path in self.folder.glob("*.jsonl") if _place(path) is not None]
        return tuple(sorted(found, key=lambda path: _place(path) or ("", 0)))

    def sweep(self) -> None:
        """Deletes the files whose time is over, and the oldest while all together are too large. Raises OSError."""
        oldest = (_today() - datetime.timedelta(days=self._keep_days)).isoformat()
        files = self.files()
        total = sum(_size(path) for path in files)
        for path in files[:-1]:
            place = _place(path)
            if total > self._max_bytes or (place is not None and place[0] < oldest):
                total -= _size(path)
                path.unlink(missing_ok=True)
        if files and (place := _place(files[-1])) is not None and place[0] < oldest:
            files[-1].unlink(missing_ok=True)

    def _current(self, moment: datetime.datetime) -> Path:
        """The file that takes the next line of a day."""
        day = moment.astimezone().date().isoformat()
        places = [place for path in self.files() if (place := _place(path)) is not None and place[0] == day]
        part = places[-1][1] if places else 0
        is_full = _size(self.folder / f"{day}.{part}.jsonl") >= min(_LARGEST_FILE, self._max_bytes)
        return self.folder / f"{day}.{part + is_full}.jsonl"


def _append(path: Path, line: bytes) -> None:
    """Appends a line in one piece, on a line of its own also where the one before is torn."""
    descriptor = open_private(path, os.O_RDWR | os.O_APPEND)
    try:
        is_torn = os.lseek(descriptor, 0, os.SEEK_END) > 0 and _last_byte(descriptor) != b"\n"
        content = b"\n" + line if is_torn else line
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return  # deleted by another process just now
    except OSError as problem:
        raise DispatcherError(f"{path}: the decision log can't be read: {problem.strerror or problem}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _place(path: Path) -> tuple[str, int] | None:
    """The day and the part of a file of the log; None for another file."""
    day, _, part = path.stem.partition(".")
    try:
        return datetime.date.fromisoformat(day).isoformat(), int(part)
    except ValueError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _today() -> datetime.date:
    return datetime.date.today()
