"""The gain of other examples: the same tasks before and after, on tasks that are nobody's example."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dispatcher import Agent, Router
from dispatcher.agent import Passage
from dispatcher.enrich import agents_with
from dispatcher.evaluation import LabelledTask, measure_gain, unseen
from tests.workshop import BAKER, JOINER, TAILOR, TEAM, WELDER


def with_examples(agent: Agent, *texts: str) -> Agent:
    return dataclasses.replace(agent, enriched=tuple(Passage(field="example", text=text) for text in texts))


def task(text: str, agent: Agent | None) -> LabelledTask:
    return LabelledTask(task=text, agent=agent.name if agent else None)


def test_better_examples_are_a_gain() -> None:
    after = (with_examples(WELDER, "the hinge of my garden door broke off"), BAKER, TAILOR, JOINER)
    tasks = [task("hinge of a curtain broke off", WELDER), task("bake rye bread", BAKER)]
    gain = measure_gain(Router(TEAM), Router(after), tasks)
    assert (gain.before.top1, gain.after.top1, gain.is_worse) == (0.5, 1.0, False)
    assert [move.new for move in gain.comparison.up] == ["welder"]


def test_misleading_examples_are_worse_by_top1_or_else_by_top3() -> None:
    tasks = [task("bake rye bread", BAKER)]
    misled = tuple(
        with_examples(agent, "bake rye bread", "bake bread of rye", "the rye bread") if agent is not BAKER else agent
        for agent in TEAM
    )
    assert measure_gain(Router(TEAM), Router(misled), tasks).is_worse
    worst = tuple(agent for agent in misled if agent is not BAKER)
    assert not measure_gain(Router(worst), Router(worst), tasks).is_worse


@pytest.mark.parametrize("text", ["My zip is  stuck", "my loaf is flat and the crust is burnt"])
def test_a_task_that_is_an_example_measures_nothing(text: str) -> None:
    agents = (with_examples(TAILOR, "my zip is stuck"), BAKER)
    other = task("hem these jeans", TAILOR)
    assert unseen([task(text, TAILOR), other], agents) == (other,)


# --- the agents as they would be


def line(name: str, example: str, neighbour: str = "joiner") -> str:
    near = f'[{{"task": "near {example}", "agent": "{neighbour}"}}]'
    return f'{{"name": "{name}", "examples": ["{example}"], "near_misses": {near}}}\n'


def texts_of(agents: tuple[Agent, ...]) -> dict[str, list[str]]:
    return {agent.name: [passage.text for passage in agent.enriched] for agent in agents if agent.enriched}


def test_a_text_stands_in_for_what_is_on_the_disk() -> None:
    before = (with_examples(BAKER, "old"), TAILOR, JOINER)
    after = agents_with(before, {Path("/shop/enriched.jsonl"): "\ufeff" + line("tailor", "zip")}, None)
    assert texts_of(after) == {"tailor": ["zip"], "joiner": ["near zip"]}
    assert [agent.name for agent in after] == ["bread-baker", "joiner", "tailor"]


def test_each_folder_has_its_own_and_a_given_file_is_for_all(tmp_path: Path) -> None:
    source = dataclasses.replace(BAKER.source, root=tmp_path)
    baker = dataclasses.replace(BAKER, source=source)
    (tmp_path / "enriched.jsonl").write_text(line("bread-baker", "on the disk") + line("tailor", "not its own"))
    agents = (baker, TAILOR, JOINER)
    assert texts_of(agents_with(agents, {}, None)) == {"bread-baker": ["on the disk"], "joiner": ["near on the disk"]}
    given = tmp_path / "given.jsonl"
    assert texts_of(agents_with(agents, {given: line("tailor", "zip", "bread-baker")}, given)) == {
        "tailor": ["zip"],
        "bread-baker": ["near zip"],
    }
