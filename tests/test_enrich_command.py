"""dispatch enrich as a user meets it: the plan, the question, the file, and going on after it was stopped."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatcher.testing import Answer, Recorded, ScriptedServer, fails, rate_limited, says, serve
from tests.cli_calls import Outcome, call
from tests.task_writer import BATCH, TaskWriter, tasks_for

PROGRAM = (sys.executable, "-m", "dispatcher")
SECONDS = 60.0
NAMES = ("baker", "joiner", "potter", "tailor")


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.md").write_text(agent_file(name), encoding="utf-8")
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with serve() as running:
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", running.base_url)
        monkeypatch.setenv("DISPATCH_LLM_MAX_RETRIES", "0")
        yield running


@pytest.fixture
def writer(server: ScriptedServer) -> TaskWriter:
    return TaskWriter(server)


@pytest.fixture
def enrich(team: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the command on the team, agreed to unless it says otherwise."""

    def run(*arguments: str, agrees: bool = True) -> Outcome:
        words = ["enrich", "--agents", str(team), "--count", "4", *arguments]
        return call(capsys, [*words, "--yes"] if agrees else words)

    return run


def agent_file(name: str, more: str = "") -> str:
    return f"---\nname: {name}\ndescription: Works as a {name} in the town.\n---\nYou work with your hands.\n{more}"


def written(team: Path) -> dict[str, Any]:
    """The lines of the file, by name."""
    lines = (team / "enriched.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["name"]: entry for entry in map(json.loads, lines)}


def left_in(team: Path) -> list[str]:
    return sorted(path.name for path in team.iterdir() if path.suffix != ".md")


# --- the main way


def test_new_agents_get_their_tasks_and_routing_finds_them(
    writer: TaskWriter, enrich: Any, team: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = enrich()
    assert (ended.code, ended.out) == (0, f"{team}/enriched.jsonl: 4 agents, 16 tasks, 4 near misses\n")
    assert "4 agents to ask for (4 new), 0 up to date" in ended.err
    assert "claude-sonnet-5-5 for 4 tasks each" in ended.err
    assert "there are no labelled tasks" in ended.err
    assert {name: entry["examples"] for name, entry in written(team).items()} == {n: tasks_for(n, 4) for n in NAMES}
    assert left_in(team) == ["enriched.jsonl"]
    routed = call(capsys, ["route", "--agents", str(team), "--json", tasks_for("potter", 4)[2]]).json
    assert routed["decision"]["agent"] == "potter"
    assert call(capsys, ["agents", "check", "--agents", str(team)]).out.endswith("0 errors, 0 warnings, 0 notes\n")


def test_agent_files_are_never_touched(writer: TaskWriter, enrich: Any, team: Path) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in team.glob("*.md")}
    enrich()
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in team.glob("*.md")} == before


def test_a_second_time_there_is_nothing_to_ask(writer: TaskWriter, enrich: Any, team: Path) -> None:
    enrich()
    before = (team / "enriched.jsonl").read_bytes()
    again = enrich()
    assert (again.code, again.out) == (0, "")
    assert "nothing to ask: 4 agents up to date" in again.err
    assert len(writer.asked) == 4
    assert (team / "enriched.jsonl").read_bytes() == before


