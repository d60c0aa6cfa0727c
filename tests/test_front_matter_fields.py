"""The fields of the dialects in use, in all their spellings: tools, models, limits, switches, and keys nobody knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher import Agent, Diagnostic, Severity, ToolPolicy, read_agent_file

Read = Callable[..., Agent]


def header(*lines: str) -> str:
    return "\n".join(("---", "name: judge", "description: Judges cases.", *lines, "---", "You judge.\n"))


def found_in(folder: Path, *lines: str) -> list[Diagnostic]:
    path = folder / "sample.md"
    path.write_text(header(*lines), encoding="utf-8")
    return list(read_agent_file(path).diagnostics)


@pytest.mark.parametrize(
    ("lines", "allowed", "disallowed"),
    [
        ([], None, ()),
        (["tools: Read, Write"], ("Read", "Write"), ()),
        (["tools: Read Write"], ("Read", "Write"), ()),
        (["tools: [Read, Write]"], ("Read", "Write"), ()),
        (['tools: \'["Read", "Write"]\''], ("Read", "Write"), ()),
        (["tools:", "  - Read", "  - Write"], ("Read", "Write"), ()),
        (["tools: Bash(git log:*, git diff:*), Read"], ("Bash(git log:*, git diff:*)", "Read"), ()),
        (["tools: Bash(git log:*)"], ("Bash(git log:*)",), ()),
        (["allowed-tools: Read"], ("Read",), ()),
        (["allowedTools: Read", "tools: Write"], ("Write", "Read"), ()),
        (["tools: '*'"], None, ()),
        (["tools: ['*']"], None, ()),
        (["tools: all"], None, ()),
        (["tools: true"], None, ()),
        (["tools: []"], (), ()),
        (["tools: false"], (), ()),
        (["tools: none"], (), ()),
        (["tools: [{name: Read}, {name: Write}]"], ("Read", "Write"), ()),
        (["tools:"], (), ()),
        (["tools: {write: false, read: true}"], None, ("write",)),
        (["tools: {'*': false, read: true}"], ("read",), ()),
        (["disallowedTools: Bash, Write"], None, ("Bash", "Write")),
        (["tools: Read", "disallowed-tools: [Bash]"], ("Read",), ("Bash",)),
    ],
)
def test_tool_policy(
    read: Read, lines: list[str], allowed: tuple[str, ...] | None, disallowed: tuple[str, ...]
) -> None:
    assert read(header(*lines)).tools == ToolPolicy(allowed=allowed, disallowed=disallowed)


def test_tools_without_a_value_are_reported(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, "tools:")
    assert (found.code, found.severity, found.line) == ("empty-tools", Severity.WARNING, 4)


@pytest.mark.parametrize(
    ("value", "models"),
    [
        ("sonnet", ("sonnet",)),
        ("claude-opus-4", ("claude-opus-4",)),
        ("inherit", ("inherit",)),
        ("GPT-4.1", ("GPT-4.1",)),
        ("Claude Sonnet 4.5 (copilot)", ("Claude Sonnet 4.5 (copilot)",)),
        ("opus | sonnet (fallback)", ("opus", "sonnet (fallback)")),
        ("['GPT-5', 'gemini-2.5-pro']", ("GPT-5", "gemini-2.5-pro")),
        ("{{MODEL}}", ("{{MODEL}}",)),
        ("", ()),
        ("4.10", ("4.10",)),
    ],
)
def test_model_in_all_its_shapes(read: Read, value: str, models: tuple[str, ...]) -> None:
    assert read(header(f"model: {value}")).models == models


@pytest.mark.parametrize(
    "key", ["maxTurns", "max_turns", "max-turns", "max_iterations", "maxIterations", "steps", "maxSteps", "MAX_TURNS"]
)
def test_turn_limit_under_its_several_names(read: Read, key: str) -> None:
    assert read(header(f"{key}: 12")).max_turns == 12
    assert read(header(f'{key}: "12"')).max_turns == 12


@pytest.mark.parametrize("value", ["many", "0", "-3", "2.5", "²", "9" * 5000, ""])
def test_turn_limit_that_is_no_number_is_reported(tmp_path: Path, value: str) -> None:
    (found,) = found_in(tmp_path, f"maxTurns: {value}")
    assert (found.code, found.line) == ("bad-turn-limit", 4)
    assert read_agent_file(tmp_path / "sample.md").agents[0].max_turns is None


@pytest.mark.parametrize(
    ("line", "spelling"),
    [
        ("tool: Read", "tools"),
        ("allowed_tool: Read", "allowed-tools"),
        ("disallowed_tool: Bash", "disallowedTools"),
        ("dissallowedTools: Bash", "disallowedTools"),
        ("permission-mode: plan", "permissionMode"),
        ("max_turn: 3", "maxTurns"),
        ("enable: false", "enabled"),
        ("disable-model-invocations: true", "disable-model-invocation"),
    ],
)
def test_misspelt_restriction_is_reported_with_the_right_spelling(tmp_path: Path, line: str, spelling: str) -> None:
    (found,) = found_in(tmp_path, line)
    assert (found.code, found.severity, found.line) == ("misspelt-key", Severity.WARNING, 4)
    assert found.hint == f'write "{spelling}"'


def test_misspelt_restriction_is_obeyed(read: Read) -> None:
    agent = read(header("tool: Read", "disallowed_tool: Bash", "permission-mode: plan", "enable: false", "max_turn: 3"))
    assert agent.tools == ToolPolicy(allowed=("Read",), disallowed=("Bash",))
    assert (agent.permission_mode, agent.enabled, agent.max_turns) == ("plan", False, 3)


@pytest.mark.parametrize("key", ["skills", "toolchain", "mode", "turns_out", "permission", "modes"])
def test_other_keys_are_not_taken_for_restrictions(tmp_path: Path, key: str) -> None:
    assert found_in(tmp_path, f"{key}: some") == []
    assert read_agent_file(tmp_path / "sample.md").agents[0].metadata == {key: "some"}


@pytest.mark.parametrize(
    ("line", "is_routable"),
    [
        ("enabled: true", True),
        ("enabled: false", False),
        ("enabled: 'no'", False),
        ("disabled: true", False),
        ("disable: false", True),
        ("disable-model-invocation: true", False),
        ("disableModelInvocation: false", True),
        ("infer: false", False),
    ],
)
def test_switches_keep_an_agent_out_of_routing(read: Read, line: str, is_routable: bool) -> None:
    assert read(header(line)).is_routable is is_routable


def test_permission_and_server_keys_are_kept(read: Read) -> None:
    agent = read(header("permissionMode: plan", "effort: high", "mcp-servers:", "  files:", "    command: serve"))
    assert (agent.permission_mode, agent.effort) == ("plan", "high")
    assert agent.mcp_servers == {"files": {"command": "serve"}}
    assert set(read(header("mcpServers: [files, web]")).mcp_servers) == {"files", "web"}


def test_temperature_is_reported_and_kept(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, "temperature: 0.2")
    assert (found.code, found.severity, found.line) == ("no-longer-accepted", Severity.NOTE, 4)
    assert read_agent_file(tmp_path / "sample.md").agents[0].metadata == {"temperature": 0.2}


def test_plain_fields_are_read(read: Read) -> None:
    lines = ("color: '#3B82F6'", "category: law", "team: court", "subcategory: trial", "tags: [fair, slow]")
    agent = read(header(*lines))
    assert (agent.color, agent.category, agent.team, agent.subcategory) == ("#3B82F6", "law", "court", "trial")
    assert agent.tags == ("fair", "slow")
    assert read(header("tags: fair, slow")).tags == ("fair", "slow")


def test_unknown_keys_stay_in_the_metadata_under_their_names(read: Read) -> None:
    agent = read(header("vibe: calm", "Hooks: {stop: [a]}", "argument-hint: '[case]'", "author: {name: A}"))
    assert agent.metadata == {
        "vibe": "calm",
        "Hooks": {"stop": ["a"]},
        "argument-hint": "[case]",
        "author": {"name": "A"},
    }


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + header().encode()
    path = tmp_path / "sample.md"
    path.write_bytes(content)
    assert read_agent_file(path).agents[0].digest == hashlib.sha256(content).hexdigest()


def test_a_misspelt_key_beside_the_right_one_adds_to_it(read: Read) -> None:
    agent = read(header("disallowedTools: Bash", "disallowed_tool: Write", "dissallowedTools: [Edit]"))
    assert agent.tools.disallowed == ("Bash", "Write", "Edit")


def test_servers_in_a_list_are_named_or_described(read: Read) -> None:
    agent = read(header("mcpServers:", "  - slack", "  - playwright: {type: stdio, command: npx}"))
    assert dict(agent.mcp_servers) == {"slack": {}, "playwright": {"type": "stdio", "command": "npx"}}


def test_one_key_called_context_is_no_leaked_example(tmp_path: Path) -> None:
    lines = header("context: fork")
    (tmp_path / "sample.md").write_text(lines, encoding="utf-8")
    result = read_agent_file(tmp_path / "sample.md")
    assert [agent.metadata for agent in result.agents] == [{"context": "fork"}]
    assert result.diagnostics == ()


def test_a_derived_description_has_the_line_it_stands_on(read: Read) -> None:
    agent = read("# Soup Cook Agent\n\n## Role\nCooks soup.\n\n## Capabilities\n- stock\n")
    assert (agent.description, agent.description_line) == ("Cooks soup.", 4)
