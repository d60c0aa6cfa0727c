"""Agents in one JSON file: `{name: {"description", "prompt", ...}}`, as Claude Code's `--agents` takes them.

The keys of an entry are those of front matter, with `prompt` for the body.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from dispatcher.agent import Agent, Source
from dispatcher.agentfile.builder import build_agent
from dispatcher.agentfile.envelope import Envelope
from dispatcher.agentfile.finding import Finding, error, warning
from dispatcher.agentfile.lines import LineIndex
from dispatcher.agentfile.sections import parse_document
from dispatcher.agentfile.strict import FrontMatter
from dispatcher.characters import well_formed

__all__ = ["read_json_agents"]

_SHAPE = '{"name": {"description": "...", "prompt": "..."}}'


def read_json_agents(text: str, *, source: Source) -> tuple[tuple[Agent, ...], tuple[Finding, ...]]:
    """The agents of a JSON file, and what there is to say of them; a bad entry loses itself alone."""
    try:
        loaded = json.loads(text, object_pairs_hook=_Mapping)
    except json.JSONDecodeError as problem:
        message = f"the file is not valid JSON: {problem.msg} (column {problem.colno})"
        return (), (error("broken-json", message, line=problem.lineno, hint="mend it at that place"),)
    except (RecursionError, ValueError):  # ValueError: a number of more digits than Python reads
        message = "the file is nested too deeply, or has a number that is too long"
        return (), (error("broken-json", message, hint=f"write {_SHAPE}"),)
    if not isinstance(loaded, _Mapping):
        return (), (error("wrong-shape", "the file holds no mapping of agents", line=1, hint=f"write {_SHAPE}"),)
    agents: list[Agent] = []
    findings: list[Finding] = []
    index = LineIndex(text)
    position = 0
    for name, entry in loaded.pairs:
        found = text.find(json.dumps(name, ensure_ascii=False), position)
        position = max(found, position)
        agent, problems = _entry(name, entry, index.line_of(position), source=source)
        if agent is not None:
            agents.append(agent)
        findings.extend(problems)
    return tuple(agents), tuple(findings)


def _entry(name: str, entry: Any, line: int, *, source: Source) -> tuple[Agent | None, tuple[Finding, ...]]:
    if not name.strip():
        return None, (error("no-name", "an entry has an empty name", line=line, hint="give it one"),)
    if not isinstance(entry, _Mapping) or not isinstance(entry.get("prompt", ""), str):
        message = f'the entry "{name}" is not of the shape that is read'
        return None, (error("wrong-shape", message, line=line, hint=f"write {_SHAPE}"),)
    values = {key: value for key, value in entry.items() if key not in ("prompt", "name")}
    prompt = str(entry.get("prompt", ""))
    front_matter = FrontMatter(values=values, lines=dict.fromkeys(values, line))
    envelope = Envelope(front_matter=front_matter, body=prompt, header_line=line, body_line=line)
    document = parse_document(prompt, first_line=line)
    # Of the entry and not of the file: what changes in one is nothing to the others.
    digest = hashlib.sha256(json.dumps(entry.pairs).encode()).hexdigest()
    agent, findings = build_agent(envelope, document, source=source, digest=digest, default_name=name.strip())
    return agent, (*findings, *(_repeated(key, name, line) for key in entry.repeated()))


def _repeated(key: str, name: str, line: int) -> Finding:
    message = f'the key "{key}" stands more than once in the entry "{name}"; the last one is used'
    return warning("duplicate-key", message, line=line, hint=f'keep one "{key}" and remove the others')


class _Mapping(dict[str, Any]):
    """A JSON object that remembers every pair, also those of one name."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = [(well_formed(key), _well_formed(value)) for key, value in pairs]
        super().__init__(self.pairs)

    def repeated(self) -> tuple[str, ...]:
        counts = Counter(key for key, _ in self.pairs)
        return tuple(key for key, count in counts.items() if count > 1)


def _well_formed(value: Any) -> Any:
    return well_formed(value) if isinstance(value, str) else value
