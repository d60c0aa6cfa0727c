"""One request to a client in each of the four ways, so that a test covers them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dispatcher import AnthropicClient, Completion, Message, Request, TextDelta
from dispatcher.settings import LLMSettings

__all__ = ["REQUEST", "STREAMS", "WAYS", "Ask", "client_for"]

REQUEST = Request(
    model="claude-sonnet-5-5",
    system="You review code.",
    messages=(Message(role="user", content="review the parser"),),
    max_tokens=100,
)

Ask = Callable[[Any], tuple[list[str], Completion]]
"""Sends the request, closes the client, and returns the pieces in which the answer came (none if at once) and the
completion."""


def client_for(
    base_url: str | None = None, *, key: str | None = "a-key-of-tests", **settings: object
) -> AnthropicClient:
    """A client that does not try again unless told to; without a `key` it has no credential."""
    environment = {"ANTHROPIC_API_KEY": key} if key is not None else {}
    options: dict[str, Any] = {"base_url": base_url, "max_retries": 0} | settings
    return AnthropicClient(LLMSettings(**options), environment=environment)


def _complete(client: Any) -> tuple[list[str], Completion]:
    try:
        return [], client.complete(REQUEST)
    finally:
        client.close()


def _stream(client: Any) -> tuple[list[str], Completion]:
    try:
        *deltas, last = client.stream(REQUEST)
    finally:
        client.close()
    return _parts(deltas, last)


def _acomplete(client: Any) -> tuple[list[str], Completion]:
    async def ask() -> Completion:
        try:
            answer: Completion = await client.acomplete(REQUEST)
            return answer
        finally:
            await client.aclose()

    return [], asyncio.run(ask())


def _astream(client: Any) -> tuple[list[str], Completion]:
    async def ask() -> list[TextDelta | Completion]:
        try:
            return [event async for event in client.astream(REQUEST)]
        finally:
            await client.aclose()

    *deltas, last = asyncio.run(ask())
    return _parts(deltas, last)


def _parts(deltas: list[TextDelta | Completion], last: TextDelta | Completion) -> tuple[list[str], Completion]:
    assert isinstance(last, Completion)
    return [delta.text for delta in deltas if isinstance(delta, TextDelta)], last


WAYS: dict[str, Ask] = {"complete": _complete, "stream": _stream, "acomplete": _acomplete, "astream": _astream}
STREAMS: dict[str, Ask] = {"stream": _stream, "astream": _astream}
