"""What a dispatcher works with: settings, agents, a router and a client, read and put together in one step."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatcher.cache import Cache
from dispatcher.errors import AgentFileError, ConfigError, CredentialError, OfflineError, UnknownAgentError
from dispatcher.progress import Progress
from dispatcher.registry import Registry
from dispatcher.routing import Router
from dispatcher.routing.rules import compile_rules
from dispatcher.routing.weights import load_weights
from dispatcher.settings import BudgetSettings, LoadedSettings, Settings, load_settings

if TYPE_CHECKING:
    from dispatcher.budgets import Limit
    from dispatcher.judge import Escalator, Judge, JudgeMemory
    from dispatcher.llm import LLMClient, OfflineClient, ResilientClient
    from dispatcher.mcp_servers import McpServer
    from dispatcher.routing import Decision
    from dispatcher.runtime.reply import Plan
    from dispatcher.runtime.toolbox import Toolbox
    from dispatcher.settings import LLMSettings
    from dispatcher.tracing import Spanned

__all__ = ["Given", "Loaded", "anthropic_judge", "judged_cost", "load", "read"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a dispatcher was given and keeps when it reloads; what judges were asked, and what that cost, too."""

    client: LLMClient | None = None
    judge: Judge | None = None
    toolbox: Toolbox | None = None
    progress: Progress | None = None

    @functools.cached_property
    def memory(self) -> JudgeMemory:
        from dispatcher.judge import JudgeMemory

        return JudgeMemory()

    @functools.cached_property
    def servers(self) -> list[McpServer]:
        """The servers of tools that config has described so far."""
        return []


