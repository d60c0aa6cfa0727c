"""Which files are agents, what they are called, and agents in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Agent, ReadResult, Registry, Severity, read_agent_file

Read = Callable[..., Agent]

ROLE = "# Court Judge Agent\n\n## Role\nJudges cases.\n"


def result_of(folder: Path, text: str, name: str = "sample.md") -> ReadResult:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_agent_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "---\nname: judge\n---\nYou judge.\n",
        "---\ndescription: Judges.\n---\nYou judge.\n",
        ROLE,
        "# Judge Agent\n\n## Mission\nFairness.\n",
        "# Senior Magistrate Officer\n\n## Core Responsibilities\n- Judge\n",
        "# Code Reviewer\n\n## Capabilities\n- Review\n",
        "# Role: Court Reporter\n\n## Expertise\n- Report\n",
    ],
)
def test_file_that_names_or_describes_an_agent_is_one(tmp_path: Path, text: str) -> None:
    assert len(result_of(tmp_path, text).agents) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Just some text.\n",
        "# Notes\n\nWhat we said.\n",
        "# Deployment\n\n## Role\nIn the process.\n",
        "# Code Reviewer\n\n## Changelog\n- 1.0\n",
        "---\ntitle: Notes\ntags: [a]\n---\n# Judge\n",
        "---\nname:\ndescription: ''\n---\nText.\n",
    ],
)
def test_other_text_is_passed_over_with_a_reason(tmp_path: Path, text: str) -> None:
    result = result_of(tmp_path, text)
    assert (result.agents, result.diagnostics) == ((), ())
    assert result.passed_over


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "readme.markdown",
        "README.zh-CN.md",
        "README_de.md",
        "CHANGELOG.md",
        "LICENSE.md",
        "CONTRIBUTING.md",
        "CODE_OF_CONDUCT.md",
        "AGENTS.md",
        "CLAUDE.md",
        "SKILL.md",
        "style.instructions.md",
        "write.prompt.md",
    ],
)
def test_documentation_is_never_an_agent(tmp_path: Path, name: str) -> None:
    result = result_of(tmp_path, "---\nname: judge\ndescription: Judges.\n---\nYou judge.\n", name)
    assert (result.agents, result.diagnostics) == ((), ())
    assert result.passed_over


@pytest.mark.parametrize(
    "name", ["security.md", "support.md", "security-ops.md", "claude-coach.md", "readme-writer.md"]
)
def test_agent_with_a_name_like_documentation_is_read(tmp_path: Path, name: str) -> None:
    stem = Path(name).stem
    (agent,) = result_of(tmp_path, f"---\nname: {stem}\ndescription: Helps.\n---\nYou help.\n", name).agents
    assert agent.name == stem


def test_documentation_with_a_description_alone_is_passed_over(tmp_path: Path) -> None:
    assert result_of(tmp_path, "---\ndescription: How to report.\n---\nWrite to us.\n", "SECURITY.md").passed_over


@pytest.mark.parametrize("name", ["judge.agent.md", "judge.chatmode.md", "judge.Agent.MD"])
def test_ending_of_a_dialect_makes_an_agent(tmp_path: Path, name: str) -> None:
    (agent,) = result_of(tmp_path, "---\ntools: [read]\n---\nYou judge.\n", name).agents
    assert (agent.name, agent.tools.allowed) == ("judge", ("read",))


@pytest.mark.parametrize(
    ("text", "name", "slug"),
    [
        ("---\nname: Court Judge\ndescription: d\n---\nx\n", "Court Judge", "court-judge"),
        ("---\nname: '  judge_2 '\ndescription: d\n---\nx\n", "judge_2", "judge-2"),
        ("---\nname: 007\ndescription: d\n---\nx\n", "007", "007"),
        ("---\nname: Richterin für Ä\ndescription: d\n---\nx\n", "Richterin für Ä", "richterin-für-ä"),
        ("---\ndescription: d\n---\n# Other Agent\n", "my-file", "my-file"),
        (ROLE, "court-judge", "court-judge"),
        ("# UX Researcher Agent\n\n## Role\nAsks.\n", "ux-researcher", "ux-researcher"),
        ("# Judge Agent - hears cases\n\n## Role\nHears.\n", "judge", "judge"),
        ("# Agent: Court Reporter (senior)\n\n## Role\nReports.\n", "court-reporter", "court-reporter"),
    ],
)
def test_name_and_slug(read: Read, text: str, name: str, slug: str) -> None:
    agent = read(text, "my-file.md")
    assert (agent.name, agent.slug) == (name, slug)


def test_description_is_taken_from_the_role_or_else_the_first_words(read: Read) -> None:
    assert read(ROLE).description == "Judges cases."
    assert read("---\nname: a\n---\nIntro.\n\n## Mission\n**Fair** trials.\n").description == "Fair trials."
    assert read("---\nname: a\n---\nYou judge cases.\n\n- One\n").description == "You judge cases."


def test_missing_description_is_reported(tmp_path: Path) -> None:
    (found,) = result_of(tmp_path, "---\nname: judge\n---\nYou judge.\n").diagnostics
    assert (found.code, found.severity, found.line) == ("no-description", Severity.WARNING, 2)


def test_empty_prompt_is_a_warning(tmp_path: Path) -> None:
    result = result_of(tmp_path, "---\nname: judge\ndescription: Judges.\n---\n \n")
    assert (result.agents[0].name, [found.code for found in result.diagnostics]) == ("judge", ["empty-prompt"])
    assert result.diagnostics[0].severity is Severity.WARNING


def json_result(folder: Path, content: Any) -> ReadResult:
    return result_of(folder, content if isinstance(content, str) else json.dumps(content, indent=1), "agents.json")


def test_json_file_holds_several_agents(tmp_path: Path) -> None:
    judge = {
        "description": "Judges.",
        "prompt": "You judge.\r\n",
        "tools": ["Read"],
        "model": "opus",
        "examples": ["Is this fair?", "Judge me"],
        "vibe": "calm",
    }
    result = json_result(tmp_path, {"Court Judge": judge, "clerk": {"description": "Writes.", "prompt": "You write."}})
    first, second = result.agents
    assert (first.name, first.slug, first.prompt) == ("Court Judge", "court-judge", "You judge.\r\n")
    assert (first.tools.allowed, first.models, first.metadata) == (("Read",), ("opus",), {"vibe": "calm"})
    assert [one.user for one in first.examples] == ["Is this fair?", "Judge me"]
    assert (second.name, second.line, result.diagnostics) == ("clerk", 15, ())


def test_json_agent_without_a_prompt_is_kept_with_a_warning(tmp_path: Path) -> None:
    result = json_result(tmp_path, {"judge": {"description": "Judges."}})
    assert result.agents[0].prompt == ""
    assert [found.code for found in result.diagnostics] == ["empty-prompt"]


def test_bad_json_entry_loses_itself_alone(tmp_path: Path) -> None:
    result = json_result(tmp_path, {"bad": 3, "": {"prompt": "x"}, "judge": {"description": "d", "prompt": "p"}})
    assert [agent.name for agent in result.agents] == ["judge"]
    assert [found.code for found in result.diagnostics] == ["wrong-shape", "no-name"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "broken-json"),
        ('{\n"judge": {"prompt": }}', "broken-json"),
        ("[" * 100_000, "broken-json"),
        ('{"judge": {"prompt": "x", "maxTurns": ' + "1" * 5000 + "}}", "broken-json"),
        ("[1]", "wrong-shape"),
    ],
)
def test_broken_json_is_an_error(tmp_path: Path, content: str, code: str) -> None:
    result = json_result(tmp_path, content)
    assert result.agents == ()
    assert [(found.code, found.severity) for found in result.diagnostics] == [(code, Severity.ERROR)]


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    (agent,) = json_result(
        tmp_path, '{"judge": {"description": "a\\ud800b", "prompt": "\\udc00 \\ud83d\\ude00"}}'
    ).agents
    assert (agent.description, agent.prompt) == ("a?b", "? \N{GRINNING FACE}")


def test_key_that_stands_twice_in_a_json_entry_is_reported(tmp_path: Path) -> None:
    result = json_result(tmp_path, '{"judge": {"prompt": "one", "prompt": "two", "description": "d"}}')
    assert (result.agents[0].prompt, [found.code for found in result.diagnostics]) == ("two", ["duplicate-key"])


def test_name_that_stands_twice_in_a_json_file_is_a_duplicate(tmp_path: Path) -> None:
    entry = '"judge": {"description": "d", "prompt": "p"}'
    (tmp_path / "agents.json").write_text(f'{{{entry}, {entry}, "clerk": {{"description": "d", "prompt": "p"}}}}')
    registry = Registry.from_paths(tmp_path)
    assert [agent.name for agent in registry.agents] == ["clerk"]
    assert [found.code for found in registry.errors] == ["duplicate-name"]
