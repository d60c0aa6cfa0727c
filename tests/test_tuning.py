"""`dispatch tune`: what is learned from labelled tasks, what is left out together, and what is never overwritten."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatcher import UsageError, routing
from dispatcher.evaluation.tuning import Problem, load_problem, parse_set, tune
from dispatcher.evaluation.tuning.calibrating import calibrate, observe
from dispatcher.evaluation.tuning.fitting import fit_weights, no_weights
from dispatcher.routing.confidence import confidence_of
from dispatcher.routing.encoder import StemEncoder, shipped_encoder
from dispatcher.routing.index import FEATURES
from dispatcher.routing.text import analyze
from dispatcher.routing.weights import KINDS, Weights, kind_shares, load_weights, shipped_weights
from tests.cli_calls import Outcome, call

Tune = Callable[..., Outcome]

TRADES = ("baker", "mason", "tailor", "miller", "cooper", "weaver", "tanner", "glazier", "saddler", "potter")


def words_of(trade: str, count: int = 6) -> list[str]:
    """Words that mean nothing, and stand in the file and the tasks of one trade alone."""
    number = TRADES.index(trade)
    return [f"{'bdfgklmnpr'[number]}o{'bdfgklmnpr'[place]}u{'bdfgklmnpr'[number]}ix" for place in range(count)]


def write_set(folder: Path, *, trades: tuple[str, ...] = TRADES, field: str = "body") -> tuple[Path, Path]:
    """Agents and two tasks for each; only one field of a file, its body or its description, answers them.

    The other field has the words of the next trade, so that whoever trusts it goes wrong.
    """
    agents = folder / "agents"
    agents.mkdir(parents=True)
    tasks = []
    for place, trade in enumerate(trades):
        other = trades[(place + 1) % len(trades)]
        told, kept = (trade, other) if field == "description" else (other, trade)
        (agents / f"{trade}.md").write_text(
            f"---\nname: {trade}\ndescription: {' '.join(words_of(told))}.\n---\n{' '.join(words_of(kept))}\n",
            encoding="utf-8",
        )
        words = words_of(trade)
        tasks += [{"task": " ".join(words[start : start + 3]), "agent": trade} for start in (0, 3)]
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return agents, path


def problem(folder: Path, name: str, **options: Any) -> Problem:
    agents, tasks = write_set(folder, **options)
    return load_problem(parse_set(f"{name}:{agents}={tasks}"))


Array = np.ndarray[Any, np.dtype[np.float64]]


def at(of: Problem, weights: Array) -> Array:
    """The weights of a problem's registry."""
    return kind_shares(of.gate) @ weights


def share_of(field: str, weights: Array) -> float:
    """The share of the weight that the scorers of one field have."""
    of_field = [weight for name, weight in zip(FEATURES, weights, strict=True) if name.startswith(f"{field}.")]
    return float(sum(of_field) / np.maximum(weights, 0).sum())


def top1(weights: Array, of: Problem) -> float:
    picks = (of.relative @ at(of, weights)).argmax(axis=1)
    return float((picks == of.expected).mean())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Tune:
    return lambda *arguments: call(capsys, ["tune", *map(str, arguments)])


@pytest.mark.parametrize(
    ("text", "name", "agents", "tasks", "enriched"),
    [
        ("shop/agents=t.jsonl", "shop", "shop/agents", "t.jsonl", None),
        ("shop/zero/agents=t.jsonl", "shop", "shop/zero/agents", "t.jsonl", None),
        ("intents/shop/agents.json=t.jsonl", "shop", "intents/shop/agents.json", "t.jsonl", None),
        ("team:shop/agents=t.csv", "team", "shop/agents", "t.csv", None),
        ("shop/agents+more.jsonl=t.jsonl", "shop", "shop/agents", "t.jsonl", "more.jsonl"),
        ("team:shop/agents+a/b.jsonl=t.jsonl", "team", "shop/agents", "t.jsonl", "a/b.jsonl"),
        ("c++/agents=t.jsonl", "c++", "c++/agents", "t.jsonl", None),
        ("/agents=t.jsonl", "agents", "/agents", "t.jsonl", None),
    ],
)
def test_a_set_is_agents_and_tasks(text: str, name: str, agents: str, tasks: str, enriched: str | None) -> None:
    found = parse_set(text)
    assert (found.name, found.agents, found.tasks) == (name, Path(agents), Path(tasks))
    assert found.enriched == (Path(enriched) if enriched else None)


