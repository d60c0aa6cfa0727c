"""The command line as real processes: pipes, files, terminals and signals, where an in-process call shows nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from dispatcher.testing import ScriptedServer, calls, says, serve, stalls
from tests.cli_calls import TASK, write_team

PROGRAM = (sys.executable, "-m", "dispatcher")
SECONDS = 60.0
"""After this a process counts as hanging."""
ESCAPE = "\x1b["


@pytest.fixture(autouse=True)
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agents that every process works with."""
    folder = write_team(tmp_path / "team")
    monkeypatch.setenv("DISPATCH_AGENTS", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with serve() as running:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        yield running


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A whole process, with nothing on its standard input unless told otherwise."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*PROGRAM, *arguments], text=True, timeout=SECONDS, check=False, **options)


def in_shell(script: str, *, stdin: IO[Any] | int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """A shell script, in which "$@" is the program."""
    words = ["sh", "-c", script, "sh", *PROGRAM]
    return subprocess.run(words, stdin=stdin, capture_output=True, text=True, timeout=SECONDS, check=False)


class Terminal:
    """A process whose standard input and stderr are a terminal; its stdout is a pipe."""

    def __init__(self, process: subprocess.Popen[str], master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master

    def wait_for(self, text: str) -> None:
        """Reads what the terminal shows until `text` is there."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} never came: {self.shown!r}"
            assert self._read(), f"the process ended without {text!r}: {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code and stdout, once the process has ended."""
        while self._read():
            pass
        out, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out

    def _read(self) -> bool:
        try:
            content = os.read(self._master, 4096)
        except OSError:  # how Linux says that nobody has the terminal open any more
            return False
        self.shown += content.decode(errors="replace").replace("\r\n", "\n")
        return bool(content)


@contextmanager
def terminal(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
            env={**os.environ, "TERM": "xterm", **(environment or {})},
        ) as process:
            os.close(slave)
            try:
                yield Terminal(process, master)
            finally:
                process.kill()
    finally:
        os.close(master)


# --- interrupted, or nobody to write to


def test_ctrl_c_keeps_what_was_printed_and_exits_130(server: ScriptedServer) -> None:
    server.script(stalls("The first half"))
    words = [*PROGRAM, "--quiet", TASK]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        came = os.read(process.stdout.fileno(), 1000)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert came + out == b"The first half\n"
    assert err == b"interrupted\n"


def test_ctrl_c_while_a_judge_is_waited_for_exits_130(server: ScriptedServer) -> None:
    server.script(stalls())
    words = [*PROGRAM, "route", TASK, "--escalate", "always"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + SECONDS
        while not server.requests and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def test_a_service_that_is_not_there_leaves_the_router_s_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as gone:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", gone.base_url)
    ended = run("route", TASK, "--escalate", "always", env={**os.environ, "DISPATCH_LLM_MAX_RETRIES": "0"})
    assert (ended.returncode, ended.stdout) == (0, "gardener\n")
    assert "not judged, so this is what the scores alone say" in " ".join(ended.stderr.split())


def test_ctrl_c_at_a_question_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal("agnets", "list") as screen:
        screen.wait_for("[y/N]")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == (130, "")
        assert "Traceback" not in screen.shown


def test_a_closed_pipe_ends_the_program_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = run("agents", "list", "--all", stdout=closed)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_head_takes_its_line_in_peace() -> None:
    ended = in_shell('"$@" agents list --all | head -1')
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("butler")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_clear_error() -> None:
    with Path("/dev/full").open("w") as full:
        ended = run("agents", "list", "--all", stdout=full)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: the output could not be written: [^\n]+\n", ended.stderr)


@pytest.mark.parametrize(
    ("closing", "printed"), [(">&-", []), ("2>&-", ["sow"]), ("<&-", ["sow"]), ("<&- 2>&-", ["sow"])]
)
def test_streams_that_the_caller_closed_are_no_fault(closing: str, printed: list[str]) -> None:
    ended = in_shell(f'"$@" --dry-run --agent gardener sow {closing}')
    assert (ended.returncode, tasks(ended.stdout)) == (0, printed)
    assert "Traceback" not in ended.stderr
    assert "error" not in ended.stderr


def test_output_is_utf8_whatever_the_locale(team: Path) -> None:
    (team / "gardener.md").write_text("---\nname: gärtner\ndescription: sows seedlings →\n---\nx\n", encoding="utf-8")
    ended = subprocess.run(
        [*PROGRAM, "agents", "list"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=SECONDS,
    )
    assert "gärtner" in ended.stdout.decode("utf-8")


# --- standard input


def tasks(printed: str) -> list[str]:
    """The tasks of dry runs, one after another."""
    decoder, found = json.JSONDecoder(), []
    while printed := printed.lstrip():
        body, end = decoder.raw_decode(printed)
        found.append(body["messages"][0]["content"])
        printed = printed[end:]
    return found


def test_a_pipe_is_added_to_the_task() -> None:
    ended = run("--dry-run", "--agent", "gardener", "look at", input="- snails\n")
    assert tasks(ended.stdout) == ["look at\n\n- snails"]


def test_a_pipe_is_the_task_where_none_is_typed() -> None:
    assert tasks(run("--dry-run", "--agent", "gardener", input="sow beans\n").stdout) == ["sow beans"]


def test_a_regular_file_is_added_to_the_task(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("clay soil\n", encoding="utf-8")
    with notes.open() as file:
        ended = run("--dry-run", "--agent", "gardener", "look at", stdin=file)
    assert tasks(ended.stdout) == ["look at\n\nclay soil"]


def test_a_file_that_a_loop_reads_is_left_to_the_loop(tmp_path: Path) -> None:
    listed = tmp_path / "tasks.txt"
    listed.write_text("sow beans\nsow peas\n", encoding="utf-8")
    with listed.open() as file:
        ended = in_shell('while read -r line; do "$@" -q --dry-run --agent gardener "$line"; done', stdin=file)
    assert tasks(ended.stdout) == ["sow beans", "sow peas"]


def test_an_inherited_pipe_on_which_nothing_comes_does_not_hang() -> None:
    silent, writer = os.pipe()
    try:
        ended = run("--dry-run", "--agent", "gardener", "sow", stdin=silent)
    finally:
        os.close(silent)
        os.close(writer)
    assert tasks(ended.stdout) == ["sow"]
    assert "nothing came" in ended.stderr


def test_a_terminal_is_not_waited_for_where_there_is_no_task() -> None:
    with terminal() as screen:
        assert screen.end() == (2, "")
        assert "there is no task" in screen.shown


# --- at a terminal


def test_nearly_a_command_is_run_as_a_task_when_confirmed(server: ScriptedServer) -> None:
    server.script(says("done"))
    with terminal("--agent", "gardener", "agnets", "list") as screen:
        screen.wait_for("[y/N]")
        assert server.requests == []
        screen.type("y\n")
        assert screen.end() == (0, "done\n")
    assert server.requests[0].body["messages"][0]["content"] == "agnets list"


def test_nearly_a_command_is_not_run_unless_confirmed(server: ScriptedServer) -> None:
    with terminal("agnets", "list") as screen:
        screen.wait_for("[y/N]")
        screen.type("\n")
        assert screen.end() == (2, "")
        assert "dispatch agents" in screen.shown
    assert server.requests == []


def test_one_of_the_three_best_can_be_chosen(server: ScriptedServer) -> None:
    server.script(says("Water it."))
    with terminal("soup seedlings", environment={"DISPATCH_ROUTING_MIN_CONFIDENCE": "1"}) as screen:
        screen.wait_for("Which one?")
        number = re.findall(r"(\d)\. gardener", screen.shown)
        screen.type(f"{number[0]}\n")
        assert screen.end() == (0, "Water it.\n")
        assert "chosen" in screen.shown


@pytest.mark.parametrize(
    ("answer", "result"),
    [("y\n", "5"), ("\n", "the call was not approved"), ("\x04", "the call was not approved")],
)
def test_a_call_of_a_servers_tool_is_asked_for(server: ScriptedServer, answer: str, result: str) -> None:
    described = {
        "shop": {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_program.py")), "stdio"]}
    }
    server.script(calls(("mcp__shop__add", {"a": 2, "b": 3}), text="Let me see."), says("Five."))
    with terminal(TASK, environment={"DISPATCH_TOOLS_MCP_SERVERS": json.dumps(described)}) as screen:
        screen.wait_for("May it?")
        assert '{"a": 2, "b": 3}' in screen.shown
        screen.type(answer)
        assert screen.end() == (0, "Let me see.\nFive.\n")
    [told] = server.requests[1].body["messages"][-1]["content"]
    assert told["content"] == result


@pytest.mark.parametrize("answer", ["\n", "\x04"])
def test_choosing_none_of_the_three_abstains(server: ScriptedServer, answer: str) -> None:
    with terminal("soup seedlings", environment={"DISPATCH_ROUTING_MIN_CONFIDENCE": "1"}) as screen:
        screen.wait_for("Which one?")
        screen.type(answer)
        assert screen.end() == (4, "")
        assert "--agent" in screen.shown
    assert server.requests == []


def test_colors_are_for_terminals_and_not_with_no_color() -> None:
    words = ("config", "schema", "nothing")
    with terminal(*words) as screen:
        screen.end()
        assert f"{ESCAPE}31merror: " in screen.shown
    with terminal(*words, environment={"NO_COLOR": "1"}) as screen:
        screen.end()
        assert screen.shown.startswith("error: ")
        assert ESCAPE not in screen.shown
    assert run(*words).stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["dispatch", "ag"], ["agents"]),
        (["dispatch", "--ag"], ["--agent", "--agents"]),
        (["dispatch", "agnets", "--expl"], ["--explain"]),
    ],
)
def test_completion_offers_commands_and_the_options_of_a_task(
    words: list[str], offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_DISPATCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    ended = run()
    assert (ended.stdout.split(), ended.stderr) == (offered, "")


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys; from dispatcher.cli.app import main\n"
        "heavy = ('anthropic', 'sklearn', 'scipy', 'numpy', 'pydantic', 'rapidfuzz', 'rich', 'dispatcher.settings')\n"
        "try: main(sys.argv[1:])\n"
        "finally: print([name for name in heavy if name in sys.modules])"
    )
    for option in ("--help", "--version"):
        ended = subprocess.run(
            [sys.executable, "-c", script, option], capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert ended.stdout.splitlines()[-1] == "[]"


def test_a_task_that_is_only_looked_at_loads_nothing_heavy() -> None:
    script = (
        "import sys; from dispatcher.cli.app import main\n"
        "heavy = ('anthropic', 'pydantic', 'rapidfuzz', 'rich', 'scipy', 'sklearn')\n"
        "try: main(['--dry-run', '--no-store', 'write unit tests for the parser'])\n"
        "finally: print([name for name in heavy if name in sys.modules])"
    )
    for _ in range(2):  # the second time the agents are known
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_run_loads_no_more_than_it_takes_and_does_not_look_through_it_for_garbage(server: ScriptedServer) -> None:
    script = (
        "import gc, sys; from dispatcher.cli.app import main\n"
        "others = ('claude_agent_sdk', 'mcp', 'dispatcher.budgets', 'dispatcher.runtime.claude_code')\n"
        "begun = [generation['collections'] for generation in gc.get_stats()]\n"
        f"try: main([{TASK!r}])\n"
        "finally: print([name for name in others if name in sys.modules],\n"
        "    [generation['collections'] for generation in gc.get_stats()] == begun)"
    )
    for _ in range(2):  # the second time the agents are known
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    assert len(server.requests) == 2
    assert ended.stdout.splitlines()[-1] == "[] True"
