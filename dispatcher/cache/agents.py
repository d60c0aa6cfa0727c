"""Agents as JSON, a list of values in the order of the fields, and back."""

from __future__ import annotations

import array
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from dispatcher.agent import (
    Agent,
    Capability,
    Collaborator,
    Diagnostic,
    Example,
    Passage,
    Placeholder,
    Severity,
    Source,
    ToolPolicy,
    Trigger,
)

__all__ = ["Pieces", "agent_from", "diagnostic_from", "head_of", "joined", "packed"]

_HEAD = ("name", "category", "team", "enabled", "disable_model_invocation", "digest")
"""What is asked of all agents, so it is at hand, besides `enriched`, which no file of an agent gives; the rest of one
is read when somebody asks for it."""

_KNOWN = (*_HEAD, "enriched")

_RECORDS: Mapping[str, type[Any]] = {
    "triggers": Trigger,
    "exclusions": Trigger,
    "examples": Example,
    "capabilities": Capability,
    "collaborators": Collaborator,
    "placeholders": Placeholder,
    "headings": Passage,
    "bullets": Passage,
    "enriched": Passage,
}
_AS_WRITTEN = frozenset({"metadata", "mcp_servers"})  # lists stay lists


class Pieces:
    """Pieces of bytes one after the other, and where each ends."""

    def __init__(self, content: memoryview, ends: memoryview) -> None:
        self._content = content
        self._ends = ends.cast("Q")

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._content[self._ends[place - 1] if place else 0 : self._ends[place]])


def joined(pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The two tables of Pieces."""
    held = list(pieces)
    ends, total = array.array("Q"), 0
    for piece in held:
        total += len(piece)
        ends.append(total)
    return b"".join(held), ends.tobytes()


def packed(value: Any) -> bytes:
    """Records as JSON, each a list of its values."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), default=str).encode(
        "utf-8", "surrogatepass"
    )


def head_of(agent: Agent) -> list[Any]:
    """What `agent_from` wants to know at once."""
    return [getattr(agent, name) for name in _HEAD]


def agent_from(head: Iterable[Any], content: Callable[..., Any], *place: Any) -> Agent:
    """An agent of which the head is known, and whose list of values is asked for with the first of its other fields:
    `content` gives what stands at its place."""
    return Agent.deferred(_KNOWN, (*head, ()), functools.partial(_agent_values, content, *place))


def diagnostic_from(values: Iterable[Any]) -> Diagnostic:
    found = dict(zip(_names(Diagnostic), values, strict=True))
    return Diagnostic(**{**found, "severity": Severity(found["severity"]), "path": Path(found["path"])})


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, name)) for name in _names(type(value))]
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _agent_values(content: Callable[..., Iterable[Any]], *place: Any) -> dict[str, Any]:
    found = dict(zip(_names(Agent), content(*place), strict=True))
    path, root, scope = found["source"]
    found["source"] = Source(path=Path(path), root=Path(root), scope=scope)
    found["tools"] = _record(ToolPolicy, found["tools"])
    for name, value in found.items():
        if name in _RECORDS:
            found[name] = tuple(_record(_RECORDS[name], one) for one in value)
        elif isinstance(value, list) and name not in _AS_WRITTEN:
            found[name] = tuple(value)
    return found


def _record(kind: type[Any], values: Iterable[Any]) -> Any:
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(_names(kind), values, strict=True)
    }
    if found.get("path") is not None:
        found["path"] = Path(found["path"])
    return kind(**found)


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(kind.__dataclass_fields__)
