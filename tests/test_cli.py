"""Tasks on the command line, in this process: options, exit codes, and what goes to stdout and what to stderr."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.testing import ScriptedServer, breaks_off, fails, says, serve
from tests.cli_calls import TASK, Outcome, call, write_team

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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with serve() as running:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        monkeypatch.setenv("DISPATCH_LLM_MAX_RETRIES", "0")
        yield running


def body_of(dispatch: Dispatch, *arguments: str) -> Any:
    """The request that a task would become."""
    outcome = dispatch("--dry-run", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.json


# --- a task

SCHEMA = '{"type": "object", "properties": {"beds": {"type": "integer", "minimum": 1}}, "required": ["beds"]}'


def test_the_answer_alone_goes_to_stdout(dispatch: Dispatch, server: ScriptedServer) -> None:
    server.script(says("Dig, ", "then sow."))
    outcome = dispatch(*TASK.split())
    assert (outcome.code, outcome.out) == (0, "Dig, then sow.\n")
    assert "gardener" in outcome.err
    assert "10 tokens in" in outcome.err
    assert server.requests[0].body["messages"] == [{"role": "user", "content": TASK}]


def test_without_a_key_a_preview_says_that_nothing_was_sent(dispatch: Dispatch) -> None:
    outcome = dispatch(TASK)
    assert (outcome.code, outcome.out) == (0, "")
    for part in ("gardener", "Nothing was sent", "claude-opus", "You tend a garden.", "ANTHROPIC_API_KEY", TASK):
        assert part in outcome.err


def test_offline_can_be_an_error(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_LLM_OFFLINE", "error")
    outcome = dispatch(TASK)
    assert (outcome.code, outcome.out) == (5, "")
    assert "error: " in outcome.err


def test_a_schema_makes_the_answer_an_object(dispatch: Dispatch, server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "beds.json").write_text(SCHEMA, encoding="utf-8")
    server.script(says('{"beds":', " 3}"))
    outcome = dispatch(TASK, "--schema", str(tmp_path / "beds.json"))
    assert (outcome.code, outcome.out) == (0, '{\n  "beds": 3\n}\n')
    sent = server.requests[0].body["output_config"]["format"]["schema"]
    assert (sent["required"], sent["additionalProperties"]) == (["beds"], False)
    server.script(says('{"beds": 3}'))
    assert dispatch(TASK, "--schema", str(tmp_path / "beds.json"), "--json").json["value"] == {"beds": 3}


def test_an_answer_that_does_not_fit_the_schema_exits_5_and_is_shown(
    dispatch: Dispatch, server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "beds.json").write_text(SCHEMA, encoding="utf-8")
    server.script(says('{"beds": 0}'))
    outcome = dispatch(TASK, "--schema", str(tmp_path / "beds.json"))
    assert (outcome.code, outcome.out) == (5, "")
    assert 'the answer was: {"beds": 0}' in outcome.err
    assert "beds: 0 is less than the minimum of 1" in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read"),
        ("{", "is not JSON"),
        ("[]", "is no object"),
        ('{"type": "string"}', 'its type is not "object"'),
    ],
)
def test_a_schema_that_can_not_be_used_exits_2_and_nothing_is_sent(
    dispatch: Dispatch, server: ScriptedServer, tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "s.json").write_text(content, encoding="utf-8")
    outcome = dispatch(TASK, "--schema", str(tmp_path / "s.json"))
    assert (outcome.code, outcome.out, server.requests) == (2, "", [])
    assert said in " ".join(outcome.err.split())


def test_a_dry_run_prints_exactly_what_is_then_sent(dispatch: Dispatch, server: ScriptedServer) -> None:
    printed = body_of(dispatch, TASK)
    assert server.requests == []
    dispatch(TASK)
    sent = dict(server.requests[0].body)
    assert sent.pop("stream") is True
    assert sent == printed


def test_options_reach_the_request(dispatch: Dispatch, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("clay soil", encoding="utf-8")
    body = body_of(
        dispatch, "--agent", "soup-cook", "--model", "haiku", "--var", "SALT=a pinch", "--max-tokens", "77",
        "--file", str(notes), "what now?",
    )  # fmt: skip
    assert body["model"].startswith("claude-haiku")
    assert body["max_tokens"] == 77
    assert body["system"][0]["text"] == "You cook for guests. Salt: a pinch.\n"
    attached, task = body["messages"][0]["content"]
    assert "clay soil" in attached["text"]
    assert task["text"] == "what now?"


def test_an_undefined_placeholder_is_an_error_unless_it_is_allowed(dispatch: Dispatch, team: Path) -> None:
    refused = dispatch("--agent", "Soup Cook", "a stew")
    assert refused.code == 2
    assert "SALT" in refused.err
    assert re.search(r"cook\.md:5", refused.err)
    body = body_of(dispatch, "--agent", "Soup Cook", "--allow-undefined", "a stew")
    assert "{{SALT}}" in body["system"][0]["text"]


def test_no_stream_asks_for_the_whole_answer(dispatch: Dispatch, server: ScriptedServer) -> None:
    server.script(says("whole"))
    outcome = dispatch("--no-stream", TASK)
    assert outcome.out == "whole\n"
    assert not server.requests[0].body.get("stream")


def test_quiet_leaves_stderr_empty(dispatch: Dispatch, server: ScriptedServer) -> None:
    outcome = dispatch("--quiet", TASK)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "an answer\n"


def test_verbose_says_which_model(dispatch: Dispatch, server: ScriptedServer) -> None:
    assert "model claude-opus" in dispatch("--verbose", TASK).err
    assert "model claude-opus" not in dispatch(TASK).err


@pytest.mark.parametrize("command", ["route", "run"])
def test_explain_shows_evidence_ranking_and_place(dispatch: Dispatch, command: str) -> None:
    outcome = dispatch(command, "--explain", TASK)
    for pattern in (r"gardener\.md:\d+", r"\+0\.\d+ ", r"1\. \d\.\d+  gardener", "margin", "threshold"):
        assert re.search(pattern, outcome.err), pattern
    assert "from the agent's file" in outcome.err


def test_a_broken_stream_keeps_what_came(dispatch: Dispatch, server: ScriptedServer) -> None:
    server.script(breaks_off("Half an "))
    outcome = dispatch(TASK)
    assert (outcome.code, outcome.out) == (5, "Half an \n")
    assert "broke off" in outcome.err


def test_an_answer_cut_at_max_tokens_is_a_failure(dispatch: Dispatch, server: ScriptedServer) -> None:
    server.script(says("as far as", stop_reason="max_tokens"))
    outcome = dispatch(TASK)
    assert (outcome.code, outcome.out) == (5, "as far as\n")
    assert "--max-tokens" in outcome.err


def test_a_failure_of_the_service_has_the_request_id_and_no_key(
    dispatch: Dispatch, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sample-key-of-nobody")
    server.script(fails(401, "authentication_error", "invalid key sample-key-of-nobody"))
    outcome = dispatch("--debug", TASK)
    assert outcome.code == 5
    assert "req_scripted" in outcome.err
    assert server.requests[0].headers["authorization"] == "Bearer sample-key-of-nobody"
    assert "sample-key-of-nobody" not in outcome.err


# --- the order of words


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "route", TASK),
        ("route", "--json", TASK),
        ("route", TASK, "--json"),
        ("route", "sow", "--json", "vegetable", "seedlings"),
        ("--agents", "{team}", "route", "--json", TASK),
        ("route", "--json", "--agents", "{team}", TASK),
        ("--agents={team}", "--json", "route", TASK),
    ],
)
def test_options_stand_before_or_after_a_command(dispatch: Dispatch, team: Path, arguments: tuple[str, ...]) -> None:
    outcome = dispatch(*(word.format(team=team) for word in arguments))
    assert outcome.code == 0, outcome.err
    assert (outcome.json["task"], outcome.json["decision"]["agent"]) == (TASK, "gardener")


@pytest.mark.parametrize(
    ("arguments", "task"),
    [
        (("--", "agents", "are", "slow"), "agents are slow"),
        (("run", "agents", "are", "slow"), "agents are slow"),
        (("run", "run", "away"), "run away"),
        (("--", "--json", "is", "odd"), "--json is odd"),
        (("--model", "opus", "--", "route", "me"), "route me"),
        (("agents are slow",), "agents are slow"),
        (("explain", "--", "-x"), "explain -x"),
    ],
)
def test_a_task_may_look_like_a_command(dispatch: Dispatch, arguments: tuple[str, ...], task: str) -> None:
    body = body_of(dispatch, "--agent", "gardener", *arguments)
    assert body["messages"][0]["content"] == task


@pytest.mark.parametrize("word", ["agnets", "agent", "agentss", "gents", "xagents", "agemts"])
def test_a_word_that_is_nearly_a_command_is_not_run(word: str, dispatch: Dispatch, server: ScriptedServer) -> None:
    outcome = dispatch(word, "list")
    assert outcome.code == 2
    assert 'nearly the command "agents"' in outcome.err
    assert server.requests == []


@pytest.mark.parametrize("word", ["agnest", "gaents2", "agens2", "aggentts", "log2", "agenets1"])
def test_a_word_that_is_less_like_a_command_is_a_task(word: str, dispatch: Dispatch) -> None:
    assert body_of(dispatch, "--agent", "gardener", word, "list")["messages"][0]["content"] == f"{word} list"


def test_a_mention_chooses_and_other_words_with_at_do_not(dispatch: Dispatch) -> None:
    assert dispatch("route", "@soup-cook", "hello").out == "Soup Cook\n"
    assert dispatch("route", "--agent", "gardener", "@types/node", "fails").out == "gardener\n"


# --- standard input


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("words", "task"), [((), "from below"), (("-",), "from below"), (("a", "-"), "a\n\nfrom below")]
)
def test_standard_input_is_the_task_or_added_to_it(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], task: str
) -> None:
    give(monkeypatch, b"\xef\xbb\xbffrom below\n")
    assert body_of(dispatch, "--agent", "gardener", *words)["messages"][0]["content"] == task


@pytest.mark.parametrize(("content", "said"), [(b"", "there is no task"), (b"a\0b", "not text")])
def test_standard_input_without_a_text_is_a_usage_error(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    give(monkeypatch, content)
    outcome = dispatch("-")
    assert outcome.code == 2
    assert said in outcome.err


# --- exit codes and errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--modle", "opus", "hi"), "--model"),
        (("agents",), "list, show, check"),
        (("agents", "lits"), "list, show, check"),
        (("agents", "are", "slow"), "goes after --"),
        (("--agent", "gardner", "hi"), 'did you mean "gardener"'),
        (("@gardner", "hi"), 'did you mean "@gardener"'),
        (("agents", "show", "gardner"), 'did you mean "gardener"'),
        (("--agents", "nowhere", "hi"), "nowhere"),
        (("--config", "nowhere.yaml", "hi"), "nowhere.yaml"),
        (("--file", "nowhere.txt", "hi"), "nowhere.txt"),
        (("--var", "salt=x", "hi"), "NAME=VALUE"),
        (("--max-tokens", "0", "hi"), "--max-tokens"),
        (("config", "schema", "nothing"), "agents-list"),
        (("@gardener",), "there is no task"),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_is_right(dispatch: Dispatch, arguments: tuple[str, ...], said: str) -> None:
    outcome = dispatch(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err


def test_abstaining_exits_4_with_the_best_on_stderr(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_ROUTING_MIN_CONFIDENCE", "1")
    for command in ("run", "route"):
        outcome = dispatch(command, "soup from seedlings")
        assert (outcome.code, outcome.out) == (4, "")
        assert "1. " in outcome.err
        assert "2. " in outcome.err


def test_a_fallback_answers_where_nobody_is_sure(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_ROUTING_FALLBACK", "butler")
    outcome = dispatch("route", "zzz")
    assert (outcome.code, outcome.out) == (0, "butler\n")


def test_debug_shows_a_traceback(dispatch: Dispatch) -> None:
    assert "Traceback" in dispatch("--debug", "--agent", "nobody", "hi").err
    assert "Traceback" not in dispatch("--agent", "nobody", "--", "--debug").err


def test_no_line_on_stderr_is_wider_than_80_columns(
    dispatch: Dispatch, server: ScriptedServer, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(team)
    long = " ".join(["vegetable seedlings and a soup of them"] * 10)
    calls = [("--explain", long), ("route", long), ("agnets",), ("--agent", "x", "y"), ("agents", "list"), ("-v", long)]
    for arguments in calls:
        lines = dispatch(*arguments).err.splitlines()
        assert [line for line in lines if len(line) > 80] == []
