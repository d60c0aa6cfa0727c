"""Predictions: what a router says to each labelled task, and the JSON lines in which that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dispatcher.errors import UsageError
from dispatcher.evaluation.tasks import LabelledTask
from dispatcher.routing import Decision, How

__all__ = ["MOST_NAMES", "Prediction", "TaskRouter", "predict", "read_predictions", "write_predictions"]

# How many names a ranking keeps: enough for the reciprocal rank to lose nothing to speak of.
MOST_NAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was decided for one task, beside what should have been.

    `agent` took the task, None if the router abstained. `confidence` is between 0 and 1. `ranking` has names and
    scores, best first, also when the router abstained. `escalated` says whether a judge was asked, None where there is
    none.
    """

    task: str
    expected: str | None
    agent: str | None
    confidence: float
    ranking: tuple[tuple[str, float], ...]
    escalated: bool | None = None
    tags: tuple[str, ...] = ()
    context: str = ""

    @property
    def first(self) -> str | None:
        """The best of the ranking, whether or not it took the task; None where the ranking is empty."""
        return self.ranking[0][0] if self.ranking else None

    @property
    def rank(self) -> int:
        """The place of the expected agent in the ranking, counted from 1; 0 where it is not there."""
        return next((place for place, (name, _) in enumerate(self.ranking, start=1) if name == self.expected), 0)

    @property
    def is_right(self) -> bool:
        """Whether the first of the ranking is the expected agent; never so where no agent fits."""
        return self.expected is not None and self.first == self.expected


class TaskRouter(Protocol):
    """What `predict` asks of a router."""

    def route_many(self, tasks: Sequence[str], *, most: int | None = None) -> Iterable[Decision]: ...


def predict(
    router: TaskRouter,
    tasks: Sequence[LabelledTask],
    *,
    progress: Callable[[int], None] | None = None,
    most: int = MOST_NAMES,
) -> tuple[Prediction, ...]:
    """Routes every task by its text alone: not by its context, nor by an @name at its beginning.

    A task that only the fallback took counts as not routed. `progress` is called after each task with the number of
    tasks done; a ranking keeps `most` names.
    """
    predictions = []
    decisions = router.route_many([task.task for task in tasks], most=most)
    for done, (task, decision) in enumerate(zip(tasks, decisions, strict=True), start=1):
        predictions.append(_prediction(decision, task))
        if progress is not None:
            progress(done)
    return tuple(predictions)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a JSON object a line, in the order of the tasks.

    Keys: task, expected, agent, confidence, ranking; escalated, tags and context where there are any. Raises UsageError
    if the file can't be written.
    """
    lines = [json.dumps(_record(prediction)) + "\n" for prediction in predictions]
    try:
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as problem:
        raise UsageError(
            f"{path}: the predictions can't be written: {problem.strerror or problem}",
            hint="check the path after --predictions",
        ) from None


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Reads what `write_predictions` wrote. Raises UsageError, with file and line, for anything else."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UsageError(
            f"{path}: the predictions can't be read: {reason}", hint="it is a file that --predictions wrote"
        ) from None
    lines = enumerate(text.split("\n"), start=1)
    predictions = tuple(_parsed(content, path, line) for line, content in lines if content.strip())
    if not predictions:
        raise UsageError(f"{path}: there are no predictions in this file", hint="it is a file that --predictions wrote")
    return predictions


def _prediction(decision: Decision, task: LabelledTask) -> Prediction:
    is_routed = decision.agent is not None and decision.how is not How.FALLBACK
    return Prediction(
        task=task.task,
        expected=task.agent,
        agent=decision.agent.name if decision.agent is not None and is_routed else None,
        confidence=decision.confidence,
        ranking=tuple((candidate.name, candidate.score) for candidate in decision.candidates),
        tags=task.tags,
        context=task.context,
    )


def _record(prediction: Prediction) -> dict[str, Any]:
    record: dict[str, Any] = {
        "task": prediction.task,
        "expected": prediction.expected,
        "agent": prediction.agent,
        "confidence": prediction.confidence,
        "ranking": prediction.ranking,
    }
    if prediction.escalated is not None:
        record["escalated"] = prediction.escalated
    if prediction.tags:
        record["tags"] = prediction.tags
    if prediction.context:
        record["context"] = prediction.context
    return record


def _parsed(content: str, path: Path, line: int) -> Prediction:
    try:
        record = json.loads(content)
        return Prediction(
            task=_checked(record["task"], str),
            expected=_checked(record["expected"], str, type(None)),
            agent=_checked(record["agent"], str, type(None)),
            confidence=_share(record["confidence"]),
            ranking=tuple((_checked(name, str), _number(score)) for name, score in record["ranking"]),
            escalated=_checked(record.get("escalated"), bool, type(None)),
            tags=tuple(_checked(tag, str) for tag in record.get("tags", ())),
            context=_checked(record.get("context", ""), str),
        )
    except KeyError as problem:
        reason = f"{problem.args[0]!r} is missing"
    except (AttributeError, RecursionError, TypeError, ValueError) as problem:
        reason = str(problem)
    raise UsageError(
        f"{path}:{line}: this line is not a prediction: {reason}", hint="it is a file that --predictions wrote"
    )


def _checked(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f"{value!r:.40} is of the wrong kind")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return float(_checked(value, int, float))


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"the confidence {number} is not between 0 and 1")
    return number
