"""Folders become a registry: scopes and precedence, names that stand twice, and what is kept out of routing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher import Agent, Registry, Settings, Severity, UnknownAgentError, UsageError, load_settings

RegistryOf = Callable[..., Registry]


def text(name: str, description: str = "Does things.", *lines: str) -> str:
    return "\n".join(("---", f"name: {name}", f"description: {description}", *lines, "---", "You do things.\n"))


def put(path: Path, name: str, description: str = "Does things.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(name, description), encoding="utf-8")
    return path


def names(registry: Registry) -> list[str]:
    return [agent.name for agent in registry.agents]


def described(registry: Registry) -> dict[str, str]:
    return {agent.name: agent.description for agent in registry.agents}


def test_agents_are_sorted_by_name_and_read_from_subfolders(registry_of: RegistryOf) -> None:
    files = {"b.md": text("beta"), "deep/er/a.markdown": text("Alpha"), "c.txt": text("gamma"), ".git/d.md": text("d")}
    registry = registry_of(files)
    assert (names(registry), registry.file_count) == (["Alpha", "beta"], 2)


def test_files_that_are_no_agents_are_listed(registry_of: RegistryOf) -> None:
    registry = registry_of({"README.md": "# Read me\n", "notes.md": "Notes.\n", "a.md": text("alpha")})
    assert sorted(passed.path.name for passed in registry.passed_over) == ["README.md", "notes.md"]
    assert all(passed.reason for passed in registry.passed_over)
    assert registry.diagnostics == ()


def test_single_file_is_a_scope(tmp_path: Path) -> None:
    assert names(Registry.from_paths(put(tmp_path / "a.md", "alpha"))) == ["alpha"]


def test_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        Registry.from_paths(tmp_path / "missing")


def test_nearest_scope_wins_and_the_other_is_reported(tmp_path: Path) -> None:
    near, far = put(tmp_path / "near/a.md", "alpha", "Near."), put(tmp_path / "far/a.md", "alpha", "Far.")
    put(tmp_path / "far/b.md", "beta", "Far.")
    registry = Registry.from_paths(near.parent, far.parent)
    assert described(registry) == {"alpha": "Near.", "beta": "Far."}
    assert [(one.agent.source.path, one.by.source.path) for one in registry.shadowed] == [(far, near)]
    assert registry.diagnostics == ()


TWINS = {
    "one/twin.md": text("twin", "First."),
    "two/twin.md": text("twin", "Second."),
    "other.md": text("other"),
}


def test_two_of_one_name_are_both_left_out(registry_of: RegistryOf) -> None:
    registry = registry_of(TWINS)
    assert names(registry) == ["other"]
    (found,) = registry.errors
    assert (found.code, found.severity) == ("duplicate-name", Severity.ERROR)
    assert "one/twin.md:2" in found.message
    assert "two/twin.md:2" in found.message
    assert "namespace" in (found.hint or "")


@pytest.mark.parametrize(("policy", "description"), [("first", "First."), ("last", "Second.")])
def test_policy_keeps_one_of_two(registry_of: RegistryOf, policy: str, description: str) -> None:
    registry = registry_of(TWINS, duplicates=policy)
    assert described(registry)["twin"] == description
    assert [found.severity for found in registry.diagnostics] == [Severity.WARNING]


def test_namespace_is_the_folder(registry_of: RegistryOf) -> None:
    registry = registry_of(TWINS, duplicates="namespace")
    assert described(registry) == {"one/twin": "First.", "other": "Does things.", "two/twin": "Second."}
    assert registry.diagnostics == ()


def test_namespace_is_the_stem_where_folders_agree(registry_of: RegistryOf) -> None:
    files = {"team/a.md": text("twin"), "team/b.old.md": text("twin"), "rest/c.md": text("twin")}
    assert names(registry_of(files, duplicates="namespace")) == ["rest/c", "team/a", "team/b.old"]


def test_namespace_is_the_path_where_stems_agree_too(registry_of: RegistryOf) -> None:
    files = {"x/team/a.md": text("twin"), "y/team/a.md": text("twin")}
    assert names(registry_of(files, duplicates="namespace")) == ["files/x/team/a", "files/y/team/a"]


def test_name_that_was_left_out_does_not_turn_up_from_a_farther_scope(tmp_path: Path) -> None:
    put(tmp_path / "near/a.md", "twin")
    put(tmp_path / "near/b.md", "twin")
    far = put(tmp_path / "far/c.md", "twin")
    put(tmp_path / "far/d.md", "other")
    registry = Registry.from_paths(tmp_path / "near", tmp_path / "far")
    assert names(registry) == ["other"]
    assert [one.agent.source.path for one in registry.shadowed] == [far]


def test_names_of_different_case_are_different(registry_of: RegistryOf) -> None:
    registry = registry_of({"a.md": text("Twin"), "b.md": text("twin")})
    assert names(registry) == ["Twin", "twin"]
    assert registry.find("twin").name == "twin"


def test_agent_is_found_by_name_or_slug(registry_of: RegistryOf) -> None:
    registry = registry_of({"a.md": text("Court Judge"), "b.md": text("clerk")})
    assert registry.find("Court Judge") is registry.find("court-judge")
    with pytest.raises(UnknownAgentError) as caught:
        registry.find("clark")
    assert caught.value.suggestions[0] == "clerk"


def test_slug_of_several_agents_is_no_name(registry_of: RegistryOf) -> None:
    registry = registry_of({"a.md": text("Court Judge"), "b.md": text("court_judge")})
    assert registry.find("court_judge").name == "court_judge"
    with pytest.raises(UnknownAgentError, match="could be any of"):
        registry.find("court-judge")


def test_disabled_agents_are_kept_out_of_routing_but_can_be_named(registry_of: RegistryOf) -> None:
    files = {
        "a.md": text("alpha"),
        "b.md": text("beta", "Off.", "enabled: false"),
        "c.md": text("gamma", "Hidden.", "disable-model-invocation: true"),
        "d.md": text("Delta Force"),
        "e.md": text("epsilon"),
    }
    registry = registry_of(files, disabled=["delta-force", "epsilon", "unknown"])
    assert [agent.name for agent in registry.routable] == ["alpha"]
    assert len(registry.agents) == 5
    assert registry.find("beta").name == "beta"


def test_registry_of_agents_at_hand_keeps_the_first_of_a_name(read: Callable[..., Agent]) -> None:
    first, second = read(text("twin", "First.")), read(text("twin", "Second."))
    registry = Registry.from_agents([first, second], disabled=["twin"])
    assert (registry.agents, registry.routable) == ((first,), ())


PROJECT = [
    "agents",
    ".claude/agents",
    ".github/agents",
    ".github/chatmodes",
    ".opencode/agent",
    ".gemini/agents",
    ".cursor/agents",
]
USER = [
    ".config/agent-dispatcher/agents",
    ".claude/agents",
    ".copilot/agents",
    ".config/opencode/agent",
    ".gemini/agents",
    ".cursor/agents",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize("folder", PROJECT)
def test_project_folders_are_read(folder: str) -> None:
    put(Path.cwd() / folder / "a.md", "my-own-agent")
    agent = Registry.from_settings(Settings()).find("my-own-agent")
    assert agent.source.scope == "project"


@pytest.mark.parametrize("folder", USER)
def test_folders_of_the_user_are_read(home: Path, folder: str) -> None:
    put(home / folder / "a.md", "my-own-agent")
    agent = Registry.from_settings(Settings()).find("my-own-agent")
    assert agent.source.scope == "user"


def test_project_goes_before_user_and_user_before_bundled(home: Path) -> None:
    for folder, description in (
        (Path("agents"), "Project."),
        (Path(".claude/agents"), "Second."),
        (home / ".claude/agents", "User."),
    ):
        put(folder / "code-reviewer.md", "code-reviewer", description)
    put(home / ".claude/agents/debugger.md", "debugger", "User.")
    registry = Registry.from_settings(Settings())
    found = described(registry)
    assert (found["code-reviewer"], found["debugger"]) == ("Project.", "User.")
    assert registry.find("test-engineer").source.scope == "bundled"
    assert [
        (one.agent.description[:8], one.by.description) for one in registry.shadowed if one.by.name == "code-reviewer"
    ][:2] == [
        ("Second.", "Project."),
        ("User.", "Project."),
    ]
    assert {one.agent.source.scope for one in registry.shadowed} == {"project", "user", "bundled"}


def test_bundled_agents_are_there_in_an_empty_folder() -> None:
    registry = Registry.from_settings(Settings())
    assert len(registry.agents) >= 30
    assert [scope.name for scope in registry.scopes] == ["bundled"]


def test_folder_without_agents_is_passed_over() -> None:
    Path("agents").mkdir()
    Path("agents/notes.md").write_text("Notes.\n", encoding="utf-8")
    registry = Registry.from_settings(Settings())
    assert len(registry.agents) >= 30
    assert registry.errors == ()


def test_agents_setting_replaces_all_other_folders(tmp_path: Path) -> None:
    put(tmp_path / "here/agents/a.md", "hidden")
    put(tmp_path / "mine/a.md", "alpha", "First.")
    single = put(tmp_path / "single.md", "beta")
    registry = Registry.from_settings(Settings(agents=(str(tmp_path / "mine"), str(single))))
    assert names(registry) == ["alpha", "beta"]
    assert {agent.source.scope for agent in registry.agents} == {"given"}


def test_agents_setting_is_taken_from_the_folder_and_the_home(home: Path) -> None:
    put(Path("team/a.md"), "alpha")
    put(home / "mine/b.md", "beta")
    assert names(Registry.from_settings(Settings(agents=("team", "~/mine")))) == ["alpha", "beta"]


def test_settings_choose_duplicates_and_disabled() -> None:
    put(Path("agents/a/x.md"), "twin")
    put(Path("agents/b/x.md"), "twin")
    Path("config.yaml").write_text(
        "dispatcher:\n  agents: [agents]\n  duplicates: namespace\n  disabled: [a/twin]\n", encoding="utf-8"
    )
    registry = Registry.from_settings(load_settings().settings)
    assert names(registry) == ["a/twin", "b/twin"]
    assert [agent.name for agent in registry.routable] == ["b/twin"]
