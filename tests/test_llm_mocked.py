"""What the client sends, and what each refusal of the service becomes, with the service's answers mocked."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx2
import pytest
import respx

from dispatcher import AnthropicClient, LLMError, Message, OfflineClient, Request
from dispatcher.errors import (
    CredentialError,
    DispatcherError,
    NetworkError,
    OverloadedError,
    PromptTooLongError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
    UnknownModelError,
)
from dispatcher.llm import NOT_SENT, LLMClient, has_credential, request_body
from dispatcher.settings import LLMSettings
from tests.asking import REQUEST, WAYS, Ask, client_for

URL = "https://api.anthropic.com/v1/messages"
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "Fine."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four ways to send a request."""
    return WAYS[str(request.param)]


def refusal(status: int, kind: str, message: str, **headers: str) -> httpx.Response:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return httpx.Response(status, json=body, headers={"request-id": "req_1", **headers})


REFUSALS: dict[str, tuple[httpx.Response, type[LLMError], str, str | None]] = {
    "wrong-key": (
        refusal(401, "authentication_error", "invalid x-api-key"),
        CredentialError,
        "the service refused the key (HTTP 401): invalid x-api-key",
        "check ANTHROPIC_API_KEY, or the variable that llm.api_key_env names",
    ),
    "not-allowed": (
        refusal(403, "permission_error", "not yours"),
        CredentialError,
        "the service refused the key (HTTP 403): not yours",
        "check ANTHROPIC_API_KEY, or the variable that llm.api_key_env names",
    ),
    "unknown-model": (
        refusal(404, "not_found_error", "model: claude-sonnet-5-5"),
        UnknownModelError,
        'the service does not have the model "claude-sonnet-5-5" (HTTP 404): model: claude-sonnet-5-5',
        "name another with --model, in the agent's file or in llm.model",
    ),
    "unknown-path": (
        httpx.Response(404, text="404 page not found", headers={"request-id": "req_1"}),
        UnknownModelError,
        'the service does not have the model "claude-sonnet-5-5" (HTTP 404): 404 page not found',
        "name another with --model, in the agent's file or in llm.model; or check llm.base_url",
    ),
    "too-large": (
        refusal(413, "request_too_large", "Request exceeds the maximum size"),
        PromptTooLongError,
        'the prompt is too long for "claude-sonnet-5-5" (HTTP 413): Request exceeds the maximum size',
        "shorten the task or the files given with it",
    ),
    "too-long": (
        refusal(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        PromptTooLongError,
        'the prompt is too long for "claude-sonnet-5-5" (HTTP 400): prompt is too long: 210000 tokens > 200000 maximum',
        "shorten the task or the files given with it",
    ),
    "too-long-with-the-answer": (
        refusal(400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 9 > 10"),
        PromptTooLongError,
        'the prompt is too long for "claude-sonnet-5-5" (HTTP 400): '
        "input length and `max_tokens` exceed context limit: 9 + 9 > 10",
        "shorten the task or the files given with it",
    ),
    "refused": (
        refusal(400, "invalid_request_error", "max_tokens: 9 > 8"),
        RequestError,
        "the service refused the request (HTTP 400): max_tokens: 9 > 8",
        None,
    ),
    "too-many": (
        refusal(429, "rate_limit_error", "slow down", **{"retry-after": "12"}),
        RateLimitError,
        "too many requests (HTTP 429): slow down",
        "try again in 12 seconds",
    ),
    "too-many-without-a-time": (
        refusal(429, "rate_limit_error", "slow down"),
        RateLimitError,
        "too many requests (HTTP 429): slow down",
        "try again in a while",
    ),
    "overloaded": (
        refusal(529, "overloaded_error", "Overloaded"),
        OverloadedError,
        "the service is overloaded (HTTP 529): Overloaded",
        "try again in a while, or name another model with --model",
    ),
    "failed": (
        refusal(500, "api_error", "Internal\nserver error"),
        ServiceError,
        "the service failed (HTTP 500): Internal server error",
        "try again in a while",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_has_its_error(respx_mock: respx.MockRouter, ask: Ask, name: str) -> None:
    response, kind, message, hint = REFUSALS[name]
    respx_mock.post(URL).mock(return_value=response)
    with pytest.raises(LLMError) as caught:
        ask(client_for())
    error = caught.value
    assert (type(error), error.message, error.hint, error.request_id) == (kind, message, hint, "req_1")
    assert error.exit_code == 5


def test_a_long_page_of_a_gateway_is_one_short_line(respx_mock: respx.MockRouter, ask: Ask) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(502, text="<html>\n" + "<p>Bad gateway</p>\n" * 500))
    with pytest.raises(ServiceError) as caught:
        ask(client_for())
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx2.ReadTimeout("slow"), ResponseTimeoutError),
        (httpx2.ConnectTimeout("slow"), ResponseTimeoutError),
        (httpx2.ConnectError("[Errno -2] Name or service not known"), NetworkError),
        (httpx2.ProxyError("502 from the proxy"), NetworkError),
    ],
    ids=["read", "connect", "name", "proxy"],
)
def test_each_failure_of_the_network_has_its_error(
    respx_mock: respx.MockRouter, ask: Ask, failure: httpx2.TransportError, kind: type[LLMError]
) -> None:
    respx_mock.post(URL).mock(side_effect=failure)
    with pytest.raises(kind) as caught:
        ask(client_for())
    assert "https://api.anthropic.com" in caught.value.message
    assert caught.value.hint is not None


