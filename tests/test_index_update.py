"""An index that is brought up to date says what one that is built anew says, and reads only what has changed."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import Agent, Cache, Example, Registry, Router, Trigger
from dispatcher.agent import Passage
from dispatcher.cache import digest_of
from dispatcher.routing.encoder import shipped_encoder
from dispatcher.routing.index import Index
from dispatcher.routing.indexing import build_index, update_index
from dispatcher.routing.text import analyze
from tests.workshop import craft

WORDS = "oven bread breads dough gate steel café parseJSON C++ 日本語 invoice seam the of".split(" ")  # noqa: SIM905
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
TASKS = ["bread from the oven", "a steel gate", "parse JSON in C++", "brod 日本語", "seam of the café", *WORDS]


@st.composite
def crafts(draw: st.DrawFn) -> Agent:
    """An agent with a name that may come again, with examples and passages of less weight now and then."""
    weight = draw(st.sampled_from([1.0, 0.5, 0.25]))
    return craft(
        f"agent-{draw(st.integers(0, 9))}",
        draw(TEXTS),
        draw(TEXTS) + "\n- " + draw(TEXTS),
        triggers=tuple(Trigger(text=text) for text in draw(st.lists(TEXTS, max_size=2))),
        examples=tuple(Example(user=text) for text in draw(st.lists(TEXTS, max_size=2))),
        enriched=tuple(
            Passage(field="example", text=text, weight=weight) for text in draw(st.lists(TEXTS, max_size=2))
        ),
    )


REGISTRIES = st.lists(crafts(), max_size=8, unique_by=lambda agent: agent.name).map(
    lambda agents: sorted(agents, key=lambda agent: agent.name)
)


def says(index: Index) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    scores = [index.score(analyze(task)) for task in TASKS]
    return [part for each in scores for part in (each.raw, each.lengths, each.best)]


def brought_up_to_date(earlier: Index, before: Sequence[Agent], after: Sequence[Agent]) -> Index:
    rows = np.array([before.index(agent) if agent in before else -1 for agent in after], np.int64)
    is_known = bool((rows >= 0).any())
    return update_index(earlier, rows, after, shipped_encoder()) if is_known else build_index(after, shipped_encoder())


@settings(max_examples=100, deadline=None)
@given(stages=st.lists(REGISTRIES, min_size=2, max_size=4))
def test_an_index_brought_up_to_date_is_one_built_anew(stages: list[list[Agent]]) -> None:
    index, before = build_index(stages[0], shipped_encoder()), stages[0]
    for after in stages[1:]:
        index, before = brought_up_to_date(index, before, after), after
        fresh = build_index(after, shipped_encoder())
        assert index.example_share == fresh.example_share
        for own, wanted in zip(says(index), says(fresh), strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-9)


TRADES = ("bakes bread", "welds gates", "sews coats", "grows peas", "cuts hair", "paints walls", "mends shoes")


def town(count: int) -> list[Agent]:
    """Many agents, more than ten times as many as a test changes."""
    return [
        craft(f"agent-{number:02d}", f"{TRADES[number % 7].capitalize()} number {number}.", digest=f"digest {number}")
        for number in range(count)
    ]


@pytest.fixture
def cache() -> Iterator[Cache]:
    with tempfile.TemporaryDirectory() as folder:
        yield Cache(Path(folder))


def indexed(agents: Sequence[Agent], cache: Cache) -> tuple[Router, int]:
    """A router whose index is ready, and how many agents were read for it."""
    read = [0]
    digest = f"town-{digest_of([(agent.name, agent.digest) for agent in agents])}"
    router = Router(agents, cache=cache, digest=digest, progress=lambda what, done, total: read.__setitem__(0, total))
    assert router.index.agent_count == len(agents)
    return router, read[0]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda agents: agents, 0),
        (lambda agents: [dataclasses.replace(agents[0], description="Keeps bees.", digest="new"), *agents[1:]], 1),
        (lambda agents: [*agents, craft("beekeeper", "Keeps bees.", digest="bees")], 1),
        (lambda agents: agents[1:], 0),
        (lambda agents: [dataclasses.replace(agents[0], name="zoe"), *agents[1:]], 1),
        (lambda agents: [dataclasses.replace(one, digest=f"new {one.digest}") for one in agents], 40),
    ],
    ids=["none", "other words", "one more", "one less", "another name", "all"],
)
def test_only_the_agents_that_changed_are_read(change: object, read: int, cache: Cache) -> None:
    assert callable(change)
    before, after = town(40), change(town(40))
    assert indexed(before, cache)[1] == 40
    router, found = indexed(after, cache)
    assert found == read
    assert indexed(after, cache)[1] == 0
    fresh = Router(after)
    for task in ("who keeps bees", "weld a gate", "bred", "number 7"):
        assert router.route(task) == fresh.route(task)


def test_words_that_nobody_has_any_more_do_not_pile_up(cache: Cache) -> None:
    agents = town(40)
    indexed(agents, cache)
    reads = []
    for number in range(60):
        words = " ".join(f"word{number}n{each}" for each in range(5))
        agents = [dataclasses.replace(agents[0], description=words, digest=f"stage {number}"), *agents[1:]]
        router, read = indexed(agents, cache)
        reads.append(read)
    assert {1, 40} == set(reads)
    assert router.index.postings.unused_share < 0.3


def test_an_index_of_other_code_is_not_brought_up_to_date(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(town(40), cache)
    monkeypatch.setattr("dispatcher.routing.router.code_stamp", lambda: "another version")
    assert indexed(town(41), cache)[1] == 41


def test_an_index_of_which_much_has_gone_is_built_anew(cache: Cache) -> None:
    indexed(town(40), cache)
    assert indexed(town(20), cache)[1] == 20


def test_of_two_entries_of_one_name_the_chosen_one_is_indexed(tmp_path: Path) -> None:
    others = ",".join(f'"other-{number}": {{"description": "Paints wall {number}."}}' for number in range(12))
    same = '"same": {"description": "Bakes bread."}, "same": {"description": "Welds gates."}'
    (tmp_path / "agents.json").write_text(f"{{{same}, {others}}}", encoding="utf-8")
    cache = Cache(tmp_path / "cache")
    for duplicates in ("first", "last", "first"):
        registry = Registry.from_paths(tmp_path, duplicates=duplicates, cache=cache)
        router = Router(registry.agents, cache=cache, digest=registry.digest)
        fresh = Router(registry.agents)
        assert [router.route(task) for task in ("bake bread", "weld a gate")] == [
            fresh.route(task) for task in ("bake bread", "weld a gate")
        ]
