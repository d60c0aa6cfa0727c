"""One line of the log: a run, from its task to its cost. The answer is not in it."""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dispatcher.llm import Usage

__all__ = ["EntryOutcome", "LogEntry", "entry_from_json", "entry_to_json", "new_entry_id"]


class EntryOutcome(StrEnum):
    """How a run ended."""

    ANSWERED = "answered"
    """With a whole answer."""
    INCOMPLETE = "incomplete"
    """With an answer that is not whole; `stop_reason` says why."""
    ABSTAINED = "abstained"
    """Nobody was sure enough to take it."""
    FAILED = "failed"
    """With an error, named in `error`."""
    OVER_BUDGET = "over-budget"
    """Before a request that a budget did not allow."""
    CANCELLED = "cancelled"
    """The caller stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A run.

    `time` is when it began, in UTC; `seconds` is what it took after the decision. `task` is what the user typed, less
    what is redacted. `how`, `confidence`, `threshold` and `reason` are the decision's, `candidates` its best with their
    scores. `registry` and `weights` are fingerprints: the same task comes to the same decision where they are the same.
    `judged` says that a model was asked who should take it. `cost` is in US dollars, the judge's included, None where a
    price is not known. `error` is the name of a class.
    """

    id: str
    time: datetime
    task: str
    outcome: EntryOutcome
    agent: str | None = None
    how: str = ""
    confidence: float = 0.0
    threshold: float = 0.0
    reason: str = ""
    candidates: tuple[tuple[str, float], ...] = ()
    judged: bool = False
    registry: str = ""
    weights: str = ""
    model: str | None = None
    stop_reason: str | None = None
    error: str | None = None
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    seconds: float = 0.0
    folder: str = ""
    session: str | None = None


def new_entry_id() -> str:
    """A name for an entry: the moment, so that people find it, and something of its own."""
    return f"{datetime.now().astimezone():%Y%m%d-%H%M}-{secrets.token_hex(3)}"


def entry_to_json(entry: LogEntry) -> str:
    """An entry on one line."""
    values: dict[str, Any] = dataclasses.asdict(entry)
    values["time"] = entry.time.astimezone(UTC).isoformat(timespec="milliseconds")
    return json.dumps(values, ensure_ascii=False)


def entry_from_json(text: str) -> LogEntry:
    """The entry on a line. Raises ValueError for a line that holds none."""
    entry: LogEntry = _adapter().validate_json(text)
    return entry


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(LogEntry)
