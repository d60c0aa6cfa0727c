"""The two drivers of a turn: they carry its steps out, one waiting and one not, and hand on what happens.

Where the caller stops (closes the events, cancels the coroutine), the request is closed at once, and the turn is told.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any, TypeVar

from dispatcher.errors import DispatcherError, LLMError, SessionError, UsageError
from dispatcher.llm import Completion, LLMClient, Request, TextDelta
from dispatcher.runtime.reply import Event, Piece, Reply, Stopped
from dispatcher.runtime.steps import Ask, GetApproval, Interruption, Keep, Steps, UseTool
from dispatcher.runtime.tools import Tool, ToolFailedError, checked_arguments
from dispatcher.sessions import MemorySessionStore, SessionStore
from dispatcher.tracing import Spanned, tool_span

__all__ = ["Asking", "AsyncAsking", "adrive", "alast_reply", "aused", "awhole", "drive", "last_reply", "whole"]

Kept = TypeVar("Kept")
Asking = Callable[[Request], Iterator[Piece]]
AsyncAsking = Callable[[Request], AsyncIterator[Piece]]


def whole(client: LLMClient) -> Asking:
    """Asks for an answer in one piece."""

    def ask(request: Request) -> Iterator[TextDelta | Completion]:
        yield client.complete(request)

    return ask


def awhole(client: LLMClient) -> AsyncAsking:
    """`whole` for coroutines."""

    async def ask(request: Request) -> AsyncIterator[TextDelta | Completion]:
        yield await client.acomplete(request)

    return ask


def drive(
    steps: Steps, ask: Asking, store: SessionStore | None = None, *, span: Spanned | None = None
) -> Generator[Event, None, None]:
    """Carries out the steps of a turn and yields its events; the spans of tools that are called belong to `span`."""
    try:
        step = next(steps)
        while True:
            fed: object = None
            try:
                if isinstance(step, Ask):
                    _check_waitless(step.tools)
                    fed = yield from _heard(ask, step)
                elif isinstance(step, Keep):
                    _put(store, step)
                elif isinstance(step, (GetApproval, UseTool)):
                    fed = _done(step, span)
                else:
                    yield step
            except BaseException as problem:  # noqa: BLE001  all that the loop does not raise again is lost
                step = steps.throw(_told(problem))
            else:
                step = steps.send(fed)
    except StopIteration:
        return
    except Interruption as stop:
        raise stop.cause from None


async def adrive(
    steps: Steps, ask: AsyncAsking, store: SessionStore | None = None, *, span: Spanned | None = None
) -> AsyncGenerator[Event, None]:
    """`drive` for coroutines. The store is used in another thread, except when there is no more time to wait."""
    is_stopping = False
    try:
        step = next(steps)
        while True:
            fed: object = None
            try:
                if isinstance(step, Ask):
                    hearing = _Hearing(is_quiet=step.is_quiet)
                    async with aclosing(_aheard(ask, step, hearing)) as pieces:
                        async for piece in pieces:
                            yield piece
                    fed = hearing.completion()
                elif isinstance(step, Keep):
                    await _aput(store, step, may_wait=not is_stopping)
                elif isinstance(step, (GetApproval, UseTool)):
                    fed = await _adone(step, span)
                else:
                    yield step
            except BaseException as problem:  # noqa: BLE001  all that the loop does not raise again is lost
                is_stopping = True
                step = steps.throw(_told(problem))
            else:
                step = steps.send(fed)
    except StopIteration:
        return
    except Interruption as stop:
        raise stop.cause from None


def last_reply(events: Iterator[Event]) -> Reply:
    """The reply at the end of a turn's events."""
    *_, last = events
    return _reply_of(last)


async def alast_reply(events: AsyncIterator[Event]) -> Reply:
    """`last_reply` for coroutines."""
    return _reply_of([event async for event in events][-1])


def _reply_of(last: Event) -> Reply:
    if not isinstance(last, Stopped):
        raise DispatcherError("the turn ended without a reply")
    return last.reply


