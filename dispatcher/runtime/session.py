"""A conversation: turns that know of each other, one at a time, kept in a store.

The object itself keeps nothing but its name, so any number of them, in any number of processes, may stand for the same
session; the store says what there is and who may go on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Literal, Unpack

from dispatcher.decisionlog import DecisionLog
from dispatcher.errors import SessionBusyError
from dispatcher.judge import Said
from dispatcher.llm import LLMClient, Message, Usage
from dispatcher.routing import Candidate, Decision, How
from dispatcher.runtime.drivers import Asking, AsyncAsking, adrive, alast_reply, aused, awhole, drive, last_reply, whole
from dispatcher.runtime.loading import Loaded
from dispatcher.runtime.loop import turn_steps
from dispatcher.runtime.observing import ObservedRun
from dispatcher.runtime.reply import Event, Plan, Reply
from dispatcher.runtime.scene import Scene, scene_of
from dispatcher.runtime.sticky import Spoken, route_turn
from dispatcher.runtime.window import History
from dispatcher.sessions import SessionStore, Turn, TurnState, check_session_id, total_cost, total_usage
from dispatcher.sessions.turn import now

if TYPE_CHECKING:
    from dispatcher.runtime.planning import RunOptions

__all__ = ["Session", "WhenBusy"]

WhenBusy = Literal["wait", "refuse"]
Routing = Callable[[Loaded, str, str, Any], tuple[Decision, Sequence[Candidate]]]
Planning = Callable[[Loaded, Decision, Any], Plan]
Opening = Callable[[Loaded, Decision, Any], Awaitable[None]]

_MOST_TURNS = 500  # that are looked at for the next one
_MOST_JUDGED = 3  # that a judge is told of
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """What the next turn knows of those before it."""

    turns: tuple[Turn, ...] = ()
    torn: Turn | None = None

    @property
    def history(self) -> History:
        """What is sent again, as far as it fits: the turns that came to an answer, or to a part of one."""
        return tuple(turn.messages for turn in self.turns if turn.is_answered)

    @property
    def unread(self) -> int:
        """How many turns are older than these."""
        return self.turns[0].number - 1 if self.turns else 0

    @property
    def spoken(self) -> tuple[Spoken, ...]:
        """The turns as routing sees them."""
        return tuple(Spoken(task=turn.task, agent=turn.agent) for turn in self.turns)

    @property
    def said(self) -> tuple[Said, ...]:
        """What was said, as a judge is told it."""
        found = (
            Said(role=role, text=text)
            for turn in self.turns[-_MOST_JUDGED:]
            for role, text in (("user", turn.task), ("assistant", turn.answer))
        )
        return tuple(one for one in found if one.text.strip())

    @property
    def agent(self) -> str | None:
        """The agent that has the conversation."""
        return next((turn.agent for turn in reversed(self.turns) if turn.agent is not None), None)

    @property
    def count(self) -> int:
        return self.turns[-1].number if self.turns else 0


class Session:
    """One conversation; made by `Dispatcher.session`.

    `dispatch`, `stream`, `adispatch` and `astream` are those of the Dispatcher, with the turns before sent along. A
    turn is written to the store before anything is sent, and again when it ends, however it ends. One turn at a time:
    a second one waits or is refused, also if it comes from another process.
    """

    def __init__(
        self,
        session_id: str,
        *,
        store: SessionStore,
        log: DecisionLog | None = None,
        current: Callable[[], Loaded],
        route: Routing,
        plan: Planning,
        aopen: Opening,
        busy: WhenBusy = "wait",
        patience: float | None = None,
    ) -> None:
        self.id = check_session_id(session_id)
        self._store = store
        self._log = log
        self._current = current
        self._routed = route
        self._planned = plan
        self._aopened = aopen
        self._busy = busy
        self._patience = patience

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self._store.turns(self.id)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message of every turn."""
        return tuple(message for turn in self.turns for message in turn.messages)

    @property
    def agent(self) -> str | None:
        """The name of the agent that has the conversation; None before anybody took it."""
        return self._recent().agent

    @property
    def usage(self) -> Usage:
        return total_usage(self.turns)

    @property
    def cost(self) -> float:
        """US dollars; turns of models whose price is not known are left out."""
        return total_cost(self.turns)

    def delete(self) -> bool:
        """Deletes all that is kept of it; says whether there was anything. Waits for a turn that is under way."""
        self._hold()
        try:
            return self._store.delete(self.id)
        finally:
            self._store.release(self.id)

    def undo(self) -> Turn | None:
        """Takes the last turn back and returns it; None if there is none. Waits for a turn that is under way.

        The conversation is then as before it, and `cost` as well; what it cost stays counted in the day's budget.
        """
        self._hold()
        try:
            last = next(iter(self._store.turns(self.id, last=1)), None)
            return last if last is not None and self._store.remove_last(self.id, last.id) else None
        finally:
            self._store.release(self.id)

    def route(self, task: str, **options: Unpack[RunOptions]) -> Decision:
        """Decides who takes the next turn: a follow-up stays with its agent, and the decision says why.

        "@name" at the beginning gives the conversation to an agent, "@auto" decides as if it began with this task.
        """
        return self._routed_on(self._current(), self._recent(), task, options)

    async def aroute(self, task: str, **options: Unpack[RunOptions]) -> Decision:
        """`route` for coroutines."""
        return await self._arouted_on(self._current(), await aused(self._store, self._recent), task, options)

    def plan(self, task: str | Plan, **options: Unpack[RunOptions]) -> Plan:
        """Decides who takes the next turn and what would be sent, without sending it."""
        loaded, past = self._current(), self._recent()
        return self._plan(loaded, past, self._decide(loaded, past, task, options), options)

    async def aplan(self, task: str | Plan, **options: Unpack[RunOptions]) -> Plan:
        """`plan` for coroutines."""
        loaded, past = self._current(), await aused(self._store, self._recent)
        return self._plan(loaded, past, await self._adecide(loaded, past, task, options), options)

    def dispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """Takes a turn and returns its reply; a plan is carried out after what the conversation has by then.

        Raises what `Dispatcher.dispatch` raises, SessionBusyError, and SessionStoreError, whose `text` is the answer
        if that had come.
        """
        return last_reply(self._run(task, options, whole))

    def stream(self, task: str | Plan, **options: Unpack[RunOptions]) -> Generator[Event, None, None]:
        """The same as events. Closing it stops the request at once, and keeps what came."""
        yield from self._run(task, options, lambda client: client.stream)

    async def adispatch(self, task: str | Plan, **options: Unpack[RunOptions]) -> Reply:
        """`dispatch` for coroutines."""
        return await alast_reply(self._arun(task, options, awhole))

    async def astream(self, task: str | Plan, **options: Unpack[RunOptions]) -> AsyncGenerator[Event, None]:
        """`stream` for coroutines; cancelling it, or closing it, stops the request at once, and keeps what came."""
        async with aclosing(self._arun(task, options, lambda client: client.astream)) as events:
            async for event in events:
                yield event

    def _run(self, task: str | Plan, options: RunOptions, asking: Callable[[LLMClient], Asking]) -> Iterator[Event]:
        self._hold()
        try:
            loaded = self._current()
            past = self._past()
            plan = self._plan(loaded, past, self._decide(loaded, past, task, options), options)
            steps = turn_steps(plan, self._scene(loaded, past, options))
            with (
                self._observed(loaded, plan, self._cost_before(loaded)) as run,
                closing(drive(steps, run.asking(asking), self._store, span=run.span)) as events,
            ):
                for event in events:
                    yield run.seen(event)
        finally:
            self._store.release(self.id)

    async def _arun(
        self, task: str | Plan, options: RunOptions, asking: Callable[[LLMClient], AsyncAsking]
    ) -> AsyncGenerator[Event, None]:
        await self._ahold()
        try:
            loaded = self._current()
            past = await aused(self._store, self._past)
            plan = self._plan(loaded, past, await self._adecide(loaded, past, task, options), options)
            steps = turn_steps(plan, self._scene(loaded, past, options))
            cost = await aused(self._store, self._cost_before, loaded) if _has_session_budget(loaded) else None
            with self._observed(loaded, plan, cost) as run:
                async with aclosing(adrive(steps, run.aasking(asking), self._store, span=run.span)) as events:
                    async for event in events:
                        yield run.seen(event)
        finally:
            self._store.release(self.id)

    def _observed(self, loaded: Loaded, plan: Plan, cost: float | None) -> ObservedRun:
        return ObservedRun(loaded, plan, self._log, session=self.id, session_cost=cost)

    def _cost_before(self, loaded: Loaded) -> float | None:
        """What the turns before cost; None where no budget asks for it."""
        return self.cost if _has_session_budget(loaded) else None

    def _scene(self, loaded: Loaded, past: _Past, options: RunOptions) -> Scene:
        return dataclasses.replace(
            scene_of(loaded.settings, options.get("approve")),
            # What is sent to nobody is no turn of the conversation.
            session_id=None if loaded.sends_nothing else self.id,
            number=past.count + 1,
            before=past.agent,
            torn=past.torn,
            history=past.history,
            unread=past.unread,
        )

    def _plan(self, loaded: Loaded, past: _Past, what: Decision | Plan, options: RunOptions) -> Plan:
        """The plan of a turn by itself, and the messages before it."""
        plan = what if isinstance(what, Plan) else self._planned(loaded, what, options)
        if plan.request is None:
            return plan
        fitted = self._scene(loaded, past, options).fitted(plan.request, plan.request.messages[-1:])
        return dataclasses.replace(
            plan,
            request=dataclasses.replace(plan.request, messages=fitted.messages),
            notices=tuple(dict.fromkeys((*plan.notices, *_notices(fitted.dropped + past.unread)))),
        )

    def _decide(self, loaded: Loaded, past: _Past, task: str | Plan, options: RunOptions) -> Decision | Plan:
        """Who takes the next turn; what has been decided already stays as it is."""
        if isinstance(task, Plan):
            return task
        return options.get("decision") or self._routed_on(loaded, past, task, options)

    async def _adecide(self, loaded: Loaded, past: _Past, task: str | Plan, options: RunOptions) -> Decision | Plan:
        """`_decide` for coroutines; what the agent's tools need is started, too."""
        if isinstance(task, Plan):
            return task
        decision = options.get("decision") or await self._arouted_on(loaded, past, task, options)
        await self._aopened(loaded, decision, options)
        return decision

    def _routed_on(self, loaded: Loaded, past: _Past, task: str, options: RunOptions) -> Decision:
        """The decision for the next turn; a judge is asked of a new subject alone, as of any task."""
        decision = self._stuck_or_fresh(loaded, past, task, options)
        if decision.how is How.STICKY:
            return decision
        return loaded.judged(decision, turns=past.said, material=options.get("material", ""))

    async def _arouted_on(self, loaded: Loaded, past: _Past, task: str, options: RunOptions) -> Decision:
        """`_routed_on` for coroutines."""
        decision = self._stuck_or_fresh(loaded, past, task, options)
        if decision.how is How.STICKY:
            return decision
        return await loaded.ajudged(decision, turns=past.said, material=options.get("material", ""))

    def _stuck_or_fresh(self, loaded: Loaded, past: _Past, task: str, options: RunOptions) -> Decision:
        return route_turn(task, past.spoken, lambda text, said: self._routed(loaded, text, said, options))

    def _recent(self) -> _Past:
        return _Past(turns=self._store.turns(self.id, last=_MOST_TURNS))

    def _past(self) -> _Past:
        """The turns so far, while the session is held: one that is still open then is nobody's any more."""
        turns = self._store.turns(self.id, last=_MOST_TURNS)
        if not turns or turns[-1].state is not TurnState.OPEN:
            return _Past(turns=turns)
        torn = dataclasses.replace(turns[-1], state=TurnState.TORN, ended=now())
        self._store.put(self.id, torn)
        return _Past(turns=(*turns[:-1], torn), torn=torn)

    def _hold(self) -> None:
        for wait in self._waits():
            if self._store.try_hold(self.id):
                return
            time.sleep(wait)

    async def _ahold(self) -> None:
        for wait in self._waits():
            if self._store.try_hold(self.id):
                return
            await asyncio.sleep(wait)

    def _waits(self) -> Iterator[float]:
        """The seconds between attempts to hold the session. Raises SessionBusyError when patience is at an end."""
        deadline = None if self._patience is None else time.monotonic() + self._patience
        yield 0.0
        for attempt in itertools.count():
            if self._busy == "refuse" or (deadline is not None and time.monotonic() > deadline):
                raise SessionBusyError(
                    f'another turn of the session "{self.id}" is under way',
                    hint="wait for its end, or stop it",
                )
            yield min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 10))


def _has_session_budget(loaded: Loaded) -> bool:
    return loaded.settings.budget.session is not None


def _notices(dropped: int) -> Iterator[str]:
    if dropped:
        turns = "turn does" if dropped == 1 else f"{dropped} turns do"
        yield f"the conversation's first {turns} not fit into the model's window and will not be sent"
