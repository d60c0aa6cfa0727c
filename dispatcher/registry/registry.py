"""Folders → Registry: which agents there are, which were shadowed or left out, and why.

Knows of files and scopes, nothing of routing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from dispatcher import enriched as enrichment
from dispatcher.agent import Agent, Diagnostic, Severity, slugify
from dispatcher.cache import Cache, digest_of
from dispatcher.errors import UsageError
from dispatcher.naming import find_agent, sort_by_name
from dispatcher.progress import Progress
from dispatcher.registry.remembered import FileReader, RememberedFiles
from dispatcher.scopes import Scope, agent_files, given_scopes, usual_scopes
from dispatcher.settings import Settings
from dispatcher.settings.tree import MAX_FILE_BYTES, DuplicatePolicy

__all__ = ["PassedOver", "Registry", "Shadowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """An agent that is hidden by one of the same name in a nearer scope, even where that one was left out itself."""

    agent: Agent
    by: Agent


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A file that is no agent, and why it was taken for none."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The agents that can be used, sorted by name, and everything there is to report of how they were found.

    `disabled` are names that config keeps out of routing. `scopes` are the roots that were searched, nearest first.
    `digest` stands for all agents as they were read, for those who keep what they make of them: the folders, a dash,
    and the content.
    """

    agents: tuple[Agent, ...] = ()
    disabled: frozenset[str] = frozenset()
    shadowed: tuple[Shadowed, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    scopes: tuple[Scope, ...] = ()
    file_count: int = 0
    digest: str = field(default="", init=False)  # not for those that are made of it by hand

    @classmethod
    def from_agents(cls, agents: Iterable[Agent], *, disabled: Iterable[str] = ()) -> Registry:
        """A registry of agents that are at hand; of two of one name the first counts."""
        by_name: dict[str, Agent] = {}
        for agent in agents:
            by_name.setdefault(agent.name, agent)
        return cls(agents=sort_by_name(by_name.values()), disabled=frozenset(disabled))

    @classmethod
    def from_paths(
        cls,
        *paths: str | Path,
        duplicates: DuplicatePolicy = "error",
        disabled: Iterable[str] = (),
        max_file_bytes: int = MAX_FILE_BYTES,
        enriched: str | Path | None = None,
        cache: Cache | None = None,
    ) -> Registry:
        """The agents of folders and files, the first path being the nearest scope; `cache` spares reading files anew.

        Raises UsageError for a path that does not exist, or a policy that does not.
        """
        policies = get_args(DuplicatePolicy)
        if duplicates not in policies:
            raise UsageError(f'duplicates="{duplicates}" is no policy', hint=f"there are {', '.join(policies)}")
        settings = Settings(
            duplicates=duplicates,
            disabled=tuple(disabled),
            max_file_bytes=max_file_bytes,
            enriched=str(enriched) if enriched is not None else None,
        )
        return _load(given_scopes(paths), settings, cache)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Registry:
        """The agents that the settings name, or else those of all the usual folders that exist, with the cache that the
        settings name."""
        folder = folder or Path.cwd()
        environment = os.environ if environment is None else environment
        if settings.agents:
            scopes = given_scopes(folder / Path(path).expanduser() for path in settings.agents)
        else:
            scopes = usual_scopes(folder, environment)
        return _load(scopes, settings, Cache.of(settings.cache, environment), progress)

    @property
    def routable(self) -> tuple[Agent, ...]:
        """The agents that the router may choose from."""
        off = {slugify(name) for name in self.disabled}
        return tuple(
            agent
            for agent in self.agents
            if agent.is_routable and agent.name not in self.disabled and agent.slug not in off
        )

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if found.severity is Severity.ERROR)

    def find(self, name: str) -> Agent:
        """The agent of that name or slug. Raises UnknownAgentError, with the nearest names, if there is none."""
        return find_agent(name, self.agents)


