"""Finding an agent by the name that somebody typed, and what to say when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatcher.agent import Agent, slugify
from dispatcher.errors import UnknownAgentError

__all__ = ["find_agent", "sort_by_name"]


def find_agent(name: str, agents: Sequence[Agent]) -> Agent:
    """The agent of that name, or of that slug if only one has it.

    Raises UnknownAgentError, with the nearest names, if there is none, or if the slug is that of several.
    """
    for agent in agents:
        if agent.name == name:
            return agent
    same_slug = [agent for agent in agents if agent.slug == slugify(name)] if slugify(name) else []
    if len(same_slug) == 1:
        return same_slug[0]
    if same_slug:
        listed = ", ".join(f'"{agent.name}"' for agent in same_slug)
        raise UnknownAgentError(f'"{name}" could be any of {listed}', hint="write the name as it stands there")
    raise _unknown(name, agents)


def sort_by_name(agents: Iterable[Agent]) -> tuple[Agent, ...]:
    """The order in which agents are listed, and in which equal scores are ranked."""
    return tuple(sorted(agents, key=lambda agent: (agent.name.casefold(), agent.name)))


def _unknown(name: str, agents: Sequence[Agent]) -> UnknownAgentError:
    from rapidfuzz import fuzz, process, utils

    names = [agent.name for agent in agents]
    found = process.extract(name, names, scorer=fuzz.WRatio, processor=utils.default_process, limit=3, score_cutoff=70)
    suggestions = tuple(match for match, _, _ in found)
    listed = " or ".join(f'"{suggestion}"' for suggestion in suggestions)
    hint = f"did you mean {listed}?" if suggestions else "`dispatch agents list` shows the agents"
    return UnknownAgentError(f'there is no agent "{name}"', hint=hint, suggestions=suggestions)
