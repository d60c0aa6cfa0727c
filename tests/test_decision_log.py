"""The decision log as a library sees it: what is written of a run, and what becomes of the files."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dispatcher import ConfigError, Dispatcher, DispatcherError, Registry, Settings
from dispatcher.decisionlog import DecisionLog, EntryOutcome, LogEntry, LogFilter, Redaction, new_entry_id
from dispatcher.errors import BudgetError, OverloadedError
from dispatcher.settings import BudgetSettings, JudgeSettings, LLMSettings, RoutingSettings
from dispatcher.testing import ScriptedClient, overloaded, says

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
COOK = "---\nname: cook\ndescription: Writes recipes for dinner.\n---\nYou cook.\n"
REVIEW = "review this pull request for bugs"
USAGE = {"input_tokens": 1_000, "output_tokens": 100}

RegistryOf = Callable[..., Registry]
Make = Callable[..., Dispatcher]


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog(tmp_path / "log")


@pytest.fixture
def make(registry_of: RegistryOf, log: DecisionLog) -> Make:
    registry = registry_of({"r.md": REVIEWER, "c.md": COOK})

    def made(*answers: Any, settings: Settings | None = None, environment: Any = None) -> Dispatcher:
        client = ScriptedClient(*answers) if answers else None
        return Dispatcher(registry, settings=settings, client=client, environment=environment or {}, log=log)

    return made


def only(log: DecisionLog) -> LogEntry:
    (entry,), faults = log.entries()
    assert faults == ()
    return entry


def entry_of(**values: Any) -> LogEntry:
    given: dict[str, Any] = {"id": new_entry_id(), "time": datetime.now(UTC), "task": "a task"}
    return LogEntry(**{**given, "outcome": EntryOutcome.ANSWERED, **values})


WAYS: dict[str, Callable[[Dispatcher, str], Any]] = {
    "dispatch": lambda dispatcher, task: dispatcher.dispatch(task, agent="reviewer"),
    "stream": lambda dispatcher, task: list(dispatcher.stream(task, agent="reviewer")),
    "adispatch": lambda dispatcher, task: asyncio.run(dispatcher.adispatch(task, agent="reviewer")),
    "astream": lambda dispatcher, task: asyncio.run(collected(dispatcher.astream(task, agent="reviewer"))),
}


async def collected(events: Any) -> list[Any]:
    return [event async for event in events]


@pytest.fixture(params=list(WAYS))
def run(request: pytest.FixtureRequest) -> Callable[[Dispatcher, str], Any]:
    return WAYS[str(request.param)]


def test_a_run_is_written_with_its_decision_and_its_cost(make: Make, log: DecisionLog, run: Any) -> None:
    dispatcher = make(
        overloaded(), says("Fine.", usage=USAGE), settings=Settings(llm=LLMSettings(fallbacks=("haiku",)))
    )
    run(dispatcher, REVIEW)
    entry = only(log)
    assert (entry.task, entry.agent, entry.how, entry.outcome) == (REVIEW, "reviewer", "forced", "answered")
    assert (entry.model, entry.stop_reason, entry.attempts) == ("claude-haiku-5-5", "end_turn", 2)
    assert (entry.usage.input_tokens, entry.usage.output_tokens) == (1_000, 100)
    assert entry.cost == pytest.approx((1_000 * 0.1 + 100 * 0.5) / 1e6)
    assert entry.weights == dispatcher.router.weights.fingerprint
    assert len(entry.registry) == 12
    assert abs(entry.time - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_answer_is_not_in_it(make: Make, log: DecisionLog, run: Any) -> None:
    run(make(says("A very private answer.")), REVIEW)
    assert "private" not in "".join(path.read_text(encoding="utf-8") for path in log.files())


def test_a_failure_is_written_with_its_error(make: Make, log: DecisionLog, run: Any) -> None:
    with pytest.raises(OverloadedError):
        run(make(overloaded()), REVIEW)
    entry = only(log)
    assert (entry.outcome, entry.error, entry.attempts, entry.cost) == ("failed", "OverloadedError", 1, None)


def test_a_run_over_budget_is_written_as_one(make: Make, log: DecisionLog, run: Any) -> None:
    with pytest.raises(BudgetError):
        run(make("x", settings=Settings(budget=BudgetSettings(run=0))), REVIEW)
    assert (only(log).outcome, only(log).cost) == ("over-budget", 0)


def test_a_stream_that_the_caller_stops_was_cancelled(make: Make, log: DecisionLog) -> None:
    events: Any = make(says("a", "b")).stream(REVIEW, agent="reviewer")
    next(events)
    next(events)
    events.close()
    assert only(log).outcome == "cancelled"


def test_an_answer_that_was_cut_off_is_incomplete(make: Make, log: DecisionLog) -> None:
    make(says("a", stop_reason="max_tokens")).dispatch(REVIEW, agent="reviewer")
    assert (only(log).outcome, only(log).stop_reason) == ("incomplete", "max_tokens")


def test_abstaining_is_written_too(make: Make, log: DecisionLog) -> None:
    make("x").dispatch("zzz qqq")
    entry = only(log)
    assert (entry.outcome, entry.agent, entry.cost) == ("abstained", None, 0)
    assert entry.reason


def test_what_a_judge_cost_counts(make: Make, log: DecisionLog) -> None:
    pick = json.dumps({"agent": "cook", "reason": "x", "sureness": 0.9})
    settings = Settings(routing=RoutingSettings(escalate="always"), judge=JudgeSettings(model="haiku"))
    make(says(pick, usage=USAGE), says("x", usage=USAGE), settings=settings).dispatch("something for dinner")
    entry = only(log)
    assert entry.judged
    assert entry.cost == pytest.approx((1_000 * 2.1 + 100 * 10.5) / 1e6)


def test_what_is_sent_to_nobody_is_not_kept(make: Make, log: DecisionLog) -> None:
    make().dispatch(REVIEW, agent="reviewer")
    make().dispatch("zzz qqq")
    make(settings=Settings(llm=LLMSettings(offline="error"))).dispatch("zzz qqq")
    assert not log.folder.exists()


def test_a_folder_that_was_deleted_spoils_no_run(
    make: Make, log: DecisionLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert make("fine").dispatch(REVIEW, agent="reviewer").text == "fine"
    assert only(log).folder == ""


def test_without_a_log_nothing_is_written(registry_of: RegistryOf, tmp_path: Path) -> None:
    dispatcher = Dispatcher(registry_of({"r.md": REVIEWER}), client=ScriptedClient())
    dispatcher.dispatch(REVIEW, agent="reviewer")
    assert not (tmp_path / "home" / ".local").exists()


def test_a_log_that_can_not_be_written_does_not_spoil_the_run(
    make: Make, log: DecisionLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.folder.touch()
    assert make("fine").dispatch(REVIEW, agent="reviewer").text == "fine"
    assert "the decision log can't be written" in caplog.text


def test_the_fingerprint_of_the_registry_is_that_of_its_files(registry_of: RegistryOf, tmp_path: Path) -> None:
    prints = []
    for number, text in enumerate((REVIEWER, REVIEWER, REVIEWER + "More.\n")):
        log = DecisionLog(tmp_path / f"log{number}")
        Dispatcher(registry_of({"r.md": text}), client=ScriptedClient(), log=log).dispatch(REVIEW, agent="reviewer")
        prints.append(only(log).registry)
    assert (prints[0] == prints[1], prints[0] == prints[2]) == (True, False)


def test_what_the_user_does_not_want_is_not_written(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log", redaction=Redaction([r"\b\w+@\w+\.\w+\b", "(?i)acme"]))
    log.add(entry_of(task="mail ann@example.org about ACME, key sk-ant-0123456789", reason="it says Acme"))
    text = log.files()[0].read_text(encoding="utf-8")
    assert "mail [redacted] about [redacted], key [key]" in text
    assert "it says [redacted]" in text


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r'log\.redact: "\(x" is no regular expression: missing \)'):
        Redaction(["(x"])


def test_a_pattern_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    named = tmp_path / "mine.yaml"
    named.write_text("dispatcher:\n  log:\n    redact: ['(x']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml:3: log\.redact: "):
        Dispatcher.from_config(folder=tmp_path, config=named)


def test_the_files_are_for_the_user_alone(log: DecisionLog) -> None:
    log.add(entry_of())
    (path,) = log.files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700


def test_an_entry_comes_back_as_it_was(log: DecisionLog) -> None:
    entry = entry_of(
        time=datetime.now(UTC).replace(microsecond=123_000),
        task='日本語 "quoted"\nline\u2028two \0',
        candidates=(("a", 0.5), ("b", -0.1)),
        cost=0.25,
        session="s",
    )
    log.add(entry)
    assert only(log) == entry


def test_the_last_one_comes_first_and_filters_go_together(log: DecisionLog) -> None:
    now = datetime.now(UTC)
    for hours, agent, outcome, task in (
        (30, "cook", "answered", "bake Bread"),
        (2, "cook", "failed", "bake bread"),
        (1, "reviewer", "answered", "review"),
    ):
        log.add(entry_of(time=now - timedelta(hours=hours), agent=agent, outcome=EntryOutcome(outcome), task=task))

    def found(**wanted: Any) -> list[str]:
        return [f"{entry.agent} {entry.outcome}" for entry in log.entries(LogFilter(**wanted))[0]]

    assert found() == ["reviewer answered", "cook failed", "cook answered"]
    assert found(agent="Cook") == ["cook failed", "cook answered"]
    assert found(since=now - timedelta(hours=3)) == ["reviewer answered", "cook failed"]
    assert found(outcome=EntryOutcome.ANSWERED, text="BREAD") == ["cook answered"]


def test_files_whose_time_is_over_are_deleted(log: DecisionLog) -> None:
    log.add(entry_of(time=datetime.now(UTC) - timedelta(days=40)))
    assert log.entries()[0] == ()
    log.add(entry_of(time=datetime.now(UTC) - timedelta(days=20)))
    log.add(entry_of())
    assert len(log.entries()[0]) == 2


def test_a_full_file_is_followed_by_another_and_the_oldest_go(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log", max_bytes=20_000)
    for number in range(50):
        log.add(entry_of(task=f"{number} " + "x" * 1_000))
    assert len(log.files()) <= 2
    assert sum(path.stat().st_size for path in log.files()) < 45_000
    assert log.entries()[0][0].task.startswith("49 ")


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    for name in ("notes.jsonl", "2020-13-45.0.jsonl", "2020-01-01.jsonl"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    log.add(entry_of())
    assert len(log.files()) == 1
    assert (tmp_path / "2020-01-01.jsonl").exists()


def test_a_torn_line_is_told_and_the_next_one_is_whole(log: DecisionLog) -> None:
    log.add(entry_of(task="first"))
    (path,) = log.files()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"id": "x", "ti')
    log.add(entry_of(task="second"))
    entries, faults = log.entries()
    assert {entry.task for entry in entries} == {"first", "second"}
    assert faults == (f"{path}:2: this line is torn or of another form, and is passed over",)


WRITER = """
import sys
from datetime import datetime, UTC
from dispatcher.decisionlog import DecisionLog, EntryOutcome, LogEntry
log = DecisionLog(sys.argv[1])
for number in range(int(sys.argv[3])):
    task = f"{sys.argv[2]} {number} " + "x" * 3000
    log.add(LogEntry(id="i", time=datetime.now(UTC), task=task, outcome=EntryOutcome.ANSWERED))
    print(number, flush=True)
