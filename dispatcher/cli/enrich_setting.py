"""From the options of `dispatch enrich` to everything that a run works with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.agent import Agent
from dispatcher.cli.console import Console
from dispatcher.cli.options import settings_flags
from dispatcher.cli.views import show_registry_faults
from dispatcher.enrich import (
    AskOptions,
    Estimate,
    JournalContent,
    Plan,
    agents_with,
    enriched_paths,
    estimate_jobs,
    make_plan,
    merged,
    read_journals,
    read_text,
)
from dispatcher.errors import AgentFileError, UsageError
from dispatcher.evaluation import Gain, LabelledTask, check_labels, measure_gain, read_tasks, unseen
from dispatcher.llm import choose_model
from dispatcher.registry import Registry
from dispatcher.routing import Router
from dispatcher.routing.weights import Weights, load_weights
from dispatcher.settings import Settings, load_settings

__all__ = ["Workplace", "load_workplace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """The agents, the files that are written for them, and what is wanted of every call.

    `paths` are the agents to write for, by their file; `given` is the one file that config names for all.
    """

    registry: Registry
    settings: Settings
    paths: Mapping[Path, Sequence[Agent]]
    given: Path | None
    options: AskOptions

    def plan(self, texts: Mapping[Path, str], contents: Mapping[Path, JournalContent]) -> Plan:
        """What is left to be asked, where the files hold these texts."""
        batches = [batch for content in contents.values() for batch in content.batches]
        under_way = {(name, digest) for batch in batches for name, digest, _ in batch.requests.values()}
        return make_plan(self.paths, self.registry.routable, texts=texts, under_way=under_way)

    def preview(self) -> Plan:
        """The plan as it is now, without taking the files."""
        contents = read_journals(self.paths)
        texts = {path: merged(read_text(path), content.lines) for path, content in contents.items()}
        return self.plan(texts, contents)

    def estimate(self, plan: Plan, *, is_batch: bool) -> Estimate:
        return estimate_jobs(plan.jobs, self.options, is_batch=is_batch)

    def labelled(self, path: Path) -> tuple[LabelledTask, ...]:
        """The tasks of a file. Raises UsageError for what is none, for a label that is no agent's name, and for rules
        and weights of config that the gain can't be measured with: before anything is paid for."""
        tasks = read_tasks(path)
        self._router(self.registry.agents)
        check_labels(tasks, [agent.name for agent in self.registry.routable], path)
        return tasks

    def gain(self, texts: Mapping[Path, str], tasks: Sequence[LabelledTask]) -> Gain | None:
        """What it gives if the files hold these texts, on the tasks that are nobody's example then."""
        after = agents_with(self.registry.agents, texts, self.given)
        held_out = unseen(tasks, after)
        return measure_gain(self._router(self.registry.agents), self._router(after), held_out) if held_out else None

    def _router(self, agents: Sequence[Agent]) -> Router:
        routing = self.settings.routing
        weights: Weights | None = load_weights(Path(routing.weights).expanduser()) if routing.weights else None
        return Router(
            agents,
            settings=dataclasses.replace(routing, fallback=None),
            rules=self.settings.rules,
            disabled=self.registry.disabled,
            weights=weights,
        )


def load_workplace(
    console: Console,
    names: Sequence[str] | None,
    *,
    flags: Mapping[str, Any],
    model: str | None,
    max_cost: float | None,
    agents: Sequence[str] | None,
    config: Path | None,
    enriched: Path | None,
) -> Workplace:
    """Raises ConfigError, UnknownAgentError, UsageError where nothing can be written, and AgentFileError if there is
    no agent."""
    loaded = load_settings(flags={**settings_flags(agents, enriched=enriched), **flags}, config=config)
    for notice in loaded.notices:
        console.notice(notice)
    settings = loaded.settings
    given = Path(settings.enriched).expanduser() if settings.enriched is not None else None
    registry = _registry(settings, given)
    show_registry_faults(registry, console)
    paths = enriched_paths(_chosen(registry, names), given)
    if not paths:
        raise UsageError(
            "there are only bundled agents, which come with their examples",
            hint="name yours with --agents; or with --enriched a file to write for all",
        )
    llm = dataclasses.replace(settings.llm, model=settings.enrich.model or settings.llm.model)
    choice = choose_model(flag=model, agent_models=(), settings=llm)
    if choice.notice:
        console.notice(choice.notice)
    options = AskOptions(
        model=choice.name,
        count=settings.enrich.count,
        max_tokens=settings.llm.max_tokens,
        prices=settings.llm.prices,
        max_cost=max_cost,
    )
    return Workplace(registry=registry, settings=settings, paths=paths, given=given, options=options)


def _registry(settings: Settings, given: Path | None) -> Registry:
    """The agents; that the file to be written does not exist yet is no fault."""
    registry = Registry.from_settings(settings)
    if given is None or given.exists():
        return registry
    return dataclasses.replace(
        registry, diagnostics=tuple(found for found in registry.diagnostics if found.path != given)
    )


def _chosen(registry: Registry, names: Sequence[str] | None) -> Sequence[Agent]:
    if not registry.routable:
        raise AgentFileError("there is no agent to route to", hint="`dispatch agents check` says what was read")
    if not names:
        return registry.routable
    chosen = {agent.name: agent for agent in map(registry.find, names)}
    for agent in chosen.values():
        if agent not in registry.routable:
            raise UsageError(
                f'"{agent.name}" is kept out of routing, so examples would be of no use to it',
                hint="take it off the list, or let it be routed to",
            )
    return tuple(chosen.values())
