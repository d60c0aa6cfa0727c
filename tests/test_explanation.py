"""Explanations: the amounts add up, the evidence stands where it says, and what would change the result is true."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from dispatcher import Agent, Decision, Evidence, Example, Registry, Router, Rule, Trigger
from dispatcher.routing import Explanation
from dispatcher.routing.encoder import StemEncoder, load_encoder
from dispatcher.routing.weights import Weights, shipped_weights
from dispatcher.settings import RoutingSettings
from tests.workshop import TEAM, WORDS_ALONE, craft, ranking

RegistryOf = Callable[..., Registry]

FILES = {
    "baker.md": """\
---
name: bread-baker
category: kitchen
tags: [sourdough, patisserie]
description: Bakes bread and rolls. Use PROACTIVELY for croissants, flat loaves or wedding cakes. Not for soups.
---

You bake.

## When to use

- A crust has burnt

## Methods

Knead the dough\u2028twice, and\x0crest it.
Then proof it overnight in a cool cellar.

<example>
Context: A village fair.
user: "my baguettes are pale"
assistant: "A hotter oven helps."
</example>
""",
    "kitchen/cook.md": """\
---
name: soup-cook
description: Cooks soups and stews of vegetables.
---
# Soup cook

You cook. Serve bread with every soup.

- Simmer the bones overnight
""",
    "tailor.md": "---\nname: tailor\ndescription: Mends coats.\n---\nStitch every seam twice.\n",
}
TASKS = (
    "croissants",
    "rest the dough, then proof it overnight in the cellar",
    "why are the baguettes at the village fair pale",
    "the crust of my sourdough bread has burnt",
    "patisserie",
    "vegetable soups with bread",
    "simmer overnight",
    "stitch the seam of a coat",
    "bred rols and weding caks",
)


@pytest.fixture
def router(registry_of: RegistryOf) -> Router:
    return Router(registry_of(FILES).agents)


def explanation_of(decision: Decision, name: str) -> Explanation:
    agent = next(candidate.agent for candidate in decision.candidates if candidate.name == name)
    found = decision.explain(agent)
    assert found is not None
    return found


def folded_words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def place_of(evidence: Evidence) -> str:
    """What the file holds where the evidence points: a line, an example block, or, without a line, the file."""
    lines = evidence.path.read_text(encoding="utf-8").split("\n")
    if evidence.line is None:
        return "\n".join(lines)
    found = lines[evidence.line - 1]
    if found == "<example>":
        return "\n".join(lines[evidence.line - 1 : lines.index("</example>")])
    return found


def adds_up(decision: Decision) -> bool:
    """Whether every candidate's amounts add up to its score."""
    found = [decision.explain(candidate.agent) for candidate in decision.candidates]
    sums = [sum(amount for _, amount in one.by_field) for one in found if one is not None]
    return sums == pytest.approx([candidate.score for candidate in decision.candidates], abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_what_the_fields_gave_adds_up_to_the_score(router: Router, task: str) -> None:
    decision = router.route(task)
    assert decision.candidates[0].score > 0
    assert adds_up(decision)


@pytest.mark.parametrize("by", [0.1, 0.5, 1.0])
def test_boosts_of_rules_are_part_of_the_sum(registry_of: RegistryOf, by: float) -> None:
    rules = [Rule(any=("bread",), boost="soup-cook", by=by), Rule(regex="bread", boost="soup-cook", by=by)]
    decision = Router(registry_of(FILES).agents, rules=rules).route("bread with soups")
    boosted = explanation_of(decision, "soup-cook")
    assert adds_up(decision)
    assert boosted.by_field[:2] == (("rule", by), ("rule", by))
    assert boosted.rules == ("rule 1 (any of bread)", "rule 2 (/bread/)")
    assert explanation_of(decision, "tailor").rules == ()


def test_only_rules_that_hold_and_touch_the_agent_are_named() -> None:
    rules = [Rule(any=("oak",), boost="joiner"), Rule(any=("steel",), boost="joiner"), Rule(regex="oak", veto="tailor")]
    decision = Router(TEAM, rules=rules).route("oak frames")
    assert explanation_of(decision, "joiner").rules == ("rule 1 (any of oak)",)
    assert explanation_of(decision, "welder").rules == ()


def test_amounts_are_listed_by_their_size(router: Router) -> None:
    amounts = [abs(amount) for _, amount in router.route(TASKS[1]).explanations[0].by_field]
    assert len(amounts) > 2
    assert amounts == sorted(amounts, reverse=True)
    contributions = [abs(each.contribution) for each in router.route(TASKS[1]).evidence]
    assert contributions == sorted(contributions, reverse=True)


@pytest.mark.parametrize("task", TASKS)
def test_evidence_stands_at_the_lines_it_names(router: Router, task: str) -> None:
    evidence = [each for one in router.route(task).explanations for each in one.evidence]
    for each in evidence:
        met = [words.rpartition(" ~ ")[2] for words in each.words]
        assert folded_words(" ".join(met)) <= folded_words(place_of(each)), each
        assert folded_words(each.text) <= folded_words(place_of(each)), each
        assert set(met) <= {each.text} | folded_words(each.text)


@pytest.mark.parametrize(
    ("task", "field", "line", "words"),
    [
        ("croissants", "description", 5, {"croissants"}),
        ("croissants", "trigger", 5, {"croissants"}),
        ("croissants", "keyword", 5, {"croissants"}),
        ("patisserie", "keyword", None, {"patisserie"}),
        ("proof it in the cellar", "body", 17, {"proof", "cellar"}),
        ("the crust has burnt", "bullet", 12, {"crust", "burnt"}),
        ("pale baguettes", "example", 19, {"pale", "baguettes"}),
        ("a village fair", "context", 19, {"village", "fair"}),
        ("baker", "name", 2, {"baker"}),
    ],
)
def test_words_are_found_in_their_field(
    registry_of: RegistryOf, task: str, field: str, line: int | None, words: set[str]
) -> None:
    router = Router(registry_of(FILES).agents, weights=WORDS_ALONE)
    evidence = explanation_of(router.route(task), "bread-baker").evidence
    found = [each for each in evidence if each.field == field]
    assert [(each.path.name, each.line) for each in found] == [("baker.md", line)]
    assert words <= set(found[0].words)
    assert found[0].contribution > 0


def test_what_an_agent_is_not_for_counts_against_it(router: Router) -> None:
    against = explanation_of(router.route("soups"), "bread-baker")
    assert dict(against.by_field)["exclusion"] < 0
    (evidence,) = [each for each in against.evidence if each.field == "exclusion"]
    assert evidence.contribution < 0
    assert (evidence.text, evidence.words, evidence.line) == ("Not for soups.", ("soups",), 5)


def test_a_score_that_exclusions_bring_below_zero_adds_up() -> None:
    agents = [craft("cook", "Cooks.", exclusions=(Trigger(text="rye bread"),)), craft("tailor", "Mends coats.")]
    decision = Router(agents, weights=WORDS_ALONE).route("rye bread")
    assert ranking(decision) == ["tailor", "cook"]
    assert decision.agent is None
    assert explanation_of(decision, "cook").score < 0
    assert adds_up(decision)


def test_learned_examples_are_part_of_the_sum() -> None:
    examples: Mapping[str, tuple[str, ...]] = {
        "intent_1": ("dim the lamp", "switch on the light", "more light in the hall"),
        "intent_2": ("play a song", "skip this song", "louder music please"),
    }
    agents = [craft(name, examples=tuple(Example(user=text) for text in texts)) for name, texts in examples.items()]
    decision = Router(agents).route("switch the lamp off and play music")
    assert adds_up(decision)


def test_first_and_runner_up_are_explained(router: Router) -> None:
    decision = router.route("bread and soups")
    assert [one.agent.name for one in decision.explanations] == ranking(decision)[:2]
    assert [one.score for one in decision.explanations] == [one.score for one in decision.candidates[:2]]
    assert decision.evidence == decision.explanations[0].evidence


def test_abstaining_is_explained_by_the_best_candidate(registry_of: RegistryOf) -> None:
    router = Router(registry_of(FILES).agents, settings=RoutingSettings(min_confidence=1.0))
    decision = router.route("bread and soups")
    assert decision.agent is None
    assert decision.evidence == decision.explanations[0].evidence != ()


def test_a_fallback_is_explained_by_its_own_file(registry_of: RegistryOf) -> None:
    settings = RoutingSettings(min_confidence=1.0, fallback="tailor")
    decision = Router(registry_of(FILES).agents, settings=settings).route("bread rolls, croissants, a stitch")
    assert ranking(decision)[0] == "bread-baker"
    assert {each.path.name for each in decision.evidence} == {"tailor.md"}


def test_agents_that_were_not_ranked_have_no_evidence(router: Router) -> None:
    assert router.route("bread", agent="tailor").explanations == ()
    butler = craft("butler", "Serves bread.", enabled=False)
    assert Router([*TEAM, butler]).route("bread").explain(butler) is None


def test_nothing_is_explained_before_it_is_asked_for(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def evidence_of(index: object, agent: Agent, *rest: object) -> tuple[()]:
        asked.append(agent.name)
        return ()

    monkeypatch.setattr("dispatcher.routing.explanation.evidence_of", evidence_of)
    decision = router.route("bread and soups")
    repr(decision)
    assert asked == []
    assert decision.evidence == ()
    assert asked == [ranking(decision)[0]]


def test_a_long_task_has_few_lines_of_evidence(router: Router) -> None:
    text = " ".join(FILES.values())
    evidence = router.route(text * 20, mentions=False).evidence
    assert 0 < len(evidence) <= 12


# Words that are only alike, and meaning


def words_of(evidence: Iterable[Evidence]) -> set[str]:
    return {word for each in evidence for word in each.words}


def test_a_word_that_met_by_its_pieces_is_listed_with_the_one_it_met(router: Router) -> None:
    decision = router.route("bred rols and weding caks")
    found = words_of(explanation_of(decision, "bread-baker").evidence)
    assert {"bred ~ bread", "rols ~ rolls", "weding ~ wedding", "caks ~ cakes"} <= found


@pytest.mark.parametrize(
    ("written", "file", "is_alike"),
    [
        ("databse", "database", True),
        ("kubrenetes", "kubernetes", True),
        ("authentication", "authorization", True),
        ("tabel", "table", True),
        ("vegetable", "pale", False),
        ("patisserie", "user", False),
        ("frontend", "backend", False),
    ],
)
def test_only_words_that_share_a_good_part_of_their_pieces_meet(written: str, file: str, is_alike: bool) -> None:
    agents = [craft("one", f"The {file}."), craft("two", "Nothing."), craft("three", "Empty.")]
    decision = Router(agents, weights=WORDS_ALONE).route(written)
    explanation = explanation_of(decision, "one")
    assert (explanation.score > 0) == is_alike
    assert words_of(explanation.evidence) == ({f"{written} ~ {file}"} if is_alike else set())
    assert adds_up(decision)


def test_of_several_words_the_one_most_alike_is_named() -> None:
    agents = [craft("one", "Data, databases and database servers; debased."), craft("two", "Nothing.")]
    evidence = explanation_of(Router(agents).route("databse"), "one").evidence
    assert words_of(evidence) == {"databse ~ database"}


def test_a_word_that_stands_in_another_field_is_no_evidence_for_this_one(router: Router) -> None:
    evidence = explanation_of(router.route("patisserie"), "bread-baker").evidence
    assert [(each.field, each.words) for each in evidence] == [("keyword", ("patisserie",))]


def test_what_an_agent_is_not_for_is_no_evidence_of_the_whole() -> None:
    exclusion = Trigger(text="Never bakes bread.", line=3)
    agents = [craft("cook", "Cooks.", "Serve the bread.", exclusions=(exclusion,)), craft("tailor", "Mends coats.")]
    evidence = explanation_of(Router(agents).route("bread"), "cook").evidence
    assert {each.text for each in evidence if each.field == "whole"} == {"Serve the bread."}
    assert {each.field for each in evidence if each.text == exclusion.text} == {"exclusion"}


DOUGH = {"dough": (1.0, 0.0), "loaf": (0.9, 0.1), "cloth": (0.0, 1.0), "yarn": (0.1, 0.9)}
"""Stems with what they mean, to an encoder that knows no others."""


@pytest.fixture
def by_meaning(tmp_path: Path) -> Weights:
    """The shipped weights, with an encoder that knows the words of DOUGH."""
    path = tmp_path / "encoder.npz"
    encoder = StemEncoder.from_vectors([*DOUGH], np.array([*DOUGH.values()], np.float32), (1.0, 0.5, 1.0))
    path.write_bytes(encoder.to_bytes())
    return dataclasses.replace(shipped_weights(), encoder_path=path, encoder_digest=load_encoder(path).digest)


def test_meaning_is_told_by_the_nearest_passage_without_words(by_meaning: Weights, registry_of: RegistryOf) -> None:
    agents = registry_of({**FILES, "weaver.md": "---\nname: weaver\ndescription: Spins yarn.\n---\nBe quick.\n"}).agents
    decision = Router(agents, weights=by_meaning).route("loaf")
    baker = explanation_of(decision, "bread-baker")
    (evidence,) = [each for each in baker.evidence if each.field == "meaning"]
    assert (evidence.words, evidence.line, evidence.path.name) == ((), 16, "baker.md")
    assert evidence.text == "Knead the dough twice, and rest it."
    assert evidence.contribution == dict(baker.by_field)["meaning"] > 0
    assert adds_up(decision)
    assert "meaning" not in dict(explanation_of(decision, "soup-cook").by_field)


def test_examples_beside_the_files_can_be_nearest_in_meaning(by_meaning: Weights, registry_of: RegistryOf) -> None:
    line = '{"name": "tailor", "examples": ["quick", "my yarn ends"]}\n'
    decision = Router(registry_of({**FILES, "enriched.jsonl": line}).agents, weights=by_meaning).route("cloth")
    (evidence,) = [each for each in explanation_of(decision, "tailor").evidence if each.field == "meaning"]
    assert (evidence.text, evidence.path.name, evidence.words) == ("my yarn ends", "enriched.jsonl", ())


def test_what_an_agent_is_not_for_is_never_nearest_in_meaning(by_meaning: Weights) -> None:
    agents = [craft("cook", "Sells yarn.", exclusions=(Trigger(text="Never dough."),)), craft("tailor", "Mends coats.")]
    evidence = explanation_of(Router(agents, weights=by_meaning).route("loaf"), "cook").evidence
    assert [each.text for each in evidence if each.field == "meaning"] == ["Sells yarn."]


# The smallest change


def changed(task: str, advice: str) -> str:
    """A task without the words that the advice names."""
    left_out = re.findall(r'"([^"]+)"', advice.split(" in the task")[0])
    assert left_out
    for word in left_out:
        task = re.sub(rf"(?i)\b{re.escape(word)}\b", "", task)
    return task


def assert_true(advice: str | None, task: str, agents: tuple[Agent, ...], rules: list[Rule]) -> None:
    """Follows the advice and sees the runner-up win."""
    before = Router(agents, rules=rules).route(task)
    assert advice is not None
    if advice.startswith("without "):
        after = Router(agents, rules=rules).route(changed(task, advice))
    else:
        boost = re.match(r"a rule with boost: (.+) and by: ([\d.]+) would put it first", advice)
        assert boost is not None
        rule = Rule(regex=r"\A", boost=boost[1], by=float(boost[2]))
        after = Router(agents, rules=[*rules, rule]).route(task)
    assert ranking(after)[0] == ranking(before)[1] != ranking(before)[0]


@pytest.mark.parametrize(
    ("task", "left_out"),
    [
        ("an oak gate", ["oak"]),
        ("rye bread for the tailor", ["rye", "bread"]),
        ("oak frames, pine shelves, boards, glued joints and tables, not a steel gate", None),
    ],
)
def test_the_smallest_change_lets_the_runner_up_win(task: str, left_out: list[str] | None) -> None:
    advice = Router(TEAM).route(task).smallest_change()
    assert_true(advice, task, TEAM, [])
    assert re.findall(r'"(\w+)"', advice or "") == (left_out or [])


@pytest.mark.parametrize("task", TASKS)
def test_the_smallest_change_is_true_for_agents_of_files(router: Router, task: str) -> None:
    decision = router.route(task)
    advice = decision.smallest_change()
    if decision.candidates[1].score > 0:
        assert_true(advice, task, router.agents, [])
    else:
        assert advice is None


RULES = {
    "a boost that goes with its word": (
        [Rule(any=("pine",), boost="joiner", by=0.4)],
        "a steel gate with pine",
        'without "pine" in',
    ),
    "a boost by a pattern": (
        [Rule(regex="pine", boost="joiner", by=0.4)],
        "a steel gate with pine",
        'without "pine" in',
    ),
    "a boost that comes when a word goes": (
        [Rule(none=("oak",), boost="joiner", by=0.9)],
        "an oak gate",
        "a rule with boost: welder",
    ),
    "a veto that comes when a word goes": (
        [Rule(none=("oak",), veto="welder")],
        "an oak gate",
        "a rule with boost: welder",
    ),
    "a force that comes when a word goes": (
        [Rule(none=("oak",), force="tailor")],
        "an oak gate",
        "a rule with boost: welder",
    ),
    "a large boost": ([Rule(regex=".", boost="welder", by=0.9)], "a pine shelf", "a rule with boost: joiner"),
}


@pytest.mark.parametrize("kind", RULES)
def test_the_smallest_change_heeds_the_rules(kind: str) -> None:
    rules, task, beginning = RULES[kind]
    advice = Router(TEAM, rules=rules).route(task).smallest_change()
    assert (advice or "").startswith(beginning)
    assert_true(advice, task, TEAM, rules)


def test_a_lead_that_no_rule_can_make_up_for_has_no_advice() -> None:
    rules = [Rule(regex="gate", boost="welder", by=1.0), Rule(any=("frame",), boost="welder", by=1.0)]
    decision = Router(TEAM, rules=rules).route("gates gate frames frame railing shelf")
    assert ranking(decision)[0] == "welder"
    assert decision.candidates[0].score - decision.candidates[1].score > 1
    assert decision.smallest_change() is None


@pytest.mark.parametrize("task", ["", "qqqq", "sourdough"])
def test_without_a_runner_up_there_is_no_change(task: str) -> None:
    assert Router(TEAM, weights=WORDS_ALONE).route(task).smallest_change() is None
    assert Router(TEAM[:1]).route("bread").smallest_change() is None


def test_evidence_of_agents_without_files_names_their_path() -> None:
    (evidence, *_) = Router(TEAM).route("sourdough starter").evidence
    assert evidence.path == Path("/shop/bread-baker.md")


def test_what_an_agent_is_not_for_does_not_speak_for_it(registry_of: Callable[..., Registry]) -> None:
    kitchen = """---
name: kitchen
description: Cooks soup. Not for invoices or refunds, use desk instead.
---
You cook.

## Not for
- Not for invoices, refunds
  and billing: use desk instead.
"""
    desk = "---\nname: desk\ndescription: Answers letters on money.\n---\nYou answer. Refunds are paid weekly.\n"
    files = {"kitchen.md": kitchen, "desk.md": desk}
    decision = Router(registry_of(files).agents).route("billing refunds for invoices")
    assert [candidate.name for candidate in decision.candidates] == ["desk", "kitchen"]
    explanation = decision.explain(decision.candidates[1].agent)
    assert explanation is not None
    met = {word for each in explanation.evidence if each.contribution > 0 for word in each.words}
    assert met.isdisjoint({"billing", "refunds", "invoices"})
    assert dict(explanation.by_field)["exclusion"] < 0
