"""The other commands, in this process: agents, config, version, help, and the JSON of every command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from dispatcher import __version__
from dispatcher.testing import says, serve
from tests.cli_calls import GARDENER, MEANT, TASK, Outcome, call, write_developers, write_team

Dispatch = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agents that every command works with unless told otherwise."""
    folder = write_team(tmp_path / "team")
    monkeypatch.setenv("DISPATCH_AGENTS", str(folder))
    return folder


@pytest.fixture
def dispatch(capsys: pytest.CaptureFixture[str]) -> Dispatch:
    return lambda *arguments: call(capsys, arguments)


def test_version(dispatch: Dispatch) -> None:
    assert dispatch("version").out == dispatch("--version").out == f"agent-dispatcher {__version__}\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_options_of_a_task_and_the_commands(dispatch: Dispatch, option: str) -> None:
    outcome = dispatch(option)
    assert outcome.code == 0
    for part in ("--dry-run", "--explain", "--agents PATH", "route", "agents", "config", "version"):
        assert part in outcome.out


@pytest.mark.parametrize("path", [(), ("agents",), ("config",)])
def test_every_command_has_help(dispatch: Dispatch, path: tuple[str, ...]) -> None:
    listed = dispatch(*path, "--help").out.partition("Commands:")[2]
    names = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    assert names
    for name in names:
        outcome = dispatch(*path, name, "--help")
        assert (outcome.code, outcome.err) == (0, "")
        assert "Usage: dispatch" in outcome.out


def test_agents_list_leaves_out_what_is_not_routed_to(dispatch: Dispatch) -> None:
    brief, full = dispatch("agents", "list"), dispatch("agents", "list", "--all")
    assert re.findall(r"^(\S+(?: \S+)*)  ", brief.out, re.MULTILINE) == ["gardener", "Soup Cook"]
    assert "--all" in brief.err
    assert re.search(r"^butler +given +\(not routed to\)", full.out, re.MULTILINE)


def test_agents_list_all_shows_both_places_of_a_shadowed_agent(dispatch: Dispatch, team: Path, tmp_path: Path) -> None:
    nearer = tmp_path / "nearer"
    nearer.mkdir()
    (nearer / "mine.md").write_text(GARDENER, encoding="utf-8")
    outcome = dispatch("agents", "list", "--all", "--agents", str(nearer), "--agents", str(team))
    shadowed = [line for line in outcome.out.splitlines() if "is shadowed by" in line]
    assert len(shadowed) == 1
    assert "gardener.md" in shadowed[0]
    assert "mine.md" in shadowed[0]


def test_agents_show_says_what_was_read_and_which_model(dispatch: Dispatch) -> None:
    outcome = dispatch("agents", "show", "gardener")
    assert outcome.code == 0
    for pattern in (r"^name +gardener$", r"gardener\.md", r"snails", r"^model +claude-opus\S+ \(from the agent's file"):
        assert re.search(pattern, outcome.out, re.MULTILINE), pattern
    assert "from the command line" in dispatch("agents", "show", "gardener", "--model", "haiku").out
    assert "the default" in dispatch("agents", "show", "Soup Cook").out
    assert "SALT" in dispatch("agents", "show", "soup-cook").out


def test_agents_show_prompt_prints_the_prompt_alone(dispatch: Dispatch) -> None:
    assert dispatch("agents", "show", "gardener", "--prompt").out == "You tend a garden.\n"