def _load(
    scopes: Sequence[Scope], settings: Settings, cache: Cache | None, progress: Progress | None = None
) -> Registry:
    limit = settings.max_file_bytes
    reader = RememberedFiles(cache, scopes, limit) if cache is not None else FileReader(limit)
    chosen: dict[str, Agent] = {}
    taken: dict[str, Agent] = {}  # also by agents that were left out, lest the name turn up as a farther agent
    shadowed: list[Shadowed] = []
    diagnostics: list[Diagnostic] = []
    passed_over: list[PassedOver] = []
    near_misses: list[enrichment.NearMiss] = []
    file_count = 0
    for scope in scopes:
        files, found = agent_files(scope)
        diagnostics.extend(found)
        read: list[Agent] = []
        for number, file in enumerate(files, start=1):
            result = reader.read(file, scope)
            file_count += 1
            if progress is not None:
                progress("reading agents", number, len(files))
            read.extend(result.agents)
            diagnostics.extend(result.diagnostics)
            if result.passed_over is not None:
                passed_over.append(PassedOver(path=Path(file.path), reason=result.passed_over))
        kept, lost, conflicts = _without_duplicates(read, settings.duplicates)
        diagnostics.extend(conflicts)
        beside = scope.root / enrichment.FILE_NAME
        if settings.enriched is None and beside.is_file():
            kept, near, found = enrichment.add_enriched(kept, beside)
            near_misses.extend(near)
            diagnostics.extend(found)
        for agent in kept:
            if agent.name in taken:
                shadowed.append(Shadowed(agent=agent, by=taken[agent.name]))
            else:
                chosen[agent.name] = taken[agent.name] = agent
        for agent in lost:
            taken.setdefault(agent.name, agent)
    reader.finish()
    agents = sort_by_name(chosen.values())
    if settings.enriched is not None:
        read, near, found = enrichment.add_enriched(agents, Path(settings.enriched).expanduser())
        near_misses.extend(near)
        diagnostics.extend(found)
        agents = tuple(read)
    # A neighbour may stand in another folder, so they are handed out once everybody is known.
    read, found = enrichment.add_near_misses(agents, near_misses)
    diagnostics.extend(found)
    registry = Registry(
        agents=tuple(read),
        disabled=frozenset(settings.disabled),
        shadowed=tuple(shadowed),
        diagnostics=tuple(diagnostics),
        passed_over=tuple(passed_over),
        scopes=tuple(scopes),
        file_count=file_count,
    )
    object.__setattr__(registry, "digest", _digest(scopes, read))
    return registry


def _digest(scopes: Sequence[Scope], agents: Sequence[Agent]) -> str:
    roots = [(scope.name, str(scope.root.absolute())) for scope in scopes]
    texts = [
        (agent.name, agent.digest, [(one.text, one.weight) for one in agent.enriched] if agent.enriched else "")
        for agent in agents
    ]
    return f"{digest_of(roots)}-{digest_of(texts)}"


def _without_duplicates(agents: Sequence[Agent], policy: str) -> tuple[list[Agent], list[Agent], list[Diagnostic]]:
    """One scope's agents with each name once: those that stay, those whose names were dropped, and what to report."""
    groups: dict[str, list[Agent]] = {}
    for agent in agents:
        groups.setdefault(agent.name, []).append(agent)
    kept: list[Agent] = []
    lost: list[Agent] = []
    diagnostics: list[Diagnostic] = []
    for name, group in groups.items():
        if len(group) == 1:
            kept.append(group[0])
        elif policy == "namespace":
            kept.extend(_namespaced(group))
        elif policy in ("first", "last"):
            kept.append(group[0] if policy == "first" else group[-1])
            diagnostics.append(_conflict(name, group, Severity.WARNING, f"the {policy} one is used"))
        else:
            lost.extend(group)
            diagnostics.append(_conflict(name, group, Severity.ERROR, "all of them are left out"))
    return kept, lost, diagnostics


def _conflict(name: str, group: Sequence[Agent], severity: Severity, outcome: str) -> Diagnostic:
    places = ", ".join(f"{agent.source.path}:{agent.line}" for agent in group)
    return Diagnostic(
        severity=severity,
        code="duplicate-name",
        message=f'{len(group)} agents are called "{name}", so {outcome}: {places}',
        path=group[0].source.path,
        line=group[0].line,
        hint='rename all but one, or set "duplicates: namespace" (or first, or last) in config.yaml',
    )


def _namespaced(group: Sequence[Agent]) -> list[Agent]:
    """Agents of one name as folder/name; where folders agree, folder/file-stem; where those agree too, by path."""
    for rename in (_by_folder, _by_stem, _by_path):
        names = [rename(agent) for agent in group]
        if len(set(names)) == len(names):
            break
    return [agent.but(name=name) for agent, name in zip(group, names, strict=True)]


def _by_folder(agent: Agent) -> str:
    return f"{_folder(agent)}/{agent.name}"


def _by_stem(agent: Agent) -> str:
    return f"{_folder(agent)}/{agent.source.path.stem}"


def _by_path(agent: Agent) -> str:
    return agent.source.path.resolve().with_suffix("").relative_to(agent.source.root.resolve().parent).as_posix()


def _folder(agent: Agent) -> str:
    return agent.source.path.resolve().parent.name
