"""Which agents need example tasks, who their neighbours are, and into which file the lines go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dispatcher.agent import Agent
from dispatcher.enrich.lines import kept_lines, lines_of
from dispatcher.enriched import FILE_NAME
from dispatcher.errors import UsageError
from dispatcher.routing import Router

__all__ = ["Job", "Plan", "Reason", "enriched_paths", "known_tasks", "make_plan"]

_NEIGHBOURS = 5
_BUNDLED = "bundled"


class Reason(StrEnum):
    """Why an agent needs examples."""

    NEW = "new"
    """It has none."""
    CHANGED = "changed"
    """Its file changed since they were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One agent to ask for: `digest` is that of the file that is shown to the model, `path` where its line goes.

    `known` are the example tasks that the agent has and keeps.
    """

    agent: Agent
    digest: str
    path: Path
    reason: Reason
    neighbours: tuple[Agent, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The jobs, and how many agents need nothing: they have examples, or are asked for in a batch under way."""

    jobs: tuple[Job, ...]
    up_to_date: int = 0
    under_way: int = 0


def enriched_paths(agents: Iterable[Agent], given: Path | None) -> dict[Path, tuple[Agent, ...]]:
    """The file of each agent: the one that config names, or the enriched.jsonl in the folder that it was read from.

    Bundled agents come with theirs, so they are left out unless config names a file. Raises UsageError for agents that
    were not read from a folder.
    """
    found: dict[Path, list[Agent]] = {}
    for agent in agents:
        root = agent.source.root
        if given is None and agent.source.scope == _BUNDLED:
            continue
        if given is None and not root.is_dir():
            raise UsageError(
                f"{root} is a file by itself, and {FILE_NAME} is looked for in folders of agents",
                hint="name the folder with --agents, or the file to write with --enriched",
            )
        found.setdefault(given or root / FILE_NAME, []).append(agent)
    return {path: tuple(group) for path, group in found.items()}


def make_plan(
    paths: Mapping[Path, Sequence[Agent]],
    everyone: Sequence[Agent],
    *,
    texts: Mapping[Path, str],
    under_way: Collection[tuple[str, str]] = (),
) -> Plan:
    """What is to be asked.

    Parameters
    ----------
    paths: the agents to look at, by their file.
    everyone: all agents that tasks are routed to, among which neighbours are found.
    texts: what each file holds, with what came of an unfinished run.
    under_way: names and digests of agents that a batch under way asks for.
    """
    needed: list[tuple[Agent, Path, Reason]] = []
    seen = waiting = 0
    for path, agents in paths.items():
        lines = [line for line in lines_of(texts.get(path, "")) if line.examples]
        for agent in agents:
            own = [line for line in lines if line.name == agent.name]
            seen += 1
            if (agent.name, agent.digest) in under_way:
                waiting += 1
            elif not own:
                needed.append((agent, path, Reason.NEW))
            elif all(line.is_stale_for(agent.digest) for line in own):
                needed.append((agent, path, Reason.CHANGED))
    neighbours = _neighbours([agent for agent, _, _ in needed], everyone)
    jobs = [
        Job(
            agent=agent,
            digest=agent.digest,
            path=path,
            reason=reason,
            neighbours=neighbours[agent.name],
            known=known_tasks(agent, agent.digest, texts.get(path, "")),
        )
        for agent, path, reason in needed
    ]
    return Plan(jobs=tuple(jobs), up_to_date=seen - waiting - len(jobs), under_way=waiting)


def known_tasks(agent: Agent, digest: str, text: str) -> tuple[str, ...]:
    """The example tasks that an agent has and keeps when a line for this digest is put into a file of this text."""
    kept = kept_lines(text, agent.name, digest)
    return (*(example.user for example in agent.examples), *(task for line in kept for task in line.examples))


def _neighbours(agents: Sequence[Agent], everyone: Sequence[Agent]) -> dict[str, tuple[Agent, ...]]:
    """For each agent those whose files a task in the words of its description would reach next."""
    if not agents:
        return {}
    router = Router(everyone)
    texts = [f"{agent.name} {agent.description}" for agent in agents]
    found = {}
    for agent, decision in zip(agents, router.route_many(texts, most=_NEIGHBOURS + 1), strict=True):
        others = [each.agent for each in decision.candidates if each.name != agent.name and each.score > 0]
        found[agent.name] = tuple(others[:_NEIGHBOURS])
    return found
