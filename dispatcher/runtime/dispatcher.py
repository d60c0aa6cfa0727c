"""The facade: load once, then route and dispatch tasks, from as many threads or coroutines as there are.

A run is one turn of the loop; the four ways to run only differ in how they wait.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from dispatcher.decisionlog import DecisionLog
from dispatcher.errors import UsageError
from dispatcher.llm.client import LLMClient
from dispatcher.progress import Progress
from dispatcher.registry import Registry
from dispatcher.routing import Decision, Router
from dispatcher.runtime.drivers import Asking, AsyncAsking, adrive, alast_reply, awhole, drive, last_reply, whole
from dispatcher.runtime.loading import Given, Loaded, load, read
from dispatcher.runtime.loop import Steps, scene_of, turn_steps
from dispatcher.runtime.observing import ObservedRun, observed_route
from dispatcher.runtime.planning import RunOptions, aopened, aplan_of, plan_of, planned, routed
from dispatcher.runtime.reply import Event, Plan, Reply
from dispatcher.runtime.session import Session, WhenBusy
from dispatcher.runtime.toolbox import Toolbox
from dispatcher.runtime.tools import Tool
from dispatcher.sessions import MemorySessionStore, SessionStore, new_session_id
from dispatcher.settings import Settings

if TYPE_CHECKING:
    from dispatcher.judge import Judge, Said
    from dispatcher.mcp_servers import McpServer

__all__ = ["Dispatcher", "RunOptions"]


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
    tools: functions that models may call, and MCP servers with such; each agent gets those that its file allows. None
        if not given, but those servers that settings name.
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
        store: SessionStore | None = None,
        tools: Sequence[Tool | Callable[..., Any] | McpServer] = (),
        log: DecisionLog | None = None,
        progress: Progress | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        given = Given(client=client, judge=judge, toolbox=Toolbox.of(tools), progress=progress)
        self._loaded = load(registry, settings or Settings(), given, environment)
        self._sources: dict[str, Any] | None = None
        self.store: SessionStore = MemorySessionStore() if store is None else store
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
        store: SessionStore | None = None,
        tools: Sequence[Tool | Callable[..., Any] | McpServer] = (),
        log: DecisionLog | None = None,
        progress: Progress | None = None,
    ) -> Dispatcher:
        """A dispatcher for a project's folder: its config.yaml, its agents, the user's and the bundled ones.

        The parameters are those of `load_settings` and of the class. Raises ConfigError and AgentFileError.
        """
        sources = {"folder": folder, "environment": environment, "flags": flags, "config": config}
        loaded, registry = read(sources, progress)
        dispatcher = cls(
            registry,
            settings=loaded.settings,
            client=client,
            judge=judge,
            environment=environment,
            store=store,
            tools=tools,
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

    @property
    def is_offline(self) -> bool:
        """Whether nothing is sent, for want of a credential. Raises OfflineError where config wants that."""
        from dispatcher.llm import OfflineClient

        return self.settings.executor == "api" and isinstance(self._loaded.client, OfflineClient)

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

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        await self._loaded.aclose()

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
        turns: Sequence[Said] = (),
    ) -> Decision:
        """`route` for coroutines."""
        loaded = self._loaded
        decision = observed_route(loaded.router, task, agent=agent, only=only, exclude=exclude, material=material)
        return await loaded.ajudged(decision, turns=turns, material=material)

    def plan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """Decides who takes a task and what would be sent to its model, without sending it."""
        return plan_of(self._loaded, task, options)

    async def aplan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """`plan` for coroutines."""
        return await aplan_of(self._loaded, task, options)

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
            log=self.log,
            current=lambda: self._loaded,
            route=routed,
            plan=planned,
            aopen=aopened,
            busy=busy,
            patience=patience,
        )

    def dispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """Routes a task and runs it, or carries out a plan already made.

        Abstaining is a result: the reply then has the stop reason `abstained`. Raises LLMError and its kind,
        UnknownAgentError, VariableError and AgentFileError; with a `schema`, AnswerError for an answer that does not
        fit it, with the text that came.
        """
        loaded = self._loaded
        return last_reply(self._run(loaded, plan_of(loaded, task, options), options, whole))

    def stream(self, task: str | Plan, **options: Unpack[RunOptions]) -> Iterator[Event]:
        """The same as events, as they come: the decision, pieces of text, and the reply.

        Closing it stops the request at once.
        """
        loaded = self._loaded
        yield from self._run(loaded, plan_of(loaded, task, options), options, lambda client: client.stream)

    async def adispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """`dispatch` for coroutines."""
        loaded = self._loaded
        plan = await aplan_of(loaded, task, options)
        return await alast_reply(self._arun(loaded, plan, options, awhole))

    async def astream(self, task: str | Plan, **options: Unpack[RunOptions]) -> AsyncIterator[Event]:
        """`stream` for coroutines; cancelling it, or closing it, stops the request at once."""
        loaded = self._loaded
        plan = await aplan_of(loaded, task, options)
        async with aclosing(self._arun(loaded, plan, options, lambda client: client.astream)) as events:
            async for event in events:
                yield event

    def _run(
        self, loaded: Loaded, plan: Plan, options: RunOptions, asking: Callable[[LLMClient], Asking]
    ) -> Iterator[Event]:
        with ObservedRun(loaded, plan, self.log) as run:
            steps = _steps(loaded, plan, options)
            with closing(drive(steps, run.asking(asking), span=run.span)) as events:
                for event in events:
                    yield run.seen(event)

    async def _arun(
        self, loaded: Loaded, plan: Plan, options: RunOptions, asking: Callable[[LLMClient], AsyncAsking]
    ) -> AsyncGenerator[Event, None]:
        with ObservedRun(loaded, plan, self.log) as run:
            steps = _steps(loaded, plan, options)
            async with aclosing(adrive(steps, run.aasking(asking), span=run.span)) as events:
                async for event in events:
                    yield run.seen(event)


def _steps(loaded: Loaded, plan: Plan, options: RunOptions) -> Steps:
    """The one turn of a run without a session."""
    return turn_steps(plan, scene_of(loaded.settings, options.get("approve")))
