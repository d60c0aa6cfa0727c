"""enriched.jsonl: example tasks for agents, kept beside their files, which are never touched.

A line an agent, `{"name": "...", "examples": ["...", ...]}`; further keys are for those who write the file. Readable,
editable, and looked for in the agents' own folder only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispatcher.agent import Agent, Diagnostic, Passage, Severity

__all__ = ["FILE_NAME", "add_enriched"]

FILE_NAME = "enriched.jsonl"
_SHAPE = '{"name": "...", "examples": ["...", "..."]}'


def add_enriched(agents: Sequence[Agent], path: Path) -> tuple[list[Agent], tuple[Diagnostic, ...]]:
    """The agents with the example tasks that a file has for them, and what is wrong with its lines.

    A bad line is reported and loses itself alone. A line for an agent that is not there is noted.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        return list(agents), (_diagnostic(path, None, Severity.ERROR, f"the file can't be read: {problem}"),)
    examples: dict[str, list[Passage]] = {}
    diagnostics: list[Diagnostic] = []
    names = {agent.name for agent in agents}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        parsed = _parse(line)
        if parsed is None:
            diagnostics.append(_diagnostic(path, number, Severity.WARNING, "the line is not of the shape that is read"))
        elif parsed[0] not in names:
            diagnostics.append(_diagnostic(path, number, Severity.NOTE, f'there is no agent "{parsed[0]}" here'))
        else:
            found = (Passage(field="example", text=text, line=number, path=path) for text in parsed[1])
            examples.setdefault(parsed[0], []).extend(found)
    added = [dataclasses.replace(agent, enriched=tuple(examples.get(agent.name, ()))) for agent in agents]
    return added, tuple(diagnostics)


def _parse(line: str) -> tuple[str, tuple[str, ...]] | None:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("name"), str)
        or not isinstance(entry.get("examples"), list)
        or not all(isinstance(text, str) for text in entry["examples"])
    ):
        return None
    name, *examples = (_well_formed(text.strip()) for text in (entry["name"], *entry["examples"]))
    return name, tuple(filter(None, examples))


def _well_formed(text: str) -> str:
    r"""A text without halves of surrogate pairs (`"\ud800"`), which can't be printed."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _diagnostic(path: Path, line: int | None, severity: Severity, message: str) -> Diagnostic:
    code = {Severity.ERROR: "unreadable", Severity.WARNING: "bad-enriched-line", Severity.NOTE: "unknown-agent"}[
        severity
    ]
    hint = f"write {_SHAPE}" if severity is Severity.WARNING else None
    return Diagnostic(severity=severity, code=code, message=message, path=path, line=line, hint=hint)
