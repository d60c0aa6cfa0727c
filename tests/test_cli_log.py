"""The decision log at the command line: `dispatch log`, `dispatch feedback` and `--no-store`."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dispatcher.cli.outputs import OUTPUTS, schema_of
from dispatcher.testing import ScriptedServer, fails, says, serve
from tests.cli_calls import TASK, Outcome, call, write_team

Call = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_AGENTS", str(write_team(tmp_path / "team")))
    monkeypatch.setenv("DISPATCH_LLM_MAX_RETRIES", "0")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with serve(says("Sow in March.", usage={"input_tokens": 1_000, "output_tokens": 500})) as running:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        yield running


@pytest.fixture
def dispatch(capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda *arguments: call(capsys, arguments)


@pytest.fixture
def state() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "agent-dispatcher"


def said(outcome: Outcome) -> str:
    return " ".join(outcome.err.split())


def ran(dispatch: Call, task: str = TASK, agent: str = "gardener", *options: str) -> Outcome:
    return dispatch("--agent", agent, *options, task)


def test_the_log_is_announced_when_its_first_line_is_written(server: ScriptedServer, dispatch: Call) -> None:
    first, second = ran(dispatch), ran(dispatch)
    assert "are logged in ~/.local/state/agent-dispatcher/decisions, readable by you alone, for 30 days" in said(first)
    assert "--no-store or log.store: false keeps none" in said(first)
    assert "logged" not in said(second)


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_what_was_not_announced_is_not_kept(server: ScriptedServer, dispatch: Call, state: Path, option: str) -> None:
    done = ran(dispatch, TASK, "gardener", option)
    assert "Sow in March." in done.out
    assert (done.err, (state / "decisions").exists()) == ("", False)
    ran(dispatch)
    ran(dispatch, "plan the beds", "gardener", option)
    assert [entry["task"] for entry in dispatch("log", "--json").json["entries"]] == ["plan the beds", TASK]


def test_one_run_can_be_kept_out(server: ScriptedServer, dispatch: Call, state: Path) -> None:
    assert ran(dispatch, TASK, "gardener", "--no-store").out == "Sow in March.\n"
    assert not state.exists()


def test_all_can_be_kept_out(
    server: ScriptedServer, dispatch: Call, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_LOG_STORE", "false")
    monkeypatch.setenv("DISPATCH_SESSIONS_STORE", "false")
    assert ran(dispatch).code == 0
    assert not state.exists()


def test_a_preview_and_a_dry_run_are_not_logged(dispatch: Call, state: Path) -> None:
    assert ran(dispatch).code == 0
    assert ran(dispatch, TASK, "gardener", "--dry-run").code == 0
    assert dispatch("zzz qqq").code == 4
    assert not state.exists()


def test_a_log_that_can_not_be_written_is_told_and_spoils_nothing(
    server: ScriptedServer, dispatch: Call, state: Path
) -> None:
    state.parent.mkdir(parents=True)
    state.touch()
    done = ran(dispatch)
    assert (done.code, done.out) == (0, "Sow in March.\n")
    assert "this run is not logged: " in said(done)


def test_the_log_shows_who_took_what_and_what_it_cost(server: ScriptedServer, dispatch: Call) -> None:
    ran(dispatch)
    server.script(fails(500))
    assert ran(dispatch, "boil soup " * 30, "Soup Cook", "--var", "SALT=1").code == 5
    done = dispatch("log")
    lines = done.out.splitlines()
    assert len(lines) == 4
    assert ": Soup Cook (1.00), failed (ServiceError), cost unknown" in lines[0]
    assert lines[1].startswith("  boil soup boil soup")
    assert ": gardener (1.00), answered, $0.0140" in lines[2]
    assert lines[3] == f"  {TASK}"
    assert max(map(len, lines)) <= 80
    assert "2 runs, 1,000 tokens in, 500 out, $0.0140 in ~/.local/state/agent-dispatcher/decisions" in said(done)


def test_the_log_is_filtered(server: ScriptedServer, dispatch: Call) -> None:
    ran(dispatch)
    ran(dispatch, "boil soup", "Soup Cook", "--var", "SALT=1")

    def tasks(*options: str) -> list[str]:
        done = dispatch("log", "--json", *options)
        assert done.code == 0
        return [entry["task"] for entry in done.json["entries"]]

    assert tasks() == ["boil soup", TASK]
    assert tasks("--agent", "gardener") == [TASK]
    assert tasks("--agent", "soup-cook") == ["boil soup"]
    assert tasks("--text", "SOUP") == ["boil soup"]
    assert tasks("--outcome", "failed") == []
    assert tasks("--since", "1h", "--limit", "1") == ["boil soup"]
    assert tasks("--since", "2999-01-01") == []


def test_the_log_as_json_has_its_schema(server: ScriptedServer, dispatch: Call) -> None:
    ran(dispatch)
    printed = dispatch("log", "--json").json
    assert TASK in json.dumps(printed)
    jsonschema.validate(printed, schema_of(OUTPUTS["log"]))


def test_what_each_agent_cost_is_added_up(server: ScriptedServer, dispatch: Call) -> None:
    ran(dispatch)
    ran(dispatch)
    ran(dispatch, "boil soup", "Soup Cook", "--var", "SALT=1")
    assert dispatch("log", "--by-agent").out.splitlines() == [
        "gardener: 2 runs, 2,000 tokens in, 1,000 out, $0.0280",
        "Soup Cook: 1 run, 1,000 tokens in, 500 out, $0.0070",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "yesterday"], '--since "yesterday" is no moment'),
        (["--since", "999999w"], '--since "999999w" is no moment'),
        (["--outcome", "fine"], '--outcome "fine" is none it is one of answered, incomplete, abstained'),
    ],
)
def test_a_wrong_filter_is_told(dispatch: Call, options: list[str], message: str) -> None:
    done = dispatch("log", *options)
    assert done.code == 2
    assert message in said(done)


def test_an_empty_log_is_no_error(dispatch: Call) -> None:
    done = dispatch("log")
    assert (done.code, done.out) == (0, "")
    assert "0 runs" in done.err


def test_a_torn_line_is_told(server: ScriptedServer, dispatch: Call, state: Path) -> None:
    ran(dispatch)
    (path,) = (state / "decisions").iterdir()
    path.write_text(path.read_text(encoding="utf-8") + "{torn", encoding="utf-8")
    done = dispatch("log")
    assert done.code == 0
    assert ":2: this line is torn or of another form, and is passed over" in said(done)


def test_a_name_that_no_run_has_is_told_with_the_nearest(server: ScriptedServer, dispatch: Call) -> None:
    ran(dispatch)
    done = dispatch("log", "--agent", "gardner")
    assert (done.code, done.out) == (0, "")
    assert 'there is no run of "gardner"; did you mean "gardener"?' in said(done)
    assert "did you mean" not in dispatch("log", "--agent", "gardener", "--outcome", "failed").err


@pytest.mark.parametrize(
    ("pattern", "kept"), [(r"[\w.]+@\w+", "write to [redacted]"), (r"\w{2,4}@\w+", "write to a.[redacted]")]
)
def test_a_pattern_of_the_environment_may_have_brackets_and_commas(
    server: ScriptedServer, dispatch: Call, monkeypatch: pytest.MonkeyPatch, pattern: str, kept: str
) -> None:
    monkeypatch.setenv("DISPATCH_LOG_REDACT", pattern)
    ran(dispatch, "write to a.nna@home")
    assert dispatch("log", "--json").json["entries"][0]["task"] == kept


def test_redaction_is_that_of_the_users_config(
    server: ScriptedServer, dispatch: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_LOG_REDACT", "[seedlings]")
    ran(dispatch)
    assert dispatch("log", "--json").json["entries"][0]["task"] == "sow vegetable [redacted]"


def feedback_of(state: Path) -> tuple[Path, list[Any]]:
    (path,) = (state / "feedback").iterdir()
    return path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_right_choice_becomes_a_labelled_task(server: ScriptedServer, dispatch: Call, state: Path) -> None:
    ran(dispatch)
    done = dispatch("feedback", "last", "good")
    assert done.code == 0
    assert "gardener: sow vegetable seedlings 1 task in ~/.local/state/agent-dispatcher/feedback/here-" in said(done)
    path, (record,) = feedback_of(state)
    assert (record["task"], record["agent"], record["tags"]) == (TASK, "gardener", ["feedback", "right"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_choice_is_labelled_with_the_right_agent(server: ScriptedServer, dispatch: Call, state: Path) -> None:
    ran(dispatch)
    name = dispatch("log", "--json").json["entries"][0]["id"]
    assert dispatch("feedback", name, "wrong", "--agent", "soup-cook").code == 0
    assert [record["agent"] for record in feedback_of(state)[1]] == ["Soup Cook"]
    assert dispatch("feedback", name, "wrong", "--nobody").code == 0
    assert [record["agent"] for record in feedback_of(state)[1]] == [None]  # in place of the one before


def test_eval_and_tune_take_the_file_as_it_is(
    server: ScriptedServer, dispatch: Call, state: Path, tmp_path: Path
) -> None:
    for agent, word in itertools.product(("gardener", "Soup Cook"), ("one", "two", "three")):
        ran(dispatch, f"do something about {agent} {word}", agent, "--var", "SALT=1")
        dispatch("feedback", "last", "good")
    path, records = feedback_of(state)
    assert len(records) == 6
    figures = tmp_path / "figures.json"
    assert dispatch("eval", "--tasks", str(path), "--json", str(figures)).code == 0
    assert json.loads(figures.read_text(encoding="utf-8"))["metrics"]["n"] == 6
    weights = tmp_path / "weights.json"
    sets = [word for name in ("one", "two") for word in ("--set", f"{name}:{tmp_path / 'team'}={path}")]
    assert dispatch("tune", *sets, "--out", str(weights)).code in (0, 1)
    assert weights.exists()


def test_feedback_can_go_into_a_file_of_ones_own(server: ScriptedServer, dispatch: Call, tmp_path: Path) -> None:
    ran(dispatch)
    own = tmp_path / "tasks.jsonl"
    own.write_text('{"task": "other", "agent": "butler"}\n', encoding="utf-8")
    assert dispatch("feedback", "last", "good", "--out", str(own)).code == 0
    assert [json.loads(line)["task"] for line in own.read_text(encoding="utf-8").splitlines()] == ["other", TASK]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["last", "bad"], '"bad" is no verdict it is good or wrong'),
        (["last", "wrong"], "which agent should have taken it? name one with --agent, or say --nobody"),
        (["last", "wrong", "--agent", "butler", "--nobody"], "which agent should have taken it?"),
        (["last", "good", "--agent", "butler"], "good says that the choice was right"),
        (["last", "wrong", "--agent", "gardner"], "gardener"),
        (["last", "wrong", "--agent", "butler"], '"butler" is kept out of routing, so no task can be its'),
        (["last", "wrong", "--agent", "gardener"], '"gardener" is who took it say good if that was right'),
        (["20200101-0000-abcdef", "good"], 'there is no entry "20200101-0000-abcdef" in the decision log'),
        (["last"], "Missing argument"),
    ],
)
def test_wrong_feedback_is_told(
    server: ScriptedServer, dispatch: Call, state: Path, arguments: list[str], message: str
) -> None:
    ran(dispatch)
    done = dispatch("feedback", *arguments)
    assert done.code == 2
    assert message in said(done)
    assert not (state / "feedback").exists()


def test_feedback_on_an_empty_log_is_told(dispatch: Call) -> None:
    done = dispatch("feedback", "last", "good")
    assert (done.code, "the decision log is empty" in said(done)) == (2, True)


def test_feedback_does_not_spoil_a_file_of_something_else(
    server: ScriptedServer, dispatch: Call, tmp_path: Path
) -> None:
    ran(dispatch)
    other = tmp_path / "notes.txt"
    other.write_text("my notes\n", encoding="utf-8")
    done = dispatch("feedback", "last", "good", "--out", str(other))
    assert done.code == 2
    assert "notes.txt:1: this line is not JSON" in said(done)
    assert other.read_text(encoding="utf-8") == "my notes\n"


def test_feedback_that_can_not_be_written_is_told(server: ScriptedServer, dispatch: Call, tmp_path: Path) -> None:
    ran(dispatch)
    done = dispatch("feedback", "last", "good", "--out", str(tmp_path / "team"))
    assert done.code == 1
    assert "the feedback can't be written: Is a directory" in said(done)
