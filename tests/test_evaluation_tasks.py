"""Files of labelled tasks and of predictions: what is read, what is refused, and what routing gets to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher import UsageError
from dispatcher.agent import Agent
from dispatcher.evaluation import (
    LabelledTask,
    Prediction,
    check_labels,
    predict,
    read_predictions,
    read_tasks,
    write_predictions,
)
from dispatcher.routing import Candidate, Decision, How, Outcome

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write_text


def refusal(path: Path) -> str:
    """What reading a file of tasks is refused with, without the folder, and its hint."""
    with pytest.raises(UsageError) as caught:
        read_tasks(path)
    return f"{caught.value.message} | {caught.value.hint}".replace(f"{path.parent}/", "")


WANTED = (
    LabelledTask(task="mend it, please", agent="mender", context="a leak", tags=("short", "water"), line=2),
    LabelledTask(task="sing", agent=None, line=3),
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "tasks.jsonl",
            '\n{"task": "mend it, please", "agent": "mender", "context": "a leak", "tags": ["short", "water"]}\n'
            '{"task": "sing", "agent": null}\n\n',
        ),
        ("tasks.csv", 'task,agent,context,tags\n"mend it, please",mender,a leak,short; water\nsing,,,\n'),
        (
            "tasks.yaml",
            "# ours\n- {task: 'mend it, please', agent: mender, context: a leak, tags: [short, water]}\n"
            "- {task: sing, agent: null}\n",
        ),
    ],
)
def test_the_three_formats_say_the_same(write: Write, name: str, text: str) -> None:
    assert read_tasks(write(name, text)) == WANTED
    assert read_tasks(write(name, "\ufeff" + text.replace("\n", "\r\n"))) == WANTED


def test_a_csv_task_may_have_several_lines_and_later_ones_keep_their_place(write: Write) -> None:
    tasks = read_tasks(write("tasks.csv", 'agent,task\na,"one\ntwo"\n\nb,three\n'))
    assert [(task.task, task.agent, task.line) for task in tasks] == [("one\ntwo", "a", 2), ("three", "b", 5)]


def test_a_json_task_may_hold_other_line_separators(write: Write) -> None:
    (task,) = read_tasks(write("tasks.jsonl", '{"task": "a\u2028b\x85c", "agent": null}\n'))
    assert task.task == "a\u2028b\x85c"


def test_other_keys_are_passed_over_and_an_empty_task_is_a_task(write: Write) -> None:
    (task,) = read_tasks(write("tasks.jsonl", '{"task": "", "agent": "a", "id": 7}'))
    assert task == LabelledTask(task="", agent="a", line=1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.jsonl", '{"task": "a", "agent": "b"}\n{"task": "a"\n', "t.jsonl:2: this line is not JSON"),
        ("t.jsonl", '["a", "b"]', "t.jsonl:1: this is not a task"),
        ("t.jsonl", "[" * 100_000, "t.jsonl:1: this line is not JSON"),
        ("t.jsonl", '{"task": "a"}', 't.jsonl:1: "agent" is missing | write null where no agent fits'),
        ("t.jsonl", '{"task": "a", "agnet": "b"}', 'is "agnet" meant to be "agent"?'),
        ("t.jsonl", '{"agent": "b"}', 't.jsonl:1: "task" is missing'),
        ("t.jsonl", '{"task": 7, "agent": "b"}', 't.jsonl:1: "task" is not text but 7'),
        ("t.jsonl", '{"task": "a", "agent": " "}', 't.jsonl:1: "agent" is empty | write null'),
        ("t.jsonl", '{"task": "a", "agent": "b", "tags": 3}', '"tags" is not a list but 3'),
        ("t.jsonl", '{"task": "a", "agent": "b", "tags": [3]}', '"tags" is not text but 3'),
        ("t.jsonl", "\n", "t.jsonl: there are no tasks in this file"),
        ("t.csv", "task;agent\na;b\n", 't.csv:1: the header has no column "task"'),
        ("t.csv", "task,agent\na,b\nmend it, please,c\n", "t.csv:3: 3 cells where the header has 2"),
        ("t.csv", 'task,agent\na,b\n"c,d\n', "t.csv:3: this row is not CSV"),
        ("t.csv", "", "t.csv: there are no tasks in this file"),
        ("t.yaml", "task: a\nagent: b\n", "t.yaml:1: this is not a list of tasks"),
        ("t.yaml", "- task: a\n  agent: b\n- task: [a\n", "t.yaml:4: the tasks are not valid YAML"),
        ("t.yaml", "- task: a\n  agent: b\n\n- task: a\n  agent: yes\n", 't.yaml:4: "agent" is not text but True'),
        ("t.yml", "- task: 2024-13-45\n  agent: b\n", "t.yml: the tasks are not valid YAML"),
        ("t.yml", "# nothing\n", "t.yml: there are no tasks in this file"),
    ],
)
def test_what_is_refused_is_said_with_its_place(write: Write, name: str, text: str, said: str) -> None:
    assert said in refusal(write(name, text))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert "t.jsonl: the tasks can't be read" in refusal(path)
    path.write_bytes(b'{"task": "a", "agent": "b"}\n{"task": "\xff"}')
    assert "t.jsonl:2: the tasks are not UTF-8 text" in refusal(path)


def test_a_label_that_no_agent_has_is_refused_with_the_nearest_name() -> None:
    tasks = (
        LabelledTask(task="a", agent="mender", line=1),
        LabelledTask(task="b", agent=None, line=2),
        LabelledTask(task="c", agent="meender", line=3),
        LabelledTask(task="d", agent="singer", line=4),
    )
    with pytest.raises(UsageError) as caught:
        check_labels(tasks, {"mender", "baker"}, Path("t.csv"))
    assert caught.value.message == 't.csv:3: "meender" is no agent\'s name (nor is another label)'
    assert caught.value.hint == 'did you mean "mender"?'
    check_labels(tasks[:2], {"mender", "baker"}, Path("t.csv"))


class StandIn:
    """A router that takes every task for one agent, and remembers what it was asked."""

    def __init__(self, agents: list[Agent], how: How = How.SCORED, *, is_sure: bool = True) -> None:
        self.asked: list[str] = []
        self.agents, self.how, self.is_sure = agents, how, is_sure

    def route_many(self, tasks: Sequence[str], *, most: int | None = None) -> Iterator[Decision]:
        for task in tasks:
            self.asked.append(task)
            yield self.decide(task, most)

    def decide(self, task: str, most: int | None) -> Decision:
        ranked = zip(self.agents, (0.75, 0.5, 0.25), strict=True)
        return Decision(
            task=task,
            outcome=Outcome.ROUTED if self.is_sure else Outcome.ABSTAINED,
            how=self.how,
            agent=self.agents[0] if self.is_sure else None,
            confidence=0.6,
            candidates=tuple(Candidate(agent=agent, score=score) for agent, score in ranked)[:most],
        )


@pytest.fixture
def agents(read: Callable[..., Agent]) -> list[Agent]:
    return [read(f"---\nname: {name}\ndescription: Does {name}.\n---\nBody.\n") for name in ("one", "two", "three")]


def test_a_task_is_routed_by_its_text_alone(agents: list[Agent]) -> None:
    router, counted = StandIn(agents), list[int]()
    tasks = (
        LabelledTask(task="@one go", agent="two", context="secret", tags=("x",)),
        LabelledTask(task="go", agent=None),
    )
    first, second = predict(router, tasks, progress=counted.append, most=2)
    assert router.asked == ["@one go", "go"]
    assert counted == [1, 2]
    assert first == Prediction(
        task="@one go",
        expected="two",
        agent="one",
        confidence=0.6,
        ranking=(("one", 0.75), ("two", 0.5)),
        tags=("x",),
        context="secret",
    )
    assert (second.expected, second.agent) == (None, "one")


@pytest.mark.parametrize("router_is", [{"is_sure": False}, {"how": How.FALLBACK}])
def test_abstaining_and_the_fallback_are_not_routed_but_ranked(agents: list[Agent], router_is: dict[str, Any]) -> None:
    (prediction,) = predict(StandIn(agents, **router_is), [LabelledTask(task="go", agent="one")])
    assert prediction.agent is None
    assert (prediction.first, prediction.is_right) == ("one", True)


def test_rank_counts_from_one_and_is_nought_where_the_agent_is_not_ranked() -> None:
    ranking = (("a", 0.9), ("b", 0.5))
    made = [
        Prediction(task="t", expected=name, agent=None, confidence=0.5, ranking=ranking)
        for name in ("a", "b", "c", None)
    ]
    assert [each.rank for each in made] == [1, 2, 0, 0]
    assert [each.is_right for each in made] == [True, False, False, False]


def test_out_of_scope_is_never_right_even_with_an_empty_ranking() -> None:
    empty = Prediction(task="t", expected=None, agent=None, confidence=0.0, ranking=())
    assert (empty.first, empty.rank, empty.is_right) == (None, 0, False)


PREDICTIONS = (
    Prediction(task="héllo\u2028", expected="a", agent="b", confidence=0.25, ranking=(("b", 0.5), ("a", 0.125))),
    Prediction(
        task="t", expected=None, agent=None, confidence=0.0, ranking=(), escalated=False, tags=("x", "y"), context="c"
    ),
)


def test_predictions_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, PREDICTIONS)
    assert read_predictions(path) == PREDICTIONS


def test_a_line_has_the_keys_of_the_format_and_others_only_where_known(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, PREDICTIONS)
    first, second = (json.loads(line) for line in path.read_bytes().splitlines())
    assert first == {
        "task": "héllo\u2028",
        "expected": "a",
        "agent": "b",
        "confidence": 0.25,
        "ranking": [["b", 0.5], ["a", 0.125]],
    }
    assert (second["escalated"], second["tags"], second["context"]) == (False, ["x", "y"], "c")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is not a prediction"),
        ("[]", "is not a prediction"),
        ('{"task": "t"}', "'expected' is missing"),
        ('{"task": "t", "expected": null, "agent": null, "confidence": 2, "ranking": []}', "not between 0 and 1"),
        ('{"task": "t", "expected": null, "agent": null, "confidence": NaN, "ranking": []}', "not between 0 and 1"),
        ('{"task": "t", "expected": null, "agent": 3, "confidence": 1, "ranking": []}', "3 is of the wrong kind"),
        ('{"task": "t", "expected": null, "agent": null, "confidence": true, "ranking": []}', "True is no number"),
        ('{"task": "t", "expected": null, "agent": null, "confidence": 1, "ranking": ["a"]}', "is not a prediction"),
    ],
)
def test_a_wrong_line_of_predictions_is_refused_with_its_place(write: Write, line: str, said: str) -> None:
    good = '{"task": "t", "expected": "a", "agent": "a", "confidence": 1, "ranking": [["a", 1]]}\n'
    with pytest.raises(UsageError) as caught:
        read_predictions(write("p.jsonl", good + line))
    assert "p.jsonl:2: " in caught.value.message
    assert said in caught.value.message


def test_predictions_that_are_not_there_or_can_not_be_written_are_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        read_predictions(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="there are no predictions"):
        read_predictions(write("p.jsonl", "\n"))
    with pytest.raises(UsageError, match="can't be written"):
        write_predictions(tmp_path / "none" / "p.jsonl", PREDICTIONS)