class _Hearing:
    """An answer as it comes."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._parts: list[str] = []
        self._completion: Completion | None = None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def take(self, piece: Piece) -> Event | None:
        """Notes a piece; returns it if it is one that the caller wants to see."""
        if isinstance(piece, Completion):
            self._completion = piece
            return None
        if self._is_quiet:
            return None
        if isinstance(piece, TextDelta):
            self._parts.append(piece.text)
        return piece

    def completion(self) -> Completion:
        if self._completion is None:
            raise LLMError("the client's stream ended without a completion", hint="this is a fault of the client")
        return self._completion


def _heard(ask: Asking, step: Ask) -> Generator[Event, None, Completion]:
    """The answer to a request, its pieces of text on the way."""
    hearing = _Hearing(is_quiet=step.is_quiet)
    pieces = ask(step.request)
    try:
        for piece in pieces:
            if (text := hearing.take(piece)) is not None:
                yield text
        return hearing.completion()
    except BaseException as cause:  # noqa: BLE001  put into another that carries it
        raise Interruption(cause, hearing.text) from None
    finally:
        if (close := getattr(pieces, "close", None)) is not None:
            close()


async def _aheard(ask: AsyncAsking, step: Ask, hearing: _Hearing) -> AsyncGenerator[Event, None]:
    """`_heard` for coroutines, which can't return: the answer is in `hearing` afterwards."""
    pieces = ask(step.request)
    try:
        async for piece in pieces:
            if (text := hearing.take(piece)) is not None:
                yield text
        hearing.completion()
    except BaseException as cause:  # noqa: BLE001  put into another that carries it
        raise Interruption(cause, hearing.text) from None
    finally:
        await _aclose(pieces)


async def _aclose(pieces: object) -> None:
    if (close := getattr(pieces, "aclose", None)) is not None:
        await close()


def _check_waitless(tools: Sequence[Tool]) -> None:
    """Raises UsageError for tools that only coroutines can call."""
    if names := [tool.name for tool in tools if tool.is_async]:
        raise UsageError(f'the tool "{names[0]}" is a coroutine function', hint="use adispatch or astream")


def _done(step: GetApproval | UseTool, span: Spanned | None) -> object:
    """The caller's answer, or what a tool returned or raised."""
    if isinstance(step, UseTool):
        try:
            with tool_span(step.tool.name, step.call.id, parent=span):
                return step.tool.function(**checked_arguments(step.tool, step.call))
        except Exception as problem:  # noqa: BLE001  the model is told
            return problem
    answer = step.approve(step.call)
    if inspect.iscoroutine(answer):
        answer.close()
        raise UsageError("the approval callback is a coroutine function", hint="use adispatch or astream")
    return answer


async def _adone(step: GetApproval | UseTool, span: Spanned | None) -> object:
    """`_done` for coroutines; functions that are none are called in another thread, so that nothing else waits."""
    if isinstance(step, UseTool):
        try:
            with tool_span(step.tool.name, step.call.id, parent=span):
                arguments = checked_arguments(step.tool, step.call)
                if step.tool.coroutine is not None:
                    return await step.tool.coroutine(**arguments)
                if step.tool.is_async:
                    return await step.tool.function(**arguments)
                return await asyncio.to_thread(step.tool.function, **arguments)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return ToolFailedError("the tool was cancelled")  # by itself: nobody wanted to stop the turn
        except Exception as problem:  # noqa: BLE001  the model is told
            return problem
    answer = step.approve(step.call)
    return await answer if inspect.isawaitable(answer) else answer


def _put(store: SessionStore | None, step: Keep) -> None:
    if store is None:
        raise DispatcherError("a turn of a session came without a store")
    store.put(step.session_id, step.turn)


async def aused(store: SessionStore, work: Callable[..., Kept], *arguments: Any) -> Kept:
    """What some work with a store comes to; in another thread, if it may have to wait."""
    if _never_waits(store):
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_executor_of(store), work, *arguments)


def _executor_of(store: SessionStore | None) -> Executor | None:
    """Where the store wants to be used; None for the event loop's own threads."""
    found = getattr(store, "executor", None)
    return found if isinstance(found, Executor) else None


def _never_waits(store: SessionStore | None) -> bool:
    """Whether there is nothing to wait for; who derives from that class may have put something in."""
    return type(store) is MemorySessionStore


async def _aput(store: SessionStore | None, step: Keep, *, may_wait: bool) -> None:
    if not may_wait or _never_waits(store):
        _put(store, step)
        return
    writing = asyncio.get_running_loop().run_in_executor(_executor_of(store), _put, store, step)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        # A thread can't be stopped; what comes after it must find its work done.
        await asyncio.wait([writing])
        if not writing.cancelled() and (problem := writing.exception()) is not None:
            raise problem from None
        raise


def _told(problem: BaseException) -> Interruption | SessionError:
    """What the loop is told of a step that failed: of the store's failures as they are."""
    return problem if isinstance(problem, (Interruption, SessionError)) else Interruption(problem)
