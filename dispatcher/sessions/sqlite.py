"""A store in one SQLite file: many threads and processes at once, and nothing half written.

Every put is one transaction in write-ahead mode, written through to the disk before it counts. The file and what
stands beside it are the user's alone (mode 0600).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dispatcher.characters import well_formed
from dispatcher.errors import SessionStoreError
from dispatcher.llm import Usage
from dispatcher.sessions.encoding import turn_from_json, turn_to_json
from dispatcher.sessions.holds import Holds
from dispatcher.sessions.migrations import migrate
from dispatcher.sessions.store import check_next, check_session_id
from dispatcher.sessions.turn import SessionInfo, Turn

__all__ = ["SQLiteSessionStore"]

Result = TypeVar("Result")

_BUSY_SECONDS = 20.0
_BUSY_PAUSE = 0.005  # seconds
_INFO = """
SELECT s.id, s.created, s.updated, count(t.number), coalesce(sum(t.input_tokens), 0),
       coalesce(sum(t.output_tokens), 0), coalesce(sum(t.cache_write_tokens), 0), coalesce(sum(t.cache_read_tokens), 0),
       coalesce(sum(t.cost), 0.0), coalesce((SELECT task FROM turns f WHERE f.session = s.key AND f.number = 1), ''),
       (SELECT json_group_array(agent) FROM (SELECT agent FROM turns a WHERE a.session = s.key AND agent IS NOT NULL
                                             GROUP BY agent ORDER BY min(number)))
FROM sessions s LEFT JOIN turns t ON t.session = s.key
"""


class SQLiteSessionStore:
    """Keeps conversations in a file.

    Parameters
    ----------
    path: the file; it and its folder are made on first use, readable for this user alone.

    Nothing is opened before it is needed. Raises SessionStoreError, from every method, where the file can't be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._holds = Holds(self.path.with_name(self.path.name + ".locks"))
        self._thread = ThreadPoolExecutor(1)  # which starts none before it has work

    @property
    def executor(self) -> Executor:
        """The one thread in which coroutines use the store: there is one connection, for which more would only wait."""
        return self._thread

    def put(self, session_id: str, turn: Turn) -> None:
        check_session_id(session_id)
        self._do(lambda connection: _put(connection, session_id, turn), writes=True)

    def turns(self, session_id: str, *, last: int | None = None) -> tuple[Turn, ...]:
        query = (
            "SELECT turns.number, turn FROM turns JOIN sessions ON session = key WHERE sessions.id = ? "
            "ORDER BY turns.number DESC LIMIT ?"
        )
        rows = self._do(lambda connection: connection.execute(query, (session_id, _limit(last))).fetchall())
        place = f'{self.path}: the session "{session_id}"'
        return tuple(turn_from_json(text, place=f"{place}, turn {number}") for number, text in reversed(rows))

    def info(self, session_id: str) -> SessionInfo | None:
        query = f"{_INFO} WHERE s.id = ? GROUP BY s.key"
        row = self._do(lambda connection: connection.execute(query, (session_id,)).fetchone())
        return self._info(row) if row is not None else None

    def sessions(self) -> tuple[SessionInfo, ...]:
        query = f"{_INFO} GROUP BY s.key ORDER BY s.updated DESC, s.id DESC"
        return tuple(self._info(row) for row in self._do(lambda connection: connection.execute(query).fetchall()))

    def remove_last(self, session_id: str, turn_id: str) -> bool:
        return self._do(lambda connection: _remove_last(connection, session_id, turn_id), writes=True)

    def delete(self, session_id: str) -> bool:
        statement = "DELETE FROM sessions WHERE id = ?"
        return self._do(lambda connection: connection.execute(statement, (session_id,)).rowcount, writes=True) > 0

    def delete_before(self, moment: datetime) -> int:
        statement = "DELETE FROM sessions WHERE julianday(updated) < julianday(?)"
        return self._do(lambda connection: connection.execute(statement, (moment.isoformat(),)).rowcount, writes=True)

    def try_hold(self, session_id: str) -> bool:
        check_session_id(session_id)
        try:
            return self._holds.try_hold(session_id)
        except OSError as problem:
            raise self._failure(problem) from None

    def release(self, session_id: str) -> None:
        self._holds.release(session_id)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        self._holds.close()
        left, self._thread = self._thread, ThreadPoolExecutor(1)
        left.shutdown(wait=False)

    def __enter__(self) -> SQLiteSessionStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _info(self, row: tuple[Any, ...]) -> SessionInfo:
        try:
            return _info(row)
        except (ValueError, TypeError) as problem:
            raise SessionStoreError(
                f"{self.path}: what is kept there of a session can't be read: {problem}",
                hint="the file is damaged, or another program wrote to it; restore it, or move it away",
            ) from None

    def _do(self, work: Callable[[sqlite3.Connection], Result], *, writes: bool = False) -> Result:
        """Does something with the file, whole or not at all."""
        with self._lock:
            try:
                connection = self._opened()
                if not writes:
                    return work(connection)
                with _transaction(connection):
                    return work(connection)
            except (sqlite3.Error, OSError) as problem:
                raise self._failure(problem) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)  # SQLite gives the files beside it the same mode
            self._connection = _connect(self.path)
        return self._connection

    def _failure(self, problem: Exception) -> SessionStoreError:
        reason = str(getattr(problem, "strerror", None) or problem)
        hints = {
            "database or disk is full": "make room on the disk; what was stored before is whole",
            "file is not a database": "name another file with sessions.path; this one is left as it is",
            "database disk image is malformed": "restore the file from a copy, or move it away to begin a new one",
            "database is locked": "another program keeps the file locked; end it, or name another with sessions.path",
        }
        hint = hints.get(reason, "check the disk and the rights to the file, or name another with sessions.path")
        return SessionStoreError(f"{self.path}: the sessions can't be used: {reason}", hint=hint)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Puts a file into write-ahead mode. Of several who do that to a new file at once, SQLite turns all but one away
    without waiting, whatever its timeout is, so the waiting is done here."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE)
        else:
            return


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _put(connection: sqlite3.Connection, session_id: str, turn: Turn) -> None:
    moment = (turn.ended or turn.started).isoformat()
    found = connection.execute("SELECT key FROM sessions WHERE id = ?", (session_id,)).fetchone()
    key = found[0] if found is not None else None
    count, stored = _stored(connection, key, turn.number)
    if not check_next(session_id, turn, stored, count):
        return
    if key is None:
        statement = "INSERT INTO sessions (id, created, updated) VALUES (?, ?, ?)"
        key = connection.execute(statement, (session_id, turn.started.isoformat(), moment)).lastrowid
    else:
        connection.execute("UPDATE sessions SET updated = ? WHERE key = ?", (moment, key))
    used = turn.usage
    tokens = (used.input_tokens, used.output_tokens, used.cache_write_tokens, used.cache_read_tokens)
    agent = well_formed(turn.agent) if turn.agent is not None else None
    connection.execute(
        "INSERT OR REPLACE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (key, turn.number, turn.id, agent, well_formed(turn.task), *tokens, turn.cost, turn_to_json(turn)),
    )


