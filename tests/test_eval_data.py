"""The labelled tasks for the bundled agents: enough of them, rightly labelled, none in an agent's file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.evaluation import LabelledTask, read_tasks
from dispatcher.registry import Registry

ROOT = Path(__file__).parents[1]
AGENTS = ROOT / "agents"
FILES = sorted((ROOT / "eval" / "tasks").glob("*.jsonl"))


@pytest.fixture(scope="module")
def tasks() -> dict[str, tuple[LabelledTask, ...]]:
    """The tasks by the name of their split."""
    return {path.stem: read_tasks(path) for path in FILES}


@pytest.fixture(scope="module")
def everything(tasks: dict[str, tuple[LabelledTask, ...]]) -> list[LabelledTask]:
    return [task for split in tasks.values() for task in split]


@pytest.fixture(scope="module")
def bundled() -> Registry:
    return Registry.from_paths(AGENTS)


def folded(text: str) -> str:
    """A text as its words alone, so that signs and case make no difference."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in text.casefold()).split())


def test_there_is_a_split_to_fit_on_and_one_to_score_on(tasks: dict[str, tuple[LabelledTask, ...]]) -> None:
    assert set(tasks) == {"tune", "held"}
    assert all(len(split) >= 300 for split in tasks.values())


def test_there_are_enough_tasks_of_each_kind(everything: list[LabelledTask]) -> None:
    tags = Counter(tag for task in everything for tag in task.tags)
    assert len(everything) >= 400
    assert sum(task.agent is None for task in everything) >= 60
    assert tags["neighbour"] >= 40
    assert min(tags[tag] for tag in ("symptom", "goal", "slang", "typo", "short", "long")) >= 20


def test_every_bundled_agent_has_ten_tasks_or_more(everything: list[LabelledTask], bundled: Registry) -> None:
    counts = Counter(task.agent for task in everything)
    few = {agent.name: counts[agent.name] for agent in bundled.routable if counts[agent.name] < 10}
    assert few == {}


@pytest.mark.parametrize("split", ["tune", "held"])
def test_every_bundled_agent_has_a_task_in_each_split(
    tasks: dict[str, tuple[LabelledTask, ...]], bundled: Registry, split: str
) -> None:
    assert {agent.name for agent in bundled.routable} <= {task.agent for task in tasks[split]}


def test_every_label_is_an_agent_that_can_be_routed_to(everything: list[LabelledTask], bundled: Registry) -> None:
    labels = {task.agent for task in everything if task.agent is not None}
    assert labels <= {agent.name for agent in bundled.routable}


def test_no_task_stands_twice(everything: list[LabelledTask]) -> None:
    counts = Counter(folded(task.task) or task.task for task in everything)
    assert [text for text, count in counts.items() if count > 1] == []


def test_a_task_has_words_and_a_tag(everything: list[LabelledTask]) -> None:
    assert [task.line for task in everything if not task.task.strip() or not task.tags] == []


def test_tasks_without_an_agent_are_tagged_so(everything: list[LabelledTask]) -> None:
    assert [task.task for task in everything if (task.agent is None) != ("none" in task.tags)] == []


def test_no_task_stands_in_an_agents_file(everything: list[LabelledTask]) -> None:
    files = {path.name: folded(path.read_text(encoding="utf-8")) for path in AGENTS.glob("*.md")}
    assert files
    assert [
        task.task for task in everything if is_telling(task) and any(is_in(task, text) for text in files.values())
    ] == []


def test_no_task_is_an_enriched_example(everything: list[LabelledTask]) -> None:
    examples = {folded(text) for text in enriched_examples()}
    assert examples
    assert [task.task for task in everything if folded(task.task) in examples] == []


def enriched_examples() -> Iterator[str]:
    for line in (AGENTS / "enriched.jsonl").read_text(encoding="utf-8").splitlines():
        yield from json.loads(line)["examples"]


def is_telling(task: LabelledTask) -> bool:
    """Whether a task is of words enough to be known again; "ok" stands in many a text."""
    return len(folded(task.task).split()) > 2


def is_in(task: LabelledTask, text: str) -> bool:
    return f" {folded(task.task)} " in f" {text} "
