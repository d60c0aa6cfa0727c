"""Structured answers: the schema is sent, the object comes back, and every other answer is a clear error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher import OfflineClient, Usage
from dispatcher.errors import AnswerError, OfflineError, OverloadedError
from dispatcher.llm import LLMClient, acomplete_json, complete_json
from dispatcher.testing import REQUEST_ID, ScriptedClient, ScriptedServer, fails, says, serve
from tests.asking import REQUEST, client_for

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pick": {"type": "string"}},
    "required": ["pick"],
    "additionalProperties": False,
}
WAYS = {
    "sync": complete_json,
    "async": lambda client, request, schema: asyncio.run(acomplete_json(client, request, schema)),
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as running:
        yield running


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Any:
    return WAYS[str(request.param)]


def ask_of(ask: Any, client: LLMClient) -> Any:
    return ask(client, REQUEST, SCHEMA)


def test_the_schema_is_sent_and_the_object_comes_back_with_its_usage(server: ScriptedServer) -> None:
    server.script(says('{"pick": ', '"tailor"}', usage={"input_tokens": 7, "output_tokens": 3}))
    client = client_for(server.base_url)
    value, usage = complete_json(client, REQUEST, SCHEMA)
    client.close()
    assert value == {"pick": "tailor"}
    assert usage == Usage(input_tokens=7, output_tokens=3)
    assert server.requests[0].body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


def test_the_same_for_coroutines(server: ScriptedServer) -> None:
    server.script(says('{"pick": "tailor"}'))
    client = client_for(server.base_url)

    async def ask_and_close() -> tuple[dict[str, Any], Usage]:
        try:
            return await acomplete_json(client, REQUEST, SCHEMA)
        finally:
            await client.aclose()

    assert asyncio.run(ask_and_close())[0] == {"pick": "tailor"}
    assert server.requests[0].body["output_config"]["format"]["schema"] == SCHEMA


@pytest.mark.parametrize("text", ['```json\n{"pick": "x"}\n```', ' ```\n{"pick": "x"}```\n', '\n{"pick": "x"}'])
def test_a_fence_around_the_object_does_no_harm(ask: Any, text: str) -> None:
    assert ask_of(ask, ScriptedClient(text))[0] == {"pick": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I pick the tailor.", "is not JSON"),
        ('{"pick": "ta', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("", "is not JSON"),
        ('["tailor"]', "is not a JSON object"),
        ('{"Pick": "tailor"}', 'has no "pick"'),
    ],
)
def test_an_answer_of_another_shape_is_an_error(ask: Any, text: str, message: str) -> None:
    with pytest.raises(AnswerError, match=message) as caught:
        ask_of(ask, ScriptedClient(text))
    assert (caught.value.request_id, caught.value.exit_code) == (REQUEST_ID, 5)


@pytest.mark.parametrize("stop", ["refusal", "max_tokens", "model_context_window_exceeded", "pause_turn"])
def test_an_answer_that_is_not_whole_is_an_error_though_it_is_json(ask: Any, stop: str) -> None:
    with pytest.raises(AnswerError) as caught:
        ask_of(ask, ScriptedClient(says('{"pick": "x"}', stop_reason=stop)))
    assert caught.value.stop_reason == stop


def test_errors_of_the_service_are_this_packages(server: ScriptedServer) -> None:
    server.script(fails(529, "overloaded_error"))
    client = client_for(server.base_url)
    with pytest.raises(OverloadedError) as caught:
        complete_json(client, REQUEST, SCHEMA)
    client.close()
    assert caught.value.request_id == REQUEST_ID


def test_without_a_credential_nothing_can_be_answered(ask: Any) -> None:
    with pytest.raises(OfflineError, match="no credential"):
        ask_of(ask, OfflineClient())
