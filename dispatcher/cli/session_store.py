"""The store of the command line: where it is, what is told of it, and which session a task belongs to."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from dispatcher.cli.console import Console, short
from dispatcher.errors import SessionStoreError, UnknownSessionError, UsageError
from dispatcher.runtime import Dispatcher, Session
from dispatcher.sessions import MemorySessionStore, SessionInfo, SQLiteSessionStore, check_session_id
from dispatcher.sessions.turn import now
from dispatcher.settings import SessionSettings
from dispatcher.settings.files import user_state_folder

__all__ = ["find_session", "last_session", "open_session", "open_store", "store_path"]

_FILE_NAME = "sessions.sqlite3"


def store_path(settings: SessionSettings) -> Path:
    if settings.path is not None:
        return Path(settings.path).expanduser().absolute()
    return user_state_folder(os.environ) / _FILE_NAME


def open_store(settings: SessionSettings) -> SQLiteSessionStore | None:
    """The store, without the sessions whose time is over; None if nothing was ever kept."""
    path = store_path(settings)
    if not path.exists():
        return None
    store = SQLiteSessionStore(path)
    _sweep(store, settings)
    return store


def find_session(store: SQLiteSessionStore | None, session_id: str) -> SessionInfo:
    """Raises UnknownSessionError, with the nearest name."""
    found = store.info(session_id) if store is not None else None
    if found is not None:
        return found
    raise UnknownSessionError(f'there is no session "{session_id}"', hint=_nearest(store, session_id))


def last_session(settings: SessionSettings) -> str | None:
    """The name of the session that was written to last; None if none is kept. Raises SessionStoreError."""
    store = open_store(settings)
    if store is None:
        return None
    try:
        return next((info.id for info in store.sessions()), None)
    finally:
        store.close()


def open_session(
    console: Console,
    dispatcher: Dispatcher,
    *,
    session_id: str | None,
    goes_on: bool,
    no_store: bool,
    dry_run: bool,
) -> Session | None:
    """The session of a task; None where nothing is kept of it.

    Parameters
    ----------
    session_id: the one that the user named.
    goes_on: whether the user wants to go on with the last one.
    no_store: whether the user wants nothing kept.
    dry_run: whether nothing will be sent.

    Raises UsageError for options that go against each other, and SessionStoreError where the user asked for a session
    and the store can't be used; a conversation that nobody asked to keep is then only not kept.
    """
    is_asked_for = session_id is not None or goes_on
    _check_options(session_id, goes_on=goes_on, no_store=no_store)
    settings = dispatcher.settings.sessions
    if goes_on:
        session_id = last_session(settings)
        if session_id is None:
            raise UnknownSessionError("there is no conversation to go on with", hint="begin one without --continue")
    if dry_run:
        return _opened(dispatcher, open_store(settings), session_id) if is_asked_for else None
    if not is_asked_for and (no_store or not settings.store):
        return None
    if dispatcher.is_offline:  # nothing will be sent, and so there is nothing to keep
        return _opened(dispatcher, open_store(settings), session_id) if is_asked_for else None
    path = store_path(settings)
    is_first = not path.exists()
    if is_first and console.quiet and not is_asked_for:
        return None  # nobody's words are kept without their knowledge
    store = SQLiteSessionStore(path)
    try:
        _sweep(store, settings)
    except SessionStoreError as problem:
        if is_asked_for:
            raise
        console.notice(f"this conversation is not kept: {problem.message}")
        return None
    if is_first:
        console.notice(
            f"conversations are kept in {short(path)}, readable by you alone, for {settings.keep_days:g} days; "
            "--continue goes on with the last one, --no-store or sessions.store: false keeps nothing"
        )
    return _opened(dispatcher, store, session_id)


def _opened(dispatcher: Dispatcher, store: SQLiteSessionStore | None, session_id: str | None) -> Session:
    dispatcher.store = MemorySessionStore() if store is None else store
    return dispatcher.session(session_id, busy="refuse")


def _check_options(session_id: str | None, *, goes_on: bool, no_store: bool) -> None:
    if session_id is not None:
        check_session_id(session_id)
        if goes_on:
            raise UsageError("--session and --continue name two sessions", hint="use one of them")
    if no_store and (session_id is not None or goes_on):
        raise UsageError("--no-store keeps nothing of a session", hint="leave out --no-store, or the session")


def _sweep(store: SQLiteSessionStore, settings: SessionSettings) -> None:
    store.delete_before(now() - timedelta(days=settings.keep_days))


def _nearest(store: SQLiteSessionStore | None, session_id: str) -> str:
    from rapidfuzz import process

    names = [info.id for info in store.sessions()] if store is not None else []
    found = process.extractOne(session_id, names, score_cutoff=70)
    return f'did you mean "{found[0]}"?' if found else "`dispatch sessions list` shows those that are kept"
