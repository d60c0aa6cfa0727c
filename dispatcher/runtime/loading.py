"""What a dispatcher works with: settings, agents, a router and a client, read and put together in one step."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dispatcher.errors import AgentFileError, ConfigError, OfflineError, UnknownAgentError
from dispatcher.llm import (
    STANDARD_BASE_URL,
    AnthropicClient,
    LLMClient,
    OfflineClient,
    base_url_of,
    has_credential,
)
from dispatcher.registry import Registry
from dispatcher.routing import Router
from dispatcher.routing.rules import compile_rules
from dispatcher.routing.weights import load_weights
from dispatcher.runtime.tools import Tool
from dispatcher.settings import LoadedSettings, Settings, load_settings

__all__ = ["Loaded", "load", "read"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What `reload` replaces in one step."""

    settings: Settings
    registry: Registry
    router: Router
    given_client: LLMClient | None
    environment: Mapping[str, str]
    tools: tuple[Tool, ...] = ()

    @functools.cached_property
    def client(self) -> LLMClient:
        return _client_for(self.settings, self.environment) if self.given_client is None else self.given_client


def read(sources: Mapping[str, Any]) -> tuple[LoadedSettings, Registry]:
    """Config and agents, with a notice for each name in config that is no agent's.

    Raises ConfigError, with file and line, for rules that can't be used.
    """
    loaded = load_settings(**sources)
    registry = Registry.from_settings(loaded.settings, folder=sources["folder"], environment=sources["environment"])
    for found in registry.diagnostics:
        _logger.info("%s: %s: %s", found.location(), found.severity, found.message)
    settings, notices = loaded.settings, list(loaded.notices)
    try:
        compile_rules(settings.rules, registry.agents)
    except ConfigError as problem:
        place = loaded.origins.get("rules", "settings")
        raise ConfigError(f"{place}: {problem.message}", hint=problem.hint) from None
    for name in settings.disabled:
        if (reason := _why_unknown(name, registry)) is not None:
            notices.append(f"{loaded.origins.get('disabled', 'disabled')}: disabled: {reason}")
    fallback = settings.routing.fallback
    if fallback is not None and (reason := _why_unknown(fallback, registry)) is not None:
        # A fallback that holds for all projects must not stop one that has other agents.
        notices.append(f"{loaded.origins.get('routing.fallback', 'routing.fallback')}: routing.fallback: {reason}")
        settings = replace(settings, routing=replace(settings.routing, fallback=None))
    return replace(loaded, settings=settings, notices=tuple(notices)), registry


def _why_unknown(name: str, registry: Registry) -> str | None:
    try:
        registry.find(name)
    except UnknownAgentError as problem:
        return f"{problem.message}; {problem.hint}"
    return None


def load(
    registry: Registry,
    settings: Settings,
    client: LLMClient | None,
    environment: Mapping[str, str],
    tools: tuple[Tool, ...] = (),
) -> Loaded:
    if not registry.agents:
        where = ", ".join(str(scope.root) for scope in registry.scopes) or "nowhere"
        faults = "".join(f"\n  {found.location()}: {found.message}" for found in registry.errors)
        raise AgentFileError(
            f"there is no agent to work with (looked in {where}){faults}",
            hint=registry.errors[0].hint if registry.errors else "`dispatch agents check` says what was read",
        )
    weights = settings.routing.weights
    router = Router(
        registry.agents,
        settings=settings.routing,
        rules=settings.rules,
        disabled=registry.disabled,
        weights=load_weights(Path(weights).expanduser()) if weights is not None else None,
    )
    return Loaded(settings, registry, router, client, environment, tools)


def _client_for(settings: Settings, environment: Mapping[str, str]) -> LLMClient:
    """The client for a credential or for a service of the user's own; without either, one that sends nothing."""
    is_standard = base_url_of(settings.llm, environment) == STANDARD_BASE_URL
    if not is_standard or has_credential(settings.llm, environment):
        return AnthropicClient(settings.llm, environment=environment)
    if settings.llm.offline == "error":
        raise OfflineError(
            "there is no credential for the model's service, and llm.offline is set to error",
            hint=f"set {settings.llm.api_key_env or 'ANTHROPIC_API_KEY'} to your key",
        )
    return OfflineClient()