@dataclass(frozen=True)
class Loaded:
    """What `reload` replaces in one step."""

    settings: Settings
    registry: Registry
    router: Router
    given: Given
    environment: Mapping[str, str]

    @functools.cached_property
    def client(self) -> ResilientClient | OfflineClient:
        if self.given.client is None:
            return _client_for(self.settings, self.environment)
        # The caller's own client tries again as it thinks right.
        return _resilient(self.given.client, replace(self.settings.llm, max_retries=0))

    @functools.cached_property
    def toolbox(self) -> Toolbox:
        """What the program gave, and the MCP servers of config; those that it had before stay as they are."""
        from dispatcher.mcp_servers import McpServer
        from dispatcher.runtime.toolbox import Toolbox

        found = []
        for name, settings in self.settings.tools.mcp_servers.items():
            known = (each for each in self.given.servers if (each.name, each.settings) == (name, settings))
            server = next(known, None) or McpServer.of(name, settings)
            if server not in self.given.servers:
                self.given.servers.append(server)
            found.append(server)
        return (self.given.toolbox or Toolbox()).with_servers(found)

    @property
    def sends_nothing(self) -> bool:
        """Whether there is no service to send to."""
        from dispatcher.llm import OfflineClient

        if self.settings.executor != "api":
            return False
        try:
            return isinstance(self.client, OfflineClient)
        except OfflineError:
            return True

    def client_for_run(self, plan: Plan, span: Spanned, *, session_cost: float | None = None) -> LLMClient:
        """The client for one run: it stays within the budgets of the run, of its session and of the day.

        Parameters
        ----------
        plan: the run's; what its judge cost counts in the run's budget.
        span: that of the run.
        session_cost: what the turns before cost, in US dollars; None for a run that belongs to no session.
        """
        from dispatcher.llm import OfflineClient
        from dispatcher.tracing import TracedClient

        client = self.client
        if isinstance(client, OfflineClient):
            return client
        if self.settings.budget != BudgetSettings():
            client = self._budgeted(client, plan, session_cost)
        return TracedClient(client, span)

    def _budgeted(self, client: ResilientClient, plan: Plan, session_cost: float | None) -> ResilientClient:
        """A client whose attempts stay within budgets; below them, as each has the price of the model that it asks."""
        from dispatcher.budgets import BudgetedClient, Limit

        budget = self.settings.budget
        limits: list[Limit] = []
        if budget.run is not None:
            limits.append(Limit("run", budget.run, spent=judged_cost(plan)))
        if budget.session is not None and session_cost is not None:
            limits.append(Limit("session", budget.session, spent=session_cost))
        limits += self._day
        if not limits:
            return client
        return client.sending_by(BudgetedClient(client.client, limits, prices=self.settings.llm.prices))

    @functools.cached_property
    def registry_fingerprint(self) -> str:
        """A short name of the agents, by the content of their files."""
        agents = sorted((agent.name, agent.digest) for agent in self.registry.agents)
        return hashlib.sha256(json.dumps(agents).encode()).hexdigest()[:12]

    @functools.cached_property
    def weights_fingerprint(self) -> str:
        return self.router.weights.fingerprint

    @functools.cached_property
    def _day(self) -> tuple[Limit, ...]:
        """The budget of the day, if there is one."""
        dollars = self.settings.budget.day
        if dollars is None:
            return ()
        from dispatcher.budgets import DayLimit, SpendingFile, spending_path

        return (DayLimit(dollars, SpendingFile(spending_path(self.environment))),)

    @functools.cached_property
    def escalator(self) -> Escalator:
        from dispatcher.judge import Escalator, Policy
        from dispatcher.judge.traced import TracedJudge

        settings = self.settings
        judge, unavailable = self.given.judge, ""
        if judge is None and settings.routing.escalate != "never":
            judge, unavailable = anthropic_judge(settings, self.given.client, self.environment, limits=self._day)
        return Escalator(
            None if judge is None else TracedJudge(judge),
            Policy.of(settings.routing, settings.judge, self.router.weights),
            timeout=settings.judge.timeout,
            budget=settings.judge.budget,
            memory=self.given.memory,
            unavailable=unavailable,
        )

    def judged(self, decision: Decision, **asides: Any) -> Decision:
        """The decision after a judge, where settings want one."""
        return self.escalator.decide(decision, **asides) if self._escalates else decision

    async def ajudged(self, decision: Decision, **asides: Any) -> Decision:
        """`judged` for coroutines."""
        return await self.escalator.adecide(decision, **asides) if self._escalates else decision

    def close(self) -> None:
        """Closes the connections to the model's service that are open, to servers of tools, and those of a judge."""
        self._close_servers()
        if (close := getattr(self._opened_client, "close", None)) is not None:
            close()
        if self._escalates:
            self.escalator.close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        import asyncio

        await asyncio.to_thread(self._close_servers)
        if (close := getattr(self._opened_client, "aclose", None)) is not None:
            await close()
        if self._escalates:
            await self.escalator.aclose()

    def _close_servers(self) -> None:
        if self.given.toolbox is not None:
            self.given.toolbox.close()
        for server in self.given.servers:
            server.close()

    @property
    def _opened_client(self) -> LLMClient | None:
        """The client, if anybody has asked for it, or brought one."""
        opened: LLMClient | None = self.__dict__.get("client")
        return opened or self.given.client

    @property
    def _escalates(self) -> bool:
        return self.settings.routing.escalate != "never"


def read(sources: Mapping[str, Any], progress: Progress | None = None) -> tuple[LoadedSettings, Registry]:
    """Config and agents, with a notice for each name in config that is no agent's.

    Raises ConfigError, with file and line, for rules and patterns that can't be used.
    """
    loaded = load_settings(**sources)
    registry = Registry.from_settings(
        loaded.settings, folder=sources["folder"], environment=sources["environment"], progress=progress
    )
    for found in registry.diagnostics if _logger.isEnabledFor(logging.INFO) else ():
        _logger.info("%s: %s: %s", found.location(), found.severity, found.message)
    settings, notices = loaded.settings, list(loaded.notices)
    try:
        compile_rules(settings.rules, registry.agents)
    except ConfigError as problem:
        place = loaded.origins.get("rules", "settings")
        raise ConfigError(f"{place}: {problem.message}", hint=problem.hint) from None
    try:
        if settings.log.redact:
            from dispatcher.decisionlog import Redaction

            Redaction(settings.log.redact)
    except ConfigError as problem:
        raise ConfigError(
            f"{loaded.origins.get('log.redact', 'settings')}: {problem.message}", hint=problem.hint
        ) from None
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


