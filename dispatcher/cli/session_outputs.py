"""What `dispatch sessions` prints as JSON."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from dispatcher.llm import Usage
from dispatcher.sessions import SessionInfo, Turn
from dispatcher.sessions.encoding import turn_to_dict

__all__ = ["SessionOutput", "SessionsListOutput", "SessionsShowOutput", "session_output", "show_output"]


class SessionOutput(TypedDict):
    id: str
    title: str
    """The first task."""
    created: str
    updated: str
    turns: int
    agents: list[str]
    usage: Usage
    cost_usd: float


class SessionsListOutput(TypedDict):
    schema_version: int
    path: str
    """The file they are kept in."""
    sessions: list[SessionOutput]


class SessionsShowOutput(TypedDict):
    schema_version: int
    session: SessionOutput
    turns: list[dict[str, Any]]
    """As `sessions export` writes them."""


def session_output(info: SessionInfo) -> SessionOutput:
    return {
        "id": info.id,
        "title": info.title,
        "created": info.created.isoformat(),
        "updated": info.updated.isoformat(),
        "turns": info.turns,
        "agents": list(info.agents),
        "usage": info.usage,
        "cost_usd": info.cost,
    }


def show_output(info: SessionInfo, turns: tuple[Turn, ...], *, schema_version: int) -> SessionsShowOutput:
    return {
        "schema_version": schema_version,
        "session": session_output(info),
        "turns": [turn_to_dict(turn) for turn in turns],
    }
