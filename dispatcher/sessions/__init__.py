"""Conversations and where they are kept. Knows messages and usage, and nothing of routing or of how a turn is run.

turn        what is kept of one turn, and of a session in a list
store       the protocol of a store
memory      a store that lasts as long as the process
sqlite      a store in a file
migrations  the tables of that file, step by step
holds       who may run a turn, among threads and processes
encoding    a turn as JSON
export      a session as JSON lines or Markdown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.sessions.export import EXPORT_FORMATS, export_session
    from dispatcher.sessions.memory import MemorySessionStore
    from dispatcher.sessions.sqlite import SQLiteSessionStore
    from dispatcher.sessions.store import SessionStore, check_session_id
    from dispatcher.sessions.turn import Handoff, SessionInfo, Turn, TurnState, new_session_id, total_cost, total_usage

__all__ = [
    "EXPORT_FORMATS",
    "Handoff",
    "MemorySessionStore",
    "SQLiteSessionStore",
    "SessionInfo",
    "SessionStore",
    "Turn",
    "TurnState",
    "check_session_id",
    "export_session",
    "new_session_id",
    "total_cost",
    "total_usage",
]

__getattr__ = on_demand(
    __name__,
    {
        "dispatcher.sessions.export": ("EXPORT_FORMATS", "export_session"),
        "dispatcher.sessions.memory": ("MemorySessionStore",),
        "dispatcher.sessions.sqlite": ("SQLiteSessionStore",),
        "dispatcher.sessions.store": ("SessionStore", "check_session_id"),
        "dispatcher.sessions.turn": (
            "Handoff",
            "SessionInfo",
            "Turn",
            "TurnState",
            "new_session_id",
            "total_cost",
            "total_usage",
        ),
    },
)
