"""How one agent looks to a person: what was read of its file, field by field."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from dispatcher.agent import Agent
from dispatcher.cli.console import one_line, short
from dispatcher.cli.views import describe_model
from dispatcher.llm import ModelChoice
from dispatcher.registry import Registry

__all__ = ["describe_agent"]

_LABEL = 17


def describe_agent(agent: Agent, registry: Registry, model: ModelChoice, *, width: int) -> Iterator[str]:
    """The lines of the description, at most `width` characters wide."""
    for label, values in _fields(agent, registry, model):
        for number, value in enumerate(values):
            head = f"{label if number == 0 else '':{_LABEL}}"
            wrapped = textwrap.wrap(" ".join(value.split()), width, initial_indent=head, subsequent_indent=" " * _LABEL)
            yield from wrapped or [head]


def _fields(agent: Agent, registry: Registry, model: ModelChoice) -> Iterator[tuple[str, Sequence[str]]]:
    yield "name", [agent.name]
    yield "file", [f"{short(agent.source.path)} ({agent.source.scope})"]
    yield "description", [agent.description]
    if agent not in registry.routable:
        yield "routing", ["kept out of routing; it can be named with --agent or @"]
    yield "model", [describe_model(model), *([model.notice] if model.notice else [])]
    labels = {"category": agent.category, "subcategory": agent.subcategory, "team": agent.team, "color": agent.color}
    yield from ((label, [value]) for label, value in labels.items() if value)
    if agent.tags:
        yield "tags", [", ".join(agent.tags)]
    if agent.tools.allowed is not None:
        yield "tools", [", ".join(agent.tools.allowed) or "none"]
    if agent.tools.disallowed:
        yield "not these tools", [", ".join(agent.tools.disallowed)]
    limits = {"turns": agent.max_turns, "effort": agent.effort, "permissions": agent.permission_mode}
    yield from ((label, [str(value)]) for label, value in limits.items() if value)
    if agent.mcp_servers:
        yield "MCP servers", [", ".join(agent.mcp_servers)]
    yield from _lists(agent)
    size = f"{len(agent.prompt):,} characters, from line {agent.prompt_line}; --prompt prints it"
    yield "prompt", [size if agent.prompt.strip() else "none, so the agent can't be run"]


def _lists(agent: Agent) -> Iterator[tuple[str, Sequence[str]]]:
    lists = {
        "use for": [_at(trigger.text, trigger.line) for trigger in agent.triggers],
        "not for": [_at(trigger.text, trigger.line) for trigger in agent.exclusions],
        "examples": [_at(f'"{example.user or example.context}"', example.line) for example in agent.examples],
        "capabilities": [_at(each.name, each.line) for each in agent.capabilities],
        "works with": [_at(each.name, each.line) for each in agent.collaborators],
        "variables": list(agent.variables),
        "other keys": [
            f"{key}: {one_line(json.dumps(value, ensure_ascii=False, default=str), 200)}"
            for key, value in agent.metadata.items()
        ],
    }
    yield from ((label, values) for label, values in lists.items() if values)


def _at(text: str, line: int | None) -> str:
    return text if line is None else f"{text} [line {line}]"