def test_whose_file_changed_is_asked_for_again_and_stands_where_it_stood(
    writer: TaskWriter, enrich: Any, team: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrich()
    (team / "joiner.md").write_text(agent_file("joiner", "And with glue.\n"))
    checked = call(capsys, ["agents", "check", "--agents", str(team)])
    assert 'another version of the agent "joiner"' in " ".join(checked.out.split())
    ended = enrich()
    assert "1 agent to ask for (1 changed), 3 up to date" in ended.err
    assert writer.asked[4:] == ["joiner"]
    assert list(written(team)) == list(NAMES)
    assert len((team / "enriched.jsonl").read_text().splitlines()) == 4
    assert call(capsys, ["agents", "check", "--agents", str(team)]).out.endswith("0 errors, 0 warnings, 0 notes\n")


def test_an_edited_line_is_kept_also_when_its_file_changes(writer: TaskWriter, enrich: Any, team: Path) -> None:
    enrich()
    entries = [{**entry, "examples": ["in my own words"]} for entry in written(team).values()]
    text = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (team / "enriched.jsonl").write_text(text)
    enrich()
    assert (team / "enriched.jsonl").read_text() == text
    (team / "joiner.md").write_text(agent_file("joiner", "And with glue.\n"))
    enrich()
    assert (team / "enriched.jsonl").read_text().startswith(text)
    assert written(team)["joiner"]["examples"] == tasks_for("joiner", 4)


def test_names_limit_it(writer: TaskWriter, enrich: Any, team: Path) -> None:
    assert enrich("Potter", "baker").code == 0
    assert sorted(written(team)) == ["baker", "potter"]


def test_the_model_and_the_numbers_come_from_config_or_options(
    writer: TaskWriter, enrich: Any, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.yaml").write_text("dispatcher:\n  enrich: {model: haiku, concurrency: 1}\n")
    assert enrich("baker").code == 0
    assert enrich("joiner", "--model", "opus").code == 0
    models = [request.body["model"] for request in writer.server.requests]
    assert models == ["claude-haiku-5-5", "claude-opus-5-5"]


def test_config_can_name_another_file(writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path) -> None:
    Path("config.yaml").write_text("dispatcher: {enriched: mine.jsonl}\n")
    ended = enrich()
    assert (ended.code, left_in(team)) == (0, [])
    assert "error" not in ended.err
    assert len(Path("mine.jsonl").read_text().splitlines()) == 4
    assert "can't be read" not in ended.err


# --- before anything is asked


def test_a_dry_run_shows_the_plan_and_needs_no_key(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = call(capsys, ["enrich", "--agents", str(team), "--dry-run"])
    assert (ended.code, ended.err, left_in(team)) == (0, "", [])
    assert "4 agents to ask for (4 new), 0 up to date" in ended.out
    assert "potter: new; neighbours: " in ended.out
    assert "about $0.0" in ended.out


def test_without_anybody_to_agree_nothing_is_asked(writer: TaskWriter, enrich: Any, team: Path) -> None:
    ended = enrich(agrees=False)
    assert (ended.code, writer.asked, left_in(team)) == (2, [], [])
    assert "--yes" in ended.err


def test_without_a_key_it_says_which_variable(
    team: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = call(capsys, ["enrich", "--agents", str(team), "--yes"])
    assert (ended.code, left_in(team)) == (5, [])
    assert "ANTHROPIC_API_KEY is not set" in ended.err
    monkeypatch.setenv("DISPATCH_LLM_API_KEY_ENV", "MY_KEY")
    assert "MY_KEY is not set" in call(capsys, ["enrich", "--agents", str(team), "--yes"]).err


USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown agent": (("plumber",), 'there is no agent "plumber"'),
    "too dear": (("--max-cost", "0.001"), "more than the $0.0010 of --max-cost"),
    "no tasks to judge by": (("--reject-if-worse",), "--reject-if-worse needs labelled tasks"),
    "no such tasks": (("--tasks", "none.jsonl"), "none.jsonl: the tasks can't be read"),
    "no folder": (("--enriched", "none/mine.jsonl"), "can't be written: No such file or directory"),
    "price not known": (("--model", "qwen", "--max-cost", "1"), 'what "qwen" costs is not known'),
    "count": (("--count", "0"), "--count"),
}


@pytest.mark.parametrize("case", list(USAGE))
def test_a_wrong_call_is_told_before_anything_is_asked(writer: TaskWriter, enrich: Any, team: Path, case: str) -> None:
    arguments, message = USAGE[case]
    ended = enrich(*arguments)
    assert (ended.code, writer.asked, left_in(team)) == (2, [], [])
    assert message in " ".join(ended.err.split())


def test_rules_that_can_not_be_used_are_told_before_anything_is_asked(
    writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path
) -> None:
    Path("config.yaml").write_text("dispatcher: {rules: [{any: [cup], force: plumber}]}\n")
    ended = enrich("--tasks", labelled(tmp_path / "tasks.jsonl", ("my cup broke", "potter")))
    assert (ended.code, writer.asked, left_in(team)) == (2, [], [])
    assert '"plumber"' in ended.err


def test_an_agent_that_is_not_routed_to_needs_no_examples(writer: TaskWriter, enrich: Any, team: Path) -> None:
    hidden = agent_file("butler").replace("---\nYou", "disable-model-invocation: true\n---\nYou")
    (team / "butler.md").write_text(hidden)
    assert "kept out of routing" in enrich("butler").err
    assert enrich().code == 0
    assert "butler" not in written(team)


def test_bundled_agents_are_left_alone(writer: TaskWriter, capsys: pytest.CaptureFixture[str]) -> None:
    ended = call(capsys, ["enrich", "--yes"])
    assert (ended.code, writer.asked) == (2, [])
    assert "only bundled agents" in ended.err


# --- where something fails


def test_what_failed_is_told_and_asked_for_again(writer: TaskWriter, enrich: Any, team: Path) -> None:
    writer.special = {"potter": says("I'd rather not", stop_reason="refusal")}
    ended = enrich()
    assert ended.code == 5
    assert "potter: the model declined to answer" in ended.err
    assert "nothing came for potter" in ended.err
    assert sorted(written(team)) == ["baker", "joiner", "tailor"]
    writer.special = {}
    assert enrich().code == 0
    assert writer.asked[4:] == ["potter"]


def test_refused_tasks_are_listed_with_their_reason(writer: TaskWriter, enrich: Any) -> None:
    tasks = ["my cup has a crack", "@baker bring bread", "My cup has a crack!"]
    writer.special = {"potter": says(json.dumps({"examples": tasks, "near_misses": []}))}
    ended = enrich("potter")
    assert ended.code == 0
    assert "2 tasks of the answers not used" in ended.err
    assert 'potter: it names the agent "baker": "@baker bring bread"' in ended.err
    assert 'potter: the agent has one like it: "My cup has a crack!"' in ended.err


@pytest.mark.parametrize(
    ("answer", "message"),
    [(fails(401, "authentication_error"), "refused the key"), (fails(500, "api_error"), "the service failed")],
    ids=["401", "500"],
)
def test_an_error_of_the_service_keeps_what_came(
    writer: TaskWriter, enrich: Any, team: Path, answer: Answer, message: str
) -> None:
    writer.special = {"potter": answer}
    ended = enrich("--concurrency", "1")
    assert ended.code == 5
    assert message in ended.err
    assert "what came for 2 agents is in place; the same command goes on with the rest" in ended.err
    assert "20 tokens in, 10 out" in ended.err
    assert sorted(written(team)) == ["baker", "joiner"]
    writer.special = {}
    assert enrich().code == 0
    assert sorted(writer.asked[3:]) == ["potter", "tailor"]


def test_too_many_requests_are_waited_for(writer: TaskWriter, enrich: Any, team: Path) -> None:
    left = [rate_limited(0.01), rate_limited(0.01)]
    usual = says(json.dumps({"examples": ["my cup has a crack"], "near_misses": []}))
    writer.special = {"potter": lambda _: left.pop() if left else usual}
    assert enrich().code == 0
    assert sorted(written(team)) == list(NAMES)


def test_the_limit_of_the_cost_is_told(
    writer: TaskWriter, enrich: Any, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"input_tokens": 400_000, "output_tokens": 1}
    text = json.dumps({"examples": ["my bread is flat"], "near_misses": []})
    writer.special = {"baker": says(text, usage=usage)}
    ended = enrich("--concurrency", "1", "--max-cost", "0.5")
    assert ended.code == 1
    assert "3 agents were left out, to stay within --max-cost" in ended.err
    assert sorted(written(team)) == ["baker"]


# --- the gain


def labelled(path: Path, *tasks: tuple[str, str]) -> str:
    path.write_text("".join(json.dumps({"task": task, "agent": agent}) + "\n" for task, agent in tasks))
    return str(path)


def test_the_gain_is_shown_on_tasks_that_are_nobodys_example(
    writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path
) -> None:
    example = tasks_for("potter", 4)[0]
    tasks = labelled(
        tmp_path / "tasks.jsonl", (example, "potter"), ("rettop squeaks", "potter"), ("roliat rattles", "tailor")
    )
    ended = enrich("--tasks", tasks)
    assert ended.code == 0
    assert "2 held-out tasks with an agent, 0 that fit none" in ended.out
    figures = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.startswith("top")}
    assert figures["top1"][1] == "1.000"
    assert float(figures["top1"][0]) < 1


def test_tasks_that_are_all_examples_measure_nothing(
    writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path
) -> None:
    tasks = labelled(tmp_path / "tasks.jsonl", (tasks_for("potter", 4)[0].upper(), "potter"))
    ended = enrich("--tasks", tasks, "--reject-if-worse")
    assert ended.code == 0
    assert "all tasks are examples of agents" in ended.err
    assert sorted(written(team)) == list(NAMES)


def test_worse_examples_are_put_aside(writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path) -> None:
    by_hand = '{"name": "tailor", "examples": ["hem of my trousers"]}\n'
    (team / "enriched.jsonl").write_text(by_hand)
    writer.special = {"potter": says(json.dumps({"examples": ["hem my trousers, the hem"], "near_misses": []}))}
    tasks = labelled(tmp_path / "tasks.jsonl", ("hem my trousers", "tailor"), ("the hem, my hem", "tailor"))
    ended = enrich("--tasks", tasks, "--reject-if-worse", "potter")
    assert ended.code == 1
    assert "nothing was put in place" in ended.out
    assert (team / "enriched.jsonl").read_text() == by_hand
    assert left_in(team) == ["enriched.jsonl", "enriched.jsonl.rejected"]
    kept = json.loads((team / "enriched.jsonl.rejected").read_text())
    assert (kept["name"], kept["examples"]) == ("potter", ["hem my trousers, the hem"])


def test_better_examples_are_not_rejected(writer: TaskWriter, enrich: Any, team: Path, tmp_path: Path) -> None:
    tasks = labelled(tmp_path / "tasks.jsonl", ("rettop squeaks", "potter"))
    assert enrich("--tasks", tasks, "--reject-if-worse").code == 0
    assert sorted(written(team)) == list(NAMES)


# --- a batch


def test_a_batch_is_one_call_and_half_the_price(writer: TaskWriter, enrich: Any, team: Path) -> None:
    writer.looks = 0
    ended = enrich("--batch")
    assert ended.code == 0
    assert sorted(written(team)) == list(NAMES)
    assert left_in(team) == ["enriched.jsonl"]
    assert "waiting for batch msgbatch_scripted, 4 calls" in " ".join(ended.err.split())
    assert "$4.0000" in ended.err  # 4 million tokens at 2 dollars, halved
    assert writer.server.requests[0].path == "/v1/messages/batches"
    assert "/v1/messages" not in [request.path for request in writer.server.requests]


def test_a_batch_that_was_left_is_collected_by_the_next_run(
    writer: TaskWriter, server: ScriptedServer, enrich: Any, team: Path
) -> None:
    writer.looks = 0
    usual = writer.answer
    server.script(
        lambda request: fails(401, "authentication_error") if request.path.endswith(BATCH) else usual(request)
    )
    ended = enrich("--batch")
    assert ended.code == 5
    assert f"the batch {BATCH} is remembered" in ended.err
    assert left_in(team) == ["enriched.jsonl.partial"]
    server.script(usual)
    submitted = len(server.requests)
    assert enrich().code == 0
    assert not [request for request in server.requests[submitted:] if request.path == "/v1/messages/batches"]
    assert (sorted(written(team)), left_in(team)) == (list(NAMES), ["enriched.jsonl"])


def test_without_waiting_a_batch_under_way_is_left_alone(
    writer: TaskWriter, server: ScriptedServer, enrich: Any, team: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = writer.answer
    server.script(
        lambda request: fails(401, "authentication_error") if request.path.endswith(BATCH) else usual(request)
    )
    enrich("--batch")
    server.script(usual)
    writer.looks = 100
    ended = enrich()
    assert ended.code == 0
    assert "has not ended; --batch waits for it" in " ".join(ended.err.split())
    assert "4 agents in a batch under way" in ended.err
    assert writer.asked == []
    assert left_in(team) == ["enriched.jsonl.partial"]
    dry = call(capsys, ["enrich", "--agents", str(team), "--dry-run"])
    assert "4 agents in a batch under way" in dry.out


# --- real processes: killed, interrupted, two at once


@contextmanager
def process(team: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    words = [*PROGRAM, "enrich", "--agents", str(team), "--count", "4", "--yes", *arguments]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


class Held:
    """Holds the answer for one agent back, and tells when it was asked for."""

    def __init__(self, writer: TaskWriter, name: str) -> None:
        self.is_asked = threading.Event()
        self.goes_on = threading.Event()
        text = json.dumps({"examples": [f"{name} came late"], "near_misses": []})

        def answer(_: object) -> Answer:
            self.is_asked.set()
            return says(text, waits_for=self.goes_on)

        writer.special = {name: answer}


def test_killed_in_the_middle_only_the_call_in_flight_is_asked_again(
    writer: TaskWriter, enrich: Any, team: Path
) -> None:
    held = Held(writer, "potter")
    with process(team, "--concurrency", "1") as running:
        assert held.is_asked.wait(SECONDS)
        running.send_signal(signal.SIGKILL)
        assert running.wait(SECONDS) == -9
    assert left_in(team) == ["enriched.jsonl.partial"]
    writer.special = {}
    assert enrich().code == 0
    assert writer.asked[:3] == ["baker", "joiner", "potter"]
    assert sorted(writer.asked[3:]) == ["potter", "tailor"]
    assert (sorted(written(team)), left_in(team)) == (list(NAMES), ["enriched.jsonl"])


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(writer: TaskWriter, team: Path) -> None:
    held = Held(writer, "potter")
    with process(team, "--concurrency", "1") as running:
        assert held.is_asked.wait(SECONDS)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, out) == (130, "")
    assert "what came for 2 agents is in place; the same command goes on with the rest" in err
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err
    assert (sorted(written(team)), left_in(team)) == (["baker", "joiner"], ["enriched.jsonl"])


def test_ctrl_c_with_reject_if_worse_puts_nothing_in_place(writer: TaskWriter, team: Path, tmp_path: Path) -> None:
    held = Held(writer, "potter")
    tasks = labelled(tmp_path / "tasks.jsonl", ("rettop squeaks", "potter"))
    with process(team, "--concurrency", "1", "--tasks", tasks, "--reject-if-worse") as running:
        assert held.is_asked.wait(SECONDS)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 130
    assert "what came for 2 agents is kept" in err
    assert left_in(team) == ["enriched.jsonl.partial"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_stopped_while_a_batch_is_waited_for_the_next_run_collects_it(
    writer: TaskWriter, server: ScriptedServer, enrich: Any, team: Path, ending: signal.Signals
) -> None:
    writer.looks = 1_000
    is_looked_at = threading.Event()
    usual = writer.answer

    def answer(request: Recorded) -> Answer:
        if request.path.endswith(BATCH):
            is_looked_at.set()
        return usual(request)

    server.script(answer)
    with process(team, "--batch") as running:
        assert is_looked_at.wait(SECONDS)
        running.send_signal(ending)
        _, err = running.communicate(timeout=SECONDS)
    assert running.returncode == (130 if ending == signal.SIGINT else -9)
    assert (f"the batch {BATCH} is remembered" in err) == (ending == signal.SIGINT)
    assert left_in(team) == ["enriched.jsonl.partial"]
    writer.looks = 0
    assert enrich().code == 0
    assert (sorted(written(team)), left_in(team)) == (list(NAMES), ["enriched.jsonl"])
    assert [each.path for each in server.requests].count("/v1/messages/batches") == 1


def test_two_at_once_is_one_too_many(writer: TaskWriter, enrich: Any, team: Path) -> None:
    held = Held(writer, "potter")
    with process(team) as running:
        assert held.is_asked.wait(SECONDS)
        second = enrich()
        held.goes_on.set()
        out, _ = running.communicate(timeout=SECONDS)
    assert second.code == 2
    assert "another `dispatch enrich` is at work" in second.err
    assert (running.returncode, writer.asked.count("potter")) == (0, 1)
    assert "4 agents" in out
    assert left_in(team) == ["enriched.jsonl"]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 2), ("\x04", 2)])
def test_at_a_terminal_it_asks_first(writer: TaskWriter, team: Path, answer: str, code: int) -> None:
    shown, returncode = at_terminal(team, answer)
    assert returncode == code
    assert "Make 4 calls for about $0." in shown
    assert len(writer.asked) == (4 if code == 0 else 0)
    assert left_in(team) == (["enriched.jsonl"] if code == 0 else [])


def at_terminal(team: Path, answer: str) -> tuple[str, int]:
    """What a terminal shows of the command when the question is answered so, and the exit code."""
    master, slave = pty.openpty()
    words = [*PROGRAM, "enrich", "--agents", str(team), "--count", "4"]
    shown = ""
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "dumb"}) as asked:
        os.close(slave)
        while select.select([master], [], [], SECONDS)[0]:
            try:
                shown += os.read(master, 4096).decode()
            except OSError:  # how Linux says that nobody has the terminal open any more
                break
            if "[y/N]" in shown and answer:
                os.write(master, answer.encode())
                answer = ""
    os.close(master)
    return shown, asked.returncode
