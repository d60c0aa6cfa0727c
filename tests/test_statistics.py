"""Intervals and comparisons, against values worked out by hand or drawn one by one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from dispatcher.evaluation import Interval, Move, Prediction, bootstrap, compare, measure


def prediction(expected: str | None, first: str, confidence: float = 0.5, *, task: str = "t") -> Prediction:
    return Prediction(task=task, expected=expected, agent=first, confidence=confidence, ranking=((first, 1.0),))


def mixed() -> list[Prediction]:
    """Twelve agents of 2 to 4 tasks, about three quarters of them right, and eight tasks that no agent fits."""
    tasks = []
    for number, (agent, copies) in enumerate(zip("abcdefghijkl", itertools.cycle((2, 3, 4)), strict=False)):
        for copy in range(copies):
            is_right = (number + copy) % 4 != 0
            tasks.append(prediction(agent, agent if is_right else "b", 0.4 + 0.05 * ((number * 3 + copy) % 11)))
    return tasks + [prediction(None, "a", 0.1 * place) for place in range(8)]


def test_each_metric_has_an_interval_around_it() -> None:
    predictions = mixed()
    intervals, metrics = bootstrap(predictions), measure(predictions)
    assert list(intervals) == ["top1", "top3", "mrr", "macro_f1", "auroc", "oos_auroc", "ece"]
    for name in ("top1", "top3", "mrr", "macro_f1", "auroc", "oos_auroc"):
        assert 0 <= intervals[name].low < getattr(metrics, name) < intervals[name].high <= 1, name


def test_the_same_seed_gives_the_same_intervals_and_another_one_others() -> None:
    assert bootstrap(mixed()) == bootstrap(mixed())
    assert bootstrap(mixed(), seed=1) != bootstrap(mixed(), seed=2)


def test_whole_agents_are_drawn() -> None:
    # Two agents, one all right and one all wrong: a sample has none, half or all of the tasks right.
    predictions = [prediction("a", "a") for _ in range(50)] + [prediction("b", "c") for _ in range(50)]
    assert bootstrap(predictions)["top1"] == Interval(low=0.0, high=1.0)


def test_tasks_that_no_agent_fits_are_drawn_one_by_one() -> None:
    # Were they one cluster, nothing would vary: all of the labelled tasks have the same confidence.
    predictions = [prediction("a", "a", 0.5)] * 3 + [prediction(None, "a", 0.1), prediction(None, "a", 0.9)] * 50
    interval = bootstrap(predictions)["oos_auroc"]
    # The share of 100 draws below 0.5 is binomial: its standard deviation is 0.05.
    assert interval.low == pytest.approx(0.40, abs=0.02)
    assert interval.high == pytest.approx(0.60, abs=0.02)


def test_the_mean_f1_is_in_the_middle_of_its_interval() -> None:
    # Sixty agents of five tasks; one of each agent's goes to its neighbour, so each has 4 right of 5 own and 5 picks.
    names = [f"agent-{number}" for number in range(60)]
    predictions = [
        prediction(name, names[(place + 1) % 60] if copy == 0 else name)
        for place, name in enumerate(names)
        for copy in range(5)
    ]
    assert measure(predictions).macro_f1 == pytest.approx(0.8)
    interval = bootstrap(predictions)["macro_f1"]
    assert (interval.low + interval.high) / 2 == pytest.approx(0.8, abs=0.01)


def test_what_is_not_defined_has_no_interval() -> None:
    assert bootstrap([]) == {}
    assert set(bootstrap([prediction(None, "a")])) == set()
    assert set(bootstrap([prediction("a", "a", 1.0)])) == {"top1", "top3", "mrr", "macro_f1", "ece"}


def test_any_number_of_samples_will_do() -> None:
    assert bootstrap(mixed(), samples=1)["top1"].low == bootstrap(mixed(), samples=1)["top1"].high
    assert bootstrap(mixed(), samples=0) == {}


def test_a_comparison_says_which_tasks_moved() -> None:
    old = [
        prediction("a", "a", task="kept"),
        prediction("a", "b", task="won"),
        prediction("a", "a", task="lost"),
        prediction("a", "b", task="missed"),
        prediction("a", "a", task="gone"),
        replace(prediction(None, "a", task="none fits"), agent=None),
        prediction(None, "a", task="left alone"),
    ]
    new = [
        prediction("a", "c", task="lost"),
        prediction("a", "a", task="won"),
        prediction("a", "c", task="missed"),
        prediction("a", "a", task="kept"),
        prediction(None, "b", task="none fits"),
        replace(prediction(None, "b", task="left alone"), agent=None),
        prediction("a", "a", task="fresh"),
    ]
    found = compare(old, new)
    assert found.up == (
        Move(task="won", expected="a", old="b", new="a"),
        Move(task="left alone", expected=None, old="a", new=None),
    )
    assert found.down == (
        Move(task="lost", expected="a", old="a", new="c"),
        Move(task="none fits", expected=None, old=None, new="b"),
    )
    assert (found.both_right, found.both_wrong, found.only_old, found.only_new) == (1, 1, 1, 1)
    assert found.p_value == 1.0


@pytest.mark.parametrize(
    ("up", "down", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (8, 2, 2 * (1 + 10 + 45) / 1024), (3, 3, 1.0)],
)
def test_the_paired_test_is_the_binomial_one(up: int, down: int, p_value: float) -> None:
    first_picks = [("b", "a")] * up + [("a", "b")] * down + [("a", "a")] * 20
    old = [prediction("a", before, task=str(place)) for place, (before, _) in enumerate(first_picks)]
    new = [prediction("a", after, task=str(place)) for place, (_, after) in enumerate(first_picks)]
    assert compare(old, new).p_value == pytest.approx(p_value)


def test_thousands_of_moves_are_not_too_many() -> None:
    old = [prediction("a", "b", task=str(place)) for place in range(3000)]
    new = [prediction("a", "a", task=str(place)) for place in range(3000)]
    assert 0 <= compare(old, new).p_value < 1e-100


def test_tasks_of_the_same_text_are_matched_by_their_label() -> None:
    old = [prediction("a", "a", task="same"), prediction("b", "a", task="same")]
    found = compare(old, [old[1], old[0]])
    assert (found.up, found.down, found.both_right, found.both_wrong) == ((), (), 1, 1)


def test_both_runs_are_judged_by_the_new_label() -> None:
    found = compare([prediction("a", "b", task="t")], [prediction("b", "b", task="t")])
    assert (found.both_right, found.only_old, found.only_new) == (1, 0, 0)
