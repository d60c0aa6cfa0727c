"""Which tools a file allows its agent, however it writes them: a string, a list or a map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dispatcher.agent import ToolPolicy
from dispatcher.agentfile.finding import Finding, warning

__all__ = ["read_tool_policy"]

_EVERYTHING = frozenset({"*", "all", "inherit"})
_OUTSIDE_PARENTHESES = r"(?![^(]*\))"
_COMMA = re.compile(rf"[,\n]{_OUTSIDE_PARENTHESES}")
_SPACE = re.compile(rf"\s+{_OUTSIDE_PARENTHESES}")


def read_tool_policy(
    allowed: list[tuple[str, Any]], disallowed: list[tuple[str, Any]], lines: Mapping[str, int]
) -> tuple[ToolPolicy, tuple[Finding, ...]]:
    """The policy of the keys that allow and those that forbid. What can't be understood allows nothing."""
    findings: list[Finding] = []
    limits: list[tuple[str, ...]] = []
    forbidden = [name for _, value in disallowed for name in _names(value)]
    for key, value in allowed:
        if value is None or value == "":
            findings.append(
                warning(
                    "empty-tools",
                    f'"{key}" has no value; it was read as no tools at all',
                    line=lines.get(key),
                    hint=f'remove "{key}" to set no limit, or write "{key}: []" to allow nothing',
                )
            )
            limits.append(())
        elif isinstance(value, Mapping):
            switched_on, switched_off = _switches(value)
            forbidden.extend(name for name in switched_off if name != "*")
            if "*" in switched_off:
                limits.append(switched_on)
        elif not _EVERYTHING & {name.lower() for name in _names(value)}:
            limits.append(_names(value))
    merged = tuple(dict.fromkeys(name for limit in limits for name in limit)) if limits else None
    return ToolPolicy(allowed=merged, disallowed=tuple(dict.fromkeys(forbidden))), tuple(findings)


def _switches(value: Mapping[Any, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a map turns on and off, as OpenCode writes them: `write: false`."""
    off = tuple(str(name) for name, state in value.items() if str(state).lower() in ("false", "no", "off", "deny"))
    return tuple(str(name) for name in value if str(name) not in off and name != "*"), off


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip().removeprefix("[").removesuffix("]")
        parts = _COMMA.split(text) if _COMMA.search(text) else _SPACE.split(text)
    elif isinstance(value, Mapping):
        parts = [str(name) for name, state in value.items() if state is not False]
    elif isinstance(value, list):
        parts = [str(name) for item in value for name in (item if isinstance(item, Mapping) else [item])]
    else:
        parts = [] if value is None else [str(value)]
    return tuple(name for part in parts if (name := part.strip().lstrip("- ").strip("\"'`")))
