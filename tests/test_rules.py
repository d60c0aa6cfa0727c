"""Keyword rules of config: when they hold, what they do, and what is wrong with one that can't be used."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher import ConfigError, How, Outcome, Router, Rule
from dispatcher.settings import RoutingSettings
from tests.workshop import TEAM, craft, ranking


def is_forced(task: str, **conditions: Any) -> bool:
    """Whether a rule with these conditions, which would force the tailor, holds for a task."""
    decision = Router(TEAM, rules=[Rule(force="tailor", **conditions)]).route(task)
    return decision.how is How.RULE


def score_of(router: Router, name: str, task: str) -> float:
    return next(candidate.score for candidate in router.route(task).candidates if candidate.name == name)


@pytest.mark.parametrize(
    ("conditions", "task", "holds"),
    [
        ({"any": ("loaf", "button")}, "the loaf is hard", True),
        ({"any": ("loaf", "button")}, "a lost button", True),
        ({"any": ("loaf", "button")}, "a steel gate", False),
        ({"all": ("loaf", "button")}, "a button in my loaf", True),
        ({"all": ("loaf", "button")}, "the loaf is hard", False),
        ({"none": ("gate",)}, "a lost button", True),
        ({"none": ("gate",)}, "a steel gate", False),
        ({"none": ("gate", "loaf")}, "the loaf is hard", False),
        ({"any": ("button",), "none": ("steel",)}, "a steel button", False),
        ({"any": ("button", "zip"), "all": ("coat",), "none": ("steel",)}, "the zip of a coat", True),
        ({"any": ("button", "zip"), "all": ("coat",), "none": ("steel",)}, "the hem of a coat", False),
        ({"regex": r"\bJOB-\d+"}, "about job-12: bread", True),
        ({"regex": r"\bJOB-\d+"}, "about the job", False),
        ({"regex": r"^\s*$"}, "  ", True),
        ({"regex": "bread", "none": ("rye",)}, "rye bread", False),
        ({"regex": "🔥"}, "bread 🔥", True),
    ],
)
def test_a_rule_holds_when_all_its_conditions_do(conditions: dict[str, Any], task: str, holds: bool) -> None:
    assert is_forced(task, **conditions) is holds


@pytest.mark.parametrize(
    ("keyword", "task", "holds"),
    [
        ("invoice", "three Invoices are missing", True),
        ("Invoices", "an invoice is missing", True),
        ("invoicing", "it was invoiced twice", True),
        ("art", "start the party", False),
        ("log", "the catalog and the blog", False),
        ("c++", "move it to C++", True),
        ("c++", "move it to C", False),
        ("naïve", "a NAI\u0308VE plan", True),
        ("請求書", "この請求書は何ですか", True),
        ("user profile", "getUserProfile fails", True),
    ],
)
def test_keywords_meet_whole_words_by_their_stem(keyword: str, task: str, holds: bool) -> None:
    assert is_forced(task, any=(keyword,)) is holds


@pytest.mark.parametrize(
    ("task", "holds"),
    [
        ("a credit card was lost", True),
        ("Credit-Cards!", True),
        ("the card for my credit", False),
        ("credit for a lost card", False),
        ("credit, lost", False),
    ],
)
def test_the_words_of_one_keyword_stand_together(task: str, holds: bool) -> None:
    assert is_forced(task, all=("credit card",)) is holds


def test_a_forced_agent_is_certain_and_the_rule_is_named() -> None:
    rules = [Rule(regex="never", veto="tailor"), Rule(any=("bread",), all=("rye",), none=("gate",), force="welder")]
    decision = Router(TEAM, rules=rules).route("bake rye bread")
    assert (decision.outcome, decision.how, decision.confidence) == (Outcome.ROUTED, How.RULE, 1.0)
    assert ranking(decision)[:2] == ["welder", "bread-baker"]
    assert len(ranking(decision)) == len(Router(TEAM).routable)
    assert decision.rules == (decision.reason,)
    assert decision.reason == "rule 2 (any of bread; all of rye; none of gate)"


@pytest.mark.parametrize(("task", "first"), [("steel, and bread", "welder"), ("oak frames, and bread", "joiner")])
def test_of_a_forced_category_the_best_is_chosen(task: str, first: str) -> None:
    router = Router(TEAM, rules=[Rule(any=("bread",), force="category:building")])
    decision = router.route(task)
    assert (decision.how, decision.agent and decision.agent.name) == (How.RULE, first)
    (among_many,) = router.route_many([task], most=1)
    assert (among_many.agent and among_many.agent.name) == first


def test_of_a_forced_team_only_those_that_may_be_chosen_count() -> None:
    router = Router(TEAM, rules=[Rule(any=("bread",), force="team:hard goods"), Rule(regex="rye", veto="joiner")])
    assert ranking(router.route("rye bread on an oak frame"))[0] == "welder"
    assert ranking(router.route("bread and steel", exclude=["welder"]))[0] == "joiner"
    assert router.route("bread", exclude=["welder", "joiner"]).how is How.SCORED


def test_the_first_rule_that_forces_decides() -> None:
    rules = [Rule(any=("bread",), boost="joiner"), Rule(any=("rye",), force="tailor"), Rule(regex=".", force="welder")]
    router = Router(TEAM, rules=rules)
    firsts = [ranking(router.route(task))[0] for task in ("bake rye bread", "bake bread")]
    assert firsts == ["tailor", "welder"]


def test_a_forced_agent_that_may_not_be_chosen_is_passed_over() -> None:
    rules = [Rule(any=("rye",), force="tailor"), Rule(any=("rye",), force="welder")]
    router = Router(TEAM, rules=rules)
    assert ranking(router.route("bake rye bread", exclude=["tailor"]))[0] == "welder"
    assert router.route("bake rye bread", only=["joiner", "bread-baker"]).how is How.SCORED


def test_mentions_and_the_caller_go_before_rules() -> None:
    router = Router(TEAM, rules=[Rule(any=("rye",), force="welder")])
    assert router.route("@tailor rye").how is How.MENTION
    assert router.route("rye", agent="tailor").how is How.FORCED


@pytest.mark.parametrize(
    ("target", "raised"),
    [
        ("tailor", {"tailor"}),
        ("agent:tailor", {"tailor"}),
        ("ux-researcher", {"UX Researcher"}),
        ("category:building", {"joiner", "welder"}),
        ("category: Building", {"joiner", "welder"}),
        ("team:soft goods", {"tailor"}),
        ("team:Hard-Goods", {"joiner", "welder"}),
    ],
)
def test_a_boost_adds_to_the_scores_of_its_target(target: str, raised: set[str]) -> None:
    task = "frames of oak, steel or cloth"
    plain, boosted = Router(TEAM), Router(TEAM, rules=[Rule(all=("oak", "steel"), boost=target, by=0.125)])
    gains = {agent.name: score_of(boosted, agent.name, task) - score_of(plain, agent.name, task) for agent in TEAM}
    assert gains == {name: pytest.approx(0.125 if name in raised else 0, abs=2e-6) for name in gains}


def test_boosts_of_several_rules_add_up_and_can_change_the_first() -> None:
    task = "rye bread for the tailor's table"
    rules = [Rule(any=("table",), boost="joiner", by=0.5), Rule(regex="rye", boost="category:building", by=0.25)]
    plain, boosted = Router(TEAM), Router(TEAM, rules=rules)
    assert ranking(plain.route(task))[0] == "bread-baker"
    assert ranking(boosted.route(task))[0] == "joiner"
    gain = score_of(boosted, "joiner", task) - score_of(plain, "joiner", task)
    assert gain == pytest.approx(0.75, abs=2e-6)


def test_a_boost_of_a_whole_category_keeps_its_order() -> None:
    router = Router(TEAM, rules=[Rule(any=("steel",), boost="category:building", by=1.0)])
    assert ranking(router.route("a steel gate and railings"))[:2] == ["welder", "joiner"]


def test_a_boosted_agent_that_shares_no_word_can_be_chosen() -> None:
    settings = RoutingSettings(min_confidence=0.0)
    router = Router(TEAM, rules=[Rule(regex="zzz", boost="tailor", by=1.0)], settings=settings)
    decision = router.route("zzz")
    assert (decision.agent and decision.agent.name, decision.how) == ("tailor", How.SCORED)


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("joiner", ["UX Researcher", "bread-baker", "tailor", "welder"]),
        ("category:building", ["UX Researcher", "bread-baker", "tailor"]),
        ("team:soft goods", ["UX Researcher", "bread-baker", "joiner", "welder"]),
    ],
)
def test_a_veto_leaves_its_target_out(target: str, left: list[str]) -> None:
    router = Router(TEAM, rules=[Rule(any=("oak",), veto=target)])
    assert sorted(ranking(router.route("oak frames"))) == left
    assert sorted(ranking(router.route("pine frames"))) == sorted(agent.name for agent in TEAM)


def test_where_everybody_is_vetoed_the_router_abstains() -> None:
    rules = [Rule(regex="oak", veto=agent.name) for agent in TEAM]
    decision = Router(TEAM, rules=rules).route("oak frames")
    assert (decision.outcome, decision.candidates, decision.explanations) == (Outcome.ABSTAINED, (), ())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(force="tailor"), "rule 1 has no condition"),
        (Rule(none=(), any=(), veto="tailor"), "rule 1 has no condition"),
        (Rule(any=("bread",)), "rule 1 has no effect"),
        (Rule(any=("how to",), force="tailor"), 'rule 1: "how to" has no word that carries meaning'),
        (Rule(all=("bread", ""), force="tailor"), 'rule 1: "" has no word'),
        (Rule(regex="x", none=("🔥",), force="tailor"), 'rule 1: "🔥" has no word'),
        (Rule(regex="(bread", force="tailor"), "rule 1: '(bread' is no regular expression"),
        (Rule(regex="a{99999999999999}", force="tailor"), "is no regular expression"),
        (Rule(any=("bread",), force="plumber"), 'rule 1 names the agent "plumber", which no agent has'),
        (Rule(any=("bread",), veto="category:"), 'rule 1 names the category "", which no agent has'),
        (Rule(any=("bread",), boost="team: - "), 'rule 1 names the team "-", which no agent has'),
    ],
)
def test_a_rule_that_cannot_be_used_is_a_config_error(rule: Rule, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Router(TEAM, rules=[rule])
    assert message in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("rule", "nearest"),
    [
        (Rule(any=("x1",), force="tailr"), "tailor"),
        (Rule(any=("x1",), veto="BREAD-BAKR"), "bread-baker"),
        (Rule(any=("x1",), boost="agent:UX Reseacher"), "UX Researcher"),
        (Rule(any=("x1",), boost="category:bilding"), "building"),
        (Rule(any=("x1",), veto="team:hard"), "hard goods"),
    ],
)
def test_an_unknown_target_gets_the_nearest_name(rule: Rule, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Router(TEAM, rules=[Rule(any=("y",), veto="tailor"), rule])
    assert caught.value.message.startswith("rules: rule 2 names the ")
    assert caught.value.hint == f'did you mean "{nearest}"?'


def test_a_category_without_a_name_stands_for_nobody() -> None:
    with pytest.raises(ConfigError, match='the category "🙂"'):
        Router([craft("plain"), craft("🤖")], rules=[Rule(any=("bread",), veto="category:🙂")])


def test_rules_are_checked_before_any_task_is_routed() -> None:
    fine, broken = Rule(any=("bread",), force="tailor"), Rule(any=("bread",), force="nobody")
    Router(TEAM, rules=[fine])
    with pytest.raises(ConfigError, match="rule 2"):
        Router(TEAM, rules=[fine, broken])


def test_a_vetoed_agent_is_not_forced() -> None:
    rules = [Rule(any=("rye",), force="welder"), Rule(any=("bread",), veto="welder")]
    decision = Router(TEAM, rules=rules).route("bake rye bread")
    assert "welder" not in ranking(decision)
    assert (decision.how, len(decision.rules)) == (How.SCORED, 2)
