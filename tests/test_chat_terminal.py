"""`dispatch chat` in a real terminal of 80 columns: what only keys, signals and processes show."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatcher import SQLiteSessionStore, Turn
from dispatcher.testing import ScriptedServer, calls, says, serve, stalls
from tests.cli_calls import TASK, write_team

SECONDS = 60.0
"""After this a chat counts as hanging."""
PROGRAM = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
from dispatcher.cli.app import main
main()
"""
ENTER, TAB, CTRL_C, CTRL_D = "\r", "\t", "\x03", "\x04"
PROMPT = "\x1b[?2004h"
"""What prompt_toolkit writes when it begins to read a line."""


class Terminal:
    """A chat in a terminal; `shown` is all that it wrote since the test last waited."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self._process = process
        self._master = master
        self.shown = ""

    def wait_for(self, text: str) -> str:
        """Reads until `text` has come; returns what came until then, and forgets it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} never came: {self.shown!r}"
            assert self._read(), f"the chat ended without {text!r}: {self.shown!r}"
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """The exit code, once the chat has ended."""
        while self._read():
            pass
        return self._process.wait(SECONDS)

    def _read(self) -> bool:
        try:
            content = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            return False
        self.shown += content.decode(errors="replace")
        return bool(content)


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("DISPATCH_AGENTS", str(write_team(tmp_path / "team")))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PROMPT_TOOLKIT_NO_CPR", "1")  # nobody answers where the cursor is
    monkeypatch.delenv("COLUMNS")  # the terminal itself says so
    with serve(says("Sow in **March**.")) as running:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        yield running


@contextmanager
def chat(*arguments: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    try:
        termios.tcsetwinsize(slave, (24, 80))
        words = [sys.executable, "-c", PROGRAM, "chat", *arguments]
        with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
            os.close(slave)
            try:
                yield Terminal(process, master)
            finally:
                process.kill()
    finally:
        os.close(master)


def kept() -> list[Turn]:
    """The turns of the one session in the store."""
    path = Path(os.environ["XDG_STATE_HOME"]) / "agent-dispatcher" / "sessions.sqlite3"
    with SQLiteSessionStore(path) as store:
        [info] = store.sessions()
        return list(store.turns(info.id))


def plain(shown: str) -> str:
    """What was shown, without colors; a line that is written anew counts as another."""
    return re.sub(r"\r+\n?", "\n", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown))


def test_a_chat_is_stopped_left_and_gone_on_with(server: ScriptedServer) -> None:
    with chat() as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(TASK + ENTER)
        shown = plain(terminal.wait_for(PROMPT))
        assert "● gardener" in shown
        assert "Sow in March.\n" in shown
        assert max(map(len, shown.split("\n"))) <= 80

        server.script(stalls("The first half "), says("Whole again."))
        terminal.type("why?" + ENTER)
        terminal.wait_for("The first half")
        terminal.type(CTRL_C)
        shown = plain(terminal.wait_for(PROMPT))
        assert "Stopped. What came is kept" in shown
        assert "^C" not in shown
        assert [(turn.state, turn.answer) for turn in kept()][1:] == [("cancelled", "The first half ")]

        terminal.type("and now?" + ENTER)
        assert "Whole again." in plain(terminal.wait_for(PROMPT))
        terminal.type(CTRL_D)
        assert terminal.end() == 0

    with chat() as terminal:
        shown = plain(terminal.wait_for(PROMPT))
        assert "(3 turns); /new begins another." in shown
        assert "gardener: Whole again." in shown
        terminal.type("thanks, why?" + ENTER)
        terminal.wait_for(PROMPT)
        assert [message["content"] for message in server.requests[-1].body["messages"]][:2] == [
            TASK,
            "Sow in **March**.",
        ]
        terminal.type("/undo" + ENTER)
        assert "3 turns left" in plain(terminal.wait_for(PROMPT))
        terminal.type("/quit" + ENTER)
        assert terminal.end() == 0
    assert [turn.task for turn in kept()] == [TASK, "why?", "and now?"]


def test_names_are_completed_and_earlier_tasks_come_back_after_a_restart() -> None:
    with chat() as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("@sou" + TAB)
        terminal.wait_for("p-cook")
        terminal.type(" salt it" + ENTER)
        assert "{{SALT}}" in plain(terminal.wait_for(PROMPT))  # the agent was meant, and lacks the value of that
        terminal.type(TASK + ENTER)
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_D)
        terminal.end()
    with chat("--new") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("\x1b[A")  # the arrow up
        terminal.wait_for(TASK)


def test_nothing_is_kept_if_the_user_says_so(server: ScriptedServer) -> None:
    with chat("--no-store") as terminal:
        terminal.wait_for(PROMPT)
        for task in (TASK, "why?"):
            terminal.type(task + ENTER)
            terminal.wait_for(PROMPT)
        terminal.type("/help" + ENTER)
        assert "leave; nothing is kept" in plain(terminal.wait_for(PROMPT))
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert "dispatch sessions show" not in terminal.shown
    assert len(server.requests[-1].body["messages"]) == 3
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()


def test_the_user_picks_where_nobody_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_ROUTING_MIN_CONFIDENCE", "1")
    with chat("--session", "beds") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("salad" + ENTER)
        terminal.wait_for("Which one? (number, or Enter for none)")
        terminal.type("1\n")
        assert "chosen: it was chosen from the three best" in plain(terminal.wait_for(PROMPT))
    assert kept()[0].how == "chosen"


def test_each_call_of_a_server_is_asked_for(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    program = str(Path(__file__).with_name("mcp_program.py"))
    described = {"shop": {"command": sys.executable, "args": [program, "stdio"]}}
    monkeypatch.setenv("DISPATCH_TOOLS_MCP_SERVERS", json.dumps(described))
    adding = [("mcp__shop__add", {"a": number, "b": 3}) for number in (1, 2, 3)]
    server.script(calls(*adding, text="Let me **add**."), calls(("mcp__shop__refuse", {})), says("Six."))
    question = "May it? (y: yes, a: always, n or a reason: no)"
    with chat("--new") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(TASK + ENTER)
        shown = plain(terminal.wait_for(question))
        assert "Let me add.\n" in shown
        assert 'gardener wants to call mcp__shop__add with\n  {"a": 1, "b": 3}\n' in shown
        terminal.type("not today\n")
        terminal.wait_for(question)
        terminal.type("a\n")
        assert "wants to call mcp__shop__refuse" in plain(terminal.wait_for(question))
        terminal.type("n\n")
        shown = plain(terminal.wait_for(PROMPT))
        assert "Six." in shown
        assert "^" not in shown
    results = [block for request in server.requests[1:] for block in request.body["messages"][-1]["content"]]
    assert [block["content"] for block in results] == [
        "the call was not approved: not today",
        "5",
        "6",
        "the call was not approved",
    ]
