"""The facade: load once, then route and dispatch tasks, from as many threads or coroutines as there are.

A run is one turn of the loop; the four ways to run only differ in how they wait.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from dispatcher.agent import Agent
from dispatcher.errors import UsageError
from dispatcher.judge import Judge, Said
from dispatcher.llm import LLMClient, OfflineClient, choose_model
from dispatcher.registry import Registry
from dispatcher.routing import Decision, Router
from dispatcher.runtime.attachments import Attachment
from dispatcher.runtime.drivers import adrive, alast_reply, awhole, drive, last_reply, whole
from dispatcher.runtime.loading import Given, Loaded, load, read
from dispatcher.runtime.loop import Steps, scene_of, turn_steps
from dispatcher.runtime.prompt import EFFORTS, build_request
from dispatcher.runtime.reply import Event, Plan, Reply
from dispatcher.runtime.session import Session, WhenBusy
from dispatcher.runtime.tools import Approve, Tool, as_tools, offered_tools, unavailable_tools
from dispatcher.sessions import MemorySessionStore, SessionStore, new_session_id
from dispatcher.settings import Settings

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
    turns: Sequence[Said]
    """What was said before, oldest first; a judge sees the last of it."""
    decision: Decision | None
    """A decision already made, which is then carried out as it is."""
    tools: Sequence[Tool | Callable[..., Any]]
    """Functions that the model may call, in place of the dispatcher's; each agent gets those that its file allows."""
    approve: Approve | None
    """Asked before each call of a tool: True lets it happen; False, or a reason, which the model is told, does not."""


