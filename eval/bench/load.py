#!/usr/bin/env python3
"""What the runtime holds under load: many sessions at once, many turns in a row, and faults.

usage: python eval/bench/load.py [--only many memory faults] [--sessions 200] [--turns 5] [--rounds 3]
                                 [--memory-turns 10000] [--fault-turns 1000] [--kills 10]

many     sessions at once in one process: no event lost or crossed, and the processor time of a turn beside that of the
         bare SDK for the same requests. Overhead is (ours - bare) / bare, medians over rounds in turns
memory   the memory of this process at ten steps of many turns, in conversations of twenty
faults   turns of a process that is killed (kill -9) and started again, with cut streams, 429, 529 and answers that
         never end: what its store holds afterwards

The service is `dispatcher.testing`'s, in a process of its own. Exits with 1 where anything was lost, crossed or
doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatcher import (
    Dispatcher,
    LLMClient,
    MemorySessionStore,
    Registry,
    Request,
    Session,
    SessionStore,
    SQLiteSessionStore,
    Stopped,
    TextDelta,
    TornTurnFound,
)
from dispatcher.errors import LLMError
from dispatcher.llm import AnthropicClient, request_body
from dispatcher.scopes import bundled_folder
from dispatcher.sessions import Turn, TurnState
from dispatcher.settings import LLMSettings, RoutingSettings, Settings
from dispatcher.testing import Answer, Recorded, breaks_off, overloaded, rate_limited, says, serve, stalls

PARTS = ("many", "memory", "faults")
TASKS = (
    "design a user API",
    "make it faster",
    "and the tests?",
    "write a mail to our customers about yesterday's outage",
    "why?",
)
PIECES = 20  # of an answer
AT_ONCE = 50  # sessions, in the parts that don't say how many
CONVERSATION = 20  # turns
KEY = {"ANTHROPIC_API_KEY": "not-a-key"}
TARGET = 0.5


def main() -> None:
    """Runs the parts that are wanted, and exits with 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="the parts that are run (all)")
    parser.add_argument("--sessions", type=int, default=200, help="many: sessions at once (%(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="many: turns of each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="many: how often it is measured (%(default)s)")
    parser.add_argument("--memory-turns", type=int, default=10_000, help="memory: turns (%(default)s)")
    parser.add_argument("--fault-turns", type=int, default=1_000, help="faults: turns (%(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="faults: how often the process is killed (%(default)s)")
    parser.add_argument("--serve", choices=("well", "badly"), help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_service(answer_well if options.serve == "well" else answer_badly)
    elif options.work:
        url, path, sessions, turns = options.work
        asyncio.run(work(url, Path(path), int(sessions), int(turns)))
    else:
        sizes = {
            "many": lambda: many(options.sessions, options.turns, options.rounds),
            "memory": lambda: memory(options.memory_turns),
            "faults": lambda: faults(options.fault_turns, options.kills),
        }
        if wrong := [part for part in options.only if not sizes[part]()]:
            sys.exit(f"wrong: {', '.join(wrong)}")


# The service, in its own process


def expected(request: Mapping[str, Any]) -> tuple[str, ...]:
    """What a request is answered: its own words in each piece, and how many messages came with them."""
    messages = request["messages"]
    return tuple(f"{messages[-1]['content']} {number}/{len(messages)}\n" for number in range(PIECES))


def answer_well(request: Recorded) -> Answer:
    return says(*expected(request.body))


def answer_badly(request: Recorded) -> Answer:
    """Whole in two of three times; otherwise one of the ways to fail."""
    pieces = expected(request.body)
    bad = (breaks_off(*pieces[:7]), breaks_off(), rate_limited(), overloaded(), stalls(*pieces[:3]), stalls())
    return random.choice(bad) if random.random() < 1 / 3 else says(*pieces)  # noqa: S311


def run_service(answer: Callable[[Recorded], Answer]) -> None:
    """Prints where it is, and goes on until standard input ends."""

    def forgetful(request: Recorded) -> Answer:
        server.requests.clear()
        return answer(request)

    with serve(forgetful, keeps_alive=True) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()
        os._exit(0)  # connections that are kept open would be waited for


@contextlib.contextmanager
def service(kind: str) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  both are pipes
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


# Many sessions at once


class Recording:
    """The client of a dispatcher that keeps what is sent."""

    def __init__(self, client: AnthropicClient) -> None:
        self._client = client
        self.requests: list[Request] = []
        self.complete, self.stream, self.acomplete = client.complete, client.stream, client.acomplete
        self.aclose = client.aclose

    def astream(self, request: Request) -> AsyncIterator[Any]:
        self.requests.append(request)
        return self._client.astream(request)


def many(sessions: int, turns: int, rounds: int) -> bool:
    print(f"{sessions} sessions at once, {turns} turns each, {PIECES} pieces of text a turn")
    with service("well") as url, tempfile.TemporaryDirectory() as folder:
        recording = Recording(AnthropicClient(LLMSettings(base_url=url), environment=KEY))
        faults: list[str] = []
        asyncio.run(run_and_close(dispatcher_of(url, MemorySessionStore(), recording), sessions, turns, faults))
        bodies = by_session(recording.requests)
        measured: dict[str, list[float]] = {"bare SDK": [], "in memory": [], "in SQLite": []}
        for number in range(rounds):
            path = Path(folder) / f"{number}.sqlite3"
            measured["bare SDK"].append(seconds_of(replay(url, bodies)))
            for name, store in (("in memory", MemorySessionStore()), ("in SQLite", SQLiteSessionStore(path))):
                dispatcher = dispatcher_of(url, store)
                dispatcher.route(TASKS[0])  # which builds the index
                measured[name].append(seconds_of(run_and_close(dispatcher, sessions, turns, faults)))
                store.close()
    bare = statistics.median(measured["bare SDK"])
    for name, seconds in measured.items():
        taken = statistics.median(seconds)
        said = "" if name == "bare SDK" else f"  overhead {taken / bare - 1:.2f} (target {TARGET})"
        print(f"  {name:10}{taken / sessions / turns * 1e3:7.2f} ms of processor time a turn{said}")
    print(f"  lost or crossed: {len(faults)}", *faults[:5], sep="\n    " if faults else "")
    return not faults


def dispatcher_of(url: str, store: SessionStore, client: LLMClient | None = None, **llm: Any) -> Dispatcher:
    # Nobody is sure of "why?" at the beginning of a conversation; here every turn is to be sent.
    settings = Settings(llm=LLMSettings(base_url=url, **llm), routing=RoutingSettings(min_confidence=0.0))
    registry = Registry.from_paths(bundled_folder())
    return Dispatcher(registry, settings=settings, environment=KEY, store=store, client=client)


async def converse_all(dispatcher: Dispatcher, names: Iterable[str], turns: int) -> list[str]:
    """All conversations at once; returns what is wrong with what came."""
    results = await asyncio.gather(*(converse(dispatcher.session(name), turns) for name in names))
    return [fault for result in results for fault in result]


async def run_and_close(dispatcher: Dispatcher, sessions: int, turns: int, faults: list[str]) -> None:
    faults += await converse_all(dispatcher, (f"s{number}" for number in range(sessions)), turns)
    await dispatcher.aclose()


async def converse(session: Session, turns: int) -> list[str]:
    faults = []
    for number in range(turns):
        task = f"{TASKS[number % len(TASKS)]} ({session.id})"
        wanted = [f"{task} {piece}/{2 * number + 1}\n" for piece in range(PIECES)]
        events = [event async for event in session.astream(task)]
        pieces = [event.text for event in events if isinstance(event, TextDelta)]
        last = events[-1]
        if pieces != wanted or not isinstance(last, Stopped) or last.reply.text != "".join(wanted):
            faults.append(f"{session.id}, turn {number + 1}: {pieces[:2]} for {wanted[:2]}")
    return faults


def by_session(requests: Sequence[Request]) -> list[list[dict[str, Any]]]:
    """The bodies of the requests of each session, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for request in requests:
        name = str(request.messages[-1].content).rpartition("(")[2]
        found.setdefault(name, []).append(request_body(request))
    return list(found.values())


async def replay(url: str, conversations: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """The same requests by the SDK alone, whose events are read and whose text is put together."""
    import anthropic

    async def one(bodies: Sequence[Mapping[str, Any]]) -> None:
        for body in bodies:
            parts = []
            async with await client.messages.create(**body, stream=True) as events:
                async for event in events:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        parts.append(event.delta.text)
            "".join(parts)

    async with anthropic.AsyncAnthropic(base_url=url, api_key="not-a-key", max_retries=0) as client:
        await asyncio.gather(*map(one, conversations))


def seconds_of(work: Coroutine[Any, Any, Any]) -> float:
    """What it takes of the processor, with all threads of this process."""
    gc.collect()
    begun = time.process_time()
    asyncio.run(work)
    return time.process_time() - begun


# Memory


def memory(turns: int) -> bool:
    steps, sessions = 10, max(1, turns // 10 // CONVERSATION)
    print(f"memory after each {sessions * CONVERSATION:,} turns, in conversations of {CONVERSATION} in SQLite")
    faults: list[str] = []
    with (
        service("well") as url,
        tempfile.TemporaryDirectory() as folder,
        SQLiteSessionStore(Path(folder) / "sessions.sqlite3") as store,
    ):
        sizes = asyncio.run(measured_steps(dispatcher_of(url, store), sessions, steps, faults))
    print("  " + ", ".join(f"{size:.1f}" for size in sizes) + " MB")
    grown = (sizes[-1] - sizes[steps // 2]) / (steps - steps // 2 - 1)
    print(f"  in the second half {grown:+.2f} MB a step; lost or crossed: {len(faults)}")
    return not faults


async def measured_steps(dispatcher: Dispatcher, sessions: int, steps: int, faults: list[str]) -> list[float]:
    sizes = []
    for step in range(steps):
        names = [f"s{step * sessions + number}" for number in range(sessions)]
        for begin in range(0, sessions, AT_ONCE):
            faults += await converse_all(dispatcher, names[begin : begin + AT_ONCE], CONVERSATION)
        gc.collect()
        sizes.append(resident_megabytes())
    await dispatcher.aclose()
    return sizes


def resident_megabytes() -> float:
    """The memory that this process has now; where the system does not tell, the most it had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# Faults


def faults(turns: int, kills: int) -> bool:
    sessions = max(1, turns // CONVERSATION)
    each = -(-turns // sessions)
    print(f"{sessions * each:,} turns in {sessions} sessions, a third of the answers bad, killed {kills} times")
    chance = random.Random(20)  # noqa: S311  a benchmark's moments are no secret
    with service("badly") as url, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.sqlite3"
        for number in range(kills + 1):
            # So that what is killed is under way, whatever the speed of the machine.
            goal = int(sessions * each * (number + chance.random()) / (kills + 1)) if number < kills else None
            run_worker(url, path, sessions, each, goal)
        told = [json.loads(line) for line in (Path(folder) / "told.jsonl").read_text("utf-8").splitlines()]
        with SQLiteSessionStore(path) as store:
            kept = {f"s{number}": store.turns(f"s{number}") for number in range(sessions)}
    wrong = [fault for name, found in kept.items() for fault in faults_of(name, found, each, told)]
    states = Counter(str(turn.state) for found in kept.values() for turn in found)
    torn = sum(one["event"] == "torn" for one in told)
    print(f"  {dict(states)}; {torn} told as torn; of those that failed by error: {dict(errors_of(kept))}")
    print(f"  not whole or doubled: {len(wrong)}", *wrong[:5], sep="\n    " if wrong else "")
    return not wrong


def run_worker(url: str, path: Path, sessions: int, turns: int, goal: int | None) -> None:
    """Runs the process until it ends by itself, or kills it once so many turns have come to an end."""
    command = [sys.executable, __file__, "--work", url, str(path), str(sessions), str(turns)]
    with subprocess.Popen(command) as process:
        told = path.with_name("told.jsonl")
        while goal is not None and process.poll() is None:
            if told.exists() and told.read_bytes().count(b"\n") > goal:
                process.kill()
                break
            time.sleep(0.01)
        process.wait()
        if goal is None and process.returncode:
            sys.exit(f"the process that takes turns failed with {process.returncode}")


async def work(url: str, path: Path, sessions: int, turns: int) -> None:
    """Takes turns until every session has as many as it should, and tells of each in a file beside the store."""
    descriptor = os.open(path.with_name("told.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(session: str, number: int, event: str) -> None:
        os.write(descriptor, (json.dumps({"session": session, "turn": number, "event": event}) + "\n").encode())

    async def one(name: str) -> None:
        session = dispatcher.session(name)
        for number in range(len(session.turns) + 1, turns + 1):
            try:
                async for event in session.astream(f"{TASKS[number % len(TASKS)]} ({name} {number})"):
                    if isinstance(event, TornTurnFound):
                        tell(name, event.turn.number, "torn")
                tell(name, number, "done")
            except LLMError:
                tell(name, number, "failed")

    with SQLiteSessionStore(path) as store:
        dispatcher = dispatcher_of(url, store, timeout=0.5, max_retries=1, breaker_seconds=0.1)
        async with dispatcher:
            await asyncio.gather(*(one(f"s{number}") for number in range(sessions)))


def faults_of(name: str, kept: Sequence[Turn], wanted: int, told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with a conversation as it is stored."""
    events = {(one["turn"], one["event"]) for one in told if one["session"] == name}
    if [turn.number for turn in kept] != list(range(1, wanted + 1)):
        yield f"{name}: turns {[turn.number for turn in kept]}"
    for turn in kept:
        place, task = f"{name}, turn {turn.number}", f"{TASKS[turn.number % len(TASKS)]} ({name} {turn.number})"
        if turn.task != task or turn.messages[0].content != task:
            yield f"{place}: the task is {turn.task!r}"
        # A process may be killed after it has written a turn and before it tells of it, and not the other way round.
        if (turn.number, "done") in events and turn.state is not TurnState.DONE:
            yield f"{place}: was answered, and is {turn.state}"
        if (turn.number, "failed") in events and turn.state is not TurnState.FAILED:
            yield f"{place}: failed, and is {turn.state}"
        lines = turn.answer.splitlines(keepends=True)
        count = PIECES if turn.state is TurnState.DONE else len(lines)
        if lines != [f"{task} {number}/{line_end(lines)}" for number in range(count)]:
            yield f"{place}: {turn.state}, {turn.answer[:60]!r}"
        if turn.state is TurnState.OPEN and turn is not kept[-1]:
            yield f"{place}: is open"


def line_end(lines: Sequence[str]) -> str:
    """The count of messages that came with a request, as its answer tells it."""
    return lines[0].rpartition("/")[2] if lines else ""


def errors_of(kept: Mapping[str, Sequence[Turn]]) -> Counter[str]:
    """How often each error ended a turn, by its first words."""
    return Counter(" ".join(turn.error.split()[:4]) for found in kept.values() for turn in found if turn.error)


if __name__ == "__main__":
    main()
