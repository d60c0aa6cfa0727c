"""Routing many tasks together: nothing but sooner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatcher import Registry
from dispatcher.routing import Router
from dispatcher.routing.decision import led_by, scores_of
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


@pytest.mark.parametrize("said", TASKS)
@pytest.mark.parametrize("rules", [(), (Rule(any=("oven",), veto="baker"),), (Rule(any=("coat",), force="tailor"),)])
def test_what_was_said_before_is_scored_beside_a_task_as_by_itself(
    registry: Registry, said: str, rules: tuple[Rule, ...]
) -> None:
    router = Router(registry.agents, rules=rules, settings=RoutingSettings(min_confidence=0.0))
    for task in ("mend the coat", "heat the oven"):
        decision, before = router.route_after(task, said)
        assert decision == router.route(task)
        alone = {each.name: each.score for each in router.route(said, mentions=False).candidates} if said else {}
        assert {each.name: each.score for each in before}.items() <= alone.items()
        assert bool(before) is bool(said)


def test_nothing_is_ranked_where_somebody_is_named(registry: Registry) -> None:
    router = Router(registry.agents)
    for named in (router.route_after("@baker bread", "a wall"), router.route_after("bread", "a wall", agent="baker")):
        assert named[0].agent is not None
        assert (named[0].agent.name, named[1]) == ("baker", ())


def test_one_candidate_is_put_first_whatever_holds_them(registry: Registry) -> None:
    ranked = Router(registry.agents).route("mend the coat").candidates
    last = ranked[-1].name
    for candidates in (ranked, tuple(ranked)):
        assert list(scores_of(candidates)) == [each.name for each in ranked]
        assert tuple(led_by(candidates, last)) == (ranked[-1], *ranked[:-1])
