"""Predictions: what a router says to each labelled task, and the JSON lines in which that is kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dispatcher.errors import UsageError
from dispatcher.evaluation.tasks import LabelledTask
from dispatcher.routing import Decision, How, Judgement

__all__ = ["MOST_NAMES", "Judged", "Prediction", "TaskRouter", "predict", "read_predictions", "write_predictions"]

# How many names a ranking keeps: enough for the reciprocal rank to lose nothing to speak of.
MOST_NAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of asking a judge about one task, as far as a report needs it.

    `offline` is what the scores alone ranked first, with `offline_confidence`. `failure` says why there is no answer
    that counts. `cost` is in US dollars, None where it is not known; with `is_estimated`, nothing was sent.
    """

    offline: str | None
    offline_confidence: float
    reason: str = ""
    failure: str | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was decided for one task, beside what should have been.

    `agent` took the task, None if the router abstained. `confidence` is between 0 and 1. `ranking` has names and
    scores, best first, also when the router abstained. `escalated` says whether a judge was asked, None where there is
    none; `judged` is what came of it.
    """

    task: str
    expected: str | None
    agent: str | None
    confidence: float
    ranking: tuple[tuple[str, float], ...]
    escalated: bool | None = None
    judged: Judged | None = None
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
    decide: Callable[[Decision], Decision] | None = None,
    at_once: int = 1,
) -> tuple[Prediction, ...]:
    """Routes every task by its text alone: not by its context, nor by an @name at its beginning.

    A task that only the fallback took counts as not routed. `progress` is called after each task with the number of
    tasks done; a ranking keeps `most` names. `decide` is what a judge makes of a decision; that many `at_once`.
    """
    predictions = []
    decisions: Iterable[Decision] = router.route_many([task.task for task in tasks], most=most)
    if decide is not None:
        decisions = _decided(decisions, decide, at_once)
    for done, (task, decision) in enumerate(zip(tasks, decisions, strict=True), start=1):
        predictions.append(_prediction(decision, task, has_judge=decide is not None))
        if progress is not None:
            progress(done)
    return tuple(predictions)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a JSON object a line, in the order of the tasks.

    Keys: task, expected, agent, confidence, ranking; escalated, judged, tags and context where there are any. Raises
    UsageError if the file can't be written.
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


def _decided(decisions: Iterable[Decision], decide: Callable[[Decision], Decision], at_once: int) -> Iterator[Decision]:
    """The decisions after the judge, in their order. No more are routed than are being judged."""
    if at_once == 1:
        yield from map(decide, decisions)
        return
    waiting = iter(decisions)
    with ThreadPoolExecutor(at_once) as pool:
        while batch := list(itertools.islice(waiting, at_once)):
            yield from pool.map(decide, batch)


def _prediction(decision: Decision, task: LabelledTask, *, has_judge: bool) -> Prediction:
    is_routed = decision.agent is not None and decision.how is not How.FALLBACK
    return Prediction(
        task=task.task,
        expected=task.agent,
        agent=decision.agent.name if decision.agent is not None and is_routed else None,
        confidence=decision.confidence,
        ranking=tuple((candidate.name, candidate.score) for candidate in decision.candidates),
        escalated=_was_asked(decision.judgement) if has_judge else None,
        judged=_judged(decision.judgement) if decision.judgement is not None else None,
        tags=task.tags,
        context=task.context,
    )


def _was_asked(judgement: Judgement | None) -> bool:
    return judgement is not None and judgement.was_asked


def _judged(judgement: Judgement) -> Judged:
    return Judged(
        offline=judgement.offline_pick,
        offline_confidence=judgement.offline_confidence,
        reason=judgement.reason,
        failure=judgement.failure,
        prompt_tokens=judgement.usage.prompt_tokens,
        output_tokens=judgement.usage.output_tokens,
        cost=judgement.cost,
        is_estimated=judgement.is_estimated,
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
    if prediction.judged is not None:
        record["judged"] = dataclasses.asdict(prediction.judged)
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
            judged=_read_judged(record.get("judged")),
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


def _read_judged(record: Any) -> Judged | None:
    if record is None:
        return None
    return Judged(
        offline=_checked(record["offline"], str, type(None)),
        offline_confidence=_share(record["offline_confidence"]),
        reason=_checked(record.get("reason", ""), str),
        failure=_checked(record.get("failure"), str, type(None)),
        prompt_tokens=_checked(record.get("prompt_tokens", 0), int),
        output_tokens=_checked(record.get("output_tokens", 0), int),
        cost=None if record.get("cost") is None else _number(record["cost"]),
        is_estimated=_checked(record.get("is_estimated", False), bool),
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
