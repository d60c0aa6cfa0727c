"""What is read of an agent, whatever its dialect: triggers, examples, capabilities, collaborators, placeholders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dispatcher import Agent

Read = Callable[..., Agent]


def header(*lines: str, body: str = "You judge.\n") -> str:
    return "\n".join(("---", "name: judge", *lines, "---", body))


def test_sentence_of_a_description_is_a_trigger_with_its_topics(read: Read) -> None:
    agent = read(header('description: "Judges. Use PROACTIVELY for any court work - trials, appeals, or bail."'))
    (trigger,) = agent.triggers
    assert trigger.text == "Use PROACTIVELY for any court work - trials, appeals, or bail."
    assert (trigger.topics, trigger.proactive, trigger.line) == (("trials", "appeals", "bail"), True, 3)


@pytest.mark.parametrize(
    ("sentence", "topics"),
    [
        ("Use when you need help with trials and appeals.", ("trials", "appeals")),
        ("MUST BE USED for trials, appeals or bail.", ("trials", "appeals", "bail")),
        ("Use this agent when the user asks for a verdict.", ("a verdict",)),
        ("This agent should be used for appeals.", ("appeals",)),
        ("Triggers on: trial, appeal", ("trial", "appeal")),
        ("Ideal for trials.", ("trials",)),
    ],
)
def test_cue_of_a_description_announces_topics(read: Read, sentence: str, topics: tuple[str, ...]) -> None:
    agent = read(header(f'description: "Judges cases. {sentence}"'))
    assert [(trigger.text, trigger.topics) for trigger in agent.triggers] == [(sentence, topics)]


def test_plain_description_has_no_triggers(read: Read) -> None:
    assert read(header("description: Judges cases in court.")).triggers == ()


@pytest.mark.parametrize(
    "body",
    [
        "# Delegation Triggers\n**Main Agent Should Use This Agent When:**\n- A trial begins\n- An appeal is filed\n",
        "## When to Use This Agent\n\n* A trial begins\n* An appeal is filed\n",
        "## When to use\n1. A trial begins\n2. An **appeal** is filed\n\n## Other\n- A verdict\n",
        "Use this agent when:\n- A trial begins\n- An appeal is filed\n\nIt never:\n- sleeps\n",
    ],
)
def test_bullets_below_an_announcement_are_triggers(read: Read, body: str) -> None:
    agent = read(header("description: Judges cases.", body=body))
    assert [trigger.text for trigger in agent.triggers] == ["A trial begins", "An appeal is filed"]
    assert all(trigger.line is not None and trigger.line > 4 for trigger in agent.triggers)


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (["triggers: [trial, appeal]"], ["trial", "appeal"]),
        (["keywords: trial, appeal"], ["trial", "appeal"]),
        (["when_to_use: A trial begins"], ["A trial begins"]),
        (["activation_triggers:", "  keywords: [trial]", "  files:", "    - verdict.txt"], ["trial", "verdict.txt"]),
    ],
)
def test_front_matter_keys_give_triggers(read: Read, lines: list[str], texts: list[str]) -> None:
    assert [trigger.text for trigger in read(header("description: Judges.", *lines)).triggers] == texts


def test_exclusions_come_from_key_description_and_sections(read: Read) -> None:
    body = (
        "## Not For\n- Not for tax: use accountant instead.\n- Divorces\n\n"
        "## When to use\n- Do not use me for wills\n- A trial\n"
    )
    lines = ('description: "Judges. Do not use for parking fines. Use for trials."', "not_for: [chess]")
    agent = read(header(*lines, body=body))
    assert [one.text for one in agent.exclusions] == [
        "chess",
        "Do not use for parking fines.",
        "Not for tax: use accountant instead.",
        "Divorces",
        "Do not use me for wills",
    ]
    assert [one.text for one in agent.triggers] == ["Use for trials.", "A trial"]


TURNS = ("A court sits.", "Is this fair?", "Let me see.", "It is about fairness.")
LABELLED = (
    'Context: A court sits.\nuser: "Is this fair?"\nassistant: "Let me see."\n'
    "<commentary>It is about fairness.</commentary>"
)
BOLD = (
    "**Context:** A court sits.\n**User:** 'Is this fair?'\n**Assistant:** 'Let me see.'\n"
    "**Commentary:** It is about fairness."
)
TAGGED = (
    "<context>A court sits.</context>\n<user_request>Is this fair?</user_request>\n"
    "<response>Let me see.</response>\n<commentary>It is about fairness.</commentary>"
)


def turns(agent: Agent) -> list[tuple[str, str, str, str]]:
    return [(one.context, one.user, one.assistant, one.commentary) for one in agent.examples]


@pytest.mark.parametrize("block", [LABELLED, BOLD, TAGGED])
@pytest.mark.parametrize("end", ["</example>", ""])
def test_example_block_of_any_shape_is_read_from_the_body(read: Read, block: str, end: str) -> None:
    agent = read(header("description: Judges.", body=f"You judge.\n\n<example>\n{block}\n{end}\n"))
    assert turns(agent) == [TURNS]
    assert agent.examples[0].line == 7


def test_example_block_of_a_literal_description_is_read_with_its_line(read: Read) -> None:
    text = f"Use for trials, such as:\n\n<example>\n{LABELLED}\n</example>\n\n<example>\n{LABELLED}\n</example>"
    agent = read(header("description: |", *(f"  {line}" for line in text.splitlines()), "color: red"))
    assert turns(agent) == [TURNS, TURNS]
    assert [one.line for one in agent.examples] == [6, 13]
    assert (agent.description, agent.color) == ("Use for trials.", "red")


def test_literal_line_ends_become_real_ones(read: Read) -> None:
    block = LABELLED.replace("\n", "\\n")
    agent = read(header(f"description: Use for trials.\\n\\nExamples:\\n<example>\\n{block}\\n</example>"))
    assert turns(agent) == [TURNS]
    assert agent.description == "Use for trials."


def test_path_of_windows_is_no_line_end(read: Read) -> None:
    assert read(header("description: Reads C:\\new and C:\\names.")).description == "Reads C:\\new and C:\\names."


@pytest.mark.parametrize(
    ("value", "users"),
    [
        ("[Is this fair?, Judge me]", ["Is this fair?", "Judge me"]),
        ("Is this fair?", ["Is this fair?"]),
        ("[{user: Is this fair?, assistant: Yes}]", ["Is this fair?"]),
        ("[{input: Is this fair?}, {nothing: here}]", ["Is this fair?"]),
    ],
)
def test_examples_of_a_key_are_texts_or_mappings(read: Read, value: str, users: list[str]) -> None:
    assert [one.user for one in read(header("description: Judges.", f"examples: {value}")).examples] == users


def test_bullets_of_example_requests_are_examples(read: Read) -> None:
    body = '## Example Interactions\n- "Is this fair?"\n- Judge me\n\n## Example Output\n- A verdict\n'
    assert [one.user for one in read(header("description: Judges.", body=body)).examples] == [
        "Is this fair?",
        "Judge me",
    ]


def test_quoted_turns_of_a_body_are_examples_and_code_is_none(read: Read) -> None:
    body = (
        'You judge.\n\n**User**: "Is this fair?"\nResponse: think of it.\n- User: “Judge me please”\n\n'
        '```python\ndef create(user: User, data: str) -> None:\n    user: """The one who signs in."""\n'
        "    connect(user: 'postgres')\n```\n\n```yaml\nuser: \"root\"\n```\n"
    )
    examples = read(header("description: Judges.", body=body)).examples
    assert [(one.user, one.line) for one in examples] == [("Is this fair?", 7), ("Judge me please", 9)]


def test_example_of_an_output_is_no_example_of_a_task(read: Read) -> None:
    body = "Write like this:\n<example>\nThe court finds for the plaintiff.\n</example>\n"
    assert read(header("description: Judges.", body=body)).examples == ()


def test_further_turns_of_a_block_are_further_examples(read: Read) -> None:
    body = '<example>\nContext: A court.\nuser: "One?"\nassistant: "Yes."\nuser: "Two?"\nassistant: "No."\n</example>\n'
    examples = read(header("description: Judges.", body=body)).examples
    assert [(one.context, one.user) for one in examples] == [("A court.", "One?"), ("A court.", "Two?")]


def test_capabilities_of_a_key_go_before_those_of_the_body(read: Read) -> None:
    body = "## Capabilities\n- Other\n"
    agent = read(header("description: Judges.", "capabilities:", "  - Hear cases", "  - Weigh: [pro, con]", body=body))
    assert [(one.name, one.items) for one in agent.capabilities] == [("Hear cases", ()), ("Weigh", ("pro", "con"))]


@pytest.mark.parametrize(
    "body",
    [
        "## Capabilities\n\n### Trials\n- open\n- close\n\n### Appeals\n- hear\n\n## Other\n### Not this\n- a\n",
        "## Core Responsibilities\n1. **Trials**\n   - open\n   - close\n2. **Appeals**\n   - hear\n",
        "## Expertise\n- **Trials**\n  - open\n  - close\n- **Appeals**: hear\n",
    ],
)
def test_capabilities_of_a_body_are_groups_with_items(read: Read, body: str) -> None:
    agent = read(header("description: Judges.", body=body))
    assert [(one.name, one.items) for one in agent.capabilities] == [
        ("Trials", ("open", "close")),
        ("Appeals", ("hear",)),
    ]


def test_unbalanced_code_fence_hides_no_section(read: Read) -> None:
    body = "## One\n```python\nx = 1\n```\n\n```\n## Capabilities\n- Hear cases\n"
    assert [one.name for one in read(header("description: Judges.", body=body)).capabilities] == ["Hear cases"]


def test_headings_in_a_code_block_are_none(read: Read) -> None:
    body = "# One\n\n```bash\n# a comment\n```\n\n## Two ##\n\nThree\n=====\n\n## Four in C#\n"
    headings = read(header("description: Judges.", body=body)).headings
    assert [(one.text, one.line) for one in headings] == [("One", 5), ("Two", 11), ("Three", 13), ("Four in C#", 16)]


def test_odd_line_separators_do_not_shift_line_numbers(read: Read) -> None:
    body = "# One\n\nform\x0cfeed and \u2028 separator\n\n## Two\n"
    assert [one.line for one in read(header("description: Judges.", body=body)).headings] == [5, 9]


def test_collaborators_come_from_sections_and_handoffs(read: Read) -> None:
    body = (
        "# Collaboration\n- **With Jury Member**: hears the verdict\n- **court-clerk**: writes it down\n"
        "- Hands records to `record-keeper` at night\n- **With {{PARTNER}}**: decides\n"
    )
    agent = read(header("description: Judges.", "handoffs: [{agent: bailiff, label: Escort}]", body=body))
    assert [(one.name, one.purpose, one.is_variable) for one in agent.collaborators] == [
        ("bailiff", "Escort", False),
        ("Jury Member", "hears the verdict", False),
        ("court-clerk", "writes it down", False),
        ("record-keeper", "Hands records to record-keeper at night", False),
        ("{{PARTNER}}", "decides", True),
    ]


def test_placeholders_are_found_in_header_and_body(read: Read) -> None:
    body = "For {{CITY}} and {{ CITY }}, not ${{ secrets.CITY }}, ${{CITY}}, {{city}} or {{1X}}.\n{{COURT_2}}\n"
    agent = read(header("description: Judges in {{CITY}}.", body=body))
    assert agent.variables == ("CITY", "COURT_2")
    assert [(one.name, one.line) for one in agent.placeholders] == [
        ("CITY", 3),
        ("CITY", 5),
        ("CITY", 5),
        ("COURT_2", 6),
    ]
