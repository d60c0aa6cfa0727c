"""The passages of an agent that routing reads, by field, each with its line."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from dispatcher.agent import Agent, Passage
from dispatcher.agentfile.placeholders import drop_placeholders
from dispatcher.agentfile.prose import plain_text, sentences

__all__ = ["keywords", "passages"]


def passages(agent: Agent) -> Iterator[Passage]:
    """Every passage that says what an agent is for, or is not for; placeholders say nothing and are dropped."""
    for passage in _passages(agent):
        if (text := drop_placeholders(passage.text)).strip():
            yield passage if text == passage.text else dataclasses.replace(passage, text=text)


def keywords(agent: Agent) -> Iterator[Passage]:
    """The words that an agent's file gives for finding it: triggers, the topics of their sentences, and tags."""
    for trigger in agent.triggers:
        for text in (trigger.text, *trigger.topics):
            yield Passage(field="keyword", text=text, line=trigger.line)
    for tag in agent.tags:
        yield Passage(field="keyword", text=tag)


def _passages(agent: Agent) -> Iterator[Passage]:
    yield Passage(field="name", text=agent.name.replace("_", " "), line=agent.line)
    excluded = {one.text for one in agent.exclusions}
    description = _without(agent.description, excluded)
    yield Passage(field="description", text=description, line=agent.description_line or agent.line)
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
    yield from (bullet for bullet in agent.bullets if bullet.text not in excluded)
    for exclusion in agent.exclusions:
        yield Passage(field="exclusion", text=exclusion.text, line=exclusion.line)
    not_for = _lines_of_exclusions(agent)
    for number, line in enumerate(agent.prompt.split("\n"), start=agent.prompt_line):
        if number not in not_for:
            yield Passage(field="body", text=line, line=number)


def _without(description: str, excluded: Collection[str]) -> str:
    """A description less the sentences that say what the agent is not for; as it stands where there are none."""
    every = list(sentences(description))
    kept = [sentence for sentence in every if sentence not in excluded]
    return " ".join(kept) if len(kept) < len(every) else description


def _lines_of_exclusions(agent: Agent) -> frozenset[int]:
    """The lines of the prompt on which an exclusion stands, with those that it goes on over."""
    lines = agent.prompt.split("\n")
    found: set[int] = set()
    for exclusion in agent.exclusions:
        words = " ".join(exclusion.text.split())
        for number in range(exclusion.line or 0, agent.prompt_line + len(lines)):
            at = number - agent.prompt_line
            text = plain_text(lines[at]).lstrip("-*+ ") if at >= 0 else ""
            if not text or text not in words:
                break
            found.add(number)
    return frozenset(found)
