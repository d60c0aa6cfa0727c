"""What `--since` and `--outcome` mean."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from dispatcher.decisionlog import EntryOutcome
from dispatcher.errors import UsageError

__all__ = ["parse_outcome", "parse_since"]

_AGO = re.compile(r"(\d{1,6})\s*([mhdw])", re.IGNORECASE)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str | None) -> datetime | None:
    """A moment: a day or time, in local time if it says nothing else, or so long ago. Raises UsageError."""
    if text is None:
        return None
    now = datetime.now().astimezone()
    try:
        if (ago := _AGO.fullmatch(text.strip())) is not None:
            return now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f'--since "{text}" is no moment', hint="write a day (2026-05-31), a time (2026-05-31T18:00), 30m, 12h or 7d"
        ) from None
    return found if found.tzinfo is not None else found.astimezone()


def parse_outcome(text: str | None) -> EntryOutcome | None:
    """Raises UsageError, with what there is."""
    if text is None:
        return None
    try:
        return EntryOutcome(text.strip().lower().replace("_", "-"))
    except ValueError:
        raise UsageError(f'--outcome "{text}" is none', hint=f"it is one of {', '.join(EntryOutcome)}") from None
