"""What asking a judge gave: the share judged, the accuracy along it, tokens and cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dispatcher.evaluation import Judged, Prediction, measure_escalation

PLAIN = Prediction(task="t", expected="a", agent="a", confidence=0.9, ranking=(("a", 0.5), ("b", 0.4)), escalated=False)


def judged(
    offline: str, confidence: float, *, is_right: bool, cost: float | None = 0.25, **fields: object
) -> Prediction:
    """A task that was judged, least sure of `offline` before."""
    ranking = (("a", 0.5), ("b", 0.4)) if is_right else (("b", 0.5), ("a", 0.4))
    record = Judged(offline=offline, offline_confidence=confidence, prompt_tokens=100, output_tokens=10, cost=cost)
    return replace(PLAIN, ranking=ranking, escalated=True, judged=replace(record, **fields))  # type: ignore[arg-type]


MENDED = judged("b", 0.1, is_right=True)
SPOILED = judged("a", 0.3, is_right=False, prompt_tokens=300)
KEPT = judged("a", 0.2, is_right=True)
NOT_ASKED = replace(PLAIN, judged=Judged(offline="a", offline_confidence=0.4, failure="the budget of $1 is spent"))
NOBODY = replace(MENDED, expected=None)


def test_without_a_judge_there_is_nothing_to_tell() -> None:
    assert measure_escalation([replace(PLAIN, escalated=None)]) is None


def test_what_was_asked_and_what_it_gave() -> None:
    found = measure_escalation([MENDED, SPOILED, KEPT, PLAIN])
    assert found is not None
    assert (found.n, found.asked, found.answered, found.share) == (4, 3, 3, 0.75)
    assert (found.offline_top1, found.top1) == (0.75, 0.75)
    assert (found.prompt_tokens, found.most_prompt_tokens, found.output_tokens) == (500, 300, 30)
    assert (found.cost, found.is_estimated) == (0.75, False)


def test_the_least_sure_are_judged_first() -> None:
    found = measure_escalation([PLAIN, SPOILED, MENDED, KEPT])
    assert found is not None
    points = [(point.calls, point.accuracy, point.threshold) for point in found.curve]
    assert points == [(0.0, 0.75, 0.0), (0.25, 1.0, 0.2), (0.5, 1.0, 0.3), (0.75, 0.75, 0.9)]


def test_those_of_one_confidence_are_judged_together() -> None:
    found = measure_escalation([MENDED, replace(MENDED, task="u")])
    assert found is not None
    assert [(point.calls, point.accuracy, point.threshold) for point in found.curve] == [
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
    ]


def test_tasks_that_fit_nobody_are_asked_about_but_not_on_the_curve() -> None:
    found = measure_escalation([NOBODY, MENDED])
    assert found is not None
    assert (found.asked, [point.calls for point in found.curve]) == (2, [0.0, 1.0])
    assert measure_escalation([NOBODY]) is not None


def test_why_there_was_no_answer_is_counted() -> None:
    failed = judged("a", 0.2, is_right=True, failure="no answer in 10 seconds")
    found = measure_escalation([failed, failed, NOT_ASKED])
    assert found is not None
    assert (found.asked, found.answered) == (2, 0)
    assert found.failures == {"no answer in 10 seconds": 2, "the budget of $1 is spent": 1}


@pytest.mark.parametrize(("costs", "total"), [((0.25, 0.5), 0.75), ((0.25, None), None)])
def test_a_cost_that_is_not_known_is_no_sum(costs: tuple[float, float | None], total: float | None) -> None:
    found = measure_escalation([judged("a", 0.2, is_right=True, cost=cost) for cost in costs])
    assert found is not None
    assert found.cost == total
