"""From the options of a command to a dispatcher or a registry, telling the user what was odd on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dispatcher.cache import Cache
from dispatcher.cli.building import BuildingBar
from dispatcher.cli.console import Console
from dispatcher.cli.options import settings_flags
from dispatcher.cli.views import show_registry_faults
from dispatcher.errors import AgentFileError
from dispatcher.registry import Registry
from dispatcher.routing import Router
from dispatcher.routing.weights import Weights, load_weights, shipped_weights
from dispatcher.runtime import Dispatcher
from dispatcher.settings import LoadedSettings, Settings, load_settings

__all__ = ["load_dispatcher", "load_registry", "load_router"]


def load_dispatcher(
    console: Console,
    *,
    agents: Sequence[str] | None,
    config: Path | None,
    variables: Sequence[str] | None = None,
    precision: float | None = None,
    escalate: str | None = None,
    executor: str | None = None,
    yes: bool = False,
) -> Dispatcher:
    """Raises ConfigError, and AgentFileError if no agent is left."""
    flags = settings_flags(agents, variables, precision=precision, escalate=escalate, executor=executor, yes=yes)
    dispatcher = Dispatcher.from_config(flags=flags, config=config, progress=BuildingBar(console))
    for notice in dispatcher.notices:
        console.notice(notice)
    show_registry_faults(dispatcher.registry, console)
    return dispatcher


def load_router(
    console: Console,
    *,
    agents: Sequence[str] | None,
    config: Path | None,
    weights: Path | None,
    enriched: Path | None,
    precision: float | None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Router, Registry, Weights, Settings]:
    """A router by itself, with weights of the caller's choice, and the settings; `flags` override more of them.

    Raises AgentFileError if there is no agent.
    """
    flags = settings_flags(agents, enriched=enriched, precision=precision) | dict(flags or {})
    loaded = load_settings(flags=flags, config=config)
    for notice in loaded.notices:
        console.notice(notice)
    settings = loaded.settings
    bar = BuildingBar(console)
    registry = Registry.from_settings(settings, progress=bar)
    show_registry_faults(registry, console)
    if not registry.routable:
        raise AgentFileError("there is no agent to route to", hint="`dispatch agents check` says what was read")
    named = weights or (Path(settings.routing.weights).expanduser() if settings.routing.weights else None)
    chosen = load_weights(named) if named is not None else shipped_weights()
    router = Router(
        registry.agents,
        settings=replace(settings.routing, fallback=None),
        rules=settings.rules,
        disabled=registry.disabled,
        weights=chosen,
        cache=Cache.of(settings.cache, os.environ),
        digest=registry.digest,
        progress=bar,
    )
    return router, registry, chosen, settings


def load_registry(
    console: Console, *, agents: Sequence[str] | None, config: Path | None
) -> tuple[Registry, LoadedSettings]:
    """The agents alone, for commands that look at them."""
    loaded = load_settings(flags=settings_flags(agents), config=config)
    for notice in loaded.notices:
        console.notice(notice)
    return Registry.from_settings(loaded.settings), loaded
