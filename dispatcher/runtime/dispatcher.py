"""The facade: load once, then route and dispatch tasks, from as many threads or coroutines as there are.

Planning and finishing a run are the same for all; the four ways to run only differ in how they wait.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from dispatcher.agent import Agent
from dispatcher.decisionlog import DecisionLog
from dispatcher.errors import UsageError
from dispatcher.llm.client import Completion, LLMClient, TextDelta
from dispatcher.progress import Progress
from dispatcher.registry import Registry
from dispatcher.routing import Decision, Router
from dispatcher.runtime.attachments import Attachment
from dispatcher.runtime.loading import Given, Loaded, load, read
from dispatcher.runtime.observing import ObservedRun, observed_route
from dispatcher.runtime.prompt import EFFORTS, build_request
from dispatcher.runtime.reply import ABSTAINED, DecisionMade, Event, Plan, Reply, Stopped
from dispatcher.settings import Settings

if TYPE_CHECKING:
    from dispatcher.judge import Judge, Turn

__all__ = ["Dispatcher", "RunOptions"]

_logger = logging.getLogger(__name__)


class RunOptions(TypedDict, total=False):
    """What a run can be told besides its task."""

    agent: str | None
    """The agent to use, by name or slug."""
    only: Collection[str] | None
    """Names of the agents that may be chosen."""
    exclude: Collection[str] | None
    """Names of agents that may not."""
    model: str | None
    """The model, before the agent's own."""
    max_tokens: int | None
    """The longest answer, in tokens."""
    variables: Mapping[str, str]
    """Values for placeholders, before those of config."""
    allow_undefined: bool
    """Whether placeholders without a value are sent as they stand."""
    attachments: Sequence[Attachment]
    """Files that go with the task."""
    material: str
    """Text that goes with the task, such as a log: sent after it, and routed on only where the task leaves it open."""
    turns: Sequence[Turn]
    """What was said before, oldest first; a judge sees the last of it."""
    decision: Decision | None
    """A decision already made, which is then carried out as it is."""


class Dispatcher:
    """Routes tasks to agents and runs them.

    Parameters
    ----------
    registry: the agents.
    settings: all settings; the defaults if not given.
    client: the model's service; the one that the settings describe if not given, or a preview without a credential.
    judge: who picks where `routing.escalate` asks for it; the model that the settings describe if not given.
    environment: where credentials are looked up; the process's if not given.
    log: where each run is written that is sent to a service; nowhere if not given.
    progress: told of what takes long: the reading of agents and the building of the index.

    `notices` says what config has that is not heeded. Raises AgentFileError if the registry is empty.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        settings: Settings | None = None,
        client: LLMClient | None = None,
        judge: Judge | None = None,
        environment: Mapping[str, str] | None = None,
        log: DecisionLog | None = None,
        progress: Progress | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        given = Given(client=client, judge=judge, progress=progress)
        self._loaded = load(registry, settings or Settings(), given, environment)
        self._sources: dict[str, Any] | None = None
        self.log = log
        self.notices: tuple[str, ...] = ()

    @classmethod
    def from_config(
        cls,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
        config: Path | None = None,
        client: LLMClient | None = None,
        judge: Judge | None = None,
        log: DecisionLog | None = None,
        progress: Progress | None = None,
    ) -> Dispatcher:
        """A dispatcher for a project's folder: its config.yaml, its agents, the user's and the bundled ones.

        The parameters are those of `load_settings`. Raises ConfigError and AgentFileError.
        """
        sources = {"folder": folder, "environment": environment, "flags": flags, "config": config}
        loaded, registry = read(sources, progress)
        dispatcher = cls(
            registry,
            settings=loaded.settings,
            client=client,
            judge=judge,
            environment=environment,
            log=log,
            progress=progress,
        )
        dispatcher._sources = sources
        dispatcher.notices = loaded.notices
        return dispatcher

    @property
    def registry(self) -> Registry:
        return self._loaded.registry

    @property
    def router(self) -> Router:
        return self._loaded.router

    @property
    def settings(self) -> Settings:
        return self._loaded.settings

    def reload(self) -> None:
        """Reads config and agents anew and puts them in place in one step; runs under way finish on the old ones.

        Raises what `from_config` raises, and then changes nothing.
        """
        if self._sources is None:
            raise UsageError("this dispatcher was made from a registry", hint="use Dispatcher.from_config() to reload")
        before = self._loaded
        loaded, registry = read(self._sources, before.given.progress)
        self._loaded = load(registry, loaded.settings, before.given, before.environment)
        self.notices = loaded.notices

    def close(self) -> None:
        """Closes the connections that were kept open; the dispatcher can still be used."""
        self._loaded.close()
        close = getattr(self._loaded.client, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        await self._loaded.aclose()
        close = getattr(self._loaded.client, "aclose", None)
        if close is not None:
            await close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def route(
        self,
        task: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        material: str = "",
        turns: Sequence[Turn] = (),
    ) -> Decision:
        """Decides who takes a task, without running it. A judge is asked only where `routing.escalate` says so."""
        loaded = self._loaded
        decision = observed_route(loaded.router, task, agent=agent, only=only, exclude=exclude, material=material)
        return loaded.judged(decision, turns=turns, material=material)

    async def aroute(
        self,
        task: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        material: str = "",
        turns: Sequence[Turn] = (),
    ) -> Decision:
        """`route` for coroutines."""
        loaded = self._loaded
        decision = observed_route(loaded.router, task, agent=agent, only=only, exclude=exclude, material=material)
        return await loaded.ajudged(decision, turns=turns, material=material)

    def plan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """Decides who takes a task and what would be sent to its model, without sending it."""
        return _plan(self._loaded, task, options)

    async def aplan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """`plan` for coroutines."""
        return await _aplan(self._loaded, task, options)

    def dispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """Routes a task and runs it, or carries out a plan already made.

        Abstaining is a result: the reply then has the stop reason `abstained`. Raises LLMError and its kind,
        BudgetError, UnknownAgentError, VariableError and AgentFileError.
        """
        loaded = self._loaded
        plan = _plan(loaded, task, options)
        with ObservedRun(loaded, plan, self.log) as run:
            if plan.request is None:
                return run.ended(_abstained(plan))
            return run.ended(_reply(loaded, plan, run.client.complete(plan.request)))

    def stream(self, task: str | Plan, **options: Unpack[RunOptions]) -> Iterator[Event]:
        """The same as events, as they come: the decision, pieces of text, and the reply."""
        loaded = self._loaded
        plan = _plan(loaded, task, options)
        with ObservedRun(loaded, plan, self.log) as run:
            yield DecisionMade(plan=plan)
            if plan.request is None:
                yield run.seen(Stopped(reply=_abstained(plan)))
                return
            for event in run.client.stream(plan.request):
                yield run.seen(_event(loaded, plan, event))

    async def adispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """`dispatch` for coroutines."""
        loaded = self._loaded
        plan = await _aplan(loaded, task, options)
        with ObservedRun(loaded, plan, self.log) as run:
            if plan.request is None:
                return run.ended(_abstained(plan))
            return run.ended(_reply(loaded, plan, await run.client.acomplete(plan.request)))

    async def astream(self, task: str | Plan, **options: Unpack[RunOptions]) -> AsyncIterator[Event]:
        """`stream` for coroutines."""
        loaded = self._loaded
        plan = await _aplan(loaded, task, options)
        with ObservedRun(loaded, plan, self.log) as run:
            yield DecisionMade(plan=plan)
            if plan.request is None:
                yield run.seen(Stopped(reply=_abstained(plan)))
                return
            async for event in run.client.astream(plan.request):
                yield run.seen(_event(loaded, plan, event))


def _plan(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """A plan for a task; one already made stays as it is."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = loaded.judged(_routed(loaded, task, options), **_asides(options))
    return _planned(loaded, decision, options)


