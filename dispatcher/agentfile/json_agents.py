"""Agents in one JSON file: `{name: {"description", "prompt", ...}}`, as Claude Code's `--agents` takes them.

The keys of an entry are those of front matter, with `prompt` for the body.
"""

from __future__ import annotations

import json
from typing import Any

from dispatcher.agent import Agent, Source
from dispatcher.agentfile.builder import build_agent
from dispatcher.agentfile.envelope import Envelope
from dispatcher.agentfile.finding import Finding, error
from dispatcher.agentfile.lines import LineIndex
from dispatcher.agentfile.sections import parse_document
from dispatcher.agentfile.strict import FrontMatter

__all__ = ["read_json_agents"]

_SHAPE = '{"name": {"description": "...", "prompt": "..."}}'


def read_json_agents(text: str, *, source: Source, digest: str) -> tuple[tuple[Agent, ...], tuple[Finding, ...]]:
    """The agents of a JSON file, and what there is to say of them; a bad entry loses itself alone."""
    duplicates: list[str] = []
    try:
        loaded = json.loads(text, object_pairs_hook=lambda pairs: _mapping(pairs, duplicates))
    except json.JSONDecodeError as problem:
        message = f"the file is not valid JSON: {problem.msg} (column {problem.colno})"
        return (), (error("broken-json", message, line=problem.lineno, hint="mend it at that place"),)
    except RecursionError:
        return (), (error("broken-json", "the file is nested too deeply", hint=f"write {_SHAPE}"),)
    if not isinstance(loaded, dict):
        return (), (error("wrong-shape", "the file holds no mapping of agents", line=1, hint=f"write {_SHAPE}"),)
    agents: list[Agent] = []
    findings: list[Finding] = []
    index = LineIndex(text)
    position = 0
    for name, entry in loaded.items():
        found = text.find(json.dumps(name, ensure_ascii=False), position)
        position = max(found, position)
        agent, problems = _entry(name, entry, index.line_of(position), source=source, digest=digest)
        if agent is not None:
            agents.append(agent)
        findings.extend(problems)
    for name in dict.fromkeys(name for name in duplicates if name in loaded):
        findings.append(error("duplicate-name", f'the name "{name}" stands twice; the last entry is used'))
    return tuple(agents), tuple(findings)


def _entry(
    name: str, entry: Any, line: int, *, source: Source, digest: str
) -> tuple[Agent | None, tuple[Finding, ...]]:
    if not name.strip():
        return None, (error("no-name", "an entry has an empty name", line=line, hint="give it one"),)
    if not isinstance(entry, dict) or not isinstance(entry.get("prompt", ""), str):
        message = f'the entry "{name}" is not of the shape that is read'
        return None, (error("wrong-shape", message, line=line, hint=f"write {_SHAPE}"),)
    values = {key: value for key, value in entry.items() if key not in ("prompt", "name")}
    prompt = str(entry.get("prompt", ""))
    front_matter = FrontMatter(values=values, lines=dict.fromkeys(values, line))
    envelope = Envelope(front_matter=front_matter, body=prompt, header_line=line, body_line=line)
    document = parse_document(prompt, first_line=line)
    return build_agent(envelope, document, source=source, digest=digest, default_name=name.strip())


def _mapping(pairs: list[tuple[str, Any]], duplicates: list[str]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            duplicates.append(key)
        mapping[key] = value
    return mapping
