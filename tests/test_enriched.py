"""enriched.jsonl: example tasks beside the agents are found, checked line by line, and routed by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Registry, Router, Settings, Severity
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
