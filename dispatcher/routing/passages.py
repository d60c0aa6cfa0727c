"""The passages of an agent that routing reads, by field, each with its line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from dispatcher.agent import Agent, Passage
from dispatcher.agentfile.placeholders import drop_placeholders

__all__ = ["FIELDS", "keywords", "passages"]

FIELDS = (
    "name",
    "description",
    "trigger",
    "capability",
    "example",
    "context",
    "heading",
    "bullet",
    "body",
    "exclusion",
)


def passages(agent: Agent) -> Iterator[Passage]:
    """Every passage that says what an agent is for, or is not for; placeholders say nothing and are dropped."""
    for passage in _passages(agent):
        if (text := drop_placeholders(passage.text)).strip():
            yield dataclasses.replace(passage, text=text)


def keywords(agent: Agent) -> Iterator[Passage]:
    """The words that an agent's file gives for finding it: triggers, the topics of their sentences, and tags."""
    for trigger in agent.triggers:
        for text in (trigger.text, *trigger.topics):
            yield Passage(field="keyword", text=text, line=trigger.line)
    for tag in agent.tags:
        yield Passage(field="keyword", text=tag)


def _passages(agent: Agent) -> Iterator[Passage]:
    yield Passage(field="name", text=agent.name.replace("_", " "), line=agent.line)
    yield Passage(field="description", text=agent.description, line=agent.description_line or agent.line)
    for label in (agent.category, agent.subcategory, *agent.tags):
        if label:
            yield Passage(field="capability", text=label)
    for trigger in agent.triggers:
        yield Passage(field="trigger", text=trigger.text, line=trigger.line)
    for example in agent.examples:
        yield Passage(field="example", text=example.user, line=example.line)
        yield Passage(field="context", text=example.context, line=example.line)
    yield from agent.enriched
    for capability in agent.capabilities:
        yield Passage(field="capability", text=". ".join((capability.name, *capability.items)), line=capability.line)
    yield from agent.headings
    yield from agent.bullets
    for exclusion in agent.exclusions:
        yield Passage(field="exclusion", text=exclusion.text, line=exclusion.line)
    for offset, line in enumerate(agent.prompt.split("\n")):
        yield Passage(field="body", text=line, line=agent.prompt_line + offset)
