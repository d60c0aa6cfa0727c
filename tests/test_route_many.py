"""Routing many tasks together: nothing but sooner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatcher import Registry
from dispatcher.routing import Router
from dispatcher.routing.scorers import SCORERS
from dispatcher.routing.text import analyze
from dispatcher.settings import RoutingSettings, Rule

FILES = {
    f"{name}.md": f"---\nname: {name}\ndescription: {description}\n---\n{body}\n"
    for name, description, body in (
        ("baker", "Bakes bread, rolls and wedding cakes.", "Knead dough. Heat the oven."),
        ("mason", "Builds walls and chimneys of brick.", "Mix mortar. Not for wood."),
        ("tailor", "Sews suits and mends coats.", "Cut cloth. Heat the iron for the wedding."),
    )
}
TASKS = [
    "the wedding cake fell",
    "a wall of brick round the oven",
    "mend my coat, please",
    "@baker sews coats",
    "",
    "🙂",
    "qwxz",
    "heat " * 3_000,
]


@pytest.fixture
def registry(registry_of: Callable[..., Registry]) -> Registry:
    return registry_of(FILES)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rules": (Rule(any=("oven",), force="baker"), Rule(any=("wedding",), veto="tailor"))},
        {"settings": RoutingSettings(min_confidence=0.9, fallback="mason")},
        {"disabled": ("mason",)},
    ],
)
def test_each_task_is_decided_as_by_itself(registry: Registry, options: dict[str, Any]) -> None:
    router = Router(registry.agents, **options)
    alone = [router.route(task, mentions=False) for task in TASKS]
    together = list(router.route_many(TASKS))
    assert together == alone
    assert [each.evidence for each in together] == [each.evidence for each in alone]


def test_the_router_is_the_same_afterwards(registry: Registry) -> None:
    router = Router(registry.agents)
    before = [router.route(task, mentions=False) for task in TASKS]
    list(router.route_many(TASKS))
    assert [router.route(task, mentions=False) for task in TASKS] == before


def test_words_are_scored_together_as_alone_to_the_last_bit(registry: Registry) -> None:
    index = Router(registry.agents).index
    tasks = [analyze(f"{task} {number}") for number in range(5) for task in TASKS]
    together = [row[:, : len(SCORERS)].tolist() for scores in index.score_many(tasks) for row in scores.raw]
    assert together == [index.score(task).raw[0, :, : len(SCORERS)].tolist() for task in tasks]


def test_only_the_best_are_kept_if_wanted(registry: Registry) -> None:
    router = Router(registry.agents)
    whole, best = (next(iter(router.route_many(TASKS, most=most))) for most in (None, 2))
    assert (len(whole.candidates), best.candidates) == (3, whole.candidates[:2])
    assert (best.confidence, best.margin) == (whole.confidence, whole.margin)


@pytest.mark.parametrize(("agents", "tasks"), [(FILES, []), ({}, ["a task"])])
def test_there_may_be_no_task_and_no_agent(
    registry_of: Callable[..., Registry], agents: dict[str, str], tasks: list[str]
) -> None:
    router = Router(registry_of(agents).agents if agents else ())
    assert [decision.agent for decision in router.route_many(tasks)] == [None] * len(tasks)
