"""The facade: load once, then route and dispatch tasks, from as many threads or coroutines as there are.

A route needs little of what a run does, so what plans, runs and keeps is imported with the first use of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from dispatcher.errors import UsageError
from dispatcher.progress import Progress
from dispatcher.registry import Registry
from dispatcher.routing import Decision, Router
from dispatcher.runtime.deciding import observed_route
from dispatcher.runtime.loading import Given, load, read
from dispatcher.settings import Settings

if TYPE_CHECKING:
    from dispatcher.decisionlog import DecisionLog
    from dispatcher.judge import Judge, Said
    from dispatcher.llm import LLMClient
    from dispatcher.mcp_servers import McpServer
    from dispatcher.runtime.planning import RunOptions
    from dispatcher.runtime.reply import Event, Plan, Reply
    from dispatcher.runtime.session import Session, WhenBusy
    from dispatcher.runtime.toolbox import Toolbox
    from dispatcher.runtime.tools import Tool
    from dispatcher.sessions import SessionStore

__all__ = ["Dispatcher"]


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
        given = Given(client=client, judge=judge, toolbox=_toolbox_of(tools), progress=progress)
        self._loaded = load(registry, settings or Settings(), given, environment)
        self._sources: dict[str, Any] | None = None
        if store is not None:
            self.store = store
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

    @functools.cached_property
    def store(self) -> SessionStore:
        """Where sessions are kept."""
        from dispatcher.sessions import MemorySessionStore

        # Threads that ask at once are given the same one.
        store: SessionStore = self.__dict__.setdefault("store", MemorySessionStore())
        return store

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
        from dispatcher.runtime.planning import plan_of

        return plan_of(self._loaded, task, options)

    async def aplan(self, task: str, **options: Unpack[RunOptions]) -> Plan:
        """`plan` for coroutines."""
        from dispatcher.runtime.planning import aplan_of

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
        from dispatcher.runtime.planning import aopened, planned, routed_after
        from dispatcher.runtime.session import Session
        from dispatcher.sessions import new_session_id

        return Session(
            new_session_id() if session_id is None else session_id,
            store=self.store,
            log=self.log,
            current=lambda: self._loaded,
            route=routed_after,
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
        from dispatcher.runtime.running import reply_of

        return reply_of(self._loaded, task, options, self.log)

    def stream(self, task: str | Plan, **options: Unpack[RunOptions]) -> Generator[Event, None, None]:
        """The same as events, as they come: the decision, pieces of text, and the reply.

        Closing it stops the request at once.
        """
        from dispatcher.runtime.running import events_of

        yield from events_of(self._loaded, task, options, self.log)

    async def adispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """`dispatch` for coroutines."""
        from dispatcher.runtime.running import areply_of

        return await areply_of(self._loaded, task, options, self.log)

    async def astream(self, task: str | Plan, **options: Unpack[RunOptions]) -> AsyncGenerator[Event, None]:
        """`stream` for coroutines; cancelling it, or closing it, stops the request at once."""
        from dispatcher.runtime.running import aevents_of

        async with aclosing(aevents_of(self._loaded, task, options, self.log)) as events:
            async for event in events:
                yield event


def _toolbox_of(tools: Sequence[Tool | Callable[..., Any] | McpServer]) -> Toolbox | None:
    if not tools:
        return None
    from dispatcher.runtime.toolbox import Toolbox

    return Toolbox.of(tools)
