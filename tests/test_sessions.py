"""Conversations through the Dispatcher: what is sent again, what is kept, and one turn at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher import (
    Completion,
    Dispatcher,
    Event,
    HandedOver,
    MemorySessionStore,
    Reply,
    Request,
    Session,
    SessionBusyError,
    SessionStoreError,
    SQLiteSessionStore,
    Stopped,
    TextDelta,
    Turn,
    TurnState,
    UsageError,
)
from dispatcher.errors import BrokenStreamError, RequestError
from dispatcher.settings import LLMSettings, Settings
from dispatcher.testing import ScriptedClient, breaks_off, says, serve, stalls
from tests.conversing import BAKE, SEW, EchoClient, dispatcher_of

Take = Callable[..., Reply]


async def collected(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


@pytest.fixture(params=["dispatch", "stream", "adispatch", "astream"])
def take(request: pytest.FixtureRequest) -> Take:
    """Each of the four ways to take a turn, with its reply."""

    def take_turn(session: Session, task: Any, **options: Any) -> Reply:
        if request.param == "dispatch":
            return session.dispatch(task, **options)
        if request.param == "adispatch":
            return asyncio.run(session.adispatch(task, **options))
        if request.param == "stream":
            events = list(session.stream(task, **options))
        else:
            events = asyncio.run(collected(session.astream(task, **options)))
        assert isinstance(events[-1], Stopped)
        return events[-1].reply

    return take_turn


def sent(request: Request) -> list[tuple[str, object]]:
    return [(message.role, message.content) for message in request.messages]


def test_each_turn_is_sent_with_those_before(take: Take) -> None:
    client = EchoClient()
    session = dispatcher_of(client=client).session("a")
    take(session, BAKE)
    reply = take(session, "and rolls, too", agent="baker")
    assert sent(client.requests[1]) == [
        ("user", BAKE),
        ("assistant", "answer to 1"),
        ("user", "and rolls, too"),
    ]
    assert reply.turn is not None
    assert (reply.turn.number, reply.turn.answer) == (2, "answer to 3")


def test_a_session_knows_messages_agents_usage_and_cost(take: Take) -> None:
    client = ScriptedClient(says("Knead ", "it.", usage={"input_tokens": 1_000_000, "output_tokens": 100_000}))
    session = dispatcher_of(client=client).session("a")
    take(session, BAKE, model="claude-opus-5-5")
    take(session, SEW, model="claude-opus-5-5")
    assert [turn.agent for turn in session.turns] == ["baker", "tailor"]
    assert [message.content for message in session.messages] == [BAKE, "Knead it.", SEW, "Knead it."]
    assert session.agent == "tailor"
    assert (session.usage.input_tokens, session.usage.output_tokens) == (2_000_000, 200_000)
    assert session.cost == pytest.approx(12)


def test_a_turn_says_who_took_it_and_why() -> None:
    session = dispatcher_of().session("a")
    session.dispatch("@tailor mend this")
    [turn] = session.turns
    assert (turn.agent, turn.how, turn.task, turn.state) == ("tailor", "mention", "mend this", TurnState.DONE)
    assert "@tailor" in turn.reason


def test_sessions_of_other_names_know_nothing_of_it() -> None:
    client = EchoClient()
    dispatcher = dispatcher_of(client=client)
    dispatcher.session("a").dispatch(BAKE)
    dispatcher.session("b").dispatch(BAKE)
    assert [len(request.messages) for request in client.requests] == [1, 1]
    assert dispatcher.session().id != dispatcher.session().id


def test_a_session_goes_on_in_another_dispatcher(tmp_path: Path) -> None:
    for turn in (1, 2):
        with SQLiteSessionStore(tmp_path / "s.sqlite3") as store:
            reply = dispatcher_of(store=store).session("a").dispatch(BAKE)
        assert reply.text == f"answer to {2 * turn - 1}"


def test_a_run_without_a_session_keeps_nothing() -> None:
    dispatcher = dispatcher_of()
    reply = dispatcher.dispatch(BAKE)
    assert reply.turn is None
    assert dispatcher.store.sessions() == ()


def test_what_is_sent_to_nobody_is_no_turn(take: Take) -> None:
    session = dispatcher_of(client=None, environment={}).session("a")
    assert take(session, BAKE).was_sent is False
    assert session.turns == ()


def test_where_nobody_is_sure_the_task_is_kept_and_not_sent_again(take: Take) -> None:
    client = EchoClient()
    session = dispatcher_of(client=client).session("a")
    assert take(session, "zzz qqq").stop_reason == "abstained"
    take(session, BAKE)
    assert [(turn.agent, turn.stop_reason) for turn in session.turns] == [(None, "abstained"), ("baker", "end_turn")]
    assert sent(client.requests[0]) == [("user", BAKE)]


def test_a_plan_is_carried_out_after_what_came_meanwhile() -> None:
    client = EchoClient()
    session = dispatcher_of(client=client).session("a")
    plan = session.plan(SEW)
    session.dispatch(BAKE)
    session.dispatch(plan)
    assert [content for _, content in sent(client.requests[1])] == [BAKE, "answer to 1", SEW]
    assert plan.request is not None
    assert len(plan.request.messages) == 1


def test_a_new_agent_is_told_as_a_handover() -> None:
    session = dispatcher_of().session("a")
    first = list(session.stream(BAKE))
    second = list(session.stream(SEW))
    assert not [event for event in first if isinstance(event, HandedOver)]
    [handed] = [event for event in second if isinstance(event, HandedOver)]
    assert (handed.before, handed.after) == ("baker", "tailor")
    assert handed.reason


def test_deleting_leaves_nothing() -> None:
    session = dispatcher_of().session("a")
    session.dispatch(BAKE)
    assert (session.delete(), session.turns, session.delete()) == (True, (), False)


def test_the_last_turn_is_taken_back() -> None:
    client = EchoClient()
    session = dispatcher_of(client=client).session("a")
    session.dispatch(BAKE)
    session.dispatch(SEW)
    taken = session.undo()
    assert taken is not None
    assert (taken.task, session.agent) == (SEW, "baker")
    session.dispatch("why?")
    assert [message.content for message in client.requests[-1].messages] == [BAKE, "answer to 1", "why?"]
    assert [turn.number for turn in session.turns] == [1, 2]


def test_nothing_is_taken_back_of_nothing_or_of_a_turn_under_way() -> None:
    session = dispatcher_of().session("a", busy="refuse")
    assert session.undo() is None
    events = session.stream(BAKE)
    next(events)
    with pytest.raises(SessionBusyError):
        session.undo()
    assert len(list(events)) > 1
    assert len(session.turns) == 1


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201])
def test_an_impossible_name_is_told_at_once(name: str) -> None:
    with pytest.raises(UsageError, match="can't be the name of a session"):
        dispatcher_of().session(name)


# --- turns that don't end by themselves


def test_an_error_of_the_service_is_kept_with_what_came(take: Take) -> None:
    client = ScriptedClient(BrokenStreamError("cut off", partial="Half an"))
    session = dispatcher_of(client=client).session("a")
    with pytest.raises(BrokenStreamError):
        take(session, BAKE)
    [turn] = session.turns
    assert (turn.state, turn.error) == (TurnState.FAILED, "cut off")
    assert turn.ended is not None


def test_a_part_of_an_answer_is_sent_with_the_next_turn() -> None:
    session = dispatcher_of(client=ScriptedClient(breaks_off("Half an"))).session("a")
    with pytest.raises(BrokenStreamError):
        list(session.stream(BAKE))
    assert session.turns[0].answer == "Half an"
    plan = session.plan("go on", agent="baker")
    assert plan.request is not None
    assert [content for _, content in sent(plan.request)] == [BAKE, "Half an", "go on"]


def test_a_turn_without_any_answer_is_kept_and_not_sent_again() -> None:
    session = dispatcher_of(client=ScriptedClient(RequestError("refused"))).session("a")
    with pytest.raises(RequestError):
        list(session.stream(BAKE))
    plan = session.plan(SEW)
    assert plan.request is not None
    assert sent(plan.request) == [("user", SEW)]
    assert [turn.state for turn in session.turns] == [TurnState.FAILED]


def test_closing_the_events_stops_the_request_and_keeps_what_came() -> None:
    closed: list[str] = []

    class Endless(EchoClient):
        def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
            try:
                while True:
                    yield TextDelta(text="on ")
            finally:
                closed.append("request")

    session = dispatcher_of(client=Endless()).session("a")
    events = session.stream(BAKE)
    texts = [next(events) for _ in range(4)]
    events.close()
    assert closed == ["request"]
    [turn] = session.turns
    assert (turn.state, turn.answer) == (TurnState.CANCELLED, "on " * sum(isinstance(one, TextDelta) for one in texts))
    assert session.dispatch(SEW).turn is not None  # nobody holds it


def test_a_cancelled_coroutine_stops_the_request_at_once_and_keeps_what_came(tmp_path: Path) -> None:
    never = threading.Event()
    with serve() as server, SQLiteSessionStore(tmp_path / "s.sqlite3") as store:
        server.script(stalls("The first half", until=never))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        dispatcher = dispatcher_of(client=None, environment={}, settings=settings, store=store)
        session = dispatcher.session("a")

        async def stop_after_the_first_piece() -> None:
            came = asyncio.Event()

            async def listen() -> None:
                async for event in session.astream(BAKE):
                    if isinstance(event, TextDelta):
                        came.set()

            listening = asyncio.create_task(listen())
            await came.wait()
            listening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listening
            await dispatcher.aclose()

        asyncio.run(stop_after_the_first_piece())
        [turn] = session.turns
        assert (turn.state, turn.answer) == (TurnState.CANCELLED, "The first half")
        assert not never.is_set()


def test_ctrl_c_keeps_what_came() -> None:
    class Interrupted(EchoClient):
        def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
            yield TextDelta(text="Half")
            raise KeyboardInterrupt

    session = dispatcher_of(client=Interrupted()).session("a")
    with pytest.raises(KeyboardInterrupt):
        list(session.stream(BAKE))
    assert [(turn.state, turn.answer) for turn in session.turns] == [(TurnState.CANCELLED, "Half")]


class FailingStore(MemorySessionStore):
    """Fails at a put."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def put(self, session_id: str, turn: Turn) -> None:
        self._left -= 1
        if self._left == 0:
            raise SessionStoreError("the disk is full", hint="make room")
        super().put(session_id, turn)


