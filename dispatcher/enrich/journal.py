"""What came of an unfinished run, safe on disk: a file beside each enriched.jsonl, one JSON object a line.

An answer is on the disk before the next call is made in its place, so a run that is killed at any moment loses only
the calls in flight. The file is locked by the run that writes it, and gone once its lines are in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dispatcher.enrich.lines import WrittenLine, merged
from dispatcher.errors import DispatcherError, UsageError

__all__ = ["BatchRecord", "Journal", "JournalContent", "Journals", "journal_path", "read_journals", "read_text"]

_ENDING = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A batch that was submitted: the service's name for it, the model, when, and whom each request was for.

    `requests` is, by the request's name, the agent's name, the digest of its file, and its neighbours' names.
    """

    id: str
    model: str
    submitted: str
    count: int
    requests: Mapping[str, tuple[str, str, tuple[str, ...]]]

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> BatchRecord:
        """Raises KeyError, TypeError or ValueError for a record of another shape."""
        requests = {
            str(key): (str(name), str(digest), tuple(map(str, neighbours)))
            for key, (name, digest, neighbours) in dict(record["requests"]).items()
        }
        return cls(
            id=str(record["id"]),
            model=str(record["model"]),
            submitted=str(record["submitted"]),
            count=int(record["count"]),
            requests=requests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalContent:
    """The lines that came, and the batches whose results did not come yet."""

    lines: tuple[WrittenLine, ...] = ()
    batches: tuple[BatchRecord, ...] = ()


def journal_path(path: Path) -> Path:
    """The journal of an enriched.jsonl."""
    return path.with_name(path.name + _ENDING)


def read_journals(paths: Iterable[Path]) -> dict[Path, JournalContent]:
    """What the journals of some files hold, without taking them; a file without one has nothing."""
    found = {}
    for path in paths:
        try:
            found[path] = _parsed(journal_path(path).read_bytes())
        except FileNotFoundError:
            found[path] = JournalContent()
        except OSError as problem:
            raise UsageError(f"{journal_path(path)}: the file can't be read: {problem.strerror or problem}") from None
    return found


class Journal:
    """The journal of one enriched.jsonl, locked until it is closed.

    Raises UsageError if another run has it, or if it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path = journal_path(path)
        self._descriptor = _opened(self.path)
        try:
            content = _all_of(self._descriptor)
            self._content = _parsed(content)
            if content and not content.endswith(b"\n"):  # what a crash of the machine cut off
                self._write(b"\n")
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def content(self) -> JournalContent:
        return self._content

    def keep(self, line: WrittenLine) -> None:
        """Puts an answer on the disk. Raises DispatcherError if there is no room."""
        self._append({"line": line.to_record()})
        self._content = JournalContent(lines=(*self._content.lines, line), batches=self._content.batches)

    def remember(self, batch: BatchRecord) -> None:
        """Puts a batch on the disk, to be asked for its results."""
        self._append({"batch": asdict(batch)})
        self._content = JournalContent(lines=self._content.lines, batches=(*self._content.batches, batch))

    def forget(self, batch: BatchRecord) -> None:
        """Notes that everything of a batch came."""
        self._append({"collected": batch.id})
        left = tuple(each for each in self._content.batches if each.id != batch.id)
        self._content = JournalContent(lines=self._content.lines, batches=left)

    def text(self) -> str:
        """What the file would hold with the lines that came; it is read anew, since somebody may have edited it."""
        return merged(read_text(self.target), self._content.lines)

    def put_in_place(self) -> None:
        """Writes the lines that came into the file, whole or not at all, and forgets them."""
        if self._content.lines:
            replace_file(self.target, self.text())
            self._forget_lines()

    def set_aside(self) -> Path:
        """Writes the lines that came beside the file, where routing does not look, and forgets them.

        What an earlier run has put there stays: it was paid for, too.
        """
        aside = self.target.with_name(self.target.name + ".rejected")
        replace_file(aside, read_text(aside) + merged("", self._content.lines))
        self._forget_lines()
        return aside

    def close(self) -> None:
        """Lets go of the journal, and removes it if there is nothing in it that is still needed."""
        if not self._content.lines and not self._content.batches:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _forget_lines(self) -> None:
        """Nothing is taken out of the file: it would be lost if the process were killed before the rest is back."""
        self._append({"placed": len(self._content.lines)})
        self._content = JournalContent(batches=self._content.batches)

    def _append(self, record: dict[str, Any]) -> None:
        self._write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

    def _write(self, content: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError as problem:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise _unwritable(self.path, problem) from None


class Journals:
    """The journals of all files that a run writes, taken together and let go together."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._journals: dict[Path, Journal] = {}
        try:
            for path in sorted(paths):
                self._journals[path] = Journal(path)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, path: Path) -> Journal:
        return self._journals[path]

    def __iter__(self) -> Iterator[Journal]:
        return iter(self._journals.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def contents(self) -> dict[Path, JournalContent]:
        return {path: journal.content for path, journal in self._journals.items()}

    def texts(self) -> dict[Path, str]:
        """What each file would hold with the lines that came."""
        return {path: journal.text() for path, journal in self._journals.items()}

    def put_in_place(self) -> None:
        for journal in self:
            journal.put_in_place()

    def set_aside(self) -> list[Path]:
        return [journal.set_aside() for journal in self if journal.content.lines]

    def close(self) -> None:
        for journal in self:
            journal.close()


def read_text(path: Path) -> str:
    """What an enriched.jsonl holds; nothing where there is none. Raises UsageError if it can't be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UsageError(
            f"{path}: the file can't be read: {reason}", hint="save it as UTF-8, or move it away"
        ) from None


def replace_file(path: Path, text: str) -> None:
    """Writes a file whole or not at all, through a link if it is one. Raises DispatcherError if it can't be."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o7777)
        partial.replace(target)
    except OSError as problem:
        raise _unwritable(path, problem) from None
    finally:
        partial.unlink(missing_ok=True)


def _opened(path: Path) -> int:
    """The journal, locked. One that was removed by its run between opening and locking is opened anew."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as problem:
            reason = problem.strerror or problem
            raise UsageError(
                f"{path}: the file can't be written: {reason}",
                hint="check the folder, or name another file with --enriched",
            ) from None
        try:
            _lock(descriptor, path)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    """Takes the file for this process; the system lets go of it however the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(
            f"another `dispatch enrich` is at work on {path.with_suffix('')}",
            hint="wait for it to end, or end it; what it has so far is kept",
        ) from None


def _all_of(descriptor: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:  # noqa: PTH123  there is only a descriptor
        return file.read()


def _parsed(content: bytes) -> JournalContent:
    """What a journal holds; a line that a crash of the machine spoilt is as if it had not come."""
    lines: list[WrittenLine] = []
    batches: dict[str, BatchRecord] = {}
    for record in _records(content.decode("utf-8", "replace").split("\n")):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if "line" in record:
                lines.append(WrittenLine.from_record(record["line"]))
            elif "batch" in record:
                batch = BatchRecord.from_record(record["batch"])
                batches[batch.id] = batch
            elif "placed" in record:
                lines.clear()
            else:
                batches.pop(record["collected"], None)
    return JournalContent(lines=tuple(lines), batches=tuple(batches.values()))


def _records(contents: Sequence[str]) -> Iterator[dict[str, Any]]:
    for content in contents:
        try:
            record = json.loads(content)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _unwritable(path: Path, problem: OSError) -> DispatcherError:
    return DispatcherError(
        f"{path}: it could not be written: {problem.strerror or problem}",
        hint="make room there, and run the same again: what came before is kept",
    )
