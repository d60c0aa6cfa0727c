"""An entry of the log and the user's verdict on it, as a labelled task that `dispatch eval` and `tune` read.

A project's verdicts lie in one file, each entry once; that of an entry that was judged before is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dispatcher.decisionlog.entry import LogEntry
from dispatcher.errors import DispatcherError, UsageError
from dispatcher.private import open_private
from dispatcher.settings.files import user_state_folder

__all__ = ["add_feedback", "feedback_path", "labelled"]

_TAG = "feedback"


def feedback_path(folder: Path, environment: Mapping[str, str]) -> Path:
    """The file of a project's verdicts, by its folder."""
    digest = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return user_state_folder(environment) / "feedback" / f"{folder.name or 'root'}-{digest}.jsonl"


def labelled(entry: LogEntry, agent: str | None) -> dict[str, Any]:
    """The task of an entry with the agent that should take it; None where no agent fits."""
    if not entry.task.strip():
        raise UsageError(f'the entry "{entry.id}" has no task', hint="its run had files alone, which nobody routes on")
    was_right = entry.agent == agent
    return {"task": entry.task, "agent": agent, "tags": [_TAG, "right" if was_right else "wrong"], "entry": entry.id}


def add_feedback(path: Path, record: Mapping[str, Any]) -> int:
    """Puts a labelled task into a file, in place of an earlier one of the same entry; returns how many there are.

    Raises UsageError for a file that holds something else, DispatcherError for one that can't be written.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for number, line in enumerate(lines, start=1) if _entry_of(line, path, number) != record["entry"]]
        kept = [*(line for line in kept if line.strip()), json.dumps(record, ensure_ascii=False)]
        _replace(path, "".join(f"{line}\n" for line in kept))
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise DispatcherError(f"{path}: the feedback can't be written: {reason}", hint="check --out") from None
    return len(kept)


def _entry_of(line: str, path: Path, number: int) -> str | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except ValueError:
        raise UsageError(f"{path}:{number}: this line is not JSON", hint="mend it, or name another file") from None
    if not isinstance(record, dict) or "task" not in record:
        raise UsageError(f"{path}:{number}: this is not a task", hint="mend it, or name another file")
    return record.get("entry")


def _replace(path: Path, text: str) -> None:
    """Writes a file beside and puts it in place, so that the old one stays if that fails."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(open_private(beside, os.O_RDWR | os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
