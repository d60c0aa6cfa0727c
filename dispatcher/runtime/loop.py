"""One turn as a generator without I/O: it yields what happens and what it needs, and is fed what came of that.

A driver (`drivers`) carries the steps out, waiting or not; all that a turn decides is decided here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.errors import DispatcherError, PromptTooLongError, SessionError, SessionStoreError
from dispatcher.llm import Completion, Message, Request, cost_of
from dispatcher.runtime.reply import (
    ABSTAINED,
    DecisionMade,
    Event,
    HandedOver,
    HistoryTrimmed,
    Plan,
    Reply,
    Stopped,
    TornTurnFound,
)
from dispatcher.runtime.window import Fitted, History, fit
from dispatcher.sessions import Turn, TurnState
from dispatcher.sessions.turn import new_turn_id, now
from dispatcher.settings import Price

__all__ = ["Ask", "Interruption", "Keep", "Scene", "Step", "Steps", "turn_steps"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Send a request; feed the Completion. Pieces of text go straight to the caller."""

    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write a turn to the store of its session; feed nothing."""

    session_id: str
    turn: Turn


class Interruption(Exception):  # noqa: N818  not an error by itself: it carries one, or a wish to stop
    """What a driver throws into the loop where a step ends otherwise than by itself.

    `cause` is the exception that ended it, which is raised again once the turn is put in order; `partial` is the text
    that had come.
    """

    def __init__(self, cause: BaseException, partial: str = "") -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.partial = partial

    @property
    def is_wanted(self) -> bool:
        """Whether the caller wanted it so: closed the events, cancelled the coroutine, pressed Ctrl-C."""
        return isinstance(self.cause, (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt))


Step = Ask | Keep | Event
Steps = Generator[Step, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What surrounds a turn: the session that it belongs to, if any, and the prices of models.

    `number` is the turn's place in its session, `before` the agent that had the conversation, and `torn` the turn
    before it, if that was found torn. `history` are the turns to be sent again, as far as they fit into the `window`
    (tokens); `unread` of the conversation's turns are older than those.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    session_id: str | None = None
    number: int = 1
    before: str | None = None
    torn: Turn | None = None
    history: History = ()
    unread: int = 0
    window: int = 200_000

    def fitted(self, request: Request, own: Sequence[Message]) -> Fitted:
        """The messages of a request, whose own turn's are `own`."""
        return fit(self.history, own, system=request.system, max_tokens=request.max_tokens, window=self.window)

    def without_older_half(self) -> Scene:
        """The same with less history, after a request was found too long."""
        rest = self.history[(len(self.history) + 1) // 2 :]
        return dataclasses.replace(self, history=rest, unread=self.unread + len(self.history) - len(rest))


def turn_steps(plan: Plan, scene: Scene) -> Steps:
    """The steps of one turn: its decision first, its reply last."""
    yield DecisionMade(plan=plan)
    if scene.torn is not None:
        yield TornTurnFound(turn=scene.torn)
    turn = _begun(plan, scene)
    if scene.before is not None and turn.agent not in (None, scene.before):
        yield HandedOver(before=scene.before, after=str(turn.agent), reason=plan.decision.reason)
    yield from _keep(turn, scene)
    if plan.request is None:
        turn = dataclasses.replace(turn, state=TurnState.DONE, stop_reason=ABSTAINED, ended=now())
        yield from _keep(turn, scene)
        yield Stopped(reply=_reply(plan, turn, scene))
        return
    try:
        completion = yield from _asked(plan.request, scene)
    except Interruption as stop:
        with contextlib.suppress(SessionError):  # what interrupted goes first; the turn will be found torn
            yield from _keep(_interrupted(turn, stop), scene)
        raise stop.cause from None
    turn = _answered(turn, completion, scene)
    try:
        yield from _keep(turn, scene)
    except SessionStoreError as problem:
        raise SessionStoreError(problem.message, hint=problem.hint, text=completion.text) from problem
    yield Stopped(reply=_reply(plan, turn, scene, completion))


def _asked(request: Request, scene: Scene) -> Generator[Step, Any, Completion]:
    """The answer to a request, with as much of the conversation before it as the model takes."""
    was_refused = False
    while True:
        fitted = scene.fitted(request, request.messages[-1:])
        if fitted.dropped or scene.unread:
            yield HistoryTrimmed(turns=fitted.dropped + scene.unread, was_refused=was_refused)
        try:
            completion: Completion = yield Ask(request=dataclasses.replace(request, messages=fitted.messages))
        except Interruption as stop:
            sent = len(scene.history) - fitted.dropped
            if stop.partial or not sent or not isinstance(stop.cause, PromptTooLongError):
                raise
            scene = dataclasses.replace(
                scene, history=scene.history[-sent:], unread=scene.unread + fitted.dropped
            ).without_older_half()
            was_refused = True
        else:
            return completion


def _keep(turn: Turn, scene: Scene) -> Steps:
    if scene.session_id is not None:
        yield Keep(session_id=scene.session_id, turn=turn)


def _begun(plan: Plan, scene: Scene) -> Turn:
    """The turn before anything was sent; of the messages sent, the last is its own."""
    decision = plan.decision
    user = plan.request.messages[-1] if plan.request is not None else Message(role="user", content=decision.task)
    return Turn(
        id=new_turn_id(),
        number=scene.number,
        task=decision.task,
        started=now(),
        agent=decision.agent.name if decision.agent is not None else None,
        how=str(decision.how),
        reason=decision.reason,
        confidence=decision.confidence,
        messages=(user,),
        model=plan.request.model if plan.request is not None else None,
    )


def _answered(turn: Turn, completion: Completion, scene: Scene) -> Turn:
    said = (Message(role="assistant", content=completion.text),) if completion.text else ()
    return dataclasses.replace(
        turn,
        state=TurnState.DONE,
        messages=(*turn.messages, *said),
        stop_reason=completion.stop_reason,
        model=completion.model,
        usage=completion.usage,
        cost=cost_of(completion.usage, completion.model, scene.prices),
        ended=now(),
    )


def _interrupted(turn: Turn, stop: Interruption) -> Turn:
    said = (Message(role="assistant", content=stop.partial),) if stop.partial.strip() else ()
    error = stop.cause.message if isinstance(stop.cause, DispatcherError) else type(stop.cause).__name__
    return dataclasses.replace(
        turn,
        state=TurnState.CANCELLED if stop.is_wanted else TurnState.FAILED,
        messages=(*turn.messages, *said),
        error=None if stop.is_wanted else error,
        ended=now(),
    )


def _reply(plan: Plan, turn: Turn, scene: Scene, completion: Completion | None = None) -> Reply:
    if completion is not None:
        _logger.info(
            "%s stopped: %s, %d tokens in, %d out, request %s",
            turn.model,
            turn.stop_reason,
            turn.usage.prompt_tokens,
            turn.usage.output_tokens,
            completion.request_id,
        )
    return Reply(
        plan=plan,
        text=completion.text if completion is not None else "",
        stop_reason=str(turn.stop_reason),
        usage=turn.usage,
        cost=turn.cost,
        model=turn.model,
        request_id=completion.request_id if completion is not None else None,
        turn=turn if scene.session_id is not None else None,
    )
