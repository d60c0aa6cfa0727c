"""A run as others see it: the client that it uses, its span, and what is written of it to the decision log.

A run that can't be logged is not lost: a warning goes to the `dispatcher` logger.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dispatcher.decisionlog import DecisionLog, EntryOutcome, LogEntry, new_entry_id
from dispatcher.errors import AnswerError, BudgetError, DispatcherError, LLMError
from dispatcher.llm import LLMClient, Usage, cost_of
from dispatcher.runtime.drivers import Asking, AsyncAsking
from dispatcher.runtime.loading import Loaded, judged_cost
from dispatcher.runtime.reply import ABSTAINED, Event, Plan, Reply, Stopped, UsageReported
from dispatcher.tracing import Spanned, usage_attributes

__all__ = ["ObservedRun"]

_logger = logging.getLogger(__name__)

Seen = TypeVar("Seen", bound=Event)
_MOST_CANDIDATES = 5


class ObservedRun:
    """A run, from its plan to its end; a context manager around it.

    Parameters
    ----------
    loaded: what the run works with.
    plan: what it is going to do.
    log: where it is written; nowhere if None.
    session: the session that it is a turn of, if any.
    session_cost: what the turns before cost, in US dollars, where there is a budget for the session.
    """

    def __init__(
        self,
        loaded: Loaded,
        plan: Plan,
        log: DecisionLog | None,
        *,
        session: str | None = None,
        session_cost: float | None = None,
    ) -> None:
        self._loaded = loaded
        self._plan = plan
        self._log = log
        self._reply: Reply | None = None
        self._started = datetime.now(UTC)
        self._since = time.monotonic()
        self._session = session
        self._session_cost = session_cost
        self._usage = Usage()
        self._answers_cost: float | None = 0.0
        self.span = _run_span(plan)

    @functools.cached_property
    def client(self) -> LLMClient:
        """The client for the run: it stays within budgets, and its requests belong to the run's span."""
        return self._loaded.client_for_run(self._plan, self.span, session_cost=self._session_cost)

    def asking(self, way: Callable[[LLMClient], Asking]) -> Asking:
        """What answers the run's requests: its client in one of its ways, or the executor of its plan."""
        executor = self._plan.executor
        return executor.stream if executor is not None else lambda request: way(self.client)(request)

    def aasking(self, way: Callable[[LLMClient], AsyncAsking]) -> AsyncAsking:
        """`asking` for coroutines."""
        executor = self._plan.executor
        return executor.astream if executor is not None else lambda request: way(self.client)(request)

    def __enter__(self) -> Self:
        self.span.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reply is not None:
            self.span.note(_reply_attributes(self._reply))
        # A caller may stop reading once it has the reply: that cancels nothing.
        self.span.__exit__(*((None, None, None) if self._reply is not None else (kind, problem, trace)))
        if isinstance(problem, LLMError) and problem.usage is not None:
            self._take(problem.usage, cost_of(problem.usage, self._model, self._loaded.settings.llm.prices))
        if self._log is None or self._loaded.sends_nothing:
            return  # what is sent to nobody is kept nowhere
        try:
            self._log.add(self._entry(problem))
        except DispatcherError as fault:
            _logger.warning("%s", fault.message)

    def seen(self, event: Seen) -> Seen:
        """Notes what each answer took, and the reply at the end of the events; returns the event."""
        if isinstance(event, UsageReported):
            self._take(event.usage, event.cost)
        elif isinstance(event, Stopped):
            self._reply = event.reply
        return event

    @property
    def _model(self) -> str:
        return self._plan.request.model if self._plan.request is not None else ""

    def _take(self, usage: Usage, cost: float | None) -> None:
        """Counts what an answer took."""
        self._usage = self._usage + usage
        before = self._answers_cost
        self._answers_cost = None if before is None or cost is None else before + cost

    def _entry(self, problem: BaseException | None) -> LogEntry:
        decision, reply = self._plan.decision, self._reply
        request = self._plan.request
        attempts = reply.attempts if reply is not None else getattr(problem, "attempts", ())
        is_judged = decision.judgement is not None and decision.judgement.was_asked
        return LogEntry(
            id=new_entry_id(),
            time=self._started,
            task=decision.task,
            outcome=_outcome(reply, problem),
            agent=decision.agent.name if decision.agent is not None else None,
            how=str(decision.how),
            confidence=round(decision.confidence, 4),
            threshold=round(decision.threshold, 4),
            reason=decision.reason,
            candidates=tuple((each.name, round(each.score, 4)) for each in decision.candidates[:_MOST_CANDIDATES]),
            judged=is_judged,
            registry=self._loaded.registry_fingerprint,
            weights=self._loaded.weights_fingerprint,
            model=reply.model if reply is not None and reply.model else request.model if request is not None else None,
            stop_reason=reply.stop_reason if reply is not None else None,
            error=type(problem).__name__ if isinstance(problem, DispatcherError) else None,
            attempts=len(attempts),
            usage=reply.usage if reply is not None else self._usage,
            cost=self._cost(problem),
            seconds=round(time.monotonic() - self._since, 3),
            folder=_folder(),
            session=self._session,
        )

    def _cost(self, problem: BaseException | None) -> float | None:
        """What the answer and the judge cost; None where that is not known, as after a stream that broke off."""
        judgement = self._plan.decision.judgement
        if judgement is not None and judgement.was_asked and judgement.cost is None:
            return None
        judged = judged_cost(self._plan)
        if isinstance(problem, BudgetError):
            if problem.budget == "run":
                return problem.spent
            return None if self._answers_cost is None else self._answers_cost + judged
        is_whole = isinstance(problem, AnswerError)  # it came, and is not what was asked for
        if is_whole or (isinstance(problem, LLMError) and problem.usage is not None):
            return None if self._answers_cost is None else self._answers_cost + judged
        if self._plan.request is None:
            return judged
        return None if self._reply is None or self._reply.cost is None else self._reply.cost + judged


def _folder() -> str:
    """The current folder, by which feedback is collected; nothing where it was deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _run_span(plan: Plan) -> Spanned:
    agent = plan.decision.agent
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.name": agent.name if agent is not None else None,
        "gen_ai.agent.description": agent.description if agent is not None else None,
        "gen_ai.request.model": plan.request.model if plan.request is not None else None,
    }
    return Spanned(f"invoke_agent {agent.name}" if agent is not None else "invoke_agent", attributes)


def _reply_attributes(reply: Reply) -> dict[str, Any]:
    attributes = {
        "gen_ai.response.model": reply.model,
        "gen_ai.response.finish_reasons": (reply.stop_reason,),
        "dispatcher.cost_usd": reply.cost,
    }
    return attributes | (usage_attributes(reply.usage) if reply.was_sent else {})


def _outcome(reply: Reply | None, problem: BaseException | None) -> EntryOutcome:
    if reply is not None:
        if reply.stop_reason == ABSTAINED:
            return EntryOutcome.ABSTAINED
        return EntryOutcome.ANSWERED if reply.is_complete else EntryOutcome.INCOMPLETE
    if isinstance(problem, BudgetError):
        return EntryOutcome.OVER_BUDGET
    is_stopped = not isinstance(problem, Exception)  # whole, closed, interrupted or cancelled
    return EntryOutcome.CANCELLED if is_stopped else EntryOutcome.FAILED
