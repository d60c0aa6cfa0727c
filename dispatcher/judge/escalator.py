"""Asking a judge: the two ways to wait, within the time and the money that are allowed.

What is asked and what becomes of the answer is decided elsewhere; here a failure of any kind is turned into "the
router's own pick stands", with the reason.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dispatcher.errors import DispatcherError
from dispatcher.judge.escalation import Policy, question_about, settled, stands
from dispatcher.judge.memory import JudgeMemory
from dispatcher.judge.protocol import Judge, Question, Said, Verdict
from dispatcher.llm import Usage
from dispatcher.routing import Decision

__all__ = ["Escalator"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is under way."""

    decision: Decision
    question: Question
    judge: Judge
    since: float


class Escalator:
    """Has a judge decide where the policy wants it.

    Parameters
    ----------
    judge: who is asked; None if that is not possible, and then `unavailable` says why.
    policy: when it is asked.
    timeout: seconds to wait for an answer.
    budget: US dollars after which nobody is asked any more; no limit if None.
    memory: what was answered and spent before; that of this object alone if not given.
    """

    def __init__(
        self,
        judge: Judge | None,
        policy: Policy,
        *,
        timeout: float = 10.0,
        budget: float | None = None,
        memory: JudgeMemory | None = None,
        unavailable: str = "there is no judge",
    ) -> None:
        self.judge = judge
        self.policy = policy
        self.memory = memory or JudgeMemory()
        self._timeout = timeout
        self._budget = budget
        self._unavailable = unavailable
        self._model = getattr(judge, "model", None)

    def decide(self, decision: Decision, *, turns: Sequence[Said] = (), material: str = "") -> Decision:
        """The decision after the judge, if it was to be asked. Never raises what a judge raises."""
        asked = self._begin(decision, turns, material)
        if isinstance(asked, Decision):
            return asked
        return self._end(asked, _in_time(lambda: self._kept(asked, asked.judge.judge(asked.question)), self._timeout))

    async def adecide(self, decision: Decision, *, turns: Sequence[Said] = (), material: str = "") -> Decision:
        """`decide` for coroutines."""
        asked = self._begin(decision, turns, material)
        if isinstance(asked, Decision):
            return asked
        try:
            verdict = await asyncio.wait_for(asked.judge.ajudge(asked.question), self._timeout)
            return self._end(asked, self._kept(asked, verdict))
        except Exception as problem:  # noqa: BLE001  whatever a judge raises, the router's own pick stands
            return self._end(asked, problem)

    def close(self) -> None:
        """Closes the connections that the judge keeps open, if it has any."""
        if (close := getattr(self.judge, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self.judge, "aclose", None)) is not None:
            await close()

    def _begin(self, decision: Decision, turns: Sequence[Said], material: str) -> Decision | _Asked:
        """A question to ask, or else the decision, where nothing has to be asked, or nothing can be."""
        question = question_about(decision, self.policy, turns=turns, material=material)
        if question is None:
            return decision
        known = self.memory.recall(self._model, question)
        if known is not None:
            return settled(decision, self.policy, question, _for_nothing(known), latency=0.0, is_cached=True)
        if self.judge is None:
            return stands(decision, self._unavailable, was_asked=False)
        if self._budget is not None and self.memory.spent >= self._budget:
            return stands(decision, f"the budget of ${self._budget:g} is spent", was_asked=False)
        try:
            # What takes time only once, and before anything is sent, is none of the judge's.
            if (prepare := getattr(self.judge, "prepare", None)) is not None:
                prepare()
        except Exception as problem:  # noqa: BLE001  whatever a judge raises, the router's own pick stands
            return stands(decision, self._told(problem), was_asked=False)
        return _Asked(decision, question, self.judge, time.perf_counter())

    def _kept(self, asked: _Asked, verdict: Verdict) -> Verdict:
        """A verdict, once it is counted and remembered: also one that comes when nobody waits any more."""
        if not isinstance(verdict, Verdict):
            raise TypeError(f"the judge's answer is a {type(verdict).__name__}, not a Verdict")
        self.memory.keep(self._model, asked.question, verdict)
        return verdict

    def _end(self, asked: _Asked, answer: Verdict | Exception) -> Decision:
        latency = round(time.perf_counter() - asked.since, 6)
        if isinstance(answer, Exception):
            failure = self._told(answer)
            _logger.info("the judge gave no answer: %s", type(answer).__name__)
            return stands(asked.decision, failure, latency=latency)
        decision = settled(asked.decision, self.policy, asked.question, answer, latency=latency)
        # Neither the task nor the judge's words about it are logged.
        _logger.info("judged in %.3f s: %s", latency, "no answer" if answer.fault else answer.pick or "none of them")
        return decision

    def _told(self, problem: Exception) -> str:
        if isinstance(problem, DispatcherError):
            return (problem.message.splitlines() or [type(problem).__name__])[0]
        if isinstance(problem, TimeoutError):
            return f"no answer in {self._timeout:g} seconds"
        return " ".join(f"{type(problem).__name__}: {problem}".split())


def _for_nothing(verdict: Verdict) -> Verdict:
    """A verdict known from before, which takes no tokens now."""
    return replace(verdict, usage=Usage(), cost=0.0)


def _in_time(ask: Callable[[], Verdict], timeout: float) -> Verdict | Exception:
    """An answer, or what was raised. It runs in a thread of its own, so that whoever waits can stop waiting."""
    answers: list[Verdict | Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as problem:  # noqa: BLE001  whatever a judge raises, the router's own pick stands
            answers.append(problem)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="judge", daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else TimeoutError()