def sent_body(router: respx.MockRouter) -> Any:
    return json.loads(router.calls.last.request.content)


def test_the_body_has_a_cache_mark_and_no_more_than_it_needs(respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=MESSAGE))
    _, completion = WAYS["complete"](client_for())
    assert completion.text == "Fine."
    assert sent_body(respx_mock) == request_body(REQUEST) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "You review code.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "review the parser"}],
    }  # fmt: skip


def test_effort_and_blocks_are_sent_along(respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=MESSAGE))
    blocks = [{"type": "text", "text": "a file"}, {"type": "text", "text": "the task"}]
    request = Request(
        model="claude-opus-5-5",
        system="s",
        messages=(Message(role="user", content=blocks),),
        max_tokens=5,
        effort="high",
    )
    client = client_for()
    client.complete(request)
    client.close()
    body = sent_body(respx_mock)
    assert body["output_config"] == {"effort": "high"}
    assert body["messages"] == [{"role": "user", "content": blocks}]


def test_no_key_for_the_standard_service_is_told_before_anything_is_sent(
    respx_mock: respx.MockRouter, ask: Ask
) -> None:
    route = respx_mock.post(URL)
    with pytest.raises(CredentialError) as caught:
        ask(client_for(key=None))
    assert caught.value.hint == "set ANTHROPIC_API_KEY to your key"
    with pytest.raises(CredentialError, match="MY_KEY is not set"):
        ask(client_for(api_key_env="MY_KEY"))
    assert not route.called


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"ANTHROPIC_API_KEY": ""}, False),
        ({"ANTHROPIC_API_KEY": " \n"}, False),
        ({"ANTHROPIC_API_KEY": "k"}, True),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, True),
        ({"MY_KEY": "k"}, True),
        ({"OTHER_KEY": "k"}, False),
        ({"ANTHROPIC_CUSTOM_HEADERS": "X-Team: a\nAuthorization: Bearer t"}, True),
        ({"ANTHROPIC_CUSTOM_HEADERS": "X-Team: a"}, False),
    ],
)
def test_a_credential_is_looked_for_wherever_the_sdk_does(environment: dict[str, str], expected: bool) -> None:
    assert has_credential(LLMSettings(api_key_env="MY_KEY"), environment) is expected


def test_a_profile_that_can_not_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_PROFILE", "absent")
    with pytest.raises(CredentialError, match="can't be used"):
        has_credential(LLMSettings())


def test_the_offline_client_answers_that_nothing_was_sent() -> None:
    client = OfflineClient()
    completion = client.complete(REQUEST)
    assert (completion.text, completion.stop_reason, completion.model) == ("", NOT_SENT, "claude-sonnet-5-5")
    assert list(client.stream(REQUEST)) == [completion]


@pytest.mark.parametrize("client", [OfflineClient(), AnthropicClient()], ids=["offline", "anthropic"])
def test_both_clients_keep_the_protocol(client: object) -> None:
    assert isinstance(client, LLMClient)


@pytest.mark.parametrize(
    ("root", "code"), [(LLMError, 5), (DispatcherError, 1)], ids=["of-the-service", "of-the-package"]
)
def test_every_error_of_the_service_can_be_caught_as_one(root: type[DispatcherError], code: int) -> None:
    kinds = {kind for _, kind, _, _ in REFUSALS.values()} | {NetworkError, ResponseTimeoutError}
    assert all(issubclass(kind, root) for kind in kinds)
    assert root.exit_code == code
