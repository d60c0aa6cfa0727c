"""What asking a judge gave: accuracy against the share of tasks judged, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.evaluation.predictions import Judged, Prediction

__all__ = ["EscalationFigures", "EscalationPoint", "measure_escalation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationPoint:
    """What a threshold would do, over the tasks that have an agent.

    `calls` is the share of tasks below it, `accuracy` the share of all tasks that are right once those are judged.
    """

    calls: float
    accuracy: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationFigures:
    """What asking a judge gave.

    `asked` of `n` tasks were put to it, and `answered` of these got an answer that counts; `failures` says why the
    others did not, and how often. `offline_top1` is what the scores alone give, `top1` what it came to, both over the
    tasks that have an agent. Tokens are sums over all tasks; `most_prompt_tokens` is the largest of one task; `cost` is
    in US dollars, None where a price is not known. With `is_estimated`, nothing was sent, and these are what it would
    have taken, about.
    """

    n: int
    asked: int
    answered: int
    failures: dict[str, int]
    offline_top1: float | None
    top1: float | None
    prompt_tokens: int
    most_prompt_tokens: int
    output_tokens: int
    cost: float | None
    is_estimated: bool
    curve: tuple[EscalationPoint, ...]

    @property
    def share(self) -> float:
        """The share of tasks put to the judge."""
        return self.asked / self.n if self.n else 0.0


def measure_escalation(predictions: Sequence[Prediction]) -> EscalationFigures | None:
    """What a judge gave; None where there was none."""
    if all(each.escalated is None for each in predictions):
        return None
    taken = [each.judged for each in predictions if each.judged is not None]
    asked = [each.judged for each in predictions if each.judged is not None and each.escalated]
    costs = [each.cost for each in asked]
    labelled = [each for each in predictions if each.expected is not None]
    return EscalationFigures(
        n=len(predictions),
        asked=len(asked),
        answered=sum(each.failure is None for each in asked),
        failures=dict(Counter(each.failure for each in taken if each.failure is not None).most_common()),
        offline_top1=_share([_was_right(each) for each in labelled]),
        top1=_share([each.is_right for each in labelled]),
        prompt_tokens=sum(each.prompt_tokens for each in asked),
        most_prompt_tokens=max((each.prompt_tokens for each in asked), default=0),
        output_tokens=sum(each.output_tokens for each in asked),
        cost=sum(cost for cost in costs if cost is not None) if None not in costs else None,
        is_estimated=any(each.is_estimated for each in asked),
        curve=_curve(labelled),
    )


def _curve(labelled: Sequence[Prediction]) -> tuple[EscalationPoint, ...]:
    """From nobody judged to all who were, a point for each threshold that makes a difference."""
    if not labelled:
        return ()
    right = sum(_was_right(each) for each in labelled)
    judged = sorted(
        ((each.judged, each) for each in labelled if each.judged is not None and each.escalated),
        key=lambda pair: pair[0].offline_confidence,
    )
    # Beyond the last that was judged, the threshold is as high as the first that was not.
    highest = min((each.confidence for each in labelled if not each.escalated), default=1.0)
    points = [EscalationPoint(calls=0.0, accuracy=right / len(labelled), threshold=0.0)]
    for place, (record, each) in enumerate(judged, start=1):
        right += each.is_right - _was_right(each)
        following = judged[place][0].offline_confidence if place < len(judged) else highest
        if following > record.offline_confidence or place == len(judged):
            accuracy, calls = right / len(labelled), place / len(labelled)
            points.append(EscalationPoint(calls=calls, accuracy=accuracy, threshold=following))
    return tuple(points)


def _was_right(prediction: Prediction) -> bool:
    """Whether the scores alone were right."""
    record: Judged | None = prediction.judged
    return prediction.is_right if record is None else record.offline == prediction.expected


def _share(outcomes: Sequence[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None
