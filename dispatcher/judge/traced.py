"""A judge with a span around each question."""

from __future__ import annotations

from dispatcher.judge.protocol import Judge, Question, Verdict
from dispatcher.tracing import Spanned, usage_attributes

__all__ = ["TracedJudge"]


class TracedJudge:
    """A judge that tells OpenTelemetry when it is asked and what it picked, but not what it was asked."""

    def __init__(self, judge: Judge) -> None:
        self.judged_by = judge
        self.model: str | None = getattr(judge, "model", None)

    def judge(self, question: Question) -> Verdict:
        with self._span(question) as span:
            return _told(span, self.judged_by.judge(question))

    async def ajudge(self, question: Question) -> Verdict:
        """`judge` for coroutines."""
        with self._span(question) as span:
            return _told(span, await self.judged_by.ajudge(question))

    def prepare(self) -> None:
        """Loads what the judge needs, if it says so."""
        if (prepare := getattr(self.judged_by, "prepare", None)) is not None:
            prepare()

    def close(self) -> None:
        """Closes the connections of the judge."""
        if (close := getattr(self.judged_by, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self.judged_by, "aclose", None)) is not None:
            await close()

    def _span(self, question: Question) -> Spanned:
        attributes = {
            "gen_ai.operation.name": "judge",
            "gen_ai.request.model": self.model,
            "dispatcher.candidates": len(question.shortlist),
        }
        return Spanned("judge", attributes, is_current=True)


def _told(span: Spanned, verdict: Verdict) -> Verdict:
    if isinstance(verdict, Verdict):  # a judge of somebody else's may return anything
        span.note({"gen_ai.agent.name": verdict.pick, **usage_attributes(verdict.usage)})
    return verdict
