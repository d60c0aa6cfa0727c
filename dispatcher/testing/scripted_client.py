"""A model's service for tests that need no sockets: a client that answers as it was told to.

    client = ScriptedClient(overloaded(), says("Hello ", "world"), NetworkError("gone"))

Each request takes the next answer, and the last one stays; all requests are recorded. An answer is a text, an Answer,
an error to be raised, or a function of the request that returns an Answer. What an AnthropicClient makes of errors,
cut streams and calls of tools, this one makes of them too, but it never tries again by itself.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from dispatcher.errors import LLMError, NetworkError
from dispatcher.llm import Completion, Request, TextDelta, Usage
from dispatcher.llm.failures import broken_stream, not_the_api, status_error
from dispatcher.testing.answers import REQUEST_ID, Answer, Script

__all__ = ["ScriptedClient"]

_PLACE = "the scripted service"
_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class _Wait:
    """Time that passes before the next piece: seconds, or until an event is set."""

    seconds: float = 0.0
    until: threading.Event | None = None


class ScriptedClient:
    """An LLMClient that answers as scripted; `requests` are those that came in."""

    def __init__(self, *answers: str | Answer | Exception | Callable[[Request], Answer]) -> None:
        self._script: Script[Request] = Script(*answers)

    @property
    def requests(self) -> list[Request]:
        return self._script.requests

    def script(self, *answers: str | Answer | Exception | Callable[[Request], Answer]) -> None:
        """Replaces the answers that are still to be given."""
        self._script.replace(*answers)

    def complete(self, request: Request) -> Completion:
        return _whole(list(_waited(_played(self._script.take(request), request, is_stream=False))))

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        yield from _waited(_played(self._script.take(request), request, is_stream=True))

    async def acomplete(self, request: Request) -> Completion:
        played = _awaited(_played(self._script.take(request), request, is_stream=False))
        return _whole([event async for event in played])

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        async for event in _awaited(_played(self._script.take(request), request, is_stream=True)):
            yield event

    def close(self) -> None:
        """Nothing is kept open; this is here for callers that close their client."""

    async def aclose(self) -> None:
        """The same for coroutines."""


def _played(answer: Answer, request: Request, *, is_stream: bool) -> Iterator[_Wait | TextDelta | Completion]:
    """What comes of a request, in its order. Raises errors of the LLMError branch."""
    if answer.is_dropped:
        raise NetworkError(f"{_PLACE} can't be reached: the connection was closed", hint="this is scripted")
    if answer.body is not None:
        raise _refusal(answer, answer.body, request)
    for piece in answer.pieces:
        if answer.pause:
            yield _Wait(seconds=answer.pause)
        yield TextDelta(text=piece)
    if answer.pings:
        yield _Wait(seconds=answer.pause * answer.pings)
    if answer.waits_for is not None:
        yield _Wait(until=answer.waits_for)
    if answer.is_cut and not is_stream:
        raise NetworkError(f"{_PLACE} can't be reached: the connection was lost", hint="this is scripted")
    if answer.is_cut or (answer.error_event is not None and is_stream):
        raise _break(answer, request)
    yield Completion(
        text=answer.text,
        model=request.model,
        stop_reason=answer.stop_reason,
        usage=_usage(answer),
        request_id=REQUEST_ID,
        content=tuple(answer.content),
    )


def _refusal(answer: Answer, body: bytes, request: Request) -> LLMError:
    """The error for a body that is no answer of a model."""
    try:
        error = json.loads(body)["error"]
        kind, message = str(error["type"]), str(error["message"])
    except (ValueError, LookupError, TypeError):
        kind, message = "", body.decode("utf-8", errors="replace")
    if answer.status < 400:
        return not_the_api(_PLACE)
    wait = answer.headers.get("retry-after")
    is_number = wait is not None and wait.replace(".", "", 1).isdigit()
    return status_error(
        answer.status,
        kind,
        message,
        model=request.model,
        request_id=REQUEST_ID,
        retry_after=float(wait) if wait is not None and is_number else None,
    )


def _break(answer: Answer, request: Request) -> LLMError:
    """The error for a stream that stops before its end, by itself or with an error of the service."""
    cause = None
    if answer.error_event is not None:
        told = answer.error_event.get("error", {})
        kind, message = str(told.get("type", "")), str(told.get("message", ""))
        cause = status_error(200, kind, message, model=request.model, request_id=REQUEST_ID)
    return cause if cause is not None and not answer.text else broken_stream(cause, answer.text, REQUEST_ID)


def _usage(answer: Answer) -> Usage:
    return Usage(
        input_tokens=answer.usage.get("input_tokens", 0),
        output_tokens=answer.usage.get("output_tokens", 0),
        cache_write_tokens=answer.usage.get("cache_creation_input_tokens", 0),
        cache_read_tokens=answer.usage.get("cache_read_input_tokens", 0),
    )


def _waited(steps: Iterator[_Wait | TextDelta | Completion]) -> Iterator[TextDelta | Completion]:
    for step in steps:
        if not isinstance(step, _Wait):
            yield step
        elif step.until is not None:
            step.until.wait()
        else:
            time.sleep(step.seconds)


async def _awaited(steps: Iterator[_Wait | TextDelta | Completion]) -> AsyncIterator[TextDelta | Completion]:
    for step in steps:
        if not isinstance(step, _Wait):
            yield step
            continue
        await asyncio.sleep(step.seconds)
        while step.until is not None and not step.until.is_set():
            await asyncio.sleep(_POLL_SECONDS)


def _whole(events: list[TextDelta | Completion]) -> Completion:
    """The answer at the end of its pieces, which `_played` puts there or raises."""
    return next(event for event in reversed(events) if isinstance(event, Completion))
