"""The agents as they would be with other example tasks, so that these can be tried before they are put in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dispatcher.agent import Agent
from dispatcher.enriched import FILE_NAME, NearMiss, add_enriched, add_near_misses
from dispatcher.naming import sort_by_name

__all__ = ["agents_with"]


def agents_with(agents: Sequence[Agent], texts: Mapping[Path, str], given: Path | None) -> tuple[Agent, ...]:
    """All agents with the example tasks of their files, of which some have another text than on the disk.

    Parameters
    ----------
    agents: all agents of a registry.
    texts: what some of the files would hold.
    given: the file that config names for all agents, in place of the one in each of their folders.
    """
    groups: dict[Path, list[Agent]] = {}
    for agent in agents:
        groups.setdefault(given or agent.source.root / FILE_NAME, []).append(agent)
    found: list[Agent] = []
    near_misses: list[NearMiss] = []
    for path, group in groups.items():
        if path in texts or path.is_file():
            text = texts[path].removeprefix("\ufeff") if path in texts else None
            group, near, _ = add_enriched(group, path, text)
            near_misses.extend(near)
        found.extend(group)
    read, _ = add_near_misses(found, near_misses)
    return sort_by_name(read)