class Dispatcher:
    """Routes tasks to agents and runs them.

    Parameters
    ----------
    registry: the agents.
    settings: all settings; the defaults if not given.
    client: the model's service; the one that the settings describe if not given, or a preview without a credential.
    judge: who picks where `routing.escalate` asks for it; the model that the settings describe if not given.
    environment: where credentials are looked up; the process's if not given.
    store: where sessions are kept; in memory, and so no longer than this object, if not given.
    tools: functions that models may call; each agent gets those that its file allows. None if not given.

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
        store: SessionStore | None = None,
        tools: Sequence[Tool | Callable[..., Any]] = (),
    ) -> None:
        environment = os.environ if environment is None else environment
        given = Given(client=client, judge=judge, tools=as_tools(tools))
        self._loaded = load(registry, settings or Settings(), given, environment)
        self._sources: dict[str, Any] | None = None
        self.store: SessionStore = MemorySessionStore() if store is None else store
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
        store: SessionStore | None = None,
        tools: Sequence[Tool | Callable[..., Any]] = (),
    ) -> Dispatcher:
        """A dispatcher for a project's folder: its config.yaml, its agents, the user's and the bundled ones.

        The parameters are those of `load_settings` and of the class. Raises ConfigError and AgentFileError.
        """
        sources = {"folder": folder, "environment": environment, "flags": flags, "config": config}
        loaded, registry = read(sources)
        dispatcher = cls(
            registry,
            settings=loaded.settings,
            client=client,
            judge=judge,
            environment=environment,
            store=store,
            tools=tools,
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

    @property
    def is_offline(self) -> bool:
        """Whether nothing is sent, for want of a credential. Raises OfflineError where config wants that."""
        return isinstance(self._loaded.client, OfflineClient)

    def reload(self) -> None:
        """Reads config and agents anew and puts them in place in one step; runs under way finish on the old ones.

        Raises what `from_config` raises, and then changes nothing.
        """
        if self._sources is None:
            raise UsageError("this dispatcher was made from a registry", hint="use Dispatcher.from_config() to reload")
        loaded, registry = read(self._sources)
        before = self._loaded
        self._loaded = load(registry, loaded.settings, before.given, before.environment)
        self.notices = loaded.notices

    def close(self) -> None:
        """Closes the connections that were kept open; the dispatcher can still be used."""
        self._loaded.escalator.close()
        close = getattr(self._loaded.client, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        await self._loaded.escalator.aclose()
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
        turns: Sequence[Said] = (),
    ) -> Decision:
        """Decides who takes a task, without running it. A judge is asked only where `routing.escalate` says so."""
        loaded = self._loaded
        decision = loaded.router.route(task, agent=agent, only=only, exclude=exclude, material=material)
        return loaded.escalator.decide(decision, turns=turns, material=material)

    async def aroute(
        self,
        task: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        material: str = "",
        turns: Sequence[Said] = (),
    ) -> Decision:
        """`route` for coroutines."""
        loaded = self._loaded
        decision = loaded.router.route(task, agent=agent, only=only, exclude=exclude, material=material)
        return await loaded.escalator.adecide(decision, turns=turns, material=material)

    def plan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """Decides who takes a task and what would be sent to its model, without sending it."""
        return _plan(self._loaded, task, options)

    async def aplan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """`plan` for coroutines."""
        return await _aplan(self._loaded, task, options)

    def session(
        self, session_id: str | None = None, *, busy: WhenBusy = "wait", patience: float | None = None
    ) -> Session:
        """A conversation, kept in the dispatcher's store; one that is not there yet begins with its first turn.

        Parameters
        ----------
        session_id: its name; a new one if not given.
        busy: what a turn does while another of the same session is under way: wait for its end, or refuse with
            SessionBusyError.
        patience: the seconds after which waiting ends with that error, too; None waits as long as it takes.

        Raises UsageError for an impossible name.
        """
        return Session(
            new_session_id() if session_id is None else session_id,
            store=self.store,
            current=lambda: self._loaded,
            route=_routed,
            plan=_planned,
            busy=busy,
            patience=patience,
        )

    def dispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """Routes a task and runs it, or carries out a plan already made.

        Abstaining is a result: the reply then has the stop reason `abstained`. Raises LLMError and its kind,
        UnknownAgentError, VariableError and AgentFileError.
        """
        loaded = self._loaded
        return last_reply(drive(_steps(loaded, _plan(loaded, task, options), options), whole(loaded.client)))

    def stream(self, task: str | Plan, **options: Unpack[RunOptions]) -> Iterator[Event]:
        """The same as events, as they come: the decision, pieces of text, and the reply.

        Closing it stops the request at once.
        """
        loaded = self._loaded
        yield from drive(_steps(loaded, _plan(loaded, task, options), options), loaded.client.stream)

    async def adispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """`dispatch` for coroutines."""
        loaded = self._loaded
        steps = _steps(loaded, await _aplan(loaded, task, options), options)
        return await alast_reply(adrive(steps, awhole(loaded.client)))

    async def astream(self, task: str | Plan, **options: Unpack[RunOptions]) -> AsyncIterator[Event]:
        """`stream` for coroutines; cancelling it, or closing it, stops the request at once."""
        loaded = self._loaded
        steps = _steps(loaded, await _aplan(loaded, task, options), options)
        async with aclosing(adrive(steps, loaded.client.astream)) as events:
            async for event in events:
                yield event


def _steps(loaded: Loaded, plan: Plan, options: RunOptions) -> Steps:
    """The one turn of a run without a session."""
    return turn_steps(plan, scene_of(loaded.settings, options.get("approve")))


def _plan(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """A plan for a task; one already made stays as it is."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = loaded.escalator.decide(_routed(loaded, task, options), **_asides(options))
    return _planned(loaded, decision, options)


async def _aplan(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """`_plan` for coroutines."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = await loaded.escalator.adecide(_routed(loaded, task, options), **_asides(options))
    return _planned(loaded, decision, options)


def _routed(loaded: Loaded, task: str, options: RunOptions) -> Decision:
    return loaded.router.route(
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
    tools = offered_tools(agent, as_tools(options["tools"]) if "tools" in options else loaded.given.tools)
    request = dataclasses.replace(request, tools=tuple(tool.definition for tool in tools))
    notices = tuple(notice for notice in (model.notice, *_notices(agent, tools)) if notice is not None)
    return Plan(decision=decision, model=model, request=request, notices=notices, tools=tools)


def _notices(agent: Agent, tools: Sequence[Tool]) -> Iterator[str]:
    """What an agent's file asks for and does not get."""
    missing = unavailable_tools(agent, tools)
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        instead = f"with {', '.join(tool.name for tool in tools)} alone" if tools else "without any"
        yield f"its file names tools{' that are not here' if tools else ''} ({shown}); it is run {instead}"
    if agent.effort and agent.effort.lower() not in EFFORTS:
        yield f'the effort "{agent.effort}" is none of {", ".join(EFFORTS)}; it is not sent'
