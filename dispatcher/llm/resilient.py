"""A client around another one: retries, fallback models, circuit breakers, a deadline for all of it.

What is tried is decided in `attempts`; here are the four ways to carry that out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

from dispatcher.errors import BrokenStreamError, LLMError, ResponseTimeoutError
from dispatcher.llm.attempts import AttemptPolicy, Failure, Send, Steps, Wait, attempt_steps, deadline_error
from dispatcher.llm.circuits import Circuits
from dispatcher.llm.client import Completion, LLMClient, Request, TextDelta
from dispatcher.llm.failures import broken_stream

__all__ = ["ResilientClient"]

Event = TextDelta | Completion


class ResilientClient:
    """A client that tries again, and elsewhere.

    Parameters
    ----------
    client: the one that sends; better one that does not try again by itself.
    policy: how much is tried.
    circuits: what is known of models that fail; to be shared by clients of one service.
    sleep: how a synchronous caller waits, given the seconds.

    A Completion comes with its `attempts`, as does an LLMError. The deadline ends every wait of coroutines to the
    moment. A synchronous client is told with the request how much is left of it: an AnthropicClient hangs up on a
    stream then; a wait for an answer in one piece is bounded by it.
    """

    def __init__(
        self,
        client: LLMClient,
        policy: AttemptPolicy | None = None,
        circuits: Circuits | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self._policy = policy or AttemptPolicy()
        self._circuits = circuits or Circuits()
        self._sleep = sleep

    def complete(self, request: Request) -> Completion:
        steps = self._steps(request)
        fed: Completion | Failure | None = None
        while True:
            step = _advanced(steps, fed)
            if isinstance(step, Completion):
                return step
            fed = None
            if isinstance(step, Wait):
                self._sleep(step.seconds)
                continue
            try:
                fed = self.client.complete(step.request)
            except LLMError as problem:
                fed = Failure(error=self._told(problem, step))

    def stream(self, request: Request) -> Iterator[Event]:
        steps = self._steps(request)
        fed: Completion | Failure | None = None
        while True:
            step = _advanced(steps, fed)
            if isinstance(step, Completion):
                yield step
                return
            fed = None
            if isinstance(step, Wait):
                self._sleep(step.seconds)
            else:
                fed = yield from self._streamed(step)

    async def acomplete(self, request: Request) -> Completion:
        steps = self._steps(request)
        fed: Completion | Failure | None = None
        while True:
            step = _advanced(steps, fed)
            if isinstance(step, Completion):
                return step
            fed = None
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                continue
            try:
                async with asyncio.timeout(_seconds_to(step)):
                    fed = await self.client.acomplete(step.request)
            except LLMError as problem:
                fed = Failure(error=problem)
            except TimeoutError:
                fed = Failure(error=deadline_error(self._policy.deadline))

    async def astream(self, request: Request) -> AsyncIterator[Event]:
        steps = self._steps(request)
        fed: Completion | Failure | None = None
        while True:
            step = _advanced(steps, fed)
            if isinstance(step, Completion):
                yield step
                return
            fed = None
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                continue
            hearing = _Hearing(self._policy.deadline)
            async with aclosing(self._astreamed(step, hearing)) as pieces:
                async for piece in pieces:
                    yield piece
            fed = hearing.outcome

    def sending_by(self, client: LLMClient) -> ResilientClient:
        """One that tries the same by another client, and shares what is known of models that fail."""
        return ResilientClient(client, self._policy, self._circuits, sleep=self._sleep)

    def close(self) -> None:
        """Closes the connections of the client."""
        if (close := getattr(self.client, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self.client, "aclose", None)) is not None:
            await close()

    def _steps(self, request: Request) -> Steps:
        return attempt_steps(request, self._policy, self._circuits)

    def _streamed(self, step: Send) -> Generator[TextDelta, None, Completion | Failure]:
        hearing = _Hearing(self._policy.deadline)
        try:
            with closing(_closable(self.client.stream(step.request))) as pieces:
                for piece in pieces:
                    if (text := hearing.take(piece, step)) is not None:
                        yield text
                    if hearing.is_late:
                        break
        except LLMError as problem:
            hearing.failed(self._told(problem, step))
        return hearing.outcome

    def _told(self, problem: LLMError, step: Send) -> LLMError:
        """The error to note: the deadline's, where what was waited for had not come by then."""
        is_waiting = isinstance(problem, (BrokenStreamError, ResponseTimeoutError))
        return deadline_error(self._policy.deadline) if is_waiting and _seconds_to(step) == 0 else problem

    async def _astreamed(self, step: Send, hearing: _Hearing) -> AsyncGenerator[TextDelta, None]:
        pieces = self.client.astream(step.request)
        try:
            while True:
                async with asyncio.timeout(_seconds_to(step)):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                if (text := hearing.take(piece, step)) is not None:
                    yield text
                if hearing.is_late:
                    break
        except LLMError as problem:
            hearing.failed(problem)
        except TimeoutError:
            hearing.failed(deadline_error(self._policy.deadline))
        finally:
            if (close := getattr(pieces, "aclose", None)) is not None:
                await close()


class _Hearing:
    """A stream as it comes, and what it came to."""

    def __init__(self, deadline: float | None) -> None:
        self.is_late = False
        self._deadline = deadline
        self._parts: list[str] = []
        self._outcome: Completion | Failure | None = None

    def take(self, piece: Event, step: Send) -> TextDelta | None:
        """Notes a piece; returns it if it is one for the caller."""
        if isinstance(piece, Completion):
            self._outcome = piece
            return None
        if step.ends is not None and time.monotonic() > step.ends:
            self.is_late = True
            self.failed(deadline_error(self._deadline))
            return None
        self._parts.append(piece.text)
        return piece

    def failed(self, error: LLMError) -> None:
        """Notes an error; where text had come, that of a stream that broke off."""
        has_begun = any(self._parts)
        is_told = has_begun and not hasattr(error, "partial")
        told = broken_stream(error, "".join(self._parts), error.request_id) if is_told else error
        self._outcome = Failure(error=told, has_begun=has_begun)

    @property
    def outcome(self) -> Completion | Failure:
        if self._outcome is not None:
            return self._outcome
        error = LLMError("the client's stream ended without a completion", hint="this is a fault of the client")
        return Failure(error=error, has_begun=any(self._parts))


def _advanced(steps: Steps, fed: Completion | Failure | None) -> Send | Wait | Completion:
    """The next step, or the answer at the end of them."""
    try:
        return steps.send(fed)
    except StopIteration as end:
        answer: Completion = end.value
        return answer


def _seconds_to(step: Send) -> float | None:
    return None if step.ends is None else max(0.0, step.ends - time.monotonic())


def _closable(pieces: Iterator[Event]) -> Any:
    """An iterator that can be closed, also if it is no generator."""
    return pieces if hasattr(pieces, "close") else (piece for piece in pieces)
