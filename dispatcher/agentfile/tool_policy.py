"""Which tools a file allows its agent, however it writes them: a string, a list or a map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dispatcher.agent import ToolPolicy
from dispatcher.agentfile.finding import Finding, warning

__all__ = ["read_tool_policy"]

_EVERYTHING = frozenset({"*", "all", "inherit"})
_BETWEEN_COMMAS = re.compile(r"(?:[^,\n(]|\([^)]*\)?)+")
_BETWEEN_SPACES = re.compile(r"(?:[^\s(]|\([^)]*\)?)+")


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
        elif isinstance(value, bool):
            limits.extend([()] if not value else [])
        elif isinstance(value, Mapping):
            switched_on, switched_off = _switches(value)
            forbidden.extend(name for name in switched_off if name != "*")
            if "*" in switched_off:
                limits.append(switched_on)
        elif not _EVERYTHING & {name.lower() for name in _names(value)}:
            limits.append(tuple(name for name in _names(value) if name.lower() != "none"))
    merged = tuple(dict.fromkeys(name for limit in limits for name in limit)) if limits else None
    return ToolPolicy(allowed=merged, disallowed=tuple(dict.fromkeys(forbidden))), tuple(findings)


def _switches(value: Mapping[Any, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a map turns on and off, as OpenCode writes them: `write: false`."""
    names: dict[bool, list[str]] = {True: [], False: []}
    for name, state in value.items():
        names[str(state).lower() not in ("false", "no", "off", "deny")].append(str(name))
    return tuple(name for name in names[True] if name != "*"), tuple(names[False])


def _entry_names(entry: Any) -> Iterable[Any]:
    """The names of a list's entry: a text, a mapping with a name, or one whose keys are names."""
    if not isinstance(entry, Mapping):
        return [entry]
    return [entry["name"]] if "name" in entry else entry


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip().removeprefix("[").removesuffix("]")
        parts = _BETWEEN_COMMAS.findall(text)
        parts = parts if len(parts) > 1 else _BETWEEN_SPACES.findall(text)
    elif isinstance(value, Mapping):
        parts = [str(name) for name, state in value.items() if state is not False]
    elif isinstance(value, list):
        parts = [str(name) for item in value for name in _entry_names(item)]
    else:
        parts = [] if value is None else [str(value)]
    return tuple(name for part in parts if (name := part.strip().lstrip("- ").strip("\"'`")))
