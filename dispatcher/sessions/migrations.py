"""The tables of the session file, as an ordered list of named steps; a step that was released is never changed.

Each step runs once a file, in a transaction of its own, and is written down by its name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from dispatcher.errors import SessionStoreError

__all__ = ["MIGRATIONS", "migrate"]

Migration = Callable[[sqlite3.Connection], None]


def m001_sessions(connection: sqlite3.Connection) -> None:
    """A row a session: `updated` is what retention goes by."""
    connection.execute(
        "CREATE TABLE sessions (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created TEXT NOT NULL, "
        "updated TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX sessions_by_update ON sessions (updated)")


def m002_turns(connection: sqlite3.Connection) -> None:
    """A row a turn: the whole of it as JSON, and beside it what lists and totals are made of."""
    connection.execute(
        "CREATE TABLE turns (session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE, "
        "number INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, agent TEXT, task TEXT NOT NULL, input_tokens INTEGER, "
        "output_tokens INTEGER, cache_write_tokens INTEGER, cache_read_tokens INTEGER, cost REAL, turn TEXT NOT NULL, "
        "PRIMARY KEY (session, number)) WITHOUT ROWID"
    )


MIGRATIONS: tuple[Migration, ...] = (m001_sessions, m002_turns)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings a file to the state that this release works with; two processes at once do it once.

    Raises SessionStoreError for a file that a later release has changed.
    """
    known = [migration.__name__ for migration in migrations]
    if _done(connection) == known:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, place INTEGER NOT NULL)")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    for place, migration in enumerate(migrations):
        _apply(connection, migration, place)
    if unknown := [name for name in _done(connection) if name not in known]:
        raise SessionStoreError(
            f"the file of the sessions was written by a later release (it knows {unknown[0]})",
            hint="update agent-dispatcher, or name another file with sessions.path",
        )


def _apply(connection: sqlite3.Connection, migration: Migration, place: int) -> None:
    name = migration.__name__
    connection.execute("BEGIN IMMEDIATE")
    try:
        if name not in _done(connection):
            migration(connection)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, place))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _done(connection: sqlite3.Connection) -> list[str]:
    """The names of the steps that the file has behind it."""
    has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    if has_table is None:
        return []
    return [name for (name,) in connection.execute("SELECT name FROM migrations ORDER BY place")]
