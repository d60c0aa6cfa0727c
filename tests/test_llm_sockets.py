"""The client of the Messages API over real sockets: answers, retries, and everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from dispatcher import AnthropicClient, Completion, LLMError, TextDelta, Usage
from dispatcher.errors import (
    BrokenStreamError,
    CredentialError,
    NetworkError,
    OverloadedError,
    PromptTooLongError,
    RateLimitError,
    ResponseTimeoutError,
    ServiceError,
    UnknownModelError,
)
from tests.asking import REQUEST, STREAMS, WAYS, Ask, client_for
from tests.scripted_server import (
    REQUEST_ID,
    Answer,
    ScriptedServer,
    breaks_off,
    fails,
    rate_limited,
    says,
    serve,
    stalls,
)

SOON = {"retry_after": "0.01"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as running:
        yield running


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four ways to send a request."""
    return WAYS[str(request.param)]


@pytest.fixture(params=list(STREAMS))
def ask_stream(request: pytest.FixtureRequest) -> Ask:
    """Both ways to stream."""
    return STREAMS[str(request.param)]


def test_an_answer_comes_with_its_usage_and_request_id(server: ScriptedServer, ask: Ask) -> None:
    usage = {
        "input_tokens": 3,
        "output_tokens": 9,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
    }
    server.script(says("Looks ", "fine.", usage=usage))
    _, completion = ask(client_for(server.base_url))
    assert completion == Completion(
        text="Looks fine.",
        model="claude-sonnet-5-5",
        stop_reason="end_turn",
        usage=Usage(input_tokens=3, output_tokens=9, cache_write_tokens=20, cache_read_tokens=100),
        request_id=REQUEST_ID,
        content=({"type": "text", "text": "Looks fine."},),
    )


def test_a_stream_comes_in_pieces(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(says("Looks ", "fine", ", größer ✓."))
    pieces, completion = ask_stream(client_for(server.base_url))
    assert pieces == ["Looks ", "fine", ", größer ✓."]
    assert completion.text == "Looks fine, größer ✓."


def test_a_piece_is_there_before_the_answer_is_whole(server: ScriptedServer) -> None:
    goes_on = threading.Event()
    server.script(stalls("Looks", until=goes_on))
    client = client_for(server.base_url)
    events = client.stream(REQUEST)
    assert next(events) == TextDelta(text="Looks")
    goes_on.set()
    assert [type(event) for event in events] == [Completion]
    client.close()


def test_the_request_is_sent_as_the_api_wants_it(server: ScriptedServer, ask: Ask) -> None:
    ask(client_for(server.base_url, key="a-key-of-tests"))
    [sent] = server.requests
    assert sent.path == "/v1/messages"
    assert sent.headers["authorization"] == "Bearer a-key-of-tests"
    assert sent.body["system"][0]["text"] == "You review code."
    assert sent.body["messages"] == [{"role": "user", "content": "review the parser"}]


def test_a_request_that_fails_is_tried_again(server: ScriptedServer, ask: Ask) -> None:
    server.script(rate_limited(0.01), fails(529, "overloaded_error", **SOON), fails(500, **SOON), says("at last"))
    _, completion = ask(client_for(server.base_url, max_retries=3))
    assert completion.text == "at last"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (fails(529, "overloaded_error", "busy", **SOON), OverloadedError, "the service is overloaded (HTTP 529)"),
        (fails(500, "api_error", "boom", **SOON), ServiceError, "the service failed (HTTP 500)"),
        (rate_limited(0.01), RateLimitError, "too many requests (HTTP 429)"),
    ],
    ids=["529", "500", "429"],
)
def test_after_the_retries_it_is_an_error(
    server: ScriptedServer, ask: Ask, answer: Answer, kind: type[LLMError], message: str
) -> None:
    server.script(answer)
    with pytest.raises(kind) as caught:
        ask(client_for(server.base_url, max_retries=1))
    assert caught.value.message.startswith(message)
    assert caught.value.request_id == REQUEST_ID
    assert len(server.requests) == 2


def test_too_many_requests_says_how_long_to_wait(server: ScriptedServer, ask: Ask) -> None:
    server.script(rate_limited(7))
    with pytest.raises(RateLimitError) as caught:
        ask(client_for(server.base_url))
    assert (caught.value.retry_after, caught.value.hint) == (7, "try again in 7 seconds")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fails(401, "authentication_error"), CredentialError),
        (fails(404, "not_found_error"), UnknownModelError),
        (fails(413, "request_too_large"), PromptTooLongError),
    ],
    ids=["401", "404", "413"],
)
def test_what_can_not_get_better_is_not_tried_again(
    server: ScriptedServer, ask: Ask, answer: Answer, kind: type[LLMError]
) -> None:
    server.script(answer)
    with pytest.raises(kind):
        ask(client_for(server.base_url, max_retries=3))
    assert len(server.requests) == 1


