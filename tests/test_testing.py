"""The scripted client and the scripted server: the same script comes to the same through both."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from dispatcher import Completion, LLMClient, LLMError, TextDelta
from dispatcher.errors import (
    BrokenStreamError,
    CredentialError,
    NetworkError,
    OverloadedError,
    PromptTooLongError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
    UnknownModelError,
)
from dispatcher.testing import (
    REQUEST_ID,
    Answer,
    ScriptedClient,
    breaks_off,
    calls,
    drops,
    fails,
    overloaded,
    rate_limited,
    says,
    serve,
    stalls,
)
from tests.asking import REQUEST, STREAMS, WAYS, Ask, client_for

Opened = Callable[..., Any]


@contextmanager
def scripted(*answers: Any) -> Iterator[LLMClient]:
    yield ScriptedClient(*answers)


@contextmanager
def served(*answers: Any) -> Iterator[LLMClient]:
    with serve(*answers) as server, closing(client_for(server.base_url)) as client:
        yield client


@pytest.fixture(params=[scripted, served], ids=["client", "server"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """A client of the one or the other."""
    found: Opened = request.param
    return found


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    return WAYS[str(request.param)]


@pytest.fixture(params=list(STREAMS))
def ask_stream(request: pytest.FixtureRequest) -> Ask:
    return STREAMS[str(request.param)]


def last(asked: tuple[list[str], Completion]) -> Completion:
    return asked[1]


def test_text_comes_with_usage_and_an_id(opened: Opened, ask: Ask) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6}
    with opened(says("Hello ", "world", usage=usage)) as client:
        answer = last(ask(client))
    assert (answer.text, answer.stop_reason, answer.request_id) == ("Hello world", "end_turn", REQUEST_ID)
    assert (answer.usage.prompt_tokens, answer.usage.output_tokens) == (14, 4)
    assert [dict(block) for block in answer.content] == [{"type": "text", "text": "Hello world"}]


def test_a_tool_is_called(opened: Opened, ask: Ask) -> None:
    with opened(calls(("look_up", {"key": "ü", "many": [1, {"a": None}]}))) as client:
        answer = last(ask(client))
    call = {"type": "tool_use", "id": "toolu_0", "name": "look_up", "input": {"key": "ü", "many": [1, {"a": None}]}}
    assert (answer.stop_reason, answer.text, [dict(each) for each in answer.content]) == ("tool_use", "", [call])


def test_text_and_several_calls_come_in_their_order(opened: Opened, ask: Ask) -> None:
    with opened(calls(("a", {}), ("b", {"x": 1}), text="Let me see.")) as client:
        answer = last(ask(client))
    assert answer.text == "Let me see."
    assert [block.get("name") for block in answer.content] == [None, "a", "b"]
    assert [block.get("input") for block in answer.content] == [None, {}, {"x": 1}]


FAILURES: dict[str, tuple[Answer, type[LLMError]]] = {
    "429": (rate_limited(), RateLimitError),
    "529": (overloaded(), OverloadedError),
    "500": (fails(500), ServiceError),
    "401": (fails(401, "authentication_error"), CredentialError),
    "404": (fails(404, "not_found_error"), UnknownModelError),
    "413": (fails(413, "request_too_large"), PromptTooLongError),
    "400": (fails(400, "invalid_request_error", "no"), RequestError),
    "too long": (fails(400, "invalid_request_error", "prompt is too long"), PromptTooLongError),
    "html": (Answer(body=b"<html>", headers={"content-type": "text/html"}), ServiceError),
    "drop": (drops(), NetworkError),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors_of_the_service_are_this_packages(opened: Opened, ask: Ask, name: str) -> None:
    answer, error = FAILURES[name]
    with opened(answer) as client, pytest.raises(error) as caught:
        ask(client)
    assert type(caught.value) is error


@pytest.mark.parametrize("answer", [rate_limited(7), overloaded(7)])
def test_a_service_that_is_busy_says_how_long(opened: Opened, ask: Ask, answer: Answer) -> None:
    with opened(answer) as client, pytest.raises((RateLimitError, OverloadedError)) as caught:
        ask(client)
    assert (caught.value.retry_after, caught.value.request_id) == (7.0, REQUEST_ID)


def test_what_came_before_the_cut_is_kept(opened: Opened, ask_stream: Ask) -> None:
    with opened(breaks_off("Hello ", "wor")) as client, pytest.raises(BrokenStreamError) as caught:
        ask_stream(client)
    assert caught.value.partial == "Hello wor"


def test_an_answer_in_one_piece_can_be_cut_too(opened: Opened) -> None:
    with opened(breaks_off("Hello ", "wor")) as client, pytest.raises(NetworkError):
        client.complete(REQUEST)


def test_a_stream_can_tell_of_an_error(opened: Opened, ask_stream: Ask) -> None:
    event = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
    with opened(says("Hel", error_event=event)) as client, pytest.raises(BrokenStreamError, match="overloaded"):
        ask_stream(client)
    with opened(says(error_event=event)) as client, pytest.raises(OverloadedError):
        ask_stream(client)


def test_a_slow_answer_takes_its_time(opened: Opened, ask: Ask) -> None:
    with opened(says("a", "b", pause=0.03)) as client:
        since = time.perf_counter()
        assert last(ask(client)).text == "ab"
    assert time.perf_counter() - since >= 0.06


def test_an_answer_is_held_back_until_it_may_come(opened: Opened) -> None:
    goes_on = threading.Event()
    with opened(stalls("Hel", until=goes_on)) as client:
        events = client.stream(REQUEST)
        assert next(events) == TextDelta(text="Hel")
        goes_on.set()
        assert [event.text for event in events] == ["Hel"]


def test_a_coroutine_that_waits_for_a_stalled_answer_can_be_cancelled(opened: Opened) -> None:
    async def give_up(client: Any) -> None:
        try:
            await asyncio.wait_for(client.acomplete(REQUEST), 0.05)
        finally:
            if hasattr(client, "aclose"):
                await client.aclose()

    with opened(stalls("Hel")) as client, pytest.raises(TimeoutError):
        asyncio.run(give_up(client))


def test_a_client_in_a_hurry_meets_a_timeout() -> None:
    with serve(stalls("Hel")) as server, closing(client_for(server.base_url, timeout=0.05)) as client:  # noqa: SIM117
        with pytest.raises(ResponseTimeoutError):
            client.complete(REQUEST)


def test_answers_come_in_their_order_and_the_last_one_stays(opened: Opened, ask: Ask) -> None:
    with opened("one", says("two")) as client:
        assert [last(ask(client)).text for _ in range(3)] == ["one", "two", "two"]
        assert len(getattr(client, "requests", [1, 2, 3])) == 3


def test_an_answer_can_depend_on_the_request() -> None:
    client = ScriptedClient(lambda request: says(request.system.upper()))
    assert client.complete(replace(REQUEST, system="loud")).text == "LOUD"
    with serve(lambda recorded: says(recorded.body["model"])) as server:
        with closing(client_for(server.base_url)) as http:
            assert http.complete(REQUEST).text == REQUEST.model
        assert server.requests[0].path == "/v1/messages"


def test_an_error_of_ones_own_can_stand_in_a_script(ask: Ask) -> None:
    client = ScriptedClient(ResponseTimeoutError("too late"), "fine")
    with pytest.raises(ResponseTimeoutError, match="too late"):
        ask(client)
    assert last(ask(client)).text == "fine"


def test_a_new_script_takes_the_place_of_the_old_one() -> None:
    client = ScriptedClient("one", "two", "three")
    client.complete(REQUEST)
    client.script("other")
    assert client.complete(REQUEST).text == "other"


def test_the_scripted_client_needs_no_sdk() -> None:
    code = (
        "import sys; from dispatcher.testing import ScriptedClient; from dispatcher.llm import Request;"
        "print(ScriptedClient('hi').complete(Request(model='m', system='', messages=(), max_tokens=1)).text,"
        "'anthropic' in sys.modules, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hi", "False", "False"]


def test_a_client_that_goes_away_in_the_middle_of_its_request_is_no_request(capfd: pytest.CaptureFixture[str]) -> None:
    with serve("an answer") as server:
        host, port = server.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 100\r\n\r\n{")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        assert server.requests == []
    assert capfd.readouterr().err == ""