async def _aplan(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """`_plan` for coroutines."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = await loaded.ajudged(_routed(loaded, task, options), **_asides(options))
    return _planned(loaded, decision, options)


def _routed(loaded: Loaded, task: str, options: RunOptions) -> Decision:
    return observed_route(
        loaded.router,
        task,
        agent=options.get("agent"),
        only=options.get("only"),
        exclude=options.get("exclude"),
        material=options.get("material", ""),
    )


def _asides(options: RunOptions) -> dict[str, Any]:
    """What a judge sees besides the task."""
    return {"turns": options.get("turns", ()), "material": options.get("material", "")}


def _planned(loaded: Loaded, decision: Decision, options: RunOptions) -> Plan:
    """What a decision comes to."""
    from dispatcher.llm import choose_model

    material = options.get("material", "")
    _logger.info(
        "%s %s: %s, confidence %.3f, %s",
        decision.outcome,
        decision.agent.name if decision.agent else "nobody",
        decision.how,
        decision.confidence,
        decision.reason,
    )
    if decision.agent is None:
        return Plan(decision=decision)
    text = "\n\n".join(part for part in (decision.task, material) if part.strip())
    if not text and not options.get("attachments"):
        raise UsageError("there is no task for the agent", hint='write it after the name: "@name design a user API"')
    agent = decision.agent
    model = choose_model(flag=options.get("model"), agent_models=agent.models, settings=loaded.settings.llm)
    request = build_request(
        agent,
        text,
        model=model.name,
        max_tokens=options.get("max_tokens") or loaded.settings.llm.max_tokens,
        variables={**loaded.settings.variables, **options.get("variables", {})},
        attachments=options.get("attachments", ()),
        allow_undefined=options.get("allow_undefined", False),
    )
    notices = tuple(notice for notice in (model.notice, *_notices(agent)) if notice is not None)
    return Plan(decision=decision, model=model, request=request, notices=notices)


def _notices(agent: Agent) -> Iterator[str]:
    """What an agent's file asks for and does not get."""

    asked = [*(agent.tools.allowed or ()), *(f"MCP server {name}" for name in agent.mcp_servers)]
    if asked:
        shown = ", ".join(asked[:4]) + (", ..." if len(asked) > 4 else "")
        yield f"its file names tools ({shown}); it is run without any"
    if agent.effort and agent.effort.lower() not in EFFORTS:
        yield f'the effort "{agent.effort}" is none of {", ".join(EFFORTS)}; it is not sent'


def _abstained(plan: Plan) -> Reply:
    return Reply(plan=plan, text="", stop_reason=ABSTAINED)


def _event(loaded: Loaded, plan: Plan, event: TextDelta | Completion) -> Event:
    return event if isinstance(event, TextDelta) else Stopped(reply=_reply(loaded, plan, event))


def _reply(loaded: Loaded, plan: Plan, completion: Completion) -> Reply:
    from dispatcher.llm import cost_of

    _logger.info(
        "%s stopped: %s, %d tokens in, %d out, request %s",
        completion.model,
        completion.stop_reason,
        completion.usage.prompt_tokens,
        completion.usage.output_tokens,
        completion.request_id,
    )
    return Reply(
        plan=plan,
        text=completion.text,
        stop_reason=completion.stop_reason,
        usage=completion.usage,
        cost=cost_of(completion.usage, completion.model, loaded.settings.llm.prices),
        model=completion.model,
        request_id=completion.request_id,
        attempts=completion.attempts,
    )
