"""What a change to the agents gives: the same labelled tasks routed before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.agent import Agent
from dispatcher.evaluation.metrics import Metrics, measure
from dispatcher.evaluation.predictions import TaskRouter, predict
from dispatcher.evaluation.statistics import Comparison, compare
from dispatcher.evaluation.tasks import LabelledTask

__all__ = ["Gain", "measure_gain", "unseen"]

_EVEN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The figures before and after, and which tasks moved."""

    before: Metrics
    after: Metrics
    comparison: Comparison

    @property
    def is_worse(self) -> bool:
        """Whether fewer tasks are right: by top1, and by top3 if that is even."""
        top1 = (self.after.top1 or 0.0) - (self.before.top1 or 0.0)
        top3 = (self.after.top3 or 0.0) - (self.before.top3 or 0.0)
        return top1 < -_EVEN or (top1 <= _EVEN and top3 < -_EVEN)


def measure_gain(before: TaskRouter, after: TaskRouter, tasks: Sequence[LabelledTask]) -> Gain:
    """Routes the tasks with both."""
    old, new = predict(before, tasks), predict(after, tasks)
    return Gain(before=measure(old), after=measure(new), comparison=compare(old, new))


def unseen(tasks: Sequence[LabelledTask], agents: Sequence[Agent]) -> tuple[LabelledTask, ...]:
    """The tasks that are no agent's example, on which a gain would be none."""
    seen = {_folded(passage.text) for agent in agents for passage in agent.enriched}
    seen |= {_folded(example.user) for agent in agents for example in agent.examples}
    return tuple(task for task in tasks if _folded(task.task) not in seen)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
