"""A turn as JSON, and back: one shape for what is stored and what is exported.

What comes back is checked, since a file may be damaged or written by another release.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatcher.errors import SessionStoreError
from dispatcher.llm import Message, Usage
from dispatcher.sessions.turn import Handoff, Turn, TurnState

__all__ = ["as_json", "turn_from_json", "turn_to_dict", "turn_to_json"]

_HALVES = re.compile("[\ud800-\udfff]")


def turn_to_dict(turn: Turn) -> dict[str, Any]:
    """A turn as values of JSON."""
    values = {field.name: getattr(turn, field.name) for field in dataclasses.fields(turn)}
    return values | {
        "started": turn.started.isoformat(),
        "ended": turn.ended.isoformat() if turn.ended is not None else None,
        "messages": [{"role": message.role, "content": _plain(message.content)} for message in turn.messages],
        "usage": dataclasses.asdict(turn.usage),
        "handoffs": [dataclasses.asdict(each) for each in turn.handoffs],
        "state": turn.state.value,
    }


def turn_to_json(turn: Turn) -> str:
    return as_json(turn_to_dict(turn))


def as_json(values: Mapping[str, Any]) -> str:
    """Values of JSON on one line; halves of surrogate pairs are escaped, since no file takes them as they are."""
    text = json.dumps(values, ensure_ascii=False)
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def turn_from_json(text: str, *, place: str) -> Turn:
    """A turn as `turn_to_json` wrote it; keys of later releases are left out.

    Parameters
    ----------
    place: where the text stands, for the error.

    Raises SessionStoreError for a text that is no turn.
    """
    try:
        values = json.loads(text)
        known = {field.name for field in dataclasses.fields(Turn)}
        counts = {field.name: int(values["usage"].get(field.name, 0)) for field in dataclasses.fields(Usage)}
        return Turn(
            **{name: value for name, value in values.items() if name in known}
            | {
                "started": datetime.fromisoformat(values["started"]),
                "ended": datetime.fromisoformat(values["ended"]) if values.get("ended") else None,
                "messages": tuple(_message(each) for each in values["messages"]),
                "usage": Usage(**counts),
                "handoffs": tuple(_handoff(each) for each in values.get("handoffs", ())),
                "state": TurnState(values["state"]),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise SessionStoreError(
            f"{place}: what is kept there is no turn of a conversation: {problem}",
            hint="the file is damaged, or another program wrote to it; delete the session or restore the file",
        ) from None


def _handoff(values: Mapping[str, Any]) -> Handoff:
    known = {field.name for field in dataclasses.fields(Handoff)}
    return Handoff(**{name: value for name, value in values.items() if name in known})


def _message(values: Mapping[str, Any]) -> Message:
    content = values["content"]
    return Message(role=values["role"], content=content if isinstance(content, str) else tuple(content))


def _plain(content: Any) -> Any:
    """Content as JSON has it, whatever mappings and sequences the caller used."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    return [_plain(each) for each in content] if isinstance(content, (list, tuple)) else content
