"""Dispatcher.from_config: every layer counts, and reload replaces all of it in one step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher import AgentFileError, ConfigError, Dispatcher, Registry, Stopped, UsageError
from dispatcher.errors import OfflineError
from dispatcher.routing.weights import shipped_weights
from dispatcher.testing import ScriptedClient, serve

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
COOK = "---\nname: cook\ndescription: Writes recipes for dinner and dessert.\n---\nYou cook.\n"
REVIEW = "review this pull request for bugs"


def project(folder: Path, *agents: str, config: str = "dispatcher: {agents: team}") -> None:
    """Writes a project's files anew."""
    (folder / "team").mkdir(exist_ok=True)
    for path in (folder / "team").iterdir():
        path.unlink()
    for number, text in enumerate(agents):
        (folder / "team" / f"{number}.md").write_text(text, encoding="utf-8")
    (folder / "config.yaml").write_text(config, encoding="utf-8")


def names_in(dispatcher: Dispatcher) -> list[str]:
    return [agent.name for agent in dispatcher.registry.agents]


def test_from_config_takes_every_layer(tmp_path: Path) -> None:
    project(tmp_path, REVIEWER, COOK, config="dispatcher: {agents: team, llm: {base_url: http://x, max_tokens: 3}}")
    environment = {"DISPATCH_VAR_A": "1", "XDG_CONFIG_HOME": str(tmp_path)}
    dispatcher = Dispatcher.from_config(folder=tmp_path, environment=environment, flags={"llm.model": "haiku"})
    assert names_in(dispatcher) == ["cook", "reviewer"]
    assert (dispatcher.settings.llm.model, dispatcher.settings.llm.max_tokens) == ("haiku", 3)
    assert dispatcher.settings.variables == {"A": "1"}
    assert ["llm.base_url is ignored" in notice for notice in dispatcher.notices] == [True]


def test_from_config_looks_for_keys_in_the_environment_it_is_given(tmp_path: Path) -> None:
    project(tmp_path, REVIEWER)
    with serve() as server:
        environment = {
            "XDG_CONFIG_HOME": str(tmp_path),
            "DISPATCH_LLM_BASE_URL": server.base_url,
            "DISPATCH_LLM_API_KEY_ENV": "MY_KEY",
            "MY_KEY": "a-key-of-tests",
        }
        Dispatcher.from_config(folder=tmp_path, environment=environment).dispatch(REVIEW)
        assert server.requests[0].headers["authorization"] == "Bearer a-key-of-tests"


def test_reload_puts_new_agents_and_settings_in_place(tmp_path: Path) -> None:
    client = ScriptedClient()
    project(tmp_path, REVIEWER)
    dispatcher = Dispatcher.from_config(folder=tmp_path, client=client)
    project(tmp_path, COOK, config="dispatcher: {agents: team, llm: {max_tokens: 3}}")
    assert names_in(dispatcher) == ["reviewer"]
    dispatcher.reload()
    assert names_in(dispatcher) == ["cook"]
    dispatcher.dispatch("dinner", agent="cook")
    assert client.requests[0].max_tokens == 3


def test_a_run_under_way_finishes_on_what_it_began_with(tmp_path: Path) -> None:
    priced = "dispatcher:\n  agents: team\n  llm:\n    model: m\n    prices:\n      m: {price}"
    project(tmp_path, REVIEWER, config=priced.format(price="{input: 1, output: 0, cache_write: 0, cache_read: 0}"))
    dispatcher = Dispatcher.from_config(folder=tmp_path, client=ScriptedClient())
    events = dispatcher.stream(REVIEW)
    next(events)
    project(tmp_path, COOK, config=priced.format(price="{input: 9, output: 0, cache_write: 0, cache_read: 0}"))
    dispatcher.reload()
    *_, last = events
    assert isinstance(last, Stopped)
    assert last.reply.cost == pytest.approx(10 / 1_000_000)
    assert names_in(dispatcher) == ["cook"]


def test_a_run_under_way_keeps_its_service(tmp_path: Path) -> None:
    project(tmp_path, REVIEWER)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    dispatcher = Dispatcher.from_config(folder=tmp_path, environment=environment)
    events = dispatcher.stream(REVIEW)
    next(events)
    project(tmp_path, REVIEWER, config="dispatcher: {agents: team, llm: {offline: error}}")
    dispatcher.reload()
    assert [type(event) for event in events] == [Stopped]
    with pytest.raises(OfflineError):
        dispatcher.dispatch(REVIEW)


@pytest.mark.parametrize(
    ("agents", "config", "kind"),
    [((), "dispatcher: {agents: team}", AgentFileError), ((COOK,), "dispatcher: {agnets: team}", ConfigError)],
    ids=["no-agents", "wrong-config"],
)
def test_a_reload_that_fails_changes_nothing(
    tmp_path: Path, agents: tuple[str, ...], config: str, kind: type[Exception]
) -> None:
    project(tmp_path, REVIEWER)
    dispatcher = Dispatcher.from_config(folder=tmp_path, client=ScriptedClient())
    project(tmp_path, *agents, config=config)
    with pytest.raises(kind):
        dispatcher.reload()
    assert names_in(dispatcher) == ["reviewer"]
    assert dispatcher.dispatch(REVIEW).text == "an answer"


def test_only_what_was_read_from_config_can_be_reloaded(registry_of: Callable[..., Registry]) -> None:
    with pytest.raises(UsageError, match="made from a registry") as caught:
        Dispatcher(registry_of({"cook.md": COOK})).reload()
    assert "from_config" in (caught.value.hint or "")


def test_names_in_config_that_are_no_agents_are_told_with_their_place(tmp_path: Path) -> None:
    config = "dispatcher:\n  agents: team\n  disabled: [reviwer]\n  routing:\n    fallback: chef\n"
    project(tmp_path, REVIEWER, COOK, config=config)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    told = Dispatcher.from_config(folder=tmp_path, environment=environment).notices
    assert [notice.removeprefix(f"{tmp_path}/") for notice in told] == [
        'config.yaml:3: disabled: there is no agent "reviwer"; did you mean "reviewer"?',
        'config.yaml:5: routing.fallback: there is no agent "chef"; `dispatch agents list` shows the agents',
    ]


def test_a_rule_that_cannot_be_used_is_told_with_its_place(tmp_path: Path) -> None:
    project(tmp_path, REVIEWER, config="dispatcher:\n  agents: team\n  rules:\n    - {any: [soup], force: cook}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:3: rules: rule 1 names the agent \"cook\""):
        Dispatcher.from_config(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path)})


def test_weights_of_config_are_put_to_use(tmp_path: Path) -> None:
    project(tmp_path, REVIEWER, config="dispatcher: {agents: team, routing: {weights: mine.json}}")
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"mine\.json"):
        Dispatcher.from_config(folder=tmp_path, environment=environment)
    shipped = shipped_weights()
    (tmp_path / "mine.json").write_text(shipped.to_json().replace('"fits_share": 0.5', '"fits_share": 0.4'))
    assert Dispatcher.from_config(folder=tmp_path, environment=environment).router.weights.fits_share == 0.4