@pytest.mark.parametrize("text", ["", "agents", "=tasks.jsonl", "agents=", "team:=tasks.jsonl"])
def test_a_set_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not of the form AGENTS=TASKS") as caught:
        parse_set(text)
    assert "--set agents=eval/tasks/tune.jsonl" in str(caught.value.hint)


def test_a_label_that_no_agent_has_is_refused(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    tasks.write_text('{"task": "a", "agent": "bakr"}\n', encoding="utf-8")
    outcome = run("--set", f"{agents}={tasks}", "--out", "w.json")
    assert outcome.code == 2
    assert 'tasks.jsonl:1: "bakr" is no agent' in " ".join(outcome.err.split())
    assert 'did you mean "baker"?' in outcome.err


@pytest.mark.parametrize("missing", ["agents", "tasks", "enriched"])
def test_what_is_not_there_is_named(tmp_path: Path, run: Tune, missing: str) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    paths = {"agents": agents, "tasks": tasks, "enriched": tmp_path / "shop" / "more.jsonl"} | {
        missing: Path("no.jsonl")
    }
    more = f"+{paths['enriched']}" if missing == "enriched" else ""
    outcome = run("--set", f"{paths['agents']}{more}={paths['tasks']}", "--out", "w.json")
    assert (outcome.code, Path("w.json").exists()) == (2, False)
    assert "error: no.jsonl" in outcome.err


@pytest.mark.parametrize("labels", [[None, None], ["baker", "baker"]])
def test_tasks_of_fewer_than_two_agents_are_refused(tmp_path: Path, run: Tune, labels: list[str | None]) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    records = [{"task": f"bo{number}", "agent": label} for number, label in enumerate(labels)]
    tasks.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    outcome = run("--set", f"{agents}={tasks}", "--out", "w.json")
    assert outcome.code == 2
    assert "tuning takes tasks of two agents" in outcome.err


@pytest.mark.parametrize(("telling", "misleading"), [("body", "description"), ("description", "body")])
def test_weight_goes_to_the_scorers_that_answer(tmp_path: Path, telling: str, misleading: str) -> None:
    of = problem(tmp_path / "shop", "shop", field=telling)
    fitted = fit_weights([of], no_weights())
    assert share_of(telling, at(of, fitted)) > 0.2
    assert share_of(misleading, at(of, fitted)) < 0.02
    assert top1(fitted, of) == 1.0


def test_evidence_for_an_agent_never_counts_against_it(tmp_path: Path) -> None:
    fitted = fit_weights([problem(tmp_path / "shop", "shop")], no_weights())
    exclusion = FEATURES.index("exclusion.tfidf")
    assert fitted.shape == (len(KINDS), len(FEATURES))
    for weights in fitted:
        assert weights[exclusion] < 0
        assert np.delete(weights, exclusion).min() >= 0


def test_few_tasks_change_less_than_many(tmp_path: Path) -> None:
    few = problem(tmp_path / "few", "few", trades=TRADES[:2])
    many = problem(tmp_path / "many", "many")
    start = no_weights()
    moved = [float(np.abs(at(of, fit_weights([of], start))).sum()) for of in (few, many)]
    assert moved[0] < moved[1]


def test_confidence_is_not_learned_from_a_few_outcomes(tmp_path: Path) -> None:
    before = shipped_weights()
    tuned = tune([problem(tmp_path / "few", "few", trades=TRADES[:2])], before=before).weights
    assert (tuned.right, tuned.fits, tuned.thresholds) == (before.right, before.fits, before.thresholds)


def test_tasks_that_fit_nobody_are_shared_among_the_folds(tmp_path: Path) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    with tasks.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps({"task": f"nothing {number}", "agent": None}) + "\n" for number in range(7)))
    whole = load_problem(parse_set(f"{agents}={tasks}"))
    parts = [whole.of_agents((), inside=True, part=part, parts=3) for part in range(3)]
    assert [len(part.expected) for part in parts] == [3, 2, 2]


