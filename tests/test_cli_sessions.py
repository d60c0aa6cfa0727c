"""`--session`, `--continue`, `--no-store` and `dispatch sessions`."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from dispatcher import SQLiteSessionStore
from dispatcher.cli.outputs import OUTPUTS, schema_of
from dispatcher.testing import ScriptedServer, says, serve
from tests.cli_calls import TASK, Outcome, call, write_team

Call = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_AGENTS", str(write_team(tmp_path / "team")))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with serve() as running:
        running.script(says("Sow in March."))
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        yield running


@pytest.fixture
def dispatch(capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda *arguments: call(capsys, arguments)


@pytest.fixture
def path() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "agent-dispatcher" / "sessions.sqlite3"


def test_a_conversation_is_gone_on_with(server: ScriptedServer, dispatch: Call) -> None:
    assert dispatch(TASK).code == 0
    assert dispatch("--continue", TASK).code == 0
    [first, second] = server.requests
    assert [message["content"] for message in second.body["messages"]] == [TASK, "Sow in March.", TASK]
    assert len(first.body["messages"]) == 1


def test_words_that_are_no_utf8_are_sent_and_kept(server: ScriptedServer, dispatch: Call) -> None:
    assert dispatch(f"{TASK} \udcff").code == 0
    assert server.requests[0].body["messages"][0]["content"] == f"{TASK} ?"
    assert dispatch("sessions", "list").code == 0


def test_a_follow_up_is_told_as_one(server: ScriptedServer, dispatch: Call) -> None:
    dispatch(TASK)
    done = dispatch("--continue", "why?")
    assert done.err.startswith("→ gardener\n  sticky: a follow-up: it has no subject of its own\n\n")
    assert dispatch("--continue", "@auto why?").code == 4


def test_a_conversation_is_named(server: ScriptedServer, dispatch: Call) -> None:
    dispatch("--session", "beds", TASK)
    dispatch(TASK)
    answer = dispatch("--session", "beds", TASK, "--json").json
    assert (answer["session"], answer["turn"]) == ("beds", 2)
    assert len(server.requests[2].body["messages"]) == 3


def test_what_is_kept_is_told_once_and_is_the_users_alone(server: ScriptedServer, dispatch: Call, path: Path) -> None:
    first, second = dispatch(TASK), dispatch(TASK)
    told = " ".join(first.err.split())
    assert "conversations are kept in ~/.local/state/agent-dispatcher/sessions.sqlite3" in told
    assert "readable by you alone, for 30 days" in told
    assert "conversation" not in second.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_where_it_is_not_told_nothing_begins_to_be_kept(
    server: ScriptedServer, dispatch: Call, path: Path, option: str
) -> None:
    assert dispatch(TASK, option).code == 0
    assert not path.exists()
    dispatch(TASK)
    dispatch(TASK, option)
    with SQLiteSessionStore(path) as store:
        assert len(store.sessions()) == 2


@pytest.mark.parametrize("how", ["--no-store", "setting"])
def test_nothing_is_kept_if_the_user_says_so(
    server: ScriptedServer, dispatch: Call, path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "setting":
        monkeypatch.setenv("DISPATCH_SESSIONS_STORE", "false")
    done = dispatch(TASK, *([how] if how.startswith("--") else []))
    assert (done.code, done.out) == (0, "Sow in March.\n")
    assert "conversation" not in done.err
    assert not path.exists()


def test_a_named_session_is_kept_whatever_the_setting(
    server: ScriptedServer, dispatch: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_SESSIONS_STORE", "false")
    dispatch("--session", "beds", TASK)
    assert dispatch("sessions", "show", "beds").code == 0


def test_without_a_key_nothing_is_sent_and_nothing_is_kept(dispatch: Call, path: Path) -> None:
    assert dispatch("--session", "beds", TASK).code == 0
    assert not path.exists()


def test_a_dry_run_shows_the_conversation_and_keeps_nothing(server: ScriptedServer, dispatch: Call) -> None:
    dispatch("--session", "beds", TASK)
    shown = dispatch("--session", "beds", TASK, "--dry-run").json
    assert [message["content"] for message in shown["messages"]] == [TASK, "Sow in March.", TASK]
    assert dispatch("sessions", "show", "beds", "--json").json["session"]["turns"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--continue",), "there is no conversation to go on with"),
        (("--continue", "--session", "a"), "--session and --continue name two sessions"),
        (("--no-store", "--session", "a"), "--no-store keeps nothing of a session"),
        (("--session", ""), "can't be the name of a session"),
    ],
)
def test_options_that_make_no_sense_are_told(
    server: ScriptedServer, dispatch: Call, arguments: tuple[str, ...], message: str
) -> None:
    done = dispatch(*arguments, TASK)
    assert done.code == 2
    assert message in done.err
    assert server.requests == []


def test_where_nothing_can_be_kept_the_task_is_done_all_the_same(
    server: ScriptedServer, dispatch: Call, path: Path
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("no database at all " * 50, encoding="utf-8")
    done = dispatch(TASK)
    assert (done.code, done.out) == (0, "Sow in March.\n")
    assert "this conversation is not kept" in done.err
    named = dispatch("--session", "a", TASK)
    assert named.code == 6
    assert "file is not a database" in " ".join(named.err.split())


def test_a_session_that_is_busy_is_refused(server: ScriptedServer, dispatch: Call, path: Path) -> None:
    dispatch("--session", "beds", TASK)
    with SQLiteSessionStore(path) as store:
        assert store.try_hold("beds")
        done = dispatch("--session", "beds", TASK)
        deletion = dispatch("sessions", "delete", "beds")
    assert (done.code, deletion.code) == (6, 6)
    assert 'another turn of the session "beds" is under way' in done.err


def test_a_torn_turn_is_told(server: ScriptedServer, dispatch: Call, path: Path) -> None:
    dispatch("--session", "beds", TASK)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE turns SET turn = json_set(turn, '$.state', 'open', '$.ended', null)")
    connection.commit()
    connection.close()
    done = dispatch("--session", "beds", TASK)
    assert f'the last turn of this session was cut off ("{TASK}")' in " ".join(done.err.split())
    assert done.code == 0


def test_sessions_are_listed_the_last_first(server: ScriptedServer, dispatch: Call) -> None:
    for name in ("one", "two"):
        dispatch("--session", name, f"{TASK} {'in long rows ' * 20}")
    listed = dispatch("sessions", "list")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["two", "one"]
    assert max(map(len, listed.out.splitlines())) <= 80
    assert "2 sessions in ~/.local/state" in listed.err


def test_without_any_session_the_list_is_empty(dispatch: Call, path: Path) -> None:
    done = dispatch("sessions", "list")
    assert (done.code, done.out) == (0, "")
    assert "0 sessions" in done.err
    assert not path.exists()


def test_a_session_is_shown(server: ScriptedServer, dispatch: Call) -> None:
    dispatch("--session", "beds", TASK)
    shown = dispatch("sessions", "show", "beds")
    assert "gardener (scored)" in shown.out
    assert f"   you: {TASK}\n   gardener: Sow in March.\n" in shown.out
    assert "1 turn, 10 tokens in, 5 out" in shown.err


def test_a_name_that_is_none_is_told_with_the_nearest(server: ScriptedServer, dispatch: Call) -> None:
    dispatch("--session", "vegetables", TASK)
    for command in ("show", "export", "delete"):
        done = dispatch("sessions", command, "vegetable")
        assert done.code == 2
        assert 'did you mean "vegetables"?' in done.err


@pytest.mark.parametrize("command", ["list", "show"])
def test_the_json_is_of_its_schema(server: ScriptedServer, dispatch: Call, command: str) -> None:
    dispatch("--session", "beds", TASK)
    printed = dispatch("sessions", command, *(["beds"] if command == "show" else []), "--json").json
    assert "beds" in json.dumps(printed)
    jsonschema.validate(printed, schema_of(OUTPUTS[f"sessions-{command}"]))


def test_an_export_as_json_lines_loses_nothing(server: ScriptedServer, dispatch: Call) -> None:
    dispatch("--session", "beds", TASK)
    dispatch("--session", "beds", TASK)
    lines = [json.loads(line) for line in dispatch("sessions", "export", "beds").out.splitlines()]
    shown = dispatch("sessions", "show", "beds", "--json").json
    assert lines == [{"session": "beds", **turn} for turn in shown["turns"]]
    assert [line["messages"][1]["content"] for line in lines] == ["Sow in March."] * 2


def test_an_export_as_markdown_is_for_reading(server: ScriptedServer, dispatch: Call, tmp_path: Path) -> None:
    dispatch("--session", "beds", TASK)
    out = tmp_path / "beds.md"
    done = dispatch("sessions", "export", "beds", "--format", "markdown", "--out", str(out))
    text = out.read_text(encoding="utf-8")
    assert "1 turn written to" in done.err
    assert text.startswith("# Session beds\n\n## 1. ")
    assert text.endswith(f"**You:**\n\n> {TASK}\n\n**gardener:**\n\nSow in March.\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_an_export_that_can_not_be_written_is_told(server: ScriptedServer, dispatch: Call, tmp_path: Path) -> None:
    dispatch("--session", "beds", TASK)
    done = dispatch("sessions", "export", "beds", "--out", str(tmp_path / "no" / "where"))
    assert done.code == 2
    assert "the file can't be written" in " ".join(done.err.split())


def test_sessions_are_deleted(server: ScriptedServer, dispatch: Call) -> None:
    for name in ("one", "two", "three"):
        dispatch("--session", name, TASK)
    assert dispatch("sessions", "delete", "one").code == 0
    assert dispatch("sessions", "delete", "--all").code == 2  # nobody can be asked
    assert len(dispatch("sessions", "list").out.splitlines()) == 2
    assert "2 sessions deleted" in dispatch("sessions", "delete", "--all", "--yes").err
    assert dispatch("sessions", "list").out == ""
    assert dispatch("sessions", "delete").code == 2


def test_a_session_whose_time_is_over_is_gone(server: ScriptedServer, dispatch: Call, path: Path) -> None:
    dispatch("--session", "old", TASK)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sessions SET updated = '2020-01-01T00:00:00+00:00'")
    connection.commit()
    connection.close()
    assert dispatch("sessions", "list").out == ""


def test_ctrl_c_keeps_what_came_in_a_real_process(server: ScriptedServer, dispatch: Call, path: Path) -> None:
    import signal

    from dispatcher.testing import stalls

    server.script(stalls("The first half"))
    words = [sys.executable, "-m", "dispatcher", "--session", "beds", "--quiet", TASK]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read(14) == "The first half"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    with SQLiteSessionStore(path) as store:
        [turn] = store.turns("beds")
    assert (turn.state, turn.answer) == ("cancelled", "The first half")
