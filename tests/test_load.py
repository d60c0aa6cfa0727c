"""Many conversations at once, many turns, and faults: eval/bench/load.py in small, and what stays in memory."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dispatcher import Dispatcher, SQLiteSessionStore
from dispatcher.testing import ScriptedClient
from tests.conversing import BAKE, SEW, dispatcher_of

LOAD = Path(__file__).parents[1] / "eval" / "bench" / "load.py"
SECONDS = 120.0


def load(*arguments: str) -> str:
    """What the program prints; it exits with 1 where anything is lost, crossed, doubled or not whole."""
    command = [sys.executable, str(LOAD), "--only", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_many_sessions_at_once_lose_and_cross_nothing_over_the_wire() -> None:
    said = load("many", "--sessions", "40", "--turns", "3", "--rounds", "1")
    assert said.startswith("40 sessions at once, 3 turns each")
    assert "lost or crossed: 0" in said


def test_many_turns_one_after_the_other_lose_nothing() -> None:
    assert "lost or crossed: 0" in load("memory", "--memory-turns", "100")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_with_faults_and_kills_every_stored_conversation_is_whole() -> None:
    said = load("faults", "--fault-turns", "40", "--kills", "2")
    assert "'done': " in said
    assert "'failed': " in said
    assert "not whole or doubled: 0" in said


def test_turns_leave_no_objects_behind(tmp_path: Path) -> None:
    async def talk(dispatcher: Dispatcher, begin: int) -> None:
        for number in range(begin, begin + 10):
            session = dispatcher.session(f"s{number}")
            for task in (BAKE, "and with seeds?", SEW):
                events = [event async for event in session.astream(task)]
                assert events

    async def counted() -> list[Counter[str]]:
        with SQLiteSessionStore(tmp_path / "s") as store:
            client = ScriptedClient("an answer")
            dispatcher = dispatcher_of(store=store, client=client)
            return [await after(dispatcher, client, begin) for begin in (0, 10, 20)]

    async def after(dispatcher: Dispatcher, client: ScriptedClient, begin: int) -> Counter[str]:
        await talk(dispatcher, begin)
        client.requests.clear()
        return own_objects()

    _, second, third = asyncio.run(counted())
    assert third == second


def own_objects() -> Counter[str]:
    """How many objects there are of each class of this package."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("dispatcher"))
