"""What is tried for an answer, in which order and how long to wait in between: a generator without I/O.

It yields what is to be done (`Send`, `Wait`) and is fed what came of that. The same model is tried again after errors
that pass; then come the fallback models, unless the error is one that they would meet, too. Once anything of an answer
has reached the caller nothing is tried again: the caller would get its beginning twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dispatcher.errors import (
    BrokenStreamError,
    CircuitOpenError,
    LLMError,
    NetworkError,
    OverloadedError,
    RateLimitError,
    ResponseTimeoutError,
    ServiceError,
)
from dispatcher.llm.circuits import Circuits
from dispatcher.llm.client import Attempt, Completion, Request

__all__ = ["AttemptPolicy", "Failure", "Send", "Steps", "Wait", "attempt_steps", "deadline_error"]

_PASSING = (BrokenStreamError, NetworkError, OverloadedError, RateLimitError, ResponseTimeoutError, ServiceError)
_OF_THE_MODEL = (CircuitOpenError, OverloadedError, RateLimitError, ResponseTimeoutError, ServiceError)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_LONGEST_ASKED_WAIT = 120.0  # longer ones are for the caller to decide
_PATIENCE_WITH_A_FALLBACK = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPolicy:
    """How much is tried.

    `fallbacks` are the models asked when the request's own has no capacity, in their order. `max_retries` is how often
    each is tried again. `deadline` is the time for everything together, in seconds.
    """

    fallbacks: tuple[str, ...] = ()
    max_retries: int = 2
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a request; feed the Completion or a Failure. `ends` is when it has to be over, by the clock."""

    request: Request
    ends: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Let so many seconds pass; feed nothing."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error, and whether anything had reached the caller by then."""

    error: LLMError
    has_begun: bool = False


Steps = Generator[Send | Wait, Completion | Failure | None, Completion]


def attempt_steps(
    request: Request,
    policy: AttemptPolicy,
    circuits: Circuits,
    *,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> Steps:
    """The steps to an answer, which is returned with all attempts. Raises the last LLMError, with the attempts, too."""
    models = (request.model, *(model for model in policy.fallbacks if model != request.model))
    asking = _Asking(policy, circuits, clock, chance)
    failure = None
    for place, model in enumerate(models):
        outcome = yield from asking.of_model(replace(request, model=model), is_last=place == len(models) - 1)
        if isinstance(outcome, Completion):
            return replace(outcome, attempts=tuple(asking.attempts))
        # Where the next model isn't even asked, the error of the one that was says more.
        if failure is None or not isinstance(outcome.error, CircuitOpenError):
            failure = outcome
        if outcome.has_begun or asking.is_over or not isinstance(outcome.error, _OF_THE_MODEL):
            break
    raise _told(failure, asking.attempts)


def deadline_error(seconds: float | None) -> LLMError:
    """The error for an answer that was not there by the deadline."""
    within = "in time" if seconds is None else f"within {seconds:g} seconds, all attempts together"
    return ResponseTimeoutError(f"no answer {within}", hint="try again, or raise llm.deadline in config.yaml")


class _Asking:
    """The attempts for one answer."""

    def __init__(
        self, policy: AttemptPolicy, circuits: Circuits, clock: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self.attempts: list[Attempt] = []
        self._policy = policy
        self._circuits = circuits
        self._clock = clock
        self._chance = chance
        self._ends = None if policy.deadline is None else clock() + policy.deadline
        self._waited = 0.0

    @property
    def remaining(self) -> float | None:
        return None if self._ends is None else self._ends - self._clock()

    @property
    def is_over(self) -> bool:
        return self.remaining is not None and self.remaining <= 0

    def of_model(
        self, request: Request, *, is_last: bool
    ) -> Generator[Send | Wait, Completion | Failure | None, Completion | Failure]:
        """What a model comes to, after as many attempts as are allowed and make sense."""
        tried = 0
        outcome: Completion | Failure | None = None
        while True:
            if self.is_over:
                return outcome or Failure(error=deadline_error(self._policy.deadline))
            if (left_alone_for := self._circuits.wait_for(request.model, self._clock())) > 0:
                return outcome or Failure(error=_left_alone(request.model, left_alone_for))
            outcome = yield from self._attempt(request)
            if isinstance(outcome, Completion) or not self._may_pass(outcome) or tried == self._policy.max_retries:
                return outcome
            wait = self._wait(outcome.error, tried)
            if not self._is_worth_waiting(wait, is_last=is_last):
                return outcome
            yield Wait(seconds=wait)
            self._waited = wait
            tried += 1

    def _attempt(self, request: Request) -> Generator[Send | Wait, Completion | Failure | None, Completion | Failure]:
        since, started = self._clock(), datetime.now(UTC)
        timeout = request.timeout if self.remaining is None else min(self.remaining, request.timeout or self.remaining)
        outcome = yield Send(request=replace(request, timeout=timeout), ends=self._ends)
        if outcome is None:
            raise LLMError("an attempt came to nothing", hint="this is a fault of the driver")
        attempt = Attempt(
            model=request.model, started=started, waited=self._waited, seconds=round(self._clock() - since, 6)
        )
        self._waited = 0.0
        if isinstance(outcome, Completion):
            self._circuits.succeeded(request.model)
            self.attempts.append(replace(attempt, request_id=outcome.request_id))
            return outcome
        error = outcome.error
        if isinstance(error, _OF_THE_MODEL):
            self._circuits.failed(request.model, self._clock(), error.retry_after)
        name = type(error).__name__
        self.attempts.append(replace(attempt, error=name, message=error.message, request_id=error.request_id))
        return outcome

    def _may_pass(self, failure: Failure) -> bool:
        """Whether another attempt may go better; the service's own word goes first."""
        if failure.has_begun:
            return False
        wish = failure.error.should_retry
        return isinstance(failure.error, _PASSING) if wish is None else wish

    def _wait(self, error: LLMError, tried: int) -> float:
        """What the service asks for, or else longer each time, with some chance, so that callers don't come at once."""
        if error.retry_after is not None:
            return max(0.0, error.retry_after)
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**tried) * (1 - 0.25 * self._chance())

    def _is_worth_waiting(self, wait: float, *, is_last: bool) -> bool:
        if self.remaining is not None and wait >= self.remaining:
            return False
        return wait <= (_LONGEST_ASKED_WAIT if is_last else _PATIENCE_WITH_A_FALLBACK)


def _left_alone(model: str, seconds: float) -> LLMError:
    return CircuitOpenError(
        f'"{model}" failed so often just now that it is not asked for another {seconds:.0f} seconds',
        hint="wait, or name another model; llm.fallbacks names those that are then asked instead",
        retry_after=seconds,
    )


def _told(failure: Failure | None, attempts: list[Attempt]) -> LLMError:
    """The error to raise, which says what was tried."""
    if failure is None:
        return LLMError("there is no model to ask", hint="this is a fault of the caller")
    error = failure.error
    error.attempts = tuple(attempts)
    if len(attempts) > 1:
        models = ", ".join(dict.fromkeys(attempt.model for attempt in attempts))
        error.message = f"{error.message} ({len(attempts)} attempts: {models})"
        error.args = (error.message,)
    return error
