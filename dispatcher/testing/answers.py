"""What a model's service answers in a test, and the order in which it does.

The same answers go to the scripted client and to the scripted server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = [
    "MODEL",
    "REQUEST_ID",
    "Answer",
    "Script",
    "breaks_off",
    "calls",
    "drops",
    "error_body",
    "fails",
    "overloaded",
    "rate_limited",
    "says",
    "stalls",
]

MODEL = "claude-sonnet-5-5"
"""The model that answers a request which names none."""

REQUEST_ID = "req_scripted"
"""The service's name for every request."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one request gets.

    An error or any other plain body has a `body`; an answer of a model has `pieces` of text and then `calls` of
    tools, each a name and its arguments, in one piece or as a stream, as the request asks. `usage` is in the words of
    the Messages API.

    `is_dropped` closes the connection without an answer; `is_cut` closes it in the middle of one, after the pieces;
    with an `error_event` a stream tells of an error there (an answer in one piece can't, and is whole).
    `pause` is the time in seconds before each piece; `waits_for` holds the answer back after them until it is set.
    `pings` are the events without content that a stream over a socket has after the pieces, each after a pause, too.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: tuple[str, ...] = ()
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stop_reason: str = "end_turn"
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    is_dropped: bool = False
    is_cut: bool = False
    error_event: Mapping[str, Any] | None = None
    pause: float = 0.0
    pings: int = 0
    waits_for: threading.Event | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def content(self) -> list[dict[str, Any]]:
        """The content blocks of the whole answer."""
        texts = [{"type": "text", "text": self.text}] if self.pieces or not self.calls else []
        return [*texts, *self.tool_uses]

    @property
    def tool_uses(self) -> list[dict[str, Any]]:
        """The calls of tools as content blocks."""
        return [
            {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": dict(arguments)}
            for number, (name, arguments) in enumerate(self.calls)
        ]


def says(*pieces: str, **options: Any) -> Answer:
    """An answer of the model; `options` are the fields of Answer."""
    return Answer(pieces=pieces, **options)


def calls(*wanted: tuple[str, Mapping[str, Any]], text: str = "") -> Answer:
    """An answer of the model that calls tools, each given by its name and arguments, after some text."""
    return Answer(pieces=(text,) if text else (), calls=wanted, stop_reason="tool_use")


def fails(status: int, kind: str = "api_error", message: str = "scripted failure", **headers: str) -> Answer:
    """An error of the service in its own form; `retry_after="3"` becomes the header retry-after."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=json.dumps(error_body(kind, message)).encode())


def rate_limited(retry_after: float | str = 0.01) -> Answer:
    """A 429 that asks to wait so many seconds."""
    return fails(429, "rate_limit_error", "too many requests", retry_after=str(retry_after))


def overloaded(retry_after: float | str | None = None) -> Answer:
    """A 529; asks to wait only if it is told to."""
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    return fails(529, "overloaded_error", "Overloaded", **headers)


def breaks_off(*pieces: str) -> Answer:
    """An answer whose connection is closed in the middle."""
    return Answer(pieces=pieces, is_cut=True)


def drops() -> Answer:
    """A connection that is closed before anything came."""
    return Answer(is_dropped=True)


def stalls(*pieces: str, until: threading.Event | None = None) -> Answer:
    """An answer that stops after its pieces and goes on only when `until` is set, or the server closes."""
    return Answer(pieces=pieces, waits_for=until or threading.Event())


def error_body(kind: str, message: str) -> dict[str, Any]:
    """An error in the form of the Messages API."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": REQUEST_ID}


class Script(Generic[R]):
    """Answers in their order, to any number of threads; the last one stays.

    An answer can be given as text, as an Answer, as an exception to be raised, or as a function of the request.
    """

    def __init__(self, *answers: str | Answer | Exception | Callable[[R], Answer]) -> None:
        self.requests: list[R] = []
        self._lock = threading.Lock()
        self._answers: list[str | Answer | Exception | Callable[[R], Answer]] = []
        self.replace(*answers)

    def replace(self, *answers: str | Answer | Exception | Callable[[R], Answer]) -> None:
        """Puts others in place of the answers that are still to be given."""
        with self._lock:
            self._answers = list(answers or ("an answer",))

    def take(self, request: R) -> Answer:
        """Records a request and returns its answer. Raises the exception that stands in its place."""
        with self._lock:
            self.requests.append(request)
            found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(found, Exception):
                raise found
            if isinstance(found, str):
                return says(found)
            return found if isinstance(found, Answer) else found(request)
