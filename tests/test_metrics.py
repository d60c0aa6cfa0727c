"""Metrics and gates, against values worked out by hand."""

from __future__ import annotations

import pytest

from dispatcher import UsageError
from dispatcher.evaluation import (
    AgentMetrics,
    Bin,
    Confusion,
    CoveragePoint,
    Gate,
    Metrics,
    MissedGate,
    Prediction,
    by_agent,
    by_tag,
    check_gates,
    confusions,
    coverage_curve,
    measure,
    parse_gates,
    reliability,
)


def prediction(
    expected: str | None, ranking: str, confidence: float, *, routed: bool = True, task: str = "t", tags: str = ""
) -> Prediction:
    """A prediction whose ranking is written as a word, a letter an agent."""
    return Prediction(
        task=task,
        expected=expected,
        agent=ranking[0] if routed and ranking else None,
        confidence=confidence,
        ranking=tuple((name, 1 / place) for place, name in enumerate(ranking, start=1)),
        tags=tuple(tags.split()),
    )


# Ranks 1, 2, 1, 4 and 0: two of five are right.
SAMPLE = (
    prediction("a", "abcd", 0.9, task="one", tags="x"),
    prediction("a", "bacd", 0.8, task="two", tags="x y"),
    prediction("b", "bacd", 0.8, task="three"),
    prediction("b", "acdb", 0.3, task="four", routed=False),
    prediction("c", "ab", 0.1, task="five", routed=False),
    prediction(None, "abcd", 0.3, task="six", tags="y"),
    prediction(None, "cabd", 0.1, task="seven", routed=False),
)


def test_all_metrics_of_a_small_sample() -> None:
    found = measure(SAMPLE)
    assert (found.n, found.n_out_of_scope) == (5, 2)
    assert found.top1 == pytest.approx(2 / 5)
    assert found.top3 == pytest.approx(3 / 5)
    assert found.mrr == pytest.approx((1 + 1 / 2 + 1 + 1 / 4 + 0) / 5)
    # a: 1 right, 2 own, 3 picks; b: 1 right, 2 own, 2 picks; c: none right.
    assert found.macro_f1 == pytest.approx((2 / 5 + 2 / 4 + 0) / 3)
    # Right 0.9, 0.8 against wrong 0.8, 0.3, 0.1: five pairs won and one tied, of six.
    assert found.auroc == pytest.approx(5.5 / 6)
    # Labelled 0.9, 0.8, 0.8, 0.3, 0.1 against 0.3, 0.1: eight won, two tied, none of 0.1 against 0.3; of ten.
    assert found.oos_auroc == pytest.approx((2 + 2 + 2 + 1.5 + 0.5) / 10)
    # Bins: 0.9 → right; two of 0.8, one right; 0.3 and 0.1 wrong.
    assert found.ece == pytest.approx((0.1 + abs(1.6 - 1) + 0.3 + 0.1) / 5)
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.04 + 0.09 + 0.01) / 5)
    assert found.coverage_at_90 == pytest.approx(1 / 5)
    assert found.coverage == pytest.approx(3 / 5)
    assert found.selective_accuracy == pytest.approx(2 / 3)


def test_what_is_not_defined_is_none() -> None:
    nothing = measure([])
    assert nothing == Metrics(
        n=0,
        n_out_of_scope=0,
        top1=None,
        top3=None,
        mrr=None,
        macro_f1=None,
        auroc=None,
        oos_auroc=None,
        ece=None,
        brier=None,
        coverage_at_90=None,
        coverage=None,
        selective_accuracy=None,
    )
    only_right = measure([prediction("a", "ab", 1.0, routed=False)])
    assert (only_right.top1, only_right.coverage, only_right.ece) == (1.0, 0.0, 0.0)
    assert (only_right.auroc, only_right.oos_auroc, only_right.selective_accuracy) == (None, None, None)
    assert measure([prediction(None, "ab", 0.5)]).top1 is None


def test_an_empty_ranking_is_a_miss() -> None:
    found = measure([prediction("a", "", 0.0), prediction("a", "a", 0.5)])
    assert (found.top1, found.mrr) == (0.5, 0.5)
    assert found.macro_f1 == pytest.approx(2 / 3)


def test_the_rank_after_which_top3_ends() -> None:
    assert measure([prediction("c", "abcd", 0.5), prediction("d", "abcd", 0.5)]).top3 == 0.5


def test_coverage_at_90_is_the_largest_share_even_after_a_miss() -> None:
    # The second is wrong; nine of the first ten are right, and ten of twelve are not enough.
    tasks = [prediction("a", "a" if place != 1 else "b", 0.9 - place / 100) for place in range(11)]
    tasks.append(prediction("a", "b", 0.1))
    assert measure(tasks).coverage_at_90 == pytest.approx(11 / 12)
    assert measure([prediction("a", "b", 0.9)]).coverage_at_90 == 0.0


