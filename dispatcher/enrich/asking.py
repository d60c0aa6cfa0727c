"""The calls of a run, several at a time; every answer is on the disk before the next call is made in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from dispatcher.enrich.enriching import Enriching
from dispatcher.enrich.planning import Job
from dispatcher.errors import (
    AnswerError,
    DispatcherError,
    LLMError,
    OverloadedError,
    PromptTooLongError,
    RateLimitError,
    RequestError,
)
from dispatcher.llm import Completion, LLMClient

__all__ = ["PATIENCE", "ask"]

PATIENCE = (5.0, 20.0, 60.0)
"""Seconds to wait, each time longer, when the service has no capacity even after the client's own retries."""

_OF_ONE_AGENT = (AnswerError, PromptTooLongError, RequestError)
_MOST_IN_VAIN = 3
"""Where nothing has come so far, so many failures mean that nothing will."""


def ask(
    run: Enriching,
    jobs: Sequence[Job],
    client: LLMClient,
    *,
    concurrency: int,
    progress: Callable[[int], None] | None = None,
    patience: Sequence[float] = PATIENCE,
) -> int:
    """Asks for every job, `concurrency` at a time, and returns how many were left out to stay within the cost.

    What fails for one agent alone is noted in the run. Any other error stops it: no call is made any more, those in
    flight are waited for, and the error is raised. An interrupt doesn't wait for them.

    `progress` is called with the number of jobs done.
    """
    asking = _Asking(run, jobs, client, progress, patience)
    asyncio.run(asking.work(concurrency))
    return asking.left_out


class _Asking:
    """The workers share an iterator over the jobs, and stop when there is a reason to."""

    def __init__(
        self,
        run: Enriching,
        jobs: Sequence[Job],
        client: LLMClient,
        progress: Callable[[int], None] | None,
        patience: Sequence[float],
    ) -> None:
        self.left_out = 0
        self._run = run
        self._jobs: Iterator[Job] = iter(jobs)
        self._client = client
        self._progress = progress
        self._patience = patience
        self._done = 0
        self._in_vain = 0
        self._stopped_by: DispatcherError | None = None

    async def work(self, concurrency: int) -> None:
        try:
            await asyncio.gather(*(self._worker() for _ in range(concurrency)))
        finally:
            if (close := getattr(self._client, "aclose", None)) is not None:
                await close()
        if self._stopped_by is not None:
            raise self._stopped_by

    async def _worker(self) -> None:
        for job in self._jobs:
            if self._stopped_by is not None:
                return
            if not self._run.reserve(job):
                self.left_out += 1
                continue
            try:
                self._take(job, await self._answer(job))
            except DispatcherError as problem:
                self._stopped_by = self._stopped_by or problem
                return
            self._done += 1
            if self._progress is not None:
                self._progress(self._done)

    def _take(self, job: Job, answer: Completion | LLMError) -> None:
        failed = len(self._run.failures)
        if isinstance(answer, LLMError):
            self._run.fail(job, answer)
        else:
            self._run.take(job, answer)
        self._in_vain += len(self._run.failures) > failed
        if self._in_vain >= _MOST_IN_VAIN and not self._run.lines:
            raise self._run.failures[-1].error

    async def _answer(self, job: Job) -> Completion | LLMError:
        """The answer for a job, or why there is none for this one. Raises errors that would meet every other, too."""
        request = self._run.request(job)
        pauses = iter(self._patience)
        while True:
            try:
                return await self._client.acomplete(request)
            except _OF_ONE_AGENT as problem:
                return problem
            except (RateLimitError, OverloadedError) as problem:
                pause = next(pauses, None)
                if pause is None or self._stopped_by is not None:
                    raise
                wanted = getattr(problem, "retry_after", None)
                await asyncio.sleep(pause if wanted is None else wanted)