def test_agents_check_is_clean_for_good_files_and_for_the_bundled_ones(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = dispatch("agents", "check")
    assert (outcome.code, outcome.out) == (0, "3 files, 3 agents, 0 passed over; 0 errors, 0 warnings, 0 notes\n")
    monkeypatch.delenv("DISPATCH_AGENTS")
    assert dispatch("agents", "check").out.endswith("0 errors, 0 warnings, 0 notes\n")


def test_two_of_one_name_make_check_exit_3_until_config_chooses(
    dispatch: Dispatch, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (team / "twin.md").write_text(GARDENER, encoding="utf-8")
    outcome = dispatch("agents", "check")
    assert outcome.code == 3
    assert "gardener.md" in outcome.out
    assert "twin.md" in outcome.out
    assert dispatch("agents", "list").code == 0
    monkeypatch.setenv("DISPATCH_DUPLICATES", "namespace")
    assert dispatch("agents", "check").code == 0


def test_check_names_files_from_here(dispatch: Dispatch, team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (team / "typist.md").write_text("---\nname: typist\ntool: Read\n---\nYou type.\n", encoding="utf-8")
    monkeypatch.chdir(team.parent)
    outcome = dispatch("agents", "check")
    assert outcome.code == 0
    assert "\nteam/typist.md:3: warning: " in f"\n{outcome.out}"


def test_check_verbose_lists_what_was_passed_over(dispatch: Dispatch, team: Path) -> None:
    (team / "README.md").write_text("# Our team\n\nThree of them.\n", encoding="utf-8")
    assert "README.md" not in dispatch("agents", "check").out
    for arguments in (("agents", "check", "--verbose"), ("--verbose", "agents", "check")):
        assert "README.md: passed over" in " ".join(dispatch(*arguments).out.split())


@pytest.mark.parametrize("command", [("agents", "list"), ("agents", "check"), ("agents", "show", "x"), ("route", "x")])
def test_without_any_agent_the_exit_code_is_3(dispatch: Dispatch, tmp_path: Path, command: tuple[str, ...]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = dispatch(*command, "--agents", str(empty))
    assert outcome.code == 3
    assert "there is no agent" in outcome.err


def test_config_show_says_where_each_value_is_from(
    dispatch: Dispatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.yaml").write_text("dispatcher:\n  llm:\n    max_tokens: 9\n    timeout: 5\n", encoding="utf-8")
    monkeypatch.setenv("DISPATCH_LLM_TIMEOUT", "7")
    lines = dispatch("config", "show").out.splitlines()
    assert 'llm.offline: "preview"  # default' in lines
    assert "llm.timeout: 7.0  # environment DISPATCH_LLM_TIMEOUT" in lines
    assert any(re.fullmatch(r"llm\.max_tokens: 9  # .*config\.yaml:3", line) for line in lines), lines
    other = tmp_path / "other.yaml"
    other.write_text("dispatcher: {llm: {max_tokens: 11}}\n", encoding="utf-8")
    assert "llm.max_tokens: 11" in dispatch("--config", str(other), "config", "show").out


def test_a_wrong_setting_is_told_with_file_line_and_the_right_name(dispatch: Dispatch) -> None:
    Path("config.yaml").write_text("dispatcher:\n  llm:\n    modle: opus\n", encoding="utf-8")
    outcome = dispatch("config", "show")
    assert outcome.code == 2
    assert re.search(r'config\.yaml:3: .*"llm\.modle".* "llm\.model"', " ".join(outcome.err.split()))


def test_config_init_writes_a_file_that_works_and_never_replaces_one_unasked(dispatch: Dispatch) -> None:
    defaults = dispatch("config", "show").out
    assert dispatch("config", "init").out == "config.yaml\n"
    assert dispatch("config", "show").out == defaults
    assert dispatch("route", TASK).code == 0
    Path("config.yaml").write_text("mine: 1\n", encoding="utf-8")
    assert dispatch("config", "init").code == 2
    assert Path("config.yaml").read_text(encoding="utf-8") == "mine: 1\n"
    assert dispatch("config", "init", "--force").code == 0
    assert "dispatcher:" in Path("config.yaml").read_text(encoding="utf-8")


def test_config_init_user_writes_the_users_own_file(dispatch: Dispatch) -> None:
    written = Path(dispatch("config", "init", "--user").out.strip())
    assert written.is_relative_to(Path.home())
    assert "dispatcher:" in written.read_text(encoding="utf-8")
    assert not Path("config.yaml").exists()


def test_the_schema_of_config_knows_right_from_wrong(dispatch: Dispatch) -> None:
    validator = jsonschema.Draft202012Validator(dispatch("config", "schema").json)
    validator.check_schema(validator.schema)
    assert validator.is_valid(yaml.safe_load("dispatcher: {llm: {model: opus}, disabled: [butler]}"))
    assert not validator.is_valid(yaml.safe_load("dispatcher: {llm: {modle: opus}}"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ("run", TASK)),
        ("run", ("run", "--dry-run", TASK)),
        ("route", ("route", TASK)),
        ("agents-list", ("agents", "list", "--all")),
        ("agents-show", ("agents", "show", "gardener")),
        ("agents-check", ("agents", "check")),
        ("config-show", ("config", "show")),
        ("version", ("version",)),
    ],
)
def test_json_is_as_its_schema_says(dispatch: Dispatch, name: str, arguments: tuple[str, ...]) -> None:
    outcome = dispatch(*arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    schema = dispatch("config", "schema", name).json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(outcome.json, schema)
    assert outcome.json["schema_version"] == 1
    assert set(outcome.json) == set(schema["properties"])


def test_json_of_a_run_holds_the_answer_or_the_candidates(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        server.script(says("Dig."))
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", server.base_url)
        answered = dispatch("--json", TASK).json
    assert (answered["text"], answered["was_sent"], answered["request_id"]) == ("Dig.", True, "req_scripted")
    monkeypatch.setenv("DISPATCH_ROUTING_MIN_CONFIDENCE", "1")
    abstained = dispatch("--json", "soup from seedlings")
    jsonschema.validate(abstained.json, dispatch("config", "schema", "run").json)
    assert abstained.code == 4
    assert abstained.json["decision"]["outcome"] == "abstained"
    assert len(abstained.json["decision"]["candidates"]) >= 2


def test_precision_chooses_nobody_who_is_not_sure_enough(dispatch: Dispatch) -> None:
    task = "sow the vegetable beds"
    assert dispatch("route", task).code == 0
    assert dispatch("route", "--precision", "0.95", "vegetable").code == 4
    beyond = dispatch("route", "--precision", "1.0", task)
    assert (beyond.code, "the highest known is" in " ".join(beyond.err.split())) == (2, True)


def test_meaning_is_shown_with_its_passage_and_without_words(
    dispatch: Dispatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_ROUTING_MIN_CONFIDENCE", "0")
    folder = write_developers(tmp_path / "developers")
    in_full = " ".join(dispatch("--agents", str(folder), "route", "--explain", MEANT).err.split())
    assert re.search(r"\+0\.\d+ meaning: nearest \S+operator\.md:3 \"Keeps Kubernetes", in_full)
    brief = " ".join(dispatch("--agents", str(folder), "route", MEANT).err.split())
    assert re.search(r"\) meaning: nearest \S+operator\.md:3 \"Keeps Kubernetes", brief)
    evidence = dispatch("--agents", str(folder), "route", "--json", MEANT).json["decision"]["evidence"]
    (found,) = [each for each in evidence if each["field"] == "meaning"]
    assert (found["words"], found["line"]) == ([], 3)
    assert found["text"].startswith("Keeps Kubernetes")


def test_quiet_still_says_that_nothing_was_sent_and_which_key_is_missing(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_LLM_API_KEY_ENV", "MY_KEY")
    outcome = dispatch("--quiet", "sow the vegetable beds")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "nothing was sent: there is no API key; set MY_KEY\n"


def test_a_file_may_be_the_whole_task(dispatch: Dispatch, tmp_path: Path) -> None:
    path = tmp_path / "beds.txt"
    path.write_text("Three beds.\n", encoding="utf-8")
    outcome = dispatch("--agent", "gardener", "--file", str(path), "--dry-run")
    assert outcome.code == 0
    assert "Three beds." in outcome.out
