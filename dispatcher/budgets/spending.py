"""The spend of each day, in a small SQLite file that processes share, for this user alone (mode 0600).

Days are those of the local time zone. Days of more than a year ago are forgotten.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dispatcher.errors import BudgetError
from dispatcher.private import open_private
from dispatcher.settings.files import user_state_folder

__all__ = ["SpendingFile", "spending_path"]

_logger = logging.getLogger(__name__)

_BUSY_SECONDS = 20.0
_KEPT_DAYS = 366
_TABLE = "CREATE TABLE IF NOT EXISTS spending (day TEXT PRIMARY KEY, dollars REAL NOT NULL) WITHOUT ROWID"
_ADD = "INSERT INTO spending VALUES (?, ?) ON CONFLICT (day) DO UPDATE SET dollars = dollars + excluded.dollars"


def spending_path(environment: Mapping[str, str]) -> Path:
    return user_state_folder(environment) / "spending.sqlite3"


class SpendingFile:
    """What was spent on each day, in US dollars; made on first use.

    Parameters
    ----------
    path: the file.
    today: tells the day.

    A connection is opened for each use: that costs less than a thousandth of a request.
    """

    def __init__(self, path: Path, *, today: Callable[[], datetime.date] = datetime.date.today) -> None:
        self.path = path
        self._today = today
        self._unsaved: dict[str, float] = {}

    def today(self) -> float:
        """Raises BudgetError if the file can't be read: a budget that nobody can check is not kept."""
        day = self._today().isoformat()
        if not self.path.exists():
            return self._unsaved.get(day, 0.0)
        try:
            with self._opened() as connection:
                found = connection.execute("SELECT dollars FROM spending WHERE day = ?", (day,)).fetchone()
        except (OSError, sqlite3.Error) as problem:
            raise BudgetError(
                f"{self.path}: what was spent today can't be read: {problem}",
                hint="delete the file to begin anew, or take budget.day out of config.yaml",
                budget="day",
            ) from None
        return (float(found[0]) if found else 0.0) + self._unsaved.get(day, 0.0)

    def add(self, dollars: float) -> None:
        """Adds to this day's spend. The answer is there by then, so what can't be written is kept in memory."""
        day = self._today().isoformat()
        oldest = (self._today() - datetime.timedelta(days=_KEPT_DAYS)).isoformat()
        try:
            with self._opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_ADD, (day, dollars + self._unsaved.get(day, 0.0)))
                connection.execute("DELETE FROM spending WHERE day < ?", (oldest,))
                connection.execute("COMMIT")
            self._unsaved.clear()
        except (OSError, sqlite3.Error) as problem:
            self._unsaved[day] = self._unsaved.get(day, 0.0) + dollars
            _logger.warning("%s: the day's spend could not be written: %s", self.path, problem)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        os.close(open_private(self.path))
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute(_TABLE)
            yield connection
        finally:
            connection.close()