def _remove_last(connection: sqlite3.Connection, session_id: str, turn_id: str) -> bool:
    query = (
        "SELECT session, number, turns.id FROM turns JOIN sessions ON session = key WHERE sessions.id = ? "
        "ORDER BY number DESC LIMIT 1"
    )
    found = connection.execute(query, (session_id,)).fetchone()
    if found is None or found[2] != turn_id:
        return False
    key, number, _ = found
    connection.execute("DELETE FROM turns WHERE session = ? AND number = ?", (key, number))
    if number == 1:
        connection.execute("DELETE FROM sessions WHERE key = ?", (key,))
    return True


def _stored(connection: sqlite3.Connection, key: int | None, number: int) -> tuple[int, Turn | None]:
    """How many turns a session has, and the one of a number."""
    query = "SELECT count(*), max(CASE WHEN number = ? THEN turn END) FROM turns WHERE session = ?"
    count, text = connection.execute(query, (number, key)).fetchone()
    return count, turn_from_json(text, place=f"turn {number}") if text is not None else None


def _limit(last: int | None) -> int:
    return -1 if last is None else last


def _info(row: tuple[Any, ...]) -> SessionInfo:
    import json

    session_id, created, updated, turns, read, written, cache_write, cache_read, cost, title, agents = row
    return SessionInfo(
        id=session_id,
        created=datetime.fromisoformat(created),
        updated=datetime.fromisoformat(updated),
        turns=turns,
        title=title,
        agents=tuple(json.loads(agents)),
        usage=Usage(
            input_tokens=read,
            output_tokens=written,
            cache_write_tokens=cache_write,
            cache_read_tokens=cache_read,
        ),
        cost=cost,
    )
