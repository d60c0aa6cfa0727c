"""What the rest of the package knows of a language model: a request, an answer, and a client that turns one into the
other, at once or as a stream, synchronously or not.

Any object with these four methods is a client; this layer knows nothing of routing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "COMPLETE_STOPS",
    "NOT_SENT",
    "Attempt",
    "Completion",
    "LLMClient",
    "Message",
    "Request",
    "TextDelta",
    "Usage",
]

NOT_SENT = "not_sent"
"""The stop reason of a request that no service was asked for."""

COMPLETE_STOPS = frozenset({"end_turn", "stop_sequence"})
"""The stop reasons of an answer that is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. `content` is text, or content blocks in the form of the Messages API."""

    role: str
    content: str | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that is sent. `model` is a name that the service knows; `max_tokens` limits the answer.

    `tools` are what the model may call, as the Messages API wants them told. With a `schema`, a JSON schema, the answer
    is to be one JSON object of that shape; see `llm.structured`. `timeout` is the longest wait for the service, in
    seconds, where the client's own is longer.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    effort: str | None = None
    schema: Mapping[str, Any] | None = None
    timeout: float | None = None
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens: of the prompt that were read anew, written to and read from the cache; and of the answer."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the answer, as it comes."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request for an answer and what came of it: `error` is the name of its error's class, None if it went well.

    `started` is in UTC; `waited` are the seconds before it, `seconds` those that it took.
    """

    model: str
    started: datetime
    waited: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    message: str = ""
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer. `model` is the one that the service says it used; `stop_reason` is the Messages API's word.

    `content` are its blocks as they came, calls of tools among them; a client that never has any may leave it empty.
    `attempts` are all that were made for it, itself the last, where something kept count.
    """

    text: str
    model: str
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    request_id: str | None = None
    content: tuple[Mapping[str, Any], ...] = ()
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)


@runtime_checkable
class LLMClient(Protocol):
    """A model's service.

    A stream yields pieces of text and, last, the Completion. All four methods raise errors of the LLMError branch.
    """

    def complete(self, request: Request) -> Completion: ...

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]: ...

    async def acomplete(self, request: Request) -> Completion: ...

    def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]: ...