def test_all_variants_of_a_name_are_left_out_together(tmp_path: Path) -> None:
    sets = [("shop", "a"), ("market", "b"), ("shop", "c")]
    problems = [problem(tmp_path / folder, name) for name, folder in sets]
    tuned = tune(problems, before=shipped_weights())
    assert [(fold.name, fold.tasks) for fold in tuned.folds] == [("shop", 40), ("market", 20)]
    kept = {fold.name: [each["name"] for each in fold.weights.provenance["sets"]] for fold in tuned.folds}
    assert kept == {"shop": ["market"], "market": ["shop", "shop"]}


def test_what_a_fold_left_out_does_not_change_its_weights(tmp_path: Path) -> None:
    market = problem(tmp_path / "market", "market")
    told = [
        tune([market, problem(tmp_path / field, "shop", field=field)], before=shipped_weights(), from_scratch=True)
        for field in ("body", "description")
    ]
    without_shop = [next(fold.weights for fold in tuned.folds if fold.name == "shop") for tuned in told]
    assert without_shop[0].prose == without_shop[1].prose
    assert told[0].weights.prose != told[1].weights.prose


def test_one_set_is_split_by_agents(tmp_path: Path) -> None:
    tuned = tune([problem(tmp_path / "shop", "shop")], before=shipped_weights())
    assert [fold.tasks for fold in tuned.folds] == [4] * 5
    assert all(fold.name.startswith("shop, part ") for fold in tuned.folds)


def test_variants_of_one_set_are_split_by_the_names_of_the_agents(tmp_path: Path) -> None:
    whole = problem(tmp_path / "whole", "shop")
    part = problem(tmp_path / "part", "shop", trades=TRADES[5:])
    left_out = frozenset({"weaver", "potter"})
    assert [of.of_agents(left_out, inside=True).labels for of in (whole, part)] == [("potter", "weaver")] * 2
    assert sum(fold.tasks for fold in tune([whole, part], before=shipped_weights()).folds) == 30


def test_calibration_orders_right_picks_before_wrong_ones(tmp_path: Path) -> None:
    clear = problem(tmp_path / "clear", "clear")
    weights = fit_weights([clear], no_weights())
    observed = observe(clear, weights)
    assert set(observed.fits) == {True, False}
    right, fits, share = calibrate(observed, None)
    prose, mixed, examples = (dict(zip(FEATURES, of_kind, strict=True)) for of_kind in weights.tolist())
    made = Weights(prose=prose, mixed=mixed, examples=examples, right=right, fits=fits, fits_share=share)
    names = dict.fromkeys((*right.coefficients, *fits.coefficients))
    confidence = np.array([confidence_of(dict(zip(names, row, strict=True)), made, 0.1) for row in observed.features])
    in_order = confidence[observed.is_right][:, None] > confidence[~observed.is_right]
    assert in_order.mean() > 0.95