def test_nothing_is_sent_where_the_turn_can_not_be_kept(take: Take) -> None:
    client = EchoClient()
    session = dispatcher_of(client=client, store=FailingStore(at=1)).session("a")
    with pytest.raises(SessionStoreError, match="the disk is full"):
        take(session, BAKE)
    assert (client.requests, session.turns) == ([], ())


def test_an_answer_that_can_not_be_kept_comes_with_the_error_and_the_turn_is_torn(take: Take) -> None:
    session = dispatcher_of(store=FailingStore(at=2)).session("a")
    with pytest.raises(SessionStoreError) as caught:
        take(session, BAKE)
    assert (caught.value.text, caught.value.exit_code) == ("answer to 1", 6)
    take(session, SEW)
    assert [turn.state for turn in session.turns] == [TurnState.TORN, TurnState.DONE]


def test_the_error_of_the_service_goes_before_that_of_the_store(take: Take) -> None:
    client = ScriptedClient(RequestError("refused"))
    session = dispatcher_of(client=client, store=FailingStore(at=2)).session("a")
    with pytest.raises(RequestError):
        take(session, BAKE)


# --- one turn at a time


class Gated(EchoClient):
    """Begins its answer and waits, in a thread, until it may end it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def complete(self, request: Request) -> Completion:
        self.has_begun.set()
        assert self.may_end.wait(10)
        return super().complete(request)


def test_a_second_turn_is_refused_or_waits_as_the_caller_chooses() -> None:
    client = Gated()
    dispatcher = dispatcher_of(client=client)
    first = threading.Thread(target=dispatcher.session("a").dispatch, args=(BAKE,))
    first.start()
    client.has_begun.wait(10)
    with pytest.raises(SessionBusyError, match='another turn of the session "a" is under way'):
        dispatcher.session("a", busy="refuse").dispatch(SEW)
    with pytest.raises(SessionBusyError):
        dispatcher.session("a", patience=0.01).dispatch(SEW)
    second = threading.Thread(target=dispatcher.session("a").dispatch, args=(SEW,))
    second.start()
    client.may_end.set()
    first.join()
    second.join()
    assert [turn.task for turn in dispatcher.session("a").turns] == [BAKE, SEW]


def test_many_sessions_at_once_in_one_loop_cross_nothing() -> None:
    dispatcher = dispatcher_of()

    async def talk(name: str) -> list[str]:
        session = dispatcher.session(name)
        return [(await session.adispatch(f"{BAKE} for {name}", agent="baker")).text for _ in range(3)]

    async def talk_all() -> list[list[str]]:
        return await asyncio.gather(*(talk(f"s{number}") for number in range(50)))

    assert asyncio.run(talk_all()) == [["answer to 1", "answer to 3", "answer to 5"]] * 50
    for number in range(50):
        assert {turn.task for turn in dispatcher.session(f"s{number}").turns} == {f"{BAKE} for s{number}"}


def test_turns_of_one_session_in_one_loop_wait_for_each_other(tmp_path: Path) -> None:
    async def talk_at_once(dispatcher: Dispatcher) -> list[Reply]:
        session = dispatcher.session("a")
        return await asyncio.gather(*(session.adispatch(BAKE, agent="baker") for _ in range(5)))

    with SQLiteSessionStore(tmp_path / "s.sqlite3") as store:
        replies = asyncio.run(talk_at_once(dispatcher_of(store=store)))
        assert sorted(reply.text for reply in replies) == [f"answer to {number}" for number in (1, 3, 5, 7, 9)]
        assert len(store.turns("a")) == 5


def test_a_turn_that_is_cancelled_while_it_waits_leaves_nothing() -> None:
    dispatcher = dispatcher_of()
    dispatcher.store.try_hold("a")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(dispatcher.session("a").adispatch(BAKE), 0.02)

    asyncio.run(give_up())
    assert dispatcher.session("a").turns == ()
    dispatcher.store.release("a")
    assert dispatcher.session("a", busy="refuse").dispatch(BAKE).is_complete


def test_a_turn_that_is_cancelled_while_it_is_written_is_no_torn_one() -> None:
    writing, may_write = threading.Event(), threading.Event()

    class Slow(MemorySessionStore):
        def put(self, session_id: str, turn: Turn) -> None:
            writing.set()
            assert may_write.wait(10)
            super().put(session_id, turn)

    client = EchoClient()
    session = dispatcher_of(client=client, store=Slow()).session("a")

    async def stop() -> None:
        task = asyncio.create_task(session.adispatch(BAKE))
        while not writing.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        asyncio.get_running_loop().call_later(0.01, may_write.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    assert [turn.state for turn in session.turns] == [TurnState.CANCELLED]
    assert client.requests == []


def test_over_the_wire_a_session_sends_what_was_said() -> None:
    with serve() as server:
        server.script(says("Knead it."), says("For an hour."))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        with dispatcher_of(client=None, environment={}, settings=settings) as dispatcher:
            session = dispatcher.session("a")
            session.dispatch(BAKE)
            session.dispatch("how long?", agent="baker")
        assert server.requests[1].body["messages"] == [
            {"role": "user", "content": BAKE},
            {"role": "assistant", "content": "Knead it."},
            {"role": "user", "content": "how long?"},
        ]


def test_coroutines_use_a_session_file_in_one_thread_and_also_once_it_was_closed(tmp_path: Path) -> None:
    threads = set()

    class Watched(SQLiteSessionStore):
        def put(self, session_id: str, turn: Turn) -> None:
            threads.add(threading.current_thread().ident)
            super().put(session_id, turn)

    async def talk(store: SQLiteSessionStore) -> None:
        dispatcher = dispatcher_of(store=store, client=ScriptedClient("an answer"))
        await asyncio.gather(*(dispatcher.session(f"s{number}").adispatch(BAKE) for number in range(5)))

    with Watched(tmp_path / "s") as store:
        asyncio.run(talk(store))
        assert len(threads) == 1
        assert threading.current_thread().ident not in threads
        store.close()
        asyncio.run(talk(store))
        assert [len(store.turns(f"s{number}")) for number in range(5)] == [2] * 5


class OfTheLoop(MemorySessionStore):
    """A store that may have to wait, and has no executor of that kind."""

    executor = "none"


def test_a_store_without_a_thread_of_its_own_is_used_in_the_loops() -> None:
    store = OfTheLoop()
    reply = asyncio.run(dispatcher_of(store=store, client=ScriptedClient("an answer")).session("s").adispatch(BAKE))
    assert store.turns("s") == (reply.turn,)