def test_each_agent_has_precision_recall_and_f1() -> None:
    assert by_agent(SAMPLE) == (
        AgentMetrics(agent="a", n=2, precision=1 / 3, recall=1 / 2, f1=2 / 5),
        AgentMetrics(agent="b", n=2, precision=1 / 2, recall=1 / 2, f1=2 / 4),
        AgentMetrics(agent="c", n=1, precision=None, recall=0.0, f1=0.0),
    )


def test_an_agent_that_was_only_ever_picked_wrongly_is_listed_and_not_averaged() -> None:
    tasks = [prediction("a", "a", 0.5), prediction("a", "z", 0.5)]
    assert by_agent(tasks)[1] == AgentMetrics(agent="z", n=0, precision=0.0, recall=None, f1=0.0)
    assert measure(tasks).macro_f1 == pytest.approx(2 / 3)


def test_confusions_are_the_misses_by_pair_most_frequent_first() -> None:
    tasks = (*SAMPLE, prediction("b", "ab", 0.2, task="eight"), prediction("b", "", 0.0, task="nine"))
    assert confusions(tasks) == (
        Confusion(expected="b", predicted="a", tasks=("four", "eight")),
        Confusion(expected=None, predicted="a", tasks=("six",)),
        Confusion(expected="a", predicted="b", tasks=("two",)),
        Confusion(expected="b", predicted=None, tasks=("nine",)),
        Confusion(expected="c", predicted="a", tasks=("five",)),
    )


def test_a_task_counts_with_each_of_its_tags() -> None:
    found = by_tag(SAMPLE)
    assert list(found) == ["x", "y"]
    assert (found["x"].n, found["x"].top1) == (2, 0.5)
    assert (found["y"].n, found["y"].n_out_of_scope, found["y"].top1) == (1, 1, 0.0)


def test_bins_hold_their_lower_edge_and_the_last_one_holds_one() -> None:
    tasks = [
        prediction("a", first, confidence) for first, confidence in (("a", 0.5), ("b", 0.5), ("a", 0.75), ("a", 1.0))
    ]
    assert reliability([*tasks, prediction(None, "a", 0.1)], bins=4) == (
        Bin(low=0.5, high=0.75, n=2, confidence=0.5, accuracy=0.5),
        Bin(low=0.75, high=1.0, n=2, confidence=0.875, accuracy=1.0),
    )
    assert reliability([]) == ()


def test_the_curve_has_a_point_for_each_confidence() -> None:
    assert coverage_curve(SAMPLE) == (
        CoveragePoint(coverage=1 / 5, accuracy=1.0, threshold=0.9),
        CoveragePoint(coverage=3 / 5, accuracy=2 / 3, threshold=0.8),
        CoveragePoint(coverage=4 / 5, accuracy=2 / 4, threshold=0.3),
        CoveragePoint(coverage=5 / 5, accuracy=2 / 5, threshold=0.1),
    )
    assert coverage_curve([]) == ()


def test_gates_are_parsed_and_checked_in_their_order() -> None:
    gates = parse_gates(["top1=0.4", " TOP3 = 0.75", "oos-auroc=0.5"])
    assert gates == (
        Gate(metric="top1", least=0.4),
        Gate(metric="top3", least=0.75),
        Gate(metric="oos_auroc", least=0.5),
    )
    (missed,) = check_gates(measure(SAMPLE), gates)
    assert missed == MissedGate(gate=gates[1], value=0.6)
    assert missed.describe() == "top3 is 0.6000, and must be at least 0.75"


def test_a_gate_on_what_is_not_defined_is_missed() -> None:
    (missed,) = check_gates(measure([]), parse_gates(["mrr=0"]))
    assert missed.describe() == "mrr is not defined for these tasks, and must be at least 0"


def test_a_near_miss_is_shown_as_one() -> None:
    missed = MissedGate(gate=Gate(metric="top1", least=0.9), value=0.89999)
    assert missed.describe() == "top1 is 0.89999, and must be at least 0.9"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("top1", 'there is no "="', "write --min top1=0.9"),
        ("top2=0.9", 'there is no metric "top2"', "did you mean"),
        ("selective-acuracy=0.9", "there is no metric", 'did you mean "selective_accuracy"?'),
        ("xyz=0.9", 'there is no metric "xyz"', "a minimum can be set for top1, top3, mrr"),
        ("n=5", 'there is no metric "n"', ""),
        ("ece=0.1", "ece is better when it is less", "a minimum can be set for"),
        ("top1=much", '"much" is not a number', "write --min top1=0.9"),
        ("top1=90", "90 is not between 0 and 1", "90 % is written 0.9"),
        ("top1=nan", "nan is not between 0 and 1", "90 % is written 0.9"),
    ],
)
def test_a_gate_that_can_not_be_checked_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gates([text])
    assert caught.value.message.startswith(f"--min {text}: ")
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
