"""The four seeds as they must be read, and no agent lost in the collections: where these are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher import Agent, Registry, Severity, read_agent_file

SHARED = Path(__file__).parents[2] / "shared"
SEEDS = SHARED / "seeds"
HELD = sorted(SHARED.glob("bench/agents/*/held/agents"))
INTENTS = sorted(SHARED.glob("bench/intents/*/agents.json"))

pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="the seeds and collections are not beside this checkout")


def seed(dialect: str) -> Agent:
    result = read_agent_file(SEEDS / f"backend-engineer.{dialect}.md")
    (agent,) = result.agents
    assert all(found.severity is not Severity.ERROR for found in result.diagnostics)
    return agent


def test_triggers_seed() -> None:
    agent = seed("triggers")
    assert (agent.name, agent.models, agent.color) == ("backend-engineer", ("sonnet",), "yellow")
    assert agent.variables == ("PROJECT_TYPE", "DEPLOYMENT_AGENT")
    assert len(agent.triggers) == 7
    assert agent.triggers[1].text == "Database schema design or optimization required"
    assert [one.is_variable for one in agent.collaborators] == [False] * 4 + [True]
    assert agent.collaborators[0].name == "Product Manager"
    assert len(agent.capabilities) == 7
    assert agent.capabilities[0].name == "API Development"


def test_capabilities_seed() -> None:
    agent = seed("capabilities")
    assert (agent.name, agent.models, agent.color) == ("backend-engineer", ("claude-opus-4",), "#3B82F6")
    assert (agent.category, agent.team, agent.subcategory) == ("engineering", "engineering", "backend")
    assert agent.tools.allowed == ("Read", "Write", "Edit", "Grep", "Glob", "Bash", "Task")
    assert (agent.enabled, agent.max_turns, len(agent.capabilities)) == (True, 50, 8)
    (trigger,) = [one for one in agent.triggers if one.proactive]
    assert trigger.text.startswith("Use PROACTIVELY for any backend work")
    assert trigger.topics == ("API design", "service architecture", "reliability patterns", "backend issues")


def test_examples_seed_with_its_broken_yaml() -> None:
    agent = seed("examples")
    assert (agent.name, agent.models, agent.color) == ("backend-engineer", ("sonnet",), "green")
    assert len(agent.examples) == 4
    for one in agent.examples:
        assert all((one.context, one.user, one.assistant, one.commentary))
        assert "\\n" not in f"{one.context}{one.user}{one.assistant}{one.commentary}"
    assert agent.description
    assert not {"<example>", "\\n", "user:"} & set(agent.description.split())
    result = read_agent_file(SEEDS / "backend-engineer.examples.md")
    assert [(found.code, found.line) for found in result.diagnostics] == [("broken-yaml", 3)]


def test_plain_seed_with_its_unbalanced_fences() -> None:
    agent = seed("plain")
    assert agent.name == "backend-engineer"
    assert agent.description.startswith("Backend Engineer specializing in")
    assert len(agent.capabilities) == 9
    assert all(one.items for one in agent.capabilities)
    titles = [heading.text for heading in agent.headings]
    assert {"Protocols", "Constraints"} <= set(titles)
    assert "## Protocols" in agent.prompt
    assert "## Constraints" in agent.prompt


@pytest.mark.parametrize("dialect", ["triggers", "capabilities", "examples", "plain"])
def test_prompt_of_a_seed_is_its_body_to_the_byte(dialect: str) -> None:
    content = (SEEDS / f"backend-engineer.{dialect}.md").read_bytes()
    body = content if dialect == "plain" else content.split(b"\n---\n", 1)[1]
    assert seed(dialect).prompt.encode() == body


def test_seeds_together_are_an_error_and_namespaces_part_them() -> None:
    registry = Registry.from_paths(SEEDS)
    assert (registry.agents, [found.code for found in registry.errors]) == ((), ["duplicate-name"])
    assert [agent.name for agent in Registry.from_paths(SEEDS, duplicates="namespace").agents] == [
        f"seeds/backend-engineer.{dialect}" for dialect in ("capabilities", "examples", "plain", "triggers")
    ]


@pytest.mark.parametrize("folder", [SHARED / "wild", *HELD], ids=lambda folder: str(folder.relative_to(SHARED)))
def test_every_file_of_a_collection_is_an_agent(folder: Path) -> None:
    registry = Registry.from_paths(folder, duplicates="namespace")
    assert registry.errors == ()
    assert {passed.path.name for passed in registry.passed_over} <= {"README.md"}
    assert len(registry.agents) + len(registry.passed_over) == registry.file_count
    for agent in registry.agents:
        path = agent.source.path
        assert agent.name, path
        assert agent.description, path
        assert "<example>" not in agent.description, path
        assert "\\n" not in agent.description, path
        assert agent.prompt.strip(), path
        assert path.read_bytes().endswith(agent.prompt.encode()), path


@pytest.mark.parametrize("path", INTENTS, ids=lambda path: str(path.parent.name))
def test_agents_of_a_json_file_have_their_examples(path: Path) -> None:
    agents = read_agent_file(path).agents
    assert len(agents) > 20
    assert all(agent.description and agent.examples for agent in agents)
