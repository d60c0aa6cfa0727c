"""`dispatch eval` as its users call it: the files it reads and writes, what it prints, and when it exits with 1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dispatcher.routing.weights import shipped_weights
from tests.cli_calls import MEANT, Outcome, call, write_developers, write_team

Evaluate = Callable[..., Outcome]
Record = dict[str, Any]

RIGHT: list[Record] = [
    {"task": "sow vegetable seedlings", "agent": "gardener", "tags": ["short"]},
    {"task": "keep snails away from the salad bed", "agent": "gardener"},
    {"task": "a recipe for bread and stew", "agent": "Soup Cook", "context": "guests at eight", "tags": ["food"]},
]
MISSED: Record = {"task": "a recipe for soup from my vegetable beds", "agent": "gardener", "context": "it is autumn"}
NOBODY: Record = {"task": "qwxz vbnm", "agent": None, "tags": ["none"]}
TASKS = [*RIGHT, MISSED, NOBODY]


class Text(HTMLParser):
    """What a reader of a page sees of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)
        self.text = " ".join("".join(self.parts).split())

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def lines(records: list[Record]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return write_team(tmp_path / "team")


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str], team: Path) -> Evaluate:
    """Evaluates the team on tasks, which are written to tasks.jsonl in the current folder, if they are given."""

    def run(*arguments: str, tasks: list[Record] | None = None) -> Outcome:
        Path("tasks.jsonl").write_text(lines(TASKS if tasks is None else tasks), encoding="utf-8")
        named = () if "--tasks" in arguments else ("--tasks", "tasks.jsonl")
        return call(capsys, ["eval", "--agents", str(team), *named, *arguments])

    return run


def predictions(evaluate: Evaluate, *arguments: str, tasks: list[Record] | None = None) -> list[Record]:
    """What was decided, read from the file that --predictions wrote."""
    outcome = evaluate("--predictions", "found.jsonl", *arguments, tasks=tasks)
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in Path("found.jsonl").read_text(encoding="utf-8").splitlines()]


