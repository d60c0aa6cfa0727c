"""Long conversations: what is sent of them, and what is told of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher import (
    Completion,
    Event,
    HistoryTrimmed,
    Message,
    Request,
    Session,
    Settings,
    Stopped,
    TextDelta,
    Turn,
    TurnState,
)
from dispatcher.errors import PromptTooLongError
from dispatcher.runtime.window import estimated_tokens, fit
from dispatcher.sessions.turn import new_turn_id, now
from dispatcher.settings import LLMSettings
from dispatcher.testing import fails, says, serve
from tests.conversing import BAKE, EchoClient, dispatcher_of

LONG = "word " * 600  # about a thousand tokens, as they are estimated


def message(role: str, text: str) -> Message:
    return Message(role=role, content=text)


def turn(text: str) -> tuple[Message, ...]:
    return (message("user", text), message("assistant", "yes"))


def fitted(window: int, *texts: str, own: str = "now") -> tuple[list[Any], int]:
    found = fit(tuple(map(turn, texts)), [message("user", own)], system="s", max_tokens=10, window=window)
    return [each.content for each in found.messages], found.dropped


def test_what_fits_is_sent_whole() -> None:
    assert fitted(1_000, "a", "b") == (["a", "yes", "b", "yes", "now"], 0)


def test_the_oldest_turns_are_left_out_first_and_whole() -> None:

    assert fitted(500, "a", LONG, "b") == (["b", "yes", "now"], 2)


def test_the_turn_itself_is_sent_in_any_case() -> None:
    assert fitted(100, "a", own=LONG) == ([LONG], 1)
    assert fitted(1, "a") == (["now"], 1)


@pytest.mark.parametrize(
    ("content", "least"),
    [
        ("word " * 100, 100),
        ("語" * 100, 100),
        ("\ud800", 1),
        (({"type": "image", "source": {"data": "x" * 9_000_000}},), 1_500),
        (({"type": "document", "source": {"data": "x" * 400_000}},), 10_000),
        (({"type": "tool_result", "content": [{"type": "text", "text": "word " * 100}]},), 100),
        (({"type": "tool_use", "name": "f", "input": {"a": "word " * 100}},), 100),
    ],
)
def test_tokens_are_estimated_on_the_large_side(content: Any, least: int) -> None:
    assert least <= estimated_tokens([Message(role="user", content=content)]) <= 3 * least + 50_000


def session_of(client: Any, *, window: int, turns: int = 6, text: str = LONG) -> Session:
    """A session of long turns that are over."""
    dispatcher = dispatcher_of(client=client, settings=Settings(llm=LLMSettings(context_window=window, max_tokens=100)))
    for number in range(1, turns + 1):
        dispatcher.store.put(
            "a",
            Turn(
                id=new_turn_id(),
                number=number,
                task=text,
                started=now(),
                state=TurnState.DONE,
                agent="baker",
                messages=(message("user", text), message("assistant", f"answer {number}")),
            ),
        )
    return dispatcher.session("a")


def both(session: Session, task: str) -> Iterator[list[Event]]:
    """The events of two turns, one of each driver."""
    yield list(session.stream(task, agent="baker"))

    async def collected() -> list[Event]:
        return [event async for event in session.astream(task, agent="baker")]

    yield asyncio.run(collected())


def test_a_long_conversation_is_trimmed_to_the_window_and_told() -> None:
    client = EchoClient()
    for events in both(session_of(client, window=3_500), "and now?"):
        [trimmed] = [event for event in events if isinstance(event, HistoryTrimmed)]
        assert trimmed.turns >= 3
        assert not trimmed.was_refused
        assert isinstance(events[-1], Stopped)
    for request in client.requests:
        assert request.messages[0].role == "user"
        assert estimated_tokens(request.messages) < 3_400


def test_a_plan_tells_what_will_not_be_sent() -> None:
    plan = session_of(EchoClient(), window=3_500).plan("and now?", agent="baker")
    assert any("turns do not fit into the model's window" in notice for notice in plan.notices)
    assert plan.request is not None
    assert len(plan.request.messages) < 13


def test_a_plan_that_is_carried_out_tells_it_once() -> None:
    session = session_of(EchoClient(), window=3_500)
    reply = session.dispatch(session.plan("and now?", agent="baker"))
    assert len([notice for notice in reply.plan.notices if "window" in notice]) == 1


def test_a_short_conversation_is_told_nothing() -> None:
    events = list(session_of(EchoClient(), window=200_000).stream("and now?", agent="baker"))
    assert not [event for event in events if isinstance(event, HistoryTrimmed)]


class Small(EchoClient):
    """Takes no more messages than it is told."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        if len(request.messages) > self.most:
            raise PromptTooLongError("too long")
        return Completion(text="fine", model=request.model, stop_reason="end_turn")


def test_what_the_service_finds_too_long_is_asked_again_with_less() -> None:
    client = Small(most=5)
    events = next(both(session_of(client, window=200_000), "and now?"))
    trimmed = [(event.turns, event.was_refused) for event in events if isinstance(event, HistoryTrimmed)]
    assert [len(request.messages) for request in client.requests] == [13, 7, 3]
    assert trimmed == [(3, True), (5, True)]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["fine"]


def test_a_turn_that_is_too_long_by_itself_is_an_error() -> None:
    client = Small(most=0)
    session = session_of(client, window=200_000, turns=2)
    with pytest.raises(PromptTooLongError):
        session.dispatch("and now?", agent="baker")
    assert [len(request.messages) for request in client.requests] == [5, 3, 1]
    assert session.turns[-1].state is TurnState.FAILED


def test_the_refusal_of_a_real_service_is_understood() -> None:
    with serve() as server:
        server.script(says("first"), fails(400, "invalid_request_error", "prompt is too long: 9 > 8"), says("second"))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        with dispatcher_of(client=None, environment={}, settings=settings) as dispatcher:
            session = dispatcher.session("a")
            session.dispatch(BAKE)
            assert session.dispatch("and?").text == "second"
        assert [len(request.body["messages"]) for request in server.requests] == [1, 3, 1]


def test_a_run_without_a_session_is_never_trimmed() -> None:
    client = EchoClient()
    settings = Settings(llm=LLMSettings(context_window=10))
    dispatcher_of(client=client, settings=settings).dispatch(f"{BAKE} {LONG}")
    assert len(client.requests) == 1
