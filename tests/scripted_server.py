"""A model's service for tests: a small HTTP server on loopback that speaks the Messages API as a test has scripted it.

    with serve() as server:
        server.script(rate_limited(retry_after=0.01), says("Hello ", "world"))
        client = AnthropicClient(LLMSettings(base_url=server.base_url))

Each request takes the next answer of the script, and the last answer stays; all requests are recorded. An answer can
be a function of the request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = [
    "Answer",
    "Recorded",
    "ScriptedServer",
    "breaks_off",
    "calls",
    "fails",
    "rate_limited",
    "says",
    "serve",
    "stalls",
]

MODEL = "claude-sonnet-5-5"
REQUEST_ID = "req_scripted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one request gets.

    An error or any other plain body has a `body`; an answer of a model has `pieces`, sent as one JSON object or as a
    stream, as the request asks, and `calls` of tools, each a name and its arguments. `is_cut` closes the connection
    after the pieces, in the middle of the stream; with an `error_event` the stream tells of an error there. `waits_for`
    holds the answer back after `pieces` until it is set.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: tuple[str, ...] = ()
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stop_reason: str = "end_turn"
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    is_cut: bool = False
    error_event: Mapping[str, Any] | None = None
    waits_for: threading.Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A request as it came in; the names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Any


def says(*pieces: str, **options: Any) -> Answer:
    """An answer of the model; `options` are the fields of Answer."""
    return Answer(pieces=pieces, **options)


def calls(*wanted: tuple[str, Mapping[str, Any]], text: str = "") -> Answer:
    """An answer of the model that calls tools, after some text."""
    return Answer(pieces=(text,) if text else (), calls=wanted, stop_reason="tool_use")


def fails(status: int, kind: str = "api_error", message: str = "scripted failure", **headers: str) -> Answer:
    """An error of the service in its own form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=json.dumps(_error(kind, message)).encode())


def rate_limited(retry_after: float | str = 0.01) -> Answer:
    """A 429 that asks to wait."""
    return fails(429, "rate_limit_error", "too many requests", retry_after=str(retry_after))


def breaks_off(*pieces: str) -> Answer:
    """A stream whose connection is closed in the middle."""
    return Answer(pieces=pieces, is_cut=True)


def stalls(*pieces: str, until: threading.Event | None = None) -> Answer:
    """An answer that stops after its pieces and goes on only when `until` is set, or the server closes."""
    return Answer(pieces=pieces, waits_for=until or threading.Event())


class ScriptedServer:
    """The server's script and its record; made by `serve`."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.requests: list[Recorded] = []
        self._answers: list[Answer | Callable[[Recorded], Answer]] = [says("an answer")]
        self._lock = threading.Lock()

    def script(self, *answers: Answer | Callable[[Recorded], Answer]) -> None:
        """Replaces the answers that are still to be given."""
        with self._lock:
            self._answers = list(answers)

    def take(self, request: Recorded) -> Answer:
        """Records a request and returns its answer."""
        with self._lock:
            self.requests.append(request)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            return answer if isinstance(answer, Answer) else answer(request)


@contextmanager
def serve(*, keeps_alive: bool = False) -> Iterator[ScriptedServer]:
    """Runs a server on a free port of loopback until the block ends.

    Every connection is closed after its answer, unless it `keeps_alive`; then the client has to close it.
    """
    closing = threading.Event()

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = ScriptedServer(http.server_port)
        Handler.server_script, Handler.closing, Handler.keeps_alive = server, closing, keeps_alive
        http.daemon_threads = False  # so that closing waits for the threads, and no socket stays open
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            closing.set()
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_script: ScriptedServer
    closing: threading.Event
    keeps_alive: bool

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("content-length", "0")))))

    def _answer(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server_script.take(Recorded(path=self.path, headers=headers, body=body))
        try:
            if answer.body is not None:
                self._send(answer, answer.body, "application/json")
            elif body.get("stream"):
                self._send_stream(answer, body)
            else:
                self._hold(answer)
                self._send(answer, json.dumps(_message(answer, body)).encode(), "application/json")
        except OSError:
            self.close_connection = True  # the client has gone away

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name that http.server has
        """Says nothing."""

    def _head(self, answer: Answer, content_type: str) -> None:
        self.send_response(answer.status)
        for name, value in {"content-type": content_type, "request-id": REQUEST_ID, **answer.headers}.items():
            self.send_header(name, value)
        if not self.keeps_alive:
            self.send_header("connection", "close")

    def _send(self, answer: Answer, content: bytes, content_type: str) -> None:
        self._head(answer, content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_stream(self, answer: Answer, request: Mapping[str, Any]) -> None:
        self._head(answer, "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        start = {**_message(answer, request), "content": [], "stop_reason": None}
        start["usage"] = {**answer.usage, "output_tokens": 1}
        self._event("message_start", message=start)
        self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in answer.pieces:
            self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        self._hold(answer)
        if answer.error_event is not None:
            self._event("error", **answer.error_event)
        if answer.is_cut or answer.error_event is not None:
            self.close_connection = True
            return
        self._event("content_block_stop", index=0)
        for index, block in enumerate(_calls(answer), start=1):
            self._event("content_block_start", index=index, content_block={**block, "input": {}})
            text = json.dumps(block["input"])
            for piece in (text[:5], text[5:]):
                self._event(
                    "content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}
                )
            self._event("content_block_stop", index=index)
        delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
        self._event("message_delta", delta=delta, usage={"output_tokens": answer.usage["output_tokens"]})
        self._event("message_stop")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, name: str, **data: Any) -> None:
        event = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.flush()

    def _hold(self, answer: Answer) -> None:
        """Waits for the event of an answer; polls, so that closing the server ends the wait, too."""
        while answer.waits_for is not None and not answer.waits_for.wait(0.02) and not self.closing.is_set():
            pass


def _message(answer: Answer, request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", MODEL),
        "content": [{"type": "text", "text": "".join(answer.pieces)}, *_calls(answer)],
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": dict(answer.usage),
    }


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": dict(arguments)}
        for number, (name, arguments) in enumerate(answer.calls)
    ]


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": REQUEST_ID}