def test_figures_are_printed_with_their_intervals(evaluate: Evaluate) -> None:
    outcome = evaluate()
    assert outcome.code == 0
    assert outcome.out.startswith("4 tasks with an agent, 1 that fit none\n")
    assert re.search(r"^top1 +0\.750 +\d\.\d{3} - \d\.\d{3}$", outcome.out, re.MULTILINE)
    for name in ("top3", "mrr", "macro_f1", "coverage", "auroc", "oos_auroc", "ece", "brier"):
        assert re.search(rf"^{name} +[\d.]+", outcome.out, re.MULTILINE), name
    assert "1  gardener, Soup Cook" in outcome.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "t.csv",
            "task,agent,tags\nsow vegetable seedlings,gardener,short\na recipe for stew,Soup Cook,\nqwxz,,none\n",
        ),
        (
            "t.yaml",
            "- {task: sow vegetable seedlings, agent: gardener, tags: [short]}\n"
            "- {task: a recipe for stew, agent: Soup Cook}\n- {task: qwxz, agent: null, tags: [none]}\n",
        ),
        (
            "t.jsonl",
            '{"task": "sow vegetable seedlings", "agent": "gardener", "tags": ["short"]}\n'
            '{"task": "a recipe for stew", "agent": "Soup Cook"}\n{"task": "qwxz", "agent": null, "tags": ["none"]}\n',
        ),
    ],
)
def test_tasks_are_read_in_three_formats(evaluate: Evaluate, name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")
    found = predictions(evaluate, "--tasks", name)
    assert [(each["expected"], each["agent"]) for each in found] == [
        ("gardener", "gardener"),
        ("Soup Cook", "Soup Cook"),
        (None, None),
    ]
    assert [each.get("tags") for each in found] == [["short"], None, ["none"]]


def test_predictions_are_a_line_a_task_in_the_order_of_the_tasks(evaluate: Evaluate) -> None:
    found = predictions(evaluate)
    assert [each["task"] for each in found] == [record["task"] for record in TASKS]
    assert [each["expected"] for each in found] == [record["agent"] for record in TASKS]
    for each in found:
        assert {"task", "expected", "agent", "confidence", "ranking"} <= set(each)
        assert 0 <= each["confidence"] <= 1
        assert sorted(name for name, _ in each["ranking"]) == ["Soup Cook", "gardener"]
        assert [score for _, score in each["ranking"]] == sorted((score for _, score in each["ranking"]), reverse=True)
        assert each["agent"] in (None, each["ranking"][0][0])


def test_a_task_that_nobody_takes_has_a_ranking_all_the_same(evaluate: Evaluate) -> None:
    (found,) = predictions(evaluate, tasks=[NOBODY])
    assert (found["agent"], found["confidence"], len(found["ranking"])) == (None, 0.0, 2)


def test_context_is_never_routed_on(evaluate: Evaluate) -> None:
    bare = {"task": "a recipe for bread", "agent": "Soup Cook"}
    misleading = {**bare, "context": "sow vegetable seedlings, keep snails away from salad"}
    plain, told = predictions(evaluate, tasks=[bare, misleading])
    assert told.pop("context") == misleading["context"]
    assert told == plain


def test_a_mention_names_nobody_here(evaluate: Evaluate) -> None:
    (found,) = predictions(
        evaluate, tasks=[{"task": "@gardener write recipes for bread and stews for our guests", "agent": "Soup Cook"}]
    )
    assert found["agent"] == "Soup Cook"
    assert len(found["ranking"]) == 2


def test_the_fallback_takes_no_task(evaluate: Evaluate) -> None:
    Path("with.yaml").write_text("dispatcher: {routing: {fallback: butler}}\n", encoding="utf-8")
    (found,) = predictions(evaluate, "--config", "with.yaml", tasks=[NOBODY])
    assert found["agent"] is None


def test_weights_of_the_users_choice_decide(evaluate: Evaluate) -> None:
    tree = json.loads(shipped_weights().to_json())
    for name, entry in tree["scorers"].items():
        entry.update(dict.fromkeys(entry, float(name == "name.tfidf")))
    Path("names.json").write_text(json.dumps(tree), encoding="utf-8")
    task = {"task": "gardener, write recipes for bread and stews for our guests", "agent": "gardener"}
    assert predictions(evaluate, tasks=[task])[0]["ranking"][0][0] == "Soup Cook"
    assert predictions(evaluate, "--weights", "names.json", tasks=[task])[0]["ranking"][0][0] == "gardener"


def test_enriched_examples_count(evaluate: Evaluate) -> None:
    task = {"task": "marzipan for the jubilee", "agent": "gardener"}
    Path("more.jsonl").write_text('{"name": "gardener", "examples": ["marzipan jubilee"]}\n', encoding="utf-8")
    (bare,) = predictions(evaluate, tasks=[task])
    (found,) = predictions(evaluate, "--enriched", "more.jsonl", tasks=[task])
    scores = [dict(each["ranking"])["gardener"] for each in (bare, found)]
    assert scores[0] < 0.1 < scores[1]
    assert found["ranking"][0][0] == "gardener"


def test_json_is_as_its_schema_says(evaluate: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("--predictions", "old.jsonl")
    evaluate("--json", "figures.json", "--baselines", "--compare", "old.jsonl")
    figures = json.loads(Path("figures.json").read_text(encoding="utf-8"))
    schema = call(capsys, ["config", "schema", "eval"]).json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(figures, schema)
    assert (figures["metrics"]["n"], figures["metrics"]["n_out_of_scope"], figures["metrics"]["top1"]) == (4, 1, 0.75)
    assert len(figures["baselines"]) == 2
    assert set(figures["by_tag"]) == {"food", "none", "short"}
    assert figures["confusions"] == [{"expected": "gardener", "predicted": "Soup Cook", "tasks": [MISSED["task"]]}]
    assert figures["comparison"]["both_right"] == 4  # that nobody takes what fits nobody is right, too
    assert figures["provenance"]["weights"] == shipped_weights().fingerprint


@pytest.mark.parametrize("ending", ["html", "md"])
def test_a_report_lists_every_miss_with_its_explanation(evaluate: Evaluate, ending: str) -> None:
    path = Path(f"report.{ending}")
    assert evaluate("--report", str(path)).code == 0
    written = path.read_text(encoding="utf-8")
    report = Text(written).text if ending == "html" else written
    for part in (MISSED["task"], "it is autumn", "gardener.md:3", "cook.md:3", "Soup Cook: 0."):
        assert part in report
    assert "guests at eight" not in report
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", written)


@pytest.mark.parametrize("ending", ["html", "md"])
def test_a_report_tells_of_meaning_without_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str
) -> None:
    folder, path = write_developers(tmp_path / "developers"), Path(f"report.{ending}")
    Path("tasks.jsonl").write_text(lines([{"task": MEANT, "agent": "author"}]), encoding="utf-8")
    words = ["eval", "--agents", str(folder), "--tasks", "tasks.jsonl", "--report", str(path)]
    assert call(capsys, words).code == 0
    written = path.read_text(encoding="utf-8")
    report = Text(written).text if ending == "html" else written
    assert re.search(r"\+0\.\d+ meaning: nearest \(operator\.md:3\)", report)


def test_a_report_of_another_kind_is_refused_before_the_work(evaluate: Evaluate) -> None:
    outcome = evaluate("--report", "report.pdf", "--predictions", "found.jsonl")
    assert outcome.code == 2
    assert "report.pdf: a report is written as HTML or Markdown" in outcome.err
    assert not Path("found.jsonl").exists()


@pytest.mark.parametrize("option", ["--predictions", "--json", "--report"])
def test_a_folder_that_is_not_there_is_noticed_before_the_work(evaluate: Evaluate, option: str) -> None:
    outcome = evaluate(option, "nowhere/file.md")
    assert outcome.code == 2
    assert "error: nowhere/file.md" in outcome.err
    assert outcome.out == ""


def test_compare_says_which_tasks_moved(evaluate: Evaluate, team: Path) -> None:
    evaluate("--predictions", "old.jsonl")
    gardener = team / "gardener.md"
    text = gardener.read_text(encoding="utf-8")
    gardener.write_text(text.replace("Plans vegetable beds", "Plans vegetable beds, also for soup"), encoding="utf-8")
    outcome = evaluate("--compare", "old.jsonl", "--predictions", "new.jsonl")
    assert "tasks that moved: 1 up, 0 down; exact McNemar test p = 1.000" in outcome.out
    assert "up: Soup Cook -> gardener: a recipe for soup from my vegetable beds" in outcome.out
    back = evaluate("--compare", "new.jsonl", tasks=[RIGHT[0]])
    assert "tasks that moved: 0 up, 0 down" in back.out
    assert "tasks that only one run has: 4 before, 0 now" in back.out


def test_a_move_that_is_no_chance_is_never_said_to_have_none(evaluate: Evaluate) -> None:
    tasks = [{**RIGHT[0], "task": f"{RIGHT[0]['task']} {number}"} for number in range(12)]
    evaluate("--predictions", "new.jsonl", tasks=tasks)
    rows = [json.loads(line) for line in Path("new.jsonl").read_text(encoding="utf-8").splitlines()]
    turned = [{**row, "ranking": row["ranking"][::-1]} for row in rows]
    Path("old.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in turned), encoding="utf-8")
    outcome = evaluate("--compare", "old.jsonl", tasks=tasks)
    assert "tasks that moved: 12 up, 0 down; exact McNemar test p < 0.001" in outcome.out


def test_a_task_that_fits_nobody_is_confused_in_words(evaluate: Evaluate) -> None:
    outcome = evaluate(tasks=[{**RIGHT[0], "agent": None}, RIGHT[0]])
    assert f"nobody, {RIGHT[0]['agent']}" in outcome.err
    assert "None" not in outcome.out + outcome.err


def test_a_minimum_that_is_met_exits_with_nought(evaluate: Evaluate) -> None:
    outcome = evaluate("--min", "top1=0.75", "--min", "top3=1")
    assert (outcome.code, "missed" in outcome.out) == (0, False)


def test_a_minimum_that_is_missed_exits_with_one(evaluate: Evaluate) -> None:
    outcome = evaluate("--min", "top1=0.76", "--min", "top3=0.5", "--min", "mrr=0.99")
    assert outcome.code == 1
    assert "missed: top1 is 0.7500, and must be at least 0.76" in outcome.out
    assert "mrr is 0.8750" in outcome.out
    assert "top3 is" not in outcome.out


def test_a_minimum_of_something_undefined_is_missed(evaluate: Evaluate) -> None:
    outcome = evaluate("--min", "oos_auroc=0.5", tasks=RIGHT)
    assert outcome.code == 1
    assert "oos_auroc is not defined" in outcome.out


def test_a_minimum_of_no_metric_is_refused(evaluate: Evaluate) -> None:
    outcome = evaluate("--min", "top2=0.9")
    assert outcome.code == 2
    assert 'did you mean "top' in outcome.err


def test_baselines_stand_beside_the_router(evaluate: Evaluate) -> None:
    head, *rows = evaluate("--baselines").out.splitlines()[1:]
    assert head.split()[-1] == "BM25"
    assert "TF-IDF" in head
    (top1,) = [row for row in rows if row.startswith("top1")]
    assert len(re.findall(r"\d\.\d{3}", top1)) == 5


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '{"task": "a", "agent": "gardener"}\n{"task": "b", "agent": "gardner"}\n',
            ':2: "gardner" is no',
            '"gardener"?',
        ),
        ('{"task": "a", "agent": "gardener"}\n\nnot json\n', ":3: this line is not JSON", "one JSON object"),
        ('{"task": "a", "agnet": "gardener"}\n', ':1: "agent" is missing', 'is "agnet" meant to be "agent"?'),
        ("", "there are no tasks", '{"task": …'),
    ],
)
def test_errors_name_file_and_line_and_what_was_meant(evaluate: Evaluate, text: str, message: str, hint: str) -> None:
    Path("bad.jsonl").write_text(text, encoding="utf-8")
    outcome = evaluate("--tasks", "bad.jsonl")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"error: bad.jsonl{message if message.startswith(':') else ': ' + message}" in outcome.err
    assert hint in outcome.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--tasks", "none.jsonl: the tasks can't be read"),
        ("--compare", "none.jsonl: the predictions can't be read"),
        ("--weights", "none.jsonl: the weights file can't be read"),
        ("--enriched", "none.jsonl: there is no such file"),
    ],
)
def test_a_file_that_is_not_there_is_named(evaluate: Evaluate, option: str, message: str) -> None:
    outcome = evaluate(option, "none.jsonl")
    assert outcome.code == 2
    assert message in outcome.err


def test_everything_fits_eighty_columns(evaluate: Evaluate) -> None:
    tasks = [{**record, "task": record["task"] + " and so on" * 20} for record in TASKS]
    evaluate("--predictions", "old.jsonl", tasks=tasks)
    old = Path("old.jsonl").read_text(encoding="utf-8")
    swapped = old.replace('[["gardener"', '[["x"').replace('[["Soup Cook"', '[["gardener"')
    Path("old.jsonl").write_text(swapped, encoding="utf-8")
    outcome = evaluate("--baselines", "--compare", "old.jsonl", "--min", "top1=0.99999999", tasks=tasks)
    printed = (outcome.out + outcome.err).splitlines()
    assert any(line.startswith(("up: ", "down: ")) for line in printed)
    assert [line for line in printed if len(line) > 80] == []


def test_the_same_call_writes_the_same_bytes(evaluate: Evaluate) -> None:
    evaluate("--predictions", "one.jsonl")
    evaluate("--predictions", "two.jsonl")
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
