"""The baselines: what they read, how they rank, and scores worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from dispatcher.agent import Agent
from dispatcher.evaluation import LabelledTask, Prediction, bm25_baseline, tfidf_baseline

Read = Callable[..., Agent]
Baseline = Callable[[list[Agent], list[LabelledTask]], tuple[Prediction, ...]]
BOTH = pytest.mark.parametrize("baseline", [tfidf_baseline, bm25_baseline])


def agent(read: Read, name: str, description: str, body: str = "-") -> Agent:
    return read(f"---\nname: {name}\ndescription: {description}\n---\n{body}\n")


def labelled(*texts: str) -> list[LabelledTask]:
    return [LabelledTask(task=text, agent="painter") for text in texts]


@pytest.fixture
def agents(read: Read) -> list[Agent]:
    return [agent(read, "painter", "walls ceilings"), agent(read, "baker", "bread walls", "Knows sourdough.")]


@BOTH
def test_the_agent_with_the_words_of_the_task_is_first(baseline: Baseline, agents: list[Agent]) -> None:
    first, second = baseline(agents, labelled("ceilings", "bread"))
    assert (first.agent, first.is_right) == ("painter", True)
    assert (second.agent, second.is_right) == ("baker", False)
    assert [name for name, _ in second.ranking] == ["baker", "painter"]


@BOTH
def test_where_no_word_meets_nobody_is_chosen_and_names_order_the_ranking(
    baseline: Baseline, agents: list[Agent]
) -> None:
    for prediction in baseline(agents, labelled("", "🦀", "quantum chromodynamics")):
        assert (prediction.agent, prediction.confidence) == (None, 0.0)
        assert prediction.ranking == (("baker", 0.0), ("painter", 0.0))


@BOTH
def test_neither_agents_nor_words_are_needed(baseline: Baseline, read: Read) -> None:
    (prediction,) = baseline([], labelled("paint"))
    assert (prediction.agent, prediction.ranking) == (None, ())
    assert baseline([agent(read, "it", "the")], labelled("the"))[0].ranking == (("it", 0.0),)
    assert baseline([agent(read, "painter", "walls")], []) == ()


@BOTH
def test_context_and_tags_are_kept_and_context_is_not_routed_on(baseline: Baseline, agents: list[Agent]) -> None:
    (prediction,) = baseline(agents, [LabelledTask(task="bread", agent=None, context="ceilings", tags=("x",))])
    assert prediction.agent == "baker"
    assert (prediction.expected, prediction.context, prediction.tags) == (None, "ceilings", ("x",))


def test_only_bm25_reads_the_name_and_the_body(agents: list[Agent]) -> None:
    tasks = labelled("sourdough", "baker")
    assert [prediction.agent for prediction in tfidf_baseline(agents, tasks)] == [None, None]
    assert [prediction.agent for prediction in bm25_baseline(agents, tasks)] == ["baker", "baker"]


def test_the_cosine_is_that_of_the_vectors(agents: list[Agent]) -> None:
    # scikit-learn's inverse document frequency is ln((1 + n) / (1 + df)) + 1: "walls" in both has 1.
    rare = math.log(3 / 2) + 1
    (prediction,) = tfidf_baseline(agents, labelled("ceilings"))
    name, score = prediction.ranking[0]
    assert name == "painter"
    assert score == pytest.approx(rare / math.hypot(rare, 1), abs=1e-6)
    assert prediction.confidence == score


def test_the_bm25_score_is_that_of_the_formula(read: Read) -> None:
    # Words with the name: "ant apple apple" is 3 long, "bee berry" and "cat cherry" 2: 7/3 on average.
    agents = [agent(read, "ant", "apple apple"), agent(read, "bee", "berry"), agent(read, "cat", "cherry")]
    (prediction,) = bm25_baseline(agents, labelled("apple"))
    rarity = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    saturated = 2 * 2.5 / (2 + 1.5 * (0.25 + 0.75 * 3 / (7 / 3)))
    name, score = prediction.ranking[0]
    assert name == "ant"
    assert score == pytest.approx(rarity * saturated, abs=1e-6)
    assert prediction.confidence == 1.0


@pytest.mark.parametrize("task", ["one ceiling", "fix getCeilingsOf()"])
def test_bm25_meets_stems_and_the_words_of_an_identifier(agents: list[Agent], task: str) -> None:
    assert bm25_baseline(agents, labelled(task))[0].agent == "painter"
    assert tfidf_baseline(agents, labelled(task))[0].agent is None


def test_the_confidence_of_bm25_is_its_lead(read: Read) -> None:
    agents = [agent(read, "ant", "apple"), agent(read, "bee", "apple"), agent(read, "cat", "cherry")]
    (tied,) = bm25_baseline(agents, labelled("apple"))
    assert (tied.agent, tied.confidence) == ("ant", 0.0)
