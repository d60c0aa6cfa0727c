"""The calls of a run as one batch for each file: submitted, remembered on the disk, waited for, collected.

A batch goes on at the service whatever becomes of this process, so a later run collects what an earlier one submitted.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence

from dispatcher.agent import Agent
from dispatcher.enrich.enriching import Enriching
from dispatcher.enrich.estimating import BATCH_FACTOR
from dispatcher.enrich.journal import BatchRecord, Journal
from dispatcher.enrich.planning import Job, Reason, known_tasks
from dispatcher.errors import (
    LLMError,
    NetworkError,
    OverloadedError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
)
from dispatcher.llm import BatchClient

__all__ = ["collect", "submit"]

_PASSING = (NetworkError, OverloadedError, RateLimitError, ResponseTimeoutError, ServiceError)
_MOST_FAILURES = 15  # one after the other: about ten minutes
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 1.0, 60.0, 1.5  # seconds


def submit(run: Enriching, jobs: Sequence[Job], service: BatchClient) -> list[BatchRecord]:
    """Submits the jobs of each file as a batch, whose id is on the disk before this returns."""
    submitted = []
    for path in dict.fromkeys(job.path for job in jobs):
        named = {f"agent-{number}": job for number, job in enumerate(jobs) if job.path == path}
        state = service.submit({name: run.request(job) for name, job in named.items()})
        record = BatchRecord(
            id=state.id,
            model=run.options.model,
            submitted=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            count=run.options.count,
            requests={
                name: (job.agent.name, job.digest, tuple(each.name for each in job.neighbours))
                for name, job in named.items()
            },
        )
        run.journals[path].remember(record)
        submitted.append(record)
    return submitted


def collect(
    run: Enriching,
    journal: Journal,
    batch: BatchRecord,
    service: BatchClient,
    *,
    waits: bool = True,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Takes the results of a batch; False if it has not ended, and this is not to wait for it.

    Whoever has no result is noted in the run and asked for again by the next. Results are free to fetch, so a run that
    is killed here fetches them again. `pause` is called with the seconds to wait.
    """
    try:
        if not _has_ended(batch, service, waits, pause):
            return False
        results = service.results(batch.id)
    except RequestError as problem:
        hint = f"{problem.hint}; to ask anew, remove {journal.path}"
        raise RequestError(problem.message, hint=hint, request_id=problem.request_id) from None
    present = {(line.name, line.digest) for line in journal.content.lines}
    for name, job in _jobs_of(batch, journal, run.everyone):
        if (job.agent.name, job.digest) in present:
            continue  # an earlier run was killed halfway
        result = results.get(name, LLMError("the batch has no result for it", hint="run the same again"))
        if isinstance(result, LLMError):
            run.fail(job, result)
        else:
            run.take(job, result, count=batch.count, factor=BATCH_FACTOR)
    journal.forget(batch)
    return True


def _has_ended(batch: BatchRecord, service: BatchClient, waits: bool, pause: Callable[[float], None]) -> bool:
    """Whether a batch has ended, in the end; a network that is away for a while does not end the waiting."""
    seconds, failures = _FIRST_PAUSE, 0
    while True:
        try:
            if service.state(batch.id).has_ended:
                return True
            failures = 0
        except _PASSING:
            failures += 1
            if not waits or failures >= _MOST_FAILURES:
                raise
        if not waits:
            return False
        pause(seconds)
        seconds = min(seconds * _GROWTH, _LONGEST_PAUSE)


def _jobs_of(batch: BatchRecord, journal: Journal, everyone: Sequence[Agent]) -> Iterator[tuple[str, Job]]:
    """The jobs that a batch was made of, by their requests' names; an agent that is gone needs no examples."""
    agents = {agent.name: agent for agent in everyone}
    text = journal.text()
    for name, (agent, digest, neighbours) in batch.requests.items():
        if agent in agents:
            yield (
                name,
                Job(
                    agent=agents[agent],
                    digest=digest,
                    path=journal.target,
                    reason=Reason.NEW,
                    neighbours=tuple(agents[each] for each in neighbours if each in agents),
                    known=known_tasks(agents[agent], digest, text),
                ),
            )
