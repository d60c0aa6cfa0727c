"""One run: requests are made of jobs, answers become lines on the disk, and what it all took is counted.

Asks nobody itself: `asking` and `batching` carry requests to a service and bring answers here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dispatcher.agent import Agent
from dispatcher.enrich.answers import Names, Refused, fold, read_answer
from dispatcher.enrich.estimating import Estimate, estimate
from dispatcher.enrich.journal import Journals
from dispatcher.enrich.lines import WrittenLine
from dispatcher.enrich.planning import Job
from dispatcher.enrich.prompting import SCHEMA, near_miss_count, request_for
from dispatcher.errors import AnswerError, LLMError, UsageError
from dispatcher.llm import Completion, Request, Usage, cost_of, in_dollars, parse_json
from dispatcher.settings import Price

__all__ = ["AskOptions", "Enriching", "Failure", "estimate_jobs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """What is wanted of every call: the model, so many examples, and at most so many tokens in an answer.

    `prices` are those of config; `max_cost` is the most that the run may cost, in US dollars.
    """

    model: str
    count: int
    max_tokens: int
    prices: Mapping[str, Price] = field(default_factory=dict)
    max_cost: float | None = None

    def request(self, job: Job) -> Request:
        return request_for(job, count=self.count, model=self.model, max_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An agent for which nothing came, and why."""

    agent: str
    error: LLMError


class Enriching:
    """A run over some journals.

    Parameters
    ----------
    journals: of the files that lines are written for.
    everyone: all agents, with the examples that they have.
    options: what is wanted of every call.

    `lines` are those written, `refused` the tasks that are not used, `failures` the agents without an answer; `usage`
    and `spent` (US dollars, None where a price is not known) are what was taken.
    """

    def __init__(self, journals: Journals, everyone: Sequence[Agent], options: AskOptions) -> None:
        self.options = options
        self.journals = journals
        self.everyone = everyone
        self.lines: list[WrittenLine] = []
        self.refused: list[Refused] = []
        self.failures: list[Failure] = []
        self.usage = Usage()
        self.spent: float | None = 0.0
        self._names = Names(everyone)
        self._reserved: dict[str, float] = {}
        self._taken = {
            fold(text): agent.name
            for agent in everyone
            for text in (*(one.user for one in agent.examples), *(passage.text for passage in agent.enriched))
        }

    def request(self, job: Job) -> Request:
        return self.options.request(job)

    def estimate(self, jobs: Sequence[Job], *, is_batch: bool = False) -> Estimate:
        """What asking for some jobs will take. Raises UsageError if that is over the limit, or can't be known."""
        return estimate_jobs(jobs, self.options, is_batch=is_batch)

    def reserve(self, job: Job) -> bool:
        """Sets aside what a call will cost; False if that would be more than the run may cost."""
        if self.options.max_cost is None:
            return True
        cost = estimate_jobs([job], replace(self.options, max_cost=None)).cost or 0.0
        if (self.spent or 0.0) + sum(self._reserved.values()) + cost > self.options.max_cost:
            return False
        self._reserved[job.agent.name] = cost
        return True

    def take(self, job: Job, completion: Completion, *, count: int | None = None, factor: float = 1.0) -> None:
        """Puts an answer on the disk, or notes why it can't be used.

        `count` is how many examples were asked for, if not as many as now; `factor` is the part of the usual price.
        """
        self._reserved.pop(job.agent.name, None)
        self._count(completion, factor)
        try:
            line = self._line(job, completion, count or self.options.count)
        except AnswerError as problem:
            self.fail(job, problem)
            return
        self.journals[job.path].keep(line)
        self.lines.append(line)
        self._taken |= {fold(text): line.name for text in line.examples}

    def fail(self, job: Job, error: LLMError) -> None:
        """Notes that nothing came for an agent."""
        self._reserved.pop(job.agent.name, None)
        self.failures.append(Failure(agent=job.agent.name, error=error))

    def _line(self, job: Job, completion: Completion, count: int) -> WrittenLine:
        accepted = read_answer(
            parse_json(completion, SCHEMA),
            job,
            count=count,
            near_misses=near_miss_count(job, count),
            names=self._names,
            taken=self._taken,
        )
        self.refused.extend(accepted.refused)
        if not accepted.examples:
            reason = f", such as: {accepted.refused[0].reason}" if accepted.refused else ""
            raise AnswerError(f"no task of the answer can be used{reason}", request_id=completion.request_id)
        return WrittenLine(
            name=job.agent.name,
            digest=job.digest,
            examples=accepted.examples,
            near_misses=accepted.near_misses,
            model=completion.model,
            created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _count(self, completion: Completion, factor: float) -> None:
        before, used = self.usage, completion.usage
        self.usage = Usage(
            input_tokens=before.input_tokens + used.input_tokens,
            output_tokens=before.output_tokens + used.output_tokens,
            cache_write_tokens=before.cache_write_tokens + used.cache_write_tokens,
            cache_read_tokens=before.cache_read_tokens + used.cache_read_tokens,
        )
        prices = self.options.prices
        cost = cost_of(used, completion.model, prices)
        if cost is None:  # a service may call a model by another name than the one it was asked for by
            cost = cost_of(used, self.options.model, prices)
        self.spent = None if cost is None or self.spent is None else self.spent + cost * factor


def estimate_jobs(jobs: Sequence[Job], options: AskOptions, *, is_batch: bool = False) -> Estimate:
    """What asking for some jobs will take. Raises UsageError if that is over the limit, or can't be known."""
    tasks = options.count + max((near_miss_count(job, options.count) for job in jobs), default=0)
    found = estimate([options.request(job) for job in jobs], tasks, prices=options.prices, is_batch=is_batch)
    if options.max_cost is not None and jobs:
        _check_limit(found, options.max_cost, options.model)
    return found


def _check_limit(found: Estimate, max_cost: float, model: str) -> None:
    if found.cost is None:
        raise UsageError(
            f'what "{model}" costs is not known, so --max-cost can\'t be kept to',
            hint="add the model to llm.prices in config.yaml",
        )
    if found.cost > max_cost:
        raise UsageError(
            f"it would cost about {in_dollars(found.cost)}, more than the {in_dollars(max_cost)} of --max-cost",
            hint="allow more, name fewer agents, ask for fewer tasks with --count, or use --batch at half the price",
        )
