"""Where a file's front matter begins and ends, and what it says: strict YAML, the lenient reader, and none at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher import Agent, Diagnostic, ReadResult, Severity, read_agent_file

Read = Callable[..., Agent]

BODY = "You are a careful judge.\n\n## Rules\n\n- Be fair.\n"
EXAMPLE = 'Context: A court sits.\nuser: "Is this fair?"\nassistant: "Let me see."\n'


def read_bytes(folder: Path, content: bytes) -> ReadResult:
    path = folder / "sample.md"
    path.write_bytes(content)
    return read_agent_file(path)


def found_in(folder: Path, text: str) -> dict[str, Diagnostic]:
    """The diagnostics of a text by their codes."""
    return {found.code: found for found in read_bytes(folder, text.encode()).diagnostics}


def test_valid_front_matter_is_read_without_a_word(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, f"---\nname: judge\ndescription: Judges cases.\nmodel: opus\n---\n{BODY}".encode())
    (agent,) = result.agents
    assert (agent.name, agent.description, agent.models) == ("judge", "Judges cases.", ("opus",))
    assert result.diagnostics == ()


@pytest.mark.parametrize(
    "body",
    [
        "One.\r\n\r\n\r\nTwo.  \r\n",
        "\n\n\n  indented, after blank lines\n\n\n",
        "no line end",
        "tab\there\x0cform feed\u2028separator\n",
        "---\n\nA rule comes first.\n\n---\n",
        " ",
    ],
)
def test_body_is_kept_to_the_byte(tmp_path: Path, body: str) -> None:
    content = b"---\nname: judge\ndescription: Judges cases.\n---\n" + body.encode()
    (agent,) = read_bytes(tmp_path, content).agents
    assert agent.prompt.encode() == body.encode()


def test_line_ends_of_windows_stay_in_the_body_and_not_in_the_values(read: Read) -> None:
    agent = read("---\r\nname: judge\r\ndescription: Use: for cases\r\nmodel: opus\r\n---\r\nOne.\r\n\r\nTwo.\r\n")
    assert (agent.name, agent.description, agent.models) == ("judge", "Use: for cases", ("opus",))
    assert (agent.prompt, agent.prompt_line) == ("One.\r\n\r\nTwo.\r\n", 6)


def test_byte_order_mark_is_removed_and_reported(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, b"\xef\xbb\xbf---\nname: judge\ndescription: Judges.\n---\nBody.\n")
    assert (result.agents[0].name, result.agents[0].prompt) == ("judge", "Body.\n")
    assert [found.code for found in result.diagnostics] == ["byte-order-mark"]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("---\n", "-----\n"),
        ("-----\n", "--------\n"),
        ("--- \t\n", "---  \n"),
        ("\n\n \n---\n", "---\n"),
        ("---\n", "...\n"),
    ],
)
def test_fences_of_any_kind_enclose_the_front_matter(read: Read, opening: str, closing: str) -> None:
    agent = read(f"{opening}name: judge\ndescription: Judges cases.\n{closing}{BODY}")
    assert (agent.name, agent.description, agent.prompt) == ("judge", "Judges cases.", BODY)


def test_dashes_indented_in_a_value_do_not_close_the_front_matter(read: Read) -> None:
    agent = read(f"---\nname: judge\ndescription: |\n  Judges.\n  ---\n  Cases.\nmodel: opus\n---\n{BODY}")
    assert (agent.models, agent.prompt) == (("opus",), BODY)


def test_file_inside_a_code_fence_is_read(tmp_path: Path) -> None:
    text = f"```markdown\n---\nname: judge\ndescription: Judges.\n---\n{BODY}"
    assert found_in(tmp_path, text)["fenced-file"].line == 1
    assert read_agent_file(tmp_path / "sample.md").agents[0].name == "judge"


def test_comment_before_the_front_matter_is_passed(tmp_path: Path) -> None:
    text = f"<!-- Copyright -->\n<!-- Two\nlines -->\n\n---\nname: judge\ndescription: Judges.\n---\n{BODY}"
    assert found_in(tmp_path, text)["comment-before-front-matter"].severity is Severity.WARNING
    agent = read_agent_file(tmp_path / "sample.md").agents[0]
    assert (agent.name, agent.prompt, agent.prompt_line) == ("judge", BODY, 9)


@pytest.mark.parametrize("code", ["broken-yaml", "leaked-example"])
def test_example_lines_are_put_back_into_the_description(tmp_path: Path, code: str) -> None:
    description = "Use this agent for cases. Examples:\n\n" if code == "broken-yaml" else "Use this agent for cases.\n"
    text = f"---\nname: judge\ndescription: {description}{EXAMPLE}model: opus\n---\n{BODY}"
    found = found_in(tmp_path, text)
    assert found[code].line is not None
    assert 'write "description: |"' in (found[code].hint or "")
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.description, agent.models, agent.prompt) == ("Use this agent for cases.", ("opus",), BODY)
    assert [(one.context, one.user, one.assistant) for one in agent.examples] == [
        ("A court sits.", "Is this fair?", "Let me see.")
    ]
    assert not {"user", "assistant", "Context"} & set(agent.metadata)


def test_examples_of_a_front_matter_key_are_read_and_kept(read: Read) -> None:
    agent = read(
        "---\nname: judge\ndescription: Judges cases.\nExamples:\n"
        '- Context: A court sits.\n  user: "Is this fair?"\n  assistant: "Let me see."\nmodel: opus\n---\nBody.\n'
    )
    assert [(one.context, one.user) for one in agent.examples] == [("A court sits.", "Is this fair?")]
    assert (agent.description, agent.models) == ("Judges cases.", ("opus",))
    assert "Examples" in agent.metadata


def test_known_key_inside_an_example_block_is_its_text(read: Read) -> None:
    agent = read(
        "---\nname: judge\ndescription: Use for cases, for example: <example>Context: A court sits.\n"
        'user: "Is it fair: yes or no?"\n\n# not a heading\nname: rose\n</example>\ncolor: red\n---\nBody.\n'
    )
    assert (agent.name, agent.description, agent.color) == ("judge", "Use for cases.", "red")
    assert "Is it fair: yes or no?" in agent.examples[0].user


def test_key_after_an_example_block_that_never_ends_is_a_key(read: Read) -> None:
    agent = read(
        "---\nname: judge\ndescription: Use for cases: <example>Context: A court sits.\n"
        'user: "Fair?"\nassistant:\nmodel: opus\n---\nBody.\n'
    )
    assert (agent.models, agent.examples[0].user, agent.prompt) == (("opus",), "Fair?", "Body.\n")


HEADER = "---\nname: judge\ndescription: Judges cases.\nmodel: opus\n"


@pytest.mark.parametrize(
    "body",
    [
        "# Judge\n\nYou are fair.\n",
        "# Judge\n\nYou are fair.\n\n---\n\nMore of it.\n",
        "\n# Judge\n\nUse this: x: y\n\n---\n\nMore of it.\n",
        "\nYou are a judge: be fair.\n\nNote: listen.\n",
        "\nYou are a judge: be fair.\n\nNote: listen.\n\n---\n\nMore of it.\n",
    ],
)
def test_front_matter_that_is_never_closed_ends_with_its_keys(tmp_path: Path, body: str) -> None:
    found = found_in(tmp_path, HEADER + body)["unclosed-front-matter"]
    assert (found.line, found.severity, found.hint) == (1, Severity.WARNING, "add a line --- after line 4")
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.name, agent.description, agent.models) == ("judge", "Judges cases.", ("opus",))
    assert agent.prompt == body
    assert agent.metadata == {}


def test_comment_in_broken_front_matter_does_not_end_it(read: Read) -> None:
    agent = read("---\nname: judge\ndescription: Use: for cases\n\n# which model\nmodel: opus\n---\nBody.\n")
    assert (agent.models, agent.prompt) == (("opus",), "Body.\n")


def test_list_as_front_matter_is_merged(tmp_path: Path) -> None:
    text = f"---\n- name: judge\n- description: Judges cases.\n- tools: Read\n- loose\n- since: 2024-01-01\n---\n{BODY}"
    assert found_in(tmp_path, text)["front-matter-is-a-list"].line == 2
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.name, agent.description, agent.tools.allowed) == ("judge", "Judges cases.", ("Read",))
    assert agent.metadata == {"since": "2024-01-01", "entries": ["loose"]}
    assert agent.prompt == BODY


def test_key_that_yaml_takes_for_a_boolean_is_kept_as_text(tmp_path: Path) -> None:
    found = found_in(tmp_path, "---\nname: judge\ndescription: Judges.\nno: never\n---\nBody.\n")
    assert found["mistyped-key"].line == 4
    assert read_agent_file(tmp_path / "sample.md").agents[0].metadata == {"no": "never"}


@pytest.mark.parametrize("breakage", ["", "note: a: b\n"])
def test_duplicate_keys_are_reported_and_none_is_lost(tmp_path: Path, breakage: str) -> None:
    text = f"---\nname: judge\ndescription: First.\n{breakage}description: Second.\nmodel: opus\nmodel:\n---\nBody.\n"
    lines = [found.line for found in read_bytes(tmp_path, text.encode()).diagnostics if found.code == "duplicate-key"]
    assert len(lines) == 2
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.description, agent.models) == ("Second.", ("opus",))
    assert agent.metadata["duplicate_keys"]["description"] == ["First."]


def test_values_with_tabs_are_read(read: Read) -> None:
    agent = read("---\nname:\tjudge\ndescription:\tJudges\tcases.\ntools:\n\t- Read\n\t- Write\n---\nBody.\n")
    assert (agent.name, agent.description, agent.tools.allowed) == ("judge", "Judges\tcases.", ("Read", "Write"))


def test_keys_with_unbreakable_spaces_are_read(tmp_path: Path) -> None:
    text = f"---\nname:\u00a0judge\ndescription:\u00a0Judges cases.\n---\n{BODY}"
    assert found_in(tmp_path, text)["broken-yaml"].severity is Severity.WARNING
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.name, agent.description, agent.prompt) == ("judge", "Judges cases.", BODY)


def test_keys_that_are_indented_by_mistake_are_keys(read: Read) -> None:
    agent = read("---\nname: judge\n description: Judges cases.\n tools: Read\nmodel: opus\n---\nBody.\n")
    assert (agent.name, agent.description, agent.models) == ("judge", "Judges cases.", ("opus",))
    assert agent.tools.allowed == ("Read",)


def test_bare_star_for_all_tools_is_no_limit(read: Read) -> None:
    agent = read("---\nname: judge\ndescription: Judges.\ntools: *\nmodel: opus\n---\nBody.\n")
    assert (agent.tools.allowed, agent.models) == (None, ("opus",))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("version: 1.10", "1.10"),
        ("version: 012", "012"),
        ("since: 2024-01-01", "2024-01-01"),
        ("flag: yes", True),
        ("count: 3", 3),
        ("nothing: ~", None),
        ("hook: {{HOOK}}", "{{HOOK}}"),
        ("glob: *.ts, *.js", "*.ts, *.js"),
        ('quoted: "a "b" c"', 'a "b" c'),
        ("open: [a, b", "[a, b"),
    ],
)
def test_unknown_keys_are_kept_as_written(read: Read, line: str, value: object) -> None:
    agent = read(f"---\nname: judge\ndescription: Judges.\n{line}\nmodel: opus\n---\nBody.\n")
    assert agent.metadata == {line.partition(":")[0]: value}
    assert agent.models == ("opus",)


def test_broken_yaml_names_the_line_and_the_key(tmp_path: Path) -> None:
    found = found_in(tmp_path, "---\nname: judge\ndescription: Use when: always\n---\nBody.\n")["broken-yaml"]
    assert (found.line, found.severity) == (3, Severity.WARNING)
    assert found.hint is not None
    assert '"description: |"' in found.hint


def test_empty_front_matter_is_removed_from_the_prompt(read: Read) -> None:
    assert read(f"---\n---\n{BODY}", "judge.agent.md").prompt == BODY


def test_text_between_rules_is_no_front_matter(read: Read) -> None:
    text = "---\n# Judge Agent\n---\n\n## Role\n\nJudges cases.\n"
    agent = read(text)
    assert (agent.name, agent.prompt) == ("judge", text)


def test_file_without_front_matter_is_all_prompt(read: Read) -> None:
    text = "# Judge Agent\r\n\r\n## Role\r\n\r\nJudges cases.\r\n"
    agent = read(text)
    assert (agent.name, agent.description, agent.prompt) == ("judge", "Judges cases.", text)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_value_that_yaml_cuts_at_a_hash_is_read_whole(tmp_path: Path, end: str) -> None:
    lines = (
        "---",
        "name: über",
        "description: Triage for issue #42 style bugs",
        "color: #ff8800",
        "---",
        "You triage.",
        "",
    )
    found = found_in(tmp_path, end.join(lines))["cut-by-comment"]
    assert (found.severity, found.hint) == (Severity.WARNING, "put the value in quotes")
    (agent,) = read_agent_file(tmp_path / "sample.md").agents
    assert (agent.description, agent.color) == ("Triage for issue #42 style bugs", "#ff8800")


def test_a_remark_behind_a_value_stays_a_remark(read: Read) -> None:
    agent = read("---\nname: judge\ndescription: Judges cases. # see the wiki\ncolor: red # for now\n---\nBody.\n")
    assert (agent.description, agent.color) == ("Judges cases.", "red")


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\r"])
def test_line_ends_of_yaml_alone_do_not_confuse_the_reader(read: Read, end: str) -> None:
    agent = read(f"---\nname: judge\ntags: [a,{end * 30}b]\ndescription: Judges cases\n---\nBody.\n")
    assert (agent.name, agent.description) == ("judge", "Judges cases")
