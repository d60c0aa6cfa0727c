"""The agents that come with the package: they check clean, use every dialect, and have all that routing needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher import Agent, Registry
from dispatcher.scopes import bundled_folder

REGISTRY = Registry.from_paths(bundled_folder())
NAMES = {agent.name for agent in REGISTRY.agents}
each_agent = pytest.mark.parametrize("agent", REGISTRY.agents, ids=lambda agent: str(agent.name))


def dialect(agent: Agent) -> str:
    """How its file is written: plain has no front matter, the others differ in what stands in theirs."""
    text = agent.source.path.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return "plain"
    header = text[: -len(agent.prompt)]
    if "<example>" in header:
        return "examples"
    return "capabilities" if "\ncapabilities:" in header else "triggers"


def test_bundled_agents_check_clean() -> None:
    assert (REGISTRY.diagnostics, REGISTRY.shadowed, REGISTRY.passed_over) == ((), (), ())


def test_there_are_at_least_thirty() -> None:
    assert len(REGISTRY.agents) >= 30


@pytest.mark.parametrize("name", ["triggers", "capabilities", "examples", "plain"])
def test_each_dialect_is_used_five_times(name: str) -> None:
    assert sum(dialect(agent) == name for agent in REGISTRY.agents) >= 5


def test_assistant_alone_is_kept_out_of_routing() -> None:
    assert NAMES - {agent.name for agent in REGISTRY.routable} == {"assistant"}


@each_agent
def test_agent_is_called_like_its_file(agent: Agent) -> None:
    assert agent.source.path.name == f"{agent.name}.md"


@each_agent
def test_agent_has_triggers_and_examples(agent: Agent) -> None:
    assert len(agent.triggers) >= 3
    assert sum(bool(one.user) for one in agent.examples) >= 3


@each_agent
def test_agent_says_what_it_is_not_for_and_who_is(agent: Agent) -> None:
    assert agent.exclusions
    assert any(name in one.text for one in agent.exclusions for name in NAMES - {agent.name})


@each_agent
def test_collaborators_exist(agent: Agent) -> None:
    assert agent.collaborators
    assert {one.name for one in agent.collaborators} <= NAMES - {agent.name}


@each_agent
def test_prompt_can_be_sent_as_it_stands(agent: Agent) -> None:
    assert agent.variables == ()
    assert len(agent.prompt.split()) >= 300
    assert len(agent.description.split()) >= 8


def test_bundled_folder_holds_nothing_else() -> None:
    folder: Path = bundled_folder()
    assert {path.stem for path in folder.glob("*.md")} == NAMES
    assert {path.name for path in folder.iterdir()} == {f"{name}.md" for name in NAMES} | {"enriched.jsonl"}
