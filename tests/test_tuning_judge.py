"""`dispatch tune` with a judge's recorded picks: when to ask one, and how often it is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dispatcher import UsageError
from dispatcher.evaluation.tuning import Aim, Problem, load_problem, parse_set, tune
from dispatcher.evaluation.tuning.escalating import Escalating, JudgedTasks, judged_tasks
from dispatcher.routing.weights import Weights, load_weights, parse_weights, shipped_weights
from tests.cli_calls import Outcome, call
from tests.test_tuning import TRADES, words_of, write_set

Tune = Callable[..., Outcome]


def write_judged_set(folder: Path, *, vague: int = 40) -> str:
    """A set as an option takes it: clear tasks, and vague ones that only the judge knows how to place."""
    agents, tasks = write_set(folder, field="description")
    records = [json.loads(line) for line in tasks.read_text(encoding="utf-8").splitlines()]
    for number in range(vague):
        trade, other = TRADES[number % 10], TRADES[(number + 3) % 10]
        # The words point at the other; every fifth pick of the judge is wrong, too.
        records.append({"task": f"{words_of(other)[number % 6]} please {number}", "agent": trade})
    tasks.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    picks = folder / "picks.jsonl"
    wrong = {record["task"] for record in records[20::5]}
    picks.write_text("".join(json.dumps(pick_of(record, wrong)) + "\n" for record in records), encoding="utf-8")
    return f"{agents}={tasks}+{picks}"


def pick_of(record: dict[str, str], wrong: set[str]) -> dict[str, object]:
    is_wrong = record["task"] in wrong
    other = TRADES[(TRADES.index(record["agent"]) + 1) % 10]
    names = [other, record["agent"]] if is_wrong else [record["agent"], other]
    return {"task": record["task"], "top3": names, "confidence": 0.3 if is_wrong else 0.9}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Tune:
    return lambda *words: call(capsys, ["tune", *map(str, words)])


@pytest.mark.parametrize(
    ("text", "tasks", "picks"),
    [
        ("a=t.jsonl+p.jsonl", "t.jsonl", "p.jsonl"),
        ("a+e.jsonl=x/t.csv+y/p.jsonl", "x/t.csv", "y/p.jsonl"),
        ("a=one+two.jsonl", "one+two.jsonl", None),
        ("a=t.jsonl", "t.jsonl", None),
    ],
)
def test_picks_stand_after_the_tasks(text: str, tasks: str, picks: str | None) -> None:
    found = parse_set(text)
    assert (found.tasks, found.picks) == (Path(tasks), Path(picks) if picks else None)


@pytest.fixture
def shop(tmp_path: Path) -> Problem:
    return load_problem(parse_set(f"shop:{write_judged_set(tmp_path / 'shop')}"))


def test_picks_are_rows_of_agents_and_go_where_their_tasks_go(shop: Problem) -> None:
    assert shop.picks is not None
    assert shop.picks.shape == (60, 2)
    assert [shop.agents[row] for row in shop.picks[0]] == ["baker", "mason"]
    part = shop.of_agents({"mason"}, inside=True)
    assert part.picks is not None
    assert len(part.picks) == len(part.expected) == 6
    absent = shop.without_some_agents()
    assert absent is not None
    assert absent.picks is None


def test_a_task_without_a_recorded_pick_stays_with_the_scores(tmp_path: Path) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    picks = tmp_path / "picks.jsonl"
    picks.write_text('{"task": "another", "top3": ["baker"]}\n', encoding="utf-8")
    known = judged_tasks(load_problem(parse_set(f"{agents}={tasks}+{picks}")), shipped_weights())
    assert not known.is_answered.any()
    assert (known.is_right_judged == known.is_right).all()


def known(confidence: list[float], right: list[int], judged: list[int]) -> JudgedTasks:
    count = len(confidence)
    return JudgedTasks(
        np.array(confidence),
        np.array(right, bool),
        np.array(judged, bool),
        np.ones(count, bool),
        np.zeros((count, 5)),
        np.ones(count),
    )


FOUR = known([0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1], [1, 1, 0, 1])


def below(aim: Aim, tasks: JudgedTasks = FOUR) -> float:
    escalating = Escalating(aim)
    escalating.unseen.append(tasks)
    found = escalating.learned(shipped_weights()).escalate_below
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("calls", "threshold"),
    [(0.0, 0.0), (0.2, 0.0), (0.25, 0.2), (0.49, 0.2), (0.5, 0.5), (1.0, 0.5)],
)
def test_the_threshold_is_the_best_with_no_more_calls_than_wanted(calls: float, threshold: float) -> None:
    assert below(Aim(calls=calls)) == threshold


@pytest.mark.parametrize(("accuracy", "threshold"), [(0.4, 0.0), (0.5, 0.0), (0.6, 0.2), (0.75, 0.2), (1.0, 0.5)])
def test_the_threshold_is_the_lowest_that_reaches_an_accuracy(accuracy: float, threshold: float) -> None:
    assert below(Aim(accuracy=accuracy)) == threshold


def test_tasks_of_one_confidence_are_judged_together() -> None:
    tied = known([0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1])
    assert below(Aim(calls=0.5), tied) == 0.0
    assert below(Aim(calls=1.0), tied) == 1.0


def test_an_accuracy_out_of_reach_is_told() -> None:
    with pytest.raises(UsageError, match=r"an accuracy of 0\.9 is out of reach: the best is 0\.750, with 50% of"):
        below(Aim(accuracy=0.9), known([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1], [1, 1, 0, 0]))


def test_what_is_left_out_teaches_a_fold_nothing(tmp_path: Path) -> None:
    shop, market = (
        load_problem(parse_set(f"{name}:{write_judged_set(tmp_path / name, vague=160)}")) for name in ("shop", "market")
    )
    assert shop.picks is not None
    misled = replace(shop, picks=np.roll(shop.picks, 1, axis=0))
    without_shop = [
        next(fold.weights for fold in tune([market, one], before=shipped_weights()).folds if fold.name == "shop")
        for one in (shop, misled)
    ]
    assert without_shop[0].judged == without_shop[1].judged != shipped_weights().judged
    assert without_shop[0].escalate_below == without_shop[1].escalate_below


def test_judged_confidence_tells_right_picks_from_wrong_ones(tmp_path: Path) -> None:
    names = ("shop", "market", "fair", "mall")
    problems = [load_problem(parse_set(f"{name}:{write_judged_set(tmp_path / name)}")) for name in names]
    weights = tune(problems, before=shipped_weights()).weights
    assert weights.judged is not None
    assert weights.judged.coefficients["sureness"] > 0
    assert weights.judged != shipped_weights().judged


def test_without_picks_what_was_known_of_judges_stays(tmp_path: Path) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    before = replace(shipped_weights(), escalate_below=0.125)
    tuned = tune([load_problem(parse_set(f"{agents}={tasks}"))], before=before)
    assert (tuned.weights.judged, tuned.weights.escalate_below) == (before.judged, 0.125)
    assert tuned.escalation == ()


def test_from_scratch_and_without_picks_nothing_is_known_of_judges(tmp_path: Path) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    tuned = tune([load_problem(parse_set(f"{agents}={tasks}"))], before=shipped_weights(), from_scratch=True)
    assert (tuned.weights.judged, tuned.weights.escalate_below) == (None, None)


def test_the_file_keeps_it(tmp_path: Path, run: Tune) -> None:
    outcome = run("--set", write_judged_set(tmp_path / "shop"), "--out", "w.json", "--calls", "0.7")
    assert outcome.code == 0, outcome.err
    weights = load_weights(Path("w.json"))
    assert f"the judge is asked below a confidence of {weights.escalate_below:.4f}" in outcome.out
    rows = weights.provenance["escalation"]
    assert [row["wanted"] for row in rows] == [step / 10 for step in range(11)]
    assert rows[0]["calls"] == 0
    assert rows[-1]["top1"] > rows[0]["top1"]
    assert "judge asked for at most  came to    top1" in outcome.out
    assert parse_weights(weights.to_json()) == weights


def test_a_wanted_accuracy_chooses(tmp_path: Path, run: Tune) -> None:
    words = ("--set", write_judged_set(tmp_path / "shop"), "--out")
    found = []
    for accuracy in ("0.4", "0.7"):
        assert run(*words, f"{accuracy}.json", "--accuracy", accuracy).code == 0
        found.append(threshold_of(load_weights(Path(f"{accuracy}.json"))))
    assert found[0] < found[1]


def threshold_of(weights: Weights) -> float:
    assert weights.escalate_below is not None
    return weights.escalate_below


@pytest.mark.parametrize("words", [("--calls", "0.5"), ("--accuracy", "0.5")])
def test_an_aim_without_picks_is_refused(tmp_path: Path, run: Tune, words: tuple[str, str]) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    outcome = run("--set", f"{agents}={tasks}", "--out", "w.json", *words)
    assert (outcome.code, Path("w.json").exists()) == (2, False)
    assert "without a judge's recorded picks there is no threshold to find" in " ".join(outcome.err.split())


def test_two_aims_are_refused(tmp_path: Path, run: Tune) -> None:
    outcome = run("--set", "a=b", "--out", "w.json", "--calls", "0.5", "--accuracy", "0.5")
    assert outcome.code == 2
    assert "--calls and --accuracy" in outcome.err


def test_a_recording_that_is_not_there_is_named(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    outcome = run("--set", f"{agents}={tasks}+none.jsonl", "--out", "w.json")
    assert outcome.code == 2
    assert "none.jsonl: the recorded picks can't be read" in outcome.err


@pytest.mark.parametrize(("key", "value"), [("judged", {"intercept": 0, "unheard_of": 1}), ("escalate_below", "x")])
def test_a_weights_file_with_wrong_knowledge_of_judges_is_refused(key: str, value: object) -> None:
    tree = json.loads(shipped_weights().to_json())
    tree["confidence"][key] = value
    with pytest.raises(ValueError, match=r"unheard_of|could not convert"):
        parse_weights(json.dumps(tree))


def test_a_weights_file_from_before_judges_is_read() -> None:
    tree = json.loads(shipped_weights().to_json())
    del tree["confidence"]["judged"], tree["confidence"]["escalate_below"]
    weights = parse_weights(json.dumps(tree))
    assert (weights.judged, weights.escalate_below) == (None, None)
