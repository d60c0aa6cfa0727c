"""What the tests of conversations share: a dispatcher of two agents, and a program for processes that are killed.

Run as a program, `python conversing.py COMMAND PATH`, it takes turns on the store at PATH:

    kills    forks a process for each moment between two statements of SQLite, kills it there, and takes a turn after it
    turns    takes ten turns of the session "shared", each waiting for its turn
    full     takes turns until the disk, or what this process may write of it, is full
    dies     begins a turn and kills itself in the middle of the answer
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dispatcher import Agent, Completion, Dispatcher, Registry, Request, Source, SQLiteSessionStore, TextDelta
from dispatcher.errors import SessionStoreError

__all__ = ["BAKE", "SEW", "EchoClient", "dispatcher_of", "main"]

BAKE, SEW = "bake a rye bread", "sew new curtains"


def agent(name: str, description: str, **fields: Any) -> Agent:
    source = Source(path=Path("/shop") / f"{name}.md", root=Path("/shop"))
    return Agent(name=name, description=description, prompt=f"You are the {name}.\n", source=source, **fields)


AGENTS = (
    agent("baker", "Bakes rye bread, rolls and cakes in the oven."),
    agent("tailor", "Sews and mends coats, trousers and curtains of cloth."),
)


class EchoClient:
    """Answers with the number of messages that it was sent; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return Completion(text=f"answer to {len(request.messages)}", model=request.model, stop_reason="end_turn")

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        completion = self.complete(request)
        yield TextDelta(text=completion.text)
        yield completion

    async def acomplete(self, request: Request) -> Completion:
        return self.complete(request)

    async def astream(self, request: Request) -> Any:
        for piece in self.stream(request):
            yield piece


def dispatcher_of(**options: Any) -> Dispatcher:
    return Dispatcher(Registry.from_agents(AGENTS), **{"client": EchoClient()} | options)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kills(path: Path) -> None:
    """Prints, for each moment: whether the process was killed, and the states of the turns after the next turn."""
    dispatcher = dispatcher_of()  # once, since it takes its time
    dispatcher.route(BAKE)
    moment, was_killed = 0, True
    while was_killed:
        moment += 1
        session = f"s{moment}"
        child = os.fork()
        if child == 0:
            _count_statements(die_at=moment)
            dispatcher.store = SQLiteSessionStore(path)
            dispatcher.session(session).dispatch(BAKE)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        was_killed = os.WIFSIGNALED(status)
        dispatcher.store = SQLiteSessionStore(path)
        events = list(dispatcher.session(session, busy="refuse").stream(SEW))
        turns = dispatcher.session(session).turns
        dispatcher.store.close()
        row = {
            "killed": was_killed,
            "events": [type(event).__name__ for event in events],
            "turns": [(turn.number, turn.state, turn.task, turn.answer) for turn in turns],
        }
        print(json.dumps(row))  # noqa: T201


def _count_statements(*, die_at: int) -> None:
    """Kills this process before the statement of SQLite that has this number."""
    count = 0
    connect: Any = sqlite3.connect

    def trace(statement: str) -> None:
        nonlocal count
        count += 1
        if count == die_at:
            die()

    def connected(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(trace)
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010  it is overloaded


def turns(path: Path) -> None:
    store = SQLiteSessionStore(path)
    session = dispatcher_of(store=store).session("shared")
    for number in range(10):
        session.dispatch(f"{BAKE}, {os.getpid()} {number}")
    store.close()


def full(path: Path) -> None:
    """Prints how many turns were answered, how the store failed, and what is there after there is room again."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = SQLiteSessionStore(path)
    session = dispatcher_of(store=store).session("long")
    if len(sys.argv) > 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), unlimited[1]))
    answered, failure = 0, ""
    with contextlib.suppress(RecursionError):
        try:
            while True:
                session.dispatch(f"{BAKE} {'x' * 5_000}", agent="baker")
                answered += 1
        except SessionStoreError as problem:
            failure = f"{problem.message}; {problem.hint}; {problem.text}"
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    kept = [dataclasses.replace(turn, messages=()) for turn in session.turns]
    store.close()
    result = {"answered": answered, "failure": failure, "states": [turn.state for turn in kept]}
    print(json.dumps(result))  # noqa: T201


def dies(path: Path) -> None:
    for event in dispatcher_of(store=SQLiteSessionStore(path)).session("shared").stream(BAKE):
        if isinstance(event, TextDelta):
            die()


def main() -> None:
    {"kills": kills, "turns": turns, "full": full, "dies": dies}[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