def load(registry: Registry, settings: Settings, given: Given, environment: Mapping[str, str]) -> Loaded:
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
        cache=Cache.of(settings.cache, environment) if registry.digest else None,
        digest=registry.digest,
        progress=given.progress,
    )
    return Loaded(settings, registry, router, given, environment)


def anthropic_judge(
    settings: Settings, client: LLMClient | None, environment: Mapping[str, str], *, limits: Sequence[Limit] = ()
) -> tuple[Judge | None, str]:
    """The judge that settings describe, or None and why there is none: that must not keep anybody from routing.

    A `client` that the caller gave is asked; else the service that the settings describe. It stays within `limits`.
    """
    from dispatcher.budgets import BudgetedClient
    from dispatcher.judge import AnthropicJudge
    from dispatcher.llm import STANDARD_BASE_URL, AnthropicClient, base_url_of, choose_model, has_credential
    from dispatcher.llm.models import price_of
    from dispatcher.tracing import TracedClient

    model = choose_model(flag=settings.judge.model, agent_models=(), settings=settings.llm).name
    if settings.judge.budget is not None and price_of(model, settings.llm.prices) is None:
        return None, f'judge.budget can\'t be kept, as the price of "{model}" is not known: add it to llm.prices'
    if client is None:
        is_standard = base_url_of(settings.llm, environment) == STANDARD_BASE_URL
        try:
            if is_standard and not has_credential(settings.llm, environment):
                return None, f"there is no API key: set {settings.llm.api_key_env or 'ANTHROPIC_API_KEY'}"
        except CredentialError as problem:
            return None, problem.message
        # Time is short, so one more try has to do.
        llm = replace(settings.llm, timeout=settings.judge.timeout, max_retries=min(1, settings.llm.max_retries))
        client = AnthropicClient(llm, environment=environment)
    client = TracedClient(client)
    if limits:
        client = BudgetedClient(client, limits, prices=settings.llm.prices)
    return AnthropicJudge(client, model=model, prices=settings.llm.prices), ""


def _client_for(settings: Settings, environment: Mapping[str, str]) -> ResilientClient | OfflineClient:
    """The client for a credential or for a service of the user's own; without either, one that sends nothing."""
    from dispatcher.llm import STANDARD_BASE_URL, AnthropicClient, OfflineClient, base_url_of, has_credential

    is_standard = base_url_of(settings.llm, environment) == STANDARD_BASE_URL
    if not is_standard or has_credential(settings.llm, environment):
        return _resilient(AnthropicClient(replace(settings.llm, max_retries=0), environment=environment), settings.llm)
    if settings.llm.offline == "error":
        raise OfflineError(
            "there is no credential for the model's service, and llm.offline is set to error",
            hint=f"set {settings.llm.api_key_env or 'ANTHROPIC_API_KEY'} to your key",
        )
    return OfflineClient()


def _resilient(client: LLMClient, settings: LLMSettings) -> ResilientClient | OfflineClient:
    """A client with the attempts that settings describe; one that sends nothing needs none."""
    from dispatcher.llm import AttemptPolicy, Circuits, OfflineClient, ResilientClient, choose_model

    if isinstance(client, OfflineClient):
        return client
    fallbacks = (choose_model(flag=name, agent_models=(), settings=settings).name for name in settings.fallbacks)
    policy = AttemptPolicy(
        fallbacks=tuple(dict.fromkeys(fallbacks)), max_retries=settings.max_retries, deadline=settings.deadline
    )
    circuits = Circuits(after=settings.breaker_failures, seconds=settings.breaker_seconds)
    return ResilientClient(client, policy, circuits)


def judged_cost(plan: Plan) -> float:
    """What asking a judge for a plan cost, in US dollars."""
    judgement = plan.decision.judgement
    return judgement.cost or 0.0 if judgement is not None and not judgement.is_estimated else 0.0