def test_what_came_of_a_cut_stream_is_kept(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(breaks_off("Looks ", "fi"))
    with pytest.raises(BrokenStreamError) as caught:
        ask_stream(client_for(server.base_url))
    assert caught.value.partial == "Looks fi"
    assert caught.value.request_id == REQUEST_ID
    assert caught.value.message.startswith("the answer broke off after 8 characters: ")


def test_a_stream_cut_before_its_first_word_is_broken_too(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(breaks_off())
    with pytest.raises(BrokenStreamError) as caught:
        ask_stream(client_for(server.base_url))
    assert (caught.value.partial, caught.value.request_id) == ("", REQUEST_ID)


OVERLOADED = {"error": {"type": "overloaded_error", "message": "busy"}}


def test_an_error_told_in_the_middle_of_a_stream_keeps_what_came(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(says("Looks", error_event=OVERLOADED))
    with pytest.raises(BrokenStreamError, match="the service is overloaded: busy") as caught:
        ask_stream(client_for(server.base_url))
    assert caught.value.partial == "Looks"


def test_an_error_told_at_the_beginning_of_a_stream_is_that_error(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(says(error_event=OVERLOADED))
    with pytest.raises(OverloadedError) as caught:
        ask_stream(client_for(server.base_url))
    assert caught.value.message == "the service is overloaded: busy"


def test_no_answer_in_time_is_a_timeout(server: ScriptedServer, ask: Ask) -> None:
    server.script(stalls())
    with pytest.raises(ResponseTimeoutError, match="in time"):
        ask(client_for(server.base_url, timeout=0.1))


def test_a_stream_that_stalls_keeps_what_came(server: ScriptedServer, ask_stream: Ask) -> None:
    server.script(stalls("Looks"))
    with pytest.raises(BrokenStreamError, match="in time") as caught:
        ask_stream(client_for(server.base_url, timeout=0.2))
    assert caught.value.partial == "Looks"


def test_a_service_that_is_not_there_is_a_network_error(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(
        NetworkError, match=rf"^http://127.0.0.1:{port} can't be reached: .*(refused|Connect call failed)"
    ):
        ask(client_for(f"http://someone:password@127.0.0.1:{port}"))


@pytest.mark.parametrize("stop_reason", ["refusal", "max_tokens"])
def test_an_answer_that_is_not_whole_says_why(server: ScriptedServer, ask: Ask, stop_reason: str) -> None:
    server.script(says("I", stop_reason=stop_reason))
    _, completion = ask(client_for(server.base_url))
    assert (completion.text, completion.stop_reason) == ("I", stop_reason)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>Welcome</html>", "text/html"),
        (b'{"object": "chat.completion"}', "application/json"),
        (b"[1]", "application/json"),
        (b'{"type": "mess', "application/json"),
    ],
    ids=["html", "another-object", "list", "cut-json"],
)
def test_a_server_that_is_no_messages_api_is_told(
    server: ScriptedServer, ask: Ask, body: bytes, content_type: str
) -> None:
    server.script(Answer(body=body, headers={"content-type": content_type}))
    with pytest.raises(ServiceError, match="does not answer as the Messages API does") as caught:
        ask(client_for(server.base_url))
    assert caught.value.hint == "check llm.base_url"


def test_without_a_key_no_authorization_is_sent(server: ScriptedServer, ask: Ask) -> None:
    _, completion = ask(client_for(server.base_url, key=None))
    assert completion.text == "an answer"
    assert server.requests[0].headers.keys().isdisjoint({"authorization", "x-api-key"})


def test_a_key_goes_nowhere_when_config_names_another(server: ScriptedServer, ask: Ask) -> None:
    ask(client_for(server.base_url, key="the-other-key", api_key_env="NOT_SET"))
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_keys_and_base_url_of_the_environment_are_used(
    server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "from-the-environment\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
    ask(AnthropicClient())
    assert server.requests[0].headers["authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize("key", ["topsecret", "top\nsecret", "tóp secret"])
@pytest.mark.parametrize("said", ["Received key {} in vain", "sk-ant-another-key-that-is-long"])
def test_a_key_is_never_in_an_error(server: ScriptedServer, ask: Ask, key: str, said: str) -> None:
    server.script(fails(401, "authentication_error", said.format(key)))
    with pytest.raises(LLMError) as caught:
        ask(client_for(server.base_url, key=key))
    shown = f"{caught.value.message} {caught.value.hint}"
    assert "[key]" in shown
    assert "secret" not in shown
    assert "sk-ant" not in shown


def test_one_client_serves_several_event_loops() -> None:
    with serve(keeps_alive=True) as server, asyncio.Runner() as first, asyncio.Runner() as second:
        client = client_for(server.base_url)
        for loop in (first, second, first):
            assert loop.run(client.acomplete(REQUEST)).text == "an answer"
        first.run(client.aclose())
        second.run(client.aclose())
        assert len(server.requests) == 3


def test_a_closed_client_can_be_used_again(server: ScriptedServer, ask: Ask) -> None:
    client = client_for(server.base_url)
    assert ask(client)[1].text == ask(client)[1].text == "an answer"