def test_the_file_says_where_it_comes_from(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    assert run("--set", f"{agents}={tasks}", "--out", "deep/w.json").code == 0
    provenance = load_weights(Path("deep/w.json")).provenance
    assert {"agent-dispatcher", "numpy", "scikit-learn"} <= set(provenance["made_with"])
    assert provenance["started_from"] == f"weights {shipped_weights().fingerprint}"
    (known,) = provenance["sets"]
    assert (known["name"], known["tasks"], known["agents"]) == ("shop", 20, 10)
    assert re.fullmatch(r"[0-9a-f]{16}", known["digest"])
    assert [set(fold) for fold in provenance["held_out"]] == [{"left_out", "tasks", "top1", "top3"}] * 5


def test_the_digest_tells_other_tasks_and_other_agents(tmp_path: Path) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    digests = [load_problem(parse_set(f"{agents}={tasks}")).digest]
    tasks.write_text(tasks.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    digests.append(load_problem(parse_set(f"{agents}={tasks}")).digest)
    (agents / "baker.md").write_text("---\nname: baker\ndescription: Bread.\n---\nDough.\n", encoding="utf-8")
    digests.append(load_problem(parse_set(f"{agents}={tasks}")).digest)
    assert len(set(digests)) == 3


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    for name in ("one.json", "two.json"):
        assert run("--set", f"{agents}={tasks}", "--out", name).code == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_each_fold_has_its_file(tmp_path: Path, run: Tune) -> None:
    sets = []
    for name in ("shop", "market"):
        agents, tasks = write_set(tmp_path / name)
        sets += ["--set", f"{agents}={tasks}"]
    outcome = run(*sets, "--out", "w.json", "--folds", "folds")
    assert outcome.code == 0
    assert sorted(path.name for path in Path("folds").iterdir()) == ["market.json", "shop.json"]
    shop = load_weights(Path("folds/shop.json"))
    assert shop.provenance["left_out"] == "shop"
    assert [known["name"] for known in shop.provenance["sets"]] == ["market"]
    assert re.search(r"^shop +20  1\.000  1\.000 +\d\.\d{3}  \d\.\d{3}$", outcome.out, re.MULTILINE)


def test_few_tasks_are_said(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    outcome = run("--set", f"{agents}={tasks}", "--out", "w.json")
    assert "20 tasks are few (under 200), so the weights stay near where they start" in " ".join(outcome.err.split())


def test_weights_that_have_seen_the_tasks_are_said(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    run("--set", f"{agents}={tasks}", "--out", "w.json")
    again = ("--set", f"{agents}={tasks}", "--weights", "w.json", "--out", "v.json")
    assert "have seen shop" in run(*again).err
    assert "have seen shop" not in run(*again, "--from-scratch").err


def test_a_worse_result_never_replaces_a_better_file(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    misled = write_set(tmp_path / "market", field="description")
    out = Path("w.json")
    assert run("--set", f"{agents}={tasks}", "--out", out, "--from-scratch").code == 0
    better = out.read_bytes()
    # Learned from sets that contradict each other, and so right on neither when it is left out.
    outcome = run("--set", f"{agents}={tasks}", "--set", "{}={}".format(*misled), "--out", out, "--from-scratch")
    assert outcome.code == 1
    assert "the new weights are worse; w.json was not written" in outcome.out
    assert out.read_bytes() == better


def test_the_same_weights_may_be_written_again(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    call_again = ("--set", f"{agents}={tasks}", "--out", "w.json", "--from-scratch")
    assert run(*call_again).code == 0
    before = Path("w.json").read_bytes()
    assert run(*call_again).code == 0
    assert Path("w.json").read_bytes() == before


def test_a_file_that_holds_no_weights_is_not_overwritten(tmp_path: Path, run: Tune) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    before = tasks.read_bytes()
    outcome = run("--set", f"{agents}={tasks}", "--out", tasks)
    assert outcome.code == 2
    assert tasks.read_bytes() == before


# --- encoders


def write_riddles(folder: Path) -> tuple[Path, Path]:
    """Agents and tasks of the same meaning without a word, or a piece of one, in common."""
    agents, path = write_set(folder)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record["task"] = " ".join(map(riddle, record["task"].split()))
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return agents, path


def riddle(word: str) -> str:
    """Another word with the same meaning."""
    return word.translate(str.maketrans("bdfgklmnproux", "cchhjjqqvvyie")) + word[2::-1].translate(
        str.maketrans("bdfgklmnprou", "tszwctszwcae")
    )


def write_encoder(path: Path) -> Path:
    """An encoder that knows the words of all trades and their riddles, by the trade that the body of a file tells."""
    stems, vectors = [], []
    for number, trade in enumerate(TRADES):
        for word in words_of(trade):
            for written in (word, riddle(word)):
                (known,) = analyze(written)
                stems.append(known.stem)
                vectors.append(np.eye(len(TRADES), dtype=np.float32)[number])
    assert len(set(stems)) == len(stems)
    path.parent.mkdir(exist_ok=True)
    # Descriptions mislead, so they count for nothing in these vectors.
    path.write_bytes(StemEncoder.from_vectors(stems, np.array(vectors), (0.0, 0.0, 1.0)).to_bytes())
    return path


def test_weights_are_fitted_to_the_encoder_of_the_users_choice(
    tmp_path: Path, run: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    agents, tasks = write_riddles(tmp_path / "shop")
    encoder = write_encoder(tmp_path / "own" / "encoder.npz")
    outcome = run("--set", f"{agents}={tasks}", "--out", "deep/w.json", "--from-scratch", "--encoder", encoder)
    assert outcome.code == 0, outcome.err
    assert len(re.findall(r"^shop, part \d of the agents +4  1\.000  1\.000 ", outcome.out, re.MULTILINE)) == 5
    weights = load_weights(Path("deep/w.json"))
    assert share_of("meaning", weights.for_share(0.0)) > 0.5
    assert (weights.encoder.path or Path()).resolve() == encoder
    evaluated = call(capsys, ["eval", "--agents", str(agents), "--tasks", str(tasks), "--weights", "deep/w.json"])
    assert re.search(r"^top1 +1\.000", evaluated.out, re.MULTILINE)


def test_without_that_encoder_the_weights_are_refused(
    tmp_path: Path, run: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    agents, tasks = write_riddles(tmp_path / "shop")
    encoder = write_encoder(tmp_path / "encoder.npz")
    run("--set", f"{agents}={tasks}", "--out", "w.json", "--from-scratch", "--encoder", encoder)
    words = ["eval", "--agents", str(agents), "--tasks", str(tasks), "--weights", "w.json"]
    encoder.write_bytes(shipped_encoder_file().read_bytes())
    other = call(capsys, words)
    assert (other.code, "the weights were learned with encoder" in other.err) == (2, True)
    encoder.unlink()
    gone = call(capsys, words)
    assert (gone.code, "the encoder can't be read" in " ".join(gone.err.split())) == (2, True)


def shipped_encoder_file() -> Path:
    return Path(routing.__file__).with_name("encoder.npz")


def test_each_set_can_have_the_encoder_that_never_saw_it(tmp_path: Path, run: Tune) -> None:
    sets = []
    for name in ("shop", "market"):
        agents, tasks = write_riddles(tmp_path / name)
        sets += ["--set", f"{agents}={tasks}"]
    own = write_encoder(tmp_path / "encoders" / "shop.npz")
    outcome = run(*sets, "--out", "w.json", "--folds", "folds", "--from-scratch", "--encoders", own.parent)
    assert outcome.code == 0, outcome.err
    shop, market, whole = (load_weights(Path(name)) for name in ("folds/shop.json", "folds/market.json", "w.json"))
    assert (shop.encoder.path or Path()).resolve() == own
    assert [weights.encoder.digest for weights in (market, whole)] == [shipped_encoder().digest] * 2
    assert re.search(r"^market +20  0\.[0-8]", outcome.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--encoder", None, "other.npz: the encoder can't be read"),
        ("--encoder", b"no encoder", "other.npz: this is no encoder"),
        ("--encoders", None, "other.npz: there is no such folder"),
        ("--encoders", b"no folder", "other.npz: there is no such folder"),
    ],
)
def test_what_is_no_encoder_is_told_before_the_work(
    tmp_path: Path, run: Tune, option: str, content: bytes | None, message: str
) -> None:
    agents, tasks = write_set(tmp_path / "shop")
    if content is not None:
        Path("other.npz").write_bytes(content)
    outcome = run("--set", f"{agents}={tasks}", "--out", "w.json", option, "other.npz")
    assert (outcome.code, outcome.out, Path("w.json").exists()) == (2, "", False)
    assert message in " ".join(outcome.err.split())
