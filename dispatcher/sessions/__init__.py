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
