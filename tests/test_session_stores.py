"""Stores of conversations: the public contracts, and what only real processes and disks show."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dispatcher import MemorySessionStore, Message, SessionStore, SQLiteSessionStore, Turn
from dispatcher.errors import SessionStoreError
from dispatcher.sessions import EXPORT_FORMATS, export_session
from dispatcher.sessions.migrations import MIGRATIONS, migrate
from dispatcher.sessions.turn import new_turn_id, now
from dispatcher.testing import SESSION_STORE_CONTRACTS, BrokenContractError, Contract, check_session_store

PROGRAM = [sys.executable, "-m", "tests.conversing"]
ROOT = Path(__file__).parents[1]
SECONDS = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions.sqlite3"


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, path: Path) -> Callable[[], SessionStore]:
    """Opens the same place again and again."""
    if request.param == "sqlite":
        return lambda: SQLiteSessionStore(path)
    store = MemorySessionStore()
    return lambda: store


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteSessionStore]:
    with SQLiteSessionStore(path) as opened:
        yield opened


def turn_of(task: str = "a task", **fields: Any) -> Turn:
    return Turn(id=new_turn_id(), number=1, task=task, started=now(), **fields)


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT, **options
    )


@pytest.mark.parametrize("contract", SESSION_STORE_CONTRACTS, ids=str)
def test_the_stores_keep_every_contract(contract: Contract, open_store: Callable[[], SessionStore]) -> None:
    contract.check(open_store)


def test_the_contracts_are_numbered_from_one() -> None:
    assert [each.number for each in SESSION_STORE_CONTRACTS] == list(range(1, len(SESSION_STORE_CONTRACTS) + 1))


class Forgetful(MemorySessionStore):
    """Keeps nothing of what it is told."""

    def put(self, session_id: str, turn: Turn) -> None:
        """Says that all is well."""


class Careless(MemorySessionStore):
    """Lets everybody hold everything."""

    def try_hold(self, session_id: str) -> bool:
        return True


class Doubling(MemorySessionStore):
    """Gives the last turn twice."""

    def turns(self, session_id: str, *, last: int | None = None) -> tuple[Turn, ...]:
        found = super().turns(session_id, last=last)
        return (*found, *found[-1:])


class Clinging(MemorySessionStore):
    """Lets go of nothing, and says it did."""

    def remove_last(self, session_id: str, turn_id: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [(Forgetful, {2, 3, 4, 5, 6}), (Careless, {16}), (Doubling, {2, 4, 6, 8}), (Clinging, {20, 21, 22})],
)
def test_a_store_that_breaks_contracts_is_told_which(kind: type[MemorySessionStore], numbers: set[int]) -> None:
    store = kind()
    with pytest.raises(BrokenContractError) as caught:
        check_session_store(lambda: store)
    broken = {int(line.partition(".")[0]) for line in str(caught.value).splitlines() if line[0].isdigit()}
    assert numbers <= broken
    assert 1 not in broken


def test_the_file_is_the_users_alone(store: SQLiteSessionStore, path: Path) -> None:
    old_mask = os.umask(0)
    try:
        store.put("a", turn_of())
        store.try_hold("a")
    finally:
        os.umask(old_mask)
    files = [each for each in path.parent.rglob("*") if each.is_file()]
    assert {each.suffix for each in files} >= {".sqlite3", ".lock", ".sqlite3-wal"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_made_before_it_is_needed(store: SQLiteSessionStore, path: Path) -> None:
    assert not path.parent.exists()


def test_what_was_deleted_is_not_in_the_file_any_more(store: SQLiteSessionStore, path: Path) -> None:
    store.put("a", turn_of("a very private sentence"))
    store.delete("a")
    store.close()
    assert b"very private" not in path.read_bytes()


# --- migrations


def test_each_migration_runs_once_and_in_order(path: Path) -> None:
    path.parent.mkdir()
    ran: list[str] = []

    def m001_first(connection: sqlite3.Connection) -> None:
        ran.append("first")
        connection.execute("CREATE TABLE one (a)")

    def m002_second(connection: sqlite3.Connection) -> None:
        ran.append("second")
        connection.execute("ALTER TABLE one ADD COLUMN b")

    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, (m001_first,))
    migrate(connection, (m001_first, m002_second))
    migrate(connection, (m001_first, m002_second))
    connection.close()
    assert ran == ["first", "second"]


def test_a_migration_that_fails_leaves_nothing_behind(path: Path) -> None:
    path.parent.mkdir()

    def m001_bad(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE one (a)")
        connection.execute("CREATE TABLE one (a)")

    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, (m001_bad,))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    assert tables == ["migrations"]


def test_migrations_have_names_that_sort_as_they_run() -> None:
    names = [migration.__name__ for migration in MIGRATIONS]
    assert names == sorted(names)


def test_a_file_of_a_later_release_is_refused_and_left_alone(store: SQLiteSessionStore, path: Path) -> None:
    store.put("a", turn_of())
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO migrations VALUES ('m999_later', 999)")
    connection.commit()
    connection.close()
    with pytest.raises(SessionStoreError, match="later release"):
        store.turns("a")


# --- what is no store, or a damaged one


def test_a_file_that_is_no_database_is_told_and_left_alone(store: SQLiteSessionStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("dear diary, " * 100, encoding="utf-8")
    with pytest.raises(SessionStoreError, match="file is not a database") as caught:
        store.put("a", turn_of())
    assert "sessions.path" in str(caught.value.hint)
    assert path.read_text(encoding="utf-8").startswith("dear diary")


def test_a_turn_that_was_damaged_is_told_with_its_place(store: SQLiteSessionStore, path: Path) -> None:
    store.put("a", turn_of())
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE turns SET turn = '{\"id\": 1}'")
    connection.commit()
    connection.close()
    with pytest.raises(SessionStoreError, match='the session "a", turn 1: what is kept there is no turn'):
        store.turns("a")


@pytest.mark.parametrize("statement", ["UPDATE sessions SET created = 'then'", "UPDATE sessions SET updated = 'soon'"])
def test_a_session_whose_times_were_damaged_is_told(store: SQLiteSessionStore, path: Path, statement: str) -> None:
    store.put("a", turn_of())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    for read in (store.sessions, lambda: store.info("a")):
        with pytest.raises(SessionStoreError, match="can't be read") as caught:
            read()
        assert caught.value.hint


@pytest.mark.parametrize("export_format", EXPORT_FORMATS)
def test_half_a_surrogate_pair_is_stored_listed_and_exported(store: SQLiteSessionStore, export_format: str) -> None:
    turn = turn_of("cut \ud83d", agent="half \ud83d", messages=(Message(role="user", content="cut \ud83d"),))
    store.put("a", turn)
    store.put("a", turn)
    assert store.turns("a") == (turn,)
    assert [(info.title, info.agents) for info in store.sessions()] == [("cut ?", ("half ?",))]
    assert export_session("a", store.turns("a"), export_format).encode("utf-8")


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SessionStoreError, match="the sessions can't be used"):
        SQLiteSessionStore(tmp_path / "file" / "s.sqlite3").put("a", turn_of())


def test_keys_of_a_later_release_are_left_out(store: SQLiteSessionStore, path: Path) -> None:
    turn = turn_of()
    store.put("a", turn)
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE turns SET turn = json_set(turn, '$.mood', 'fine', '$.usage.mood', 1)")
    connection.commit()
    connection.close()
    assert store.turns("a") == (turn,)


# --- processes


def test_a_new_file_that_another_writes_at_that_moment_is_waited_for(
    store: SQLiteSessionStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        writer.close()

    monkeypatch.setattr("time.sleep", pause)
    store.put("beds", turn_of())
    assert len(waits) == 1
    assert [turn.number for turn in store.turns("beds")] == [1]


def test_many_threads_can_open_a_new_file_at_once(path: Path) -> None:
    problems: list[BaseException] = []
    start = threading.Barrier(8)

    def write(name: str) -> None:
        start.wait()
        try:
            with SQLiteSessionStore(path) as store:
                store.put(name, dataclasses.replace(turn_of(), task=name))
        except BaseException as problem:  # noqa: BLE001  told by the thread that waits
            problems.append(problem)

    threads = [threading.Thread(target=write, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with SQLiteSessionStore(path) as store:
        assert {info.title for info in store.sessions()} == {f"s{number}" for number in range(8)}


def test_killed_between_any_two_statements_a_turn_is_whole_torn_or_not_begun(path: Path) -> None:
    done = program("kills", str(path))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) >= 20
    assert [row["killed"] for row in rows] == [True] * (len(rows) - 1) + [False]
    first = {
        "none": [],
        "torn": [[1, "torn", "bake a rye bread", ""]],
        "done": [[1, "done", "bake a rye bread", "answer to 1"]],
    }
    seen = set()
    for row in rows:
        *before, last = row["turns"]
        [kind] = [name for name, turns in first.items() if turns == before]
        seen.add(kind)
        messages = 3 if kind == "done" else 1
        assert last == [len(before) + 1, "done", "sew new curtains", f"answer to {messages}"]
        assert ("TornTurnFound" in row["events"]) == (kind == "torn")
    assert seen == {"none", "torn", "done"}


def test_a_process_that_dies_in_the_middle_of_an_answer_leaves_a_torn_turn_and_no_hold(path: Path) -> None:
    assert program("dies", str(path)).returncode == -9
    with SQLiteSessionStore(path) as store:
        assert [(turn.state, turn.task) for turn in store.turns("shared")] == [("open", "bake a rye bread")]
        assert store.try_hold("shared")


def test_two_processes_at_once_take_turns_and_lose_none(path: Path) -> None:
    processes = [subprocess.Popen([*PROGRAM, "turns", str(path)], cwd=ROOT) for _ in range(2)]
    assert [process.wait(SECONDS) for process in processes] == [0, 0]
    with SQLiteSessionStore(path) as store:
        turns = store.turns("shared")
    assert [turn.number for turn in turns] == list(range(1, 21))
    assert [turn.answer for turn in turns] == [f"answer to {2 * number - 1}" for number in range(1, 21)]
    assert {turn.task for turn in turns} == {
        f"bake a rye bread, {process.pid} {number}" for process in processes for number in range(10)
    }


def test_where_no_more_can_be_written_all_that_was_answered_is_whole(path: Path) -> None:
    done = program("full", str(path), "600000")
    assert done.returncode == 0, done.stderr
    assert_whole_after_failure(json.loads(done.stdout), "disk I/O error")


def can_mount() -> bool:
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a small disk can't be mounted here")
def test_on_a_full_disk_all_that_was_answered_is_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=400k none "$1" && shift && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), *PROGRAM, "full", str(disk / "s.sqlite3")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert_whole_after_failure(json.loads(done.stdout), "disk is full")


def assert_whole_after_failure(result: dict[str, Any], reason: str) -> None:
    assert reason in result["failure"]
    assert result["answered"] >= 3
    # The turn that met the end of the disk was not begun, or was not ended; all others are whole.
    assert result["states"][: result["answered"]] == ["done"] * result["answered"]
    assert result["states"][result["answered"] :] in ([], ["open"])
