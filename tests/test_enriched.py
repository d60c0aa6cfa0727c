"""enriched.jsonl: example tasks beside the agents are found, checked line by line, and routed by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Registry, Router, Settings, Severity
from dispatcher.enriched import NEAR_MISS_WEIGHT, STALE_WEIGHT
from dispatcher.routing.index import FEATURES
from dispatcher.routing.text import analyze
from tests.workshop import ranking

RegistryOf = Callable[..., Registry]

FILES = {
    "baker.md": "---\nname: bread-baker\ndescription: Bakes.\n---\nYou bake.\n",
    "deep/tailor.md": "---\nname: tailor\ndescription: Sews.\n---\nYou sew.\n",
}
PIZZA = {"name": "bread-baker", "examples": ["my pizza sticks to the stone", "what about yeast"]}
ZIP = {"name": "tailor", "examples": ["the zip of my tent is stuck"]}


def lines(*entries: Any) -> str:
    return "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries)


def examples(registry: Registry) -> dict[str, list[str]]:
    return {agent.name: [passage.text for passage in agent.enriched] for agent in registry.agents if agent.enriched}


def diagnostics(registry: Registry) -> list[tuple[Severity, str, int | None]]:
    return [(found.severity, found.code, found.line) for found in registry.diagnostics]


def test_the_file_beside_the_agents_is_found(registry_of: RegistryOf) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(PIZZA, ZIP)})
    assert examples(registry) == {"bread-baker": PIZZA["examples"], "tailor": ZIP["examples"]}
    assert registry.diagnostics == ()
    assert "enriched.jsonl" not in {passed.path.name for passed in registry.passed_over}


@pytest.mark.parametrize("place", ["deep/enriched.jsonl", "../enriched.jsonl", "Enriched.json", "more.jsonl"])
def test_a_file_in_another_place_is_not(registry_of: RegistryOf, place: str) -> None:
    assert examples(registry_of({**FILES, place: lines(PIZZA, ZIP)})) == {}


def test_each_folder_has_its_own(tmp_path: Path) -> None:
    for folder, text in (("near", "near words"), ("far", "far words")):
        (tmp_path / folder).mkdir()
        for name in ("bread-baker", folder):
            (tmp_path / folder / f"{name}.md").write_text(f"---\nname: {name}\ndescription: Works.\n---\nYou work.\n")
        entries = [{"name": name, "examples": [text]} for name in ("bread-baker", folder)]
        (tmp_path / folder / "enriched.jsonl").write_text(lines(*entries))
    registry = Registry.from_paths(tmp_path / "near", tmp_path / "far")
    assert examples(registry) == {"bread-baker": ["near words"], "near": ["near words"], "far": ["far words"]}


def test_the_files_of_the_agents_are_left_alone(registry_of: RegistryOf) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(PIZZA)})
    plain = registry_of({**FILES, "enriched.jsonl": ""})
    assert [agent.examples for agent in registry.agents] == [agent.examples for agent in plain.agents]
    assert [agent.digest for agent in registry.agents] == [agent.digest for agent in plain.agents]


BAD_LINES = (
    "{",
    "words",
    "[]",
    "17",
    '{"name": "tailor"}',
    '{"examples": ["a"]}',
    '{"name": 7, "examples": ["a"]}',
    '{"name": "tailor", "examples": "a text"}',
    '{"name": "tailor", "examples": {"a": "b"}}',
    '{"name": "tailor", "examples": ["a", 7]}',
    "[" * 50_000,
    '{"name": "tailor", "examples": [' + "1" * 5000 + "]}",
)


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: line[:40])
def test_a_bad_line_is_reported_and_loses_itself_alone(registry_of: RegistryOf, bad: str) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": f"{lines(PIZZA)}\n{bad}\n{lines(ZIP)}"})
    assert examples(registry) == {"bread-baker": PIZZA["examples"], "tailor": ZIP["examples"]}
    assert diagnostics(registry) == [(Severity.WARNING, "bad-enriched-line", 3)]
    assert '"examples"' in str(registry.diagnostics[0].hint)
    assert registry.diagnostics[0].path.name == "enriched.jsonl"


def test_an_unknown_name_is_noted(registry_of: RegistryOf) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(ZIP, {"name": "plumber", "examples": ["a leak"]})})
    assert diagnostics(registry) == [(Severity.NOTE, "unknown-agent", 2)]
    assert '"plumber"' in registry.diagnostics[0].message
    assert examples(registry) == {"tailor": ZIP["examples"]}


def test_further_keys_blank_lines_and_several_lines_an_agent_are_fine(registry_of: RegistryOf) -> None:
    more = {"model": "sonnet", "examples": [" hems  ", "", "\t"], "name": "tailor"}
    text = "\ufeff" + lines(ZIP, more).replace("\n", "\r\n\r\n")
    registry = registry_of({**FILES, "enriched.jsonl": text})
    assert examples(registry) == {"tailor": [*ZIP["examples"], "hems"]}
    assert registry.diagnostics == ()


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x7f"])
def test_only_line_ends_end_a_line(registry_of: RegistryOf, sign: str) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines({"name": "tailor", "examples": [f"a{sign}b"]}, PIZZA)})
    assert examples(registry) == {"tailor": [f"a{sign}b"], "bread-baker": PIZZA["examples"]}
    assert [passage.line for agent in registry.agents for passage in agent.enriched] == [2, 2, 1]


def test_texts_can_always_be_printed(registry_of: RegistryOf) -> None:
    broken = '{"name": "tailor", "examples": ["a \\ud83d tent"]}\n{"name": "\\udc00", "examples": []}\n'
    registry = registry_of({**FILES, "enriched.jsonl": broken})
    assert examples(registry) == {"tailor": ["a ? tent"]}
    assert "".join(found.message for found in registry.diagnostics).encode()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"name": "tailor", "examples": ["\xe4"]}'])
def test_a_file_that_is_not_utf_8_is_an_error_and_the_agents_stay(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tailor.md").write_text(FILES["deep/tailor.md"])
    (tmp_path / "enriched.jsonl").write_bytes(content)
    registry = Registry.from_paths(tmp_path)
    assert [agent.name for agent in registry.agents] == ["tailor"]
    assert diagnostics(registry) == [(Severity.ERROR, "unreadable", None)]


def test_a_given_file_takes_the_place_of_those_beside_the_agents(registry_of: RegistryOf, tmp_path: Path) -> None:
    given = tmp_path / "given.jsonl"
    given.write_text(lines({"name": "tailor", "examples": ["buttons"]}))
    registry = registry_of({**FILES, "enriched.jsonl": lines(PIZZA, ZIP) + "{"}, enriched=given)
    assert examples(registry) == {"tailor": ["buttons"]}
    assert registry.diagnostics == ()


def test_a_given_file_can_be_a_setting(registry_of: RegistryOf, tmp_path: Path) -> None:
    registry_of({**FILES, "enriched.jsonl": lines(PIZZA)})
    given = tmp_path / "given.jsonl"
    given.write_text(lines(ZIP))
    settings = Settings(agents=("files",), enriched=str(given))
    assert examples(Registry.from_settings(settings, folder=tmp_path)) == {"tailor": ZIP["examples"]}


def test_a_given_file_that_does_not_exist_is_an_error(registry_of: RegistryOf, tmp_path: Path) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(PIZZA)}, enriched=tmp_path / "none.jsonl")
    assert diagnostics(registry) == [(Severity.ERROR, "unreadable", None)]
    assert examples(registry) == {}
    assert len(registry.agents) == 2


def test_examples_change_who_is_chosen(registry_of: RegistryOf) -> None:
    task = "my pizza sticks"
    firsts = {}
    for text in ("", lines(PIZZA), lines({**PIZZA, "name": "tailor"})):
        decision = Router(registry_of({**FILES, "enriched.jsonl": text}).agents).route(task)
        firsts[text] = ranking(decision)[0] if decision.candidates[0].score > 0 else None
    assert list(firsts.values()) == [None, "bread-baker", "tailor"]


@pytest.mark.parametrize("entries", [(PIZZA, ZIP), (ZIP, PIZZA)])
def test_evidence_points_to_the_file_and_its_line(registry_of: RegistryOf, entries: Sequence[Any]) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(*entries)})
    evidence = [each for each in Router(registry.agents).route("the pizza sticks").evidence if each.field == "example"]
    assert [(each.path.name, each.line) for each in evidence] == [("enriched.jsonl", entries.index(PIZZA) + 1)]
    written = evidence[0].path.read_text().splitlines()[(evidence[0].line or 0) - 1]
    assert evidence[0].text in written
    assert {"pizza", "sticks"} <= set(evidence[0].words)


# --- lines that were written for another version of a file


def with_digest(registry_of: RegistryOf, entry: dict[str, Any], digest: Any) -> Registry:
    return registry_of({**FILES, "enriched.jsonl": lines({**entry, "digest": digest})})


def test_a_line_with_the_digest_of_the_file_is_not_stale(registry_of: RegistryOf) -> None:
    digest = next(agent.digest for agent in registry_of(FILES).agents if agent.name == "tailor")
    registry = with_digest(registry_of, ZIP, digest.upper())
    assert registry.diagnostics == ()
    assert [passage.weight for agent in registry.agents for passage in agent.enriched] == [1.0]


def test_a_line_with_another_digest_is_reported_and_kept(registry_of: RegistryOf) -> None:
    registry = with_digest(registry_of, ZIP, "0" * 64)
    assert diagnostics(registry) == [(Severity.WARNING, "stale-examples", 1)]
    assert '"tailor"' in registry.diagnostics[0].message
    assert "dispatch enrich" in str(registry.diagnostics[0].hint)
    assert examples(registry) == {"tailor": ZIP["examples"]}


@pytest.mark.parametrize("digest", [None, ""])
def test_a_line_without_a_digest_is_never_stale(registry_of: RegistryOf, digest: Any) -> None:
    assert with_digest(registry_of, ZIP, digest).diagnostics == ()


def test_a_digest_that_is_no_text_is_reported_and_the_examples_stay(registry_of: RegistryOf) -> None:
    registry = with_digest(registry_of, ZIP, 7)
    assert diagnostics(registry) == [(Severity.WARNING, "bad-enriched-line", 1)]
    assert '"digest"' in registry.diagnostics[0].message
    assert examples(registry) == {"tailor": ZIP["examples"]}


def raw_scores(registry: Registry, task: str) -> dict[str, float]:
    """What every scorer gives to the tailor."""
    router = Router(registry.agents)
    row = [agent.name for agent in router.routable].index("tailor")
    return dict(zip(FEATURES, router.index.score(analyze(task)).raw[0, row].tolist(), strict=True))


def test_stale_examples_count_half_even_where_there_are_no_others(registry_of: RegistryOf) -> None:
    # The words of the body outweigh the example, lest what is learned from examples be asked, too.
    files = {**FILES, "deep/tailor.md": FILES["deep/tailor.md"] + "Measure twice, cut once, and stitch the seam.\n" * 9}
    fresh = registry_of({**files, "enriched.jsonl": lines(ZIP)})
    stale = registry_of({**files, "enriched.jsonl": lines({**ZIP, "digest": "old"})})
    before, after = raw_scores(fresh, "zip of the tent"), raw_scores(stale, "zip of the tent")
    scorers = [name for name, amount in before.items() if name.startswith("example.") and amount]
    assert {"example.tfidf", "example.phrases", "example.spelling"} <= set(scorers)
    assert [after[name] for name in scorers] == pytest.approx([before[name] / 2 for name in scorers], rel=1e-5)
    assert after["whole.tfidf"] == pytest.approx(before["whole.tfidf"] / 2, rel=1e-5)
    others = [raw_scores(registry, "stitch sews")["whole.tfidf"] for registry in (fresh, stale)]
    assert others[0] == others[1] > 0


def test_a_fresh_example_goes_before_a_stale_one(registry_of: RegistryOf) -> None:
    stale, fresh = {**ZIP, "digest": "old"}, {"name": "bread-baker", "examples": ZIP["examples"]}
    registry = registry_of({**FILES, "enriched.jsonl": lines(stale, fresh)})
    assert ranking(Router(registry.agents).route(ZIP["examples"][0]))[0] == "bread-baker"


# --- near misses


LEAK = {**ZIP, "near_misses": [{"task": "my apron has flour on it", "agent": "bread-baker"}]}


def test_a_near_miss_is_an_example_of_the_neighbour_that_counts_half(registry_of: RegistryOf) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines(LEAK)})
    assert examples(registry) == {"tailor": ZIP["examples"], "bread-baker": ["my apron has flour on it"]}
    baker = registry.find("bread-baker")
    assert [(one.weight, one.line) for one in baker.enriched] == [(NEAR_MISS_WEIGHT, 1)]
    assert ranking(Router(registry.agents).route("flour on my apron"))[0] == "bread-baker"


def test_a_near_miss_of_a_stale_line_counts_less_still(registry_of: RegistryOf) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines({**LEAK, "digest": "old"})})
    assert registry.find("bread-baker").enriched[0].weight == NEAR_MISS_WEIGHT * STALE_WEIGHT


def test_a_neighbour_may_stand_in_another_folder(tmp_path: Path) -> None:
    for folder, name in (("near", "tailor"), ("far", "bread-baker")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.md").write_text(f"---\nname: {name}\ndescription: Works.\n---\nYou work.\n")
    (tmp_path / "near" / "enriched.jsonl").write_text(lines(LEAK))
    registry = Registry.from_paths(tmp_path / "near", tmp_path / "far")
    assert examples(registry)["bread-baker"] == ["my apron has flour on it"]


def test_a_near_miss_that_two_files_tell_counts_once(tmp_path: Path) -> None:
    for folder in ("near", "far"):
        for name, text in {**FILES, "enriched.jsonl": lines(PIZZA, LEAK)}.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    twice, once = Registry.from_paths(tmp_path / "near", tmp_path / "far"), Registry.from_paths(tmp_path / "near")
    assert examples(twice) == examples(once)
    assert examples(once)["bread-baker"] == [*PIZZA["examples"], "my apron has flour on it"]


def test_a_near_miss_of_nobody_is_noted(registry_of: RegistryOf) -> None:
    entry = {**ZIP, "near_misses": [{"task": "a leak", "agent": "plumber"}]}
    registry = registry_of({**FILES, "enriched.jsonl": lines(entry)})
    assert diagnostics(registry) == [(Severity.NOTE, "unknown-agent", 1)]
    assert '"plumber"' in registry.diagnostics[0].message


@pytest.mark.parametrize("value", ["text", {"task": "a"}, ["a"], [{"task": "a"}], [{"task": 1, "agent": "tailor"}]])
def test_near_misses_of_another_shape_are_left_out_and_the_examples_stay(registry_of: RegistryOf, value: Any) -> None:
    registry = registry_of({**FILES, "enriched.jsonl": lines({**ZIP, "near_misses": value})})
    assert diagnostics(registry) == [(Severity.WARNING, "bad-enriched-line", 1)]
    assert '"near_misses"' in registry.diagnostics[0].message
    assert examples(registry) == {"tailor": ZIP["examples"]}