"""


def test_processes_write_into_one_log(log: DecisionLog) -> None:
    command = [sys.executable, "-c", WRITER, str(log.folder)]
    running = [subprocess.Popen([*command, name, "100"], stdout=subprocess.DEVNULL) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    entries, faults = log.entries()
    assert (len(entries), faults) == (300, ())


def test_a_process_that_is_killed_tears_no_line_that_was_written(log: DecisionLog) -> None:
    command = [sys.executable, "-c", WRITER, str(log.folder), "a", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 30:
                process.send_signal(signal.SIGKILL)
                break
    entries, _ = log.entries()
    assert len(entries) >= 31
    log.add(entry_of(task="after"))
    assert log.entries()[0][0].task == "after"


def test_a_full_disk_is_told_and_leaves_what_was_written(log: DecisionLog) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-c", WRITER, str(log.folder), "a", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=little_room)
    assert "the decision log can't be written" in done.stderr
    entries, _ = log.entries()
    assert len(entries) == len(done.stdout.split()) > 0
    log.add(entry_of(task="after"))
    assert log.entries()[0][0].task == "after"


def test_a_log_that_may_not_be_read_is_told(log: DecisionLog) -> None:
    log.add(entry_of())
    (path,) = log.files()
    path.unlink()
    path.mkdir()
    with pytest.raises(DispatcherError, match="can't be read"):
        log.entries()


def test_times_are_kept_in_utc_and_read_from_any_zone(log: DecisionLog) -> None:
    log.add(entry_of())
    (path,) = log.files()
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["time"].endswith("+00:00")
    path.write_text(json.dumps({**record, "time": "2026-05-01T12:00:00+02:00"}), encoding="utf-8")
    assert only(log).time == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert replace(only(log), time=record["time"]).task == "a task"
