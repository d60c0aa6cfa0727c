"""A model's service for tests: a small HTTP server on loopback that speaks the Messages API as a test has scripted it.

    with serve(rate_limited(), says("Hello ", "world")) as server:
        client = AnthropicClient(LLMSettings(base_url=server.base_url))

Each request takes the next answer of the script, and the last answer stays; all requests are recorded. An answer can
be a text, an Answer, or a function of the request. Streams, errors and lost connections are real ones, so the client's
own retries and timeouts happen, too.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dispatcher.testing.answers import MODEL, REQUEST_ID, Answer, Script

__all__ = ["Recorded", "ScriptedServer", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A request as it came in; the names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Any


class ScriptedServer:
    """The server's script and its record; made by `serve`."""

    def __init__(self, port: int, *answers: str | Answer | Callable[[Recorded], Answer]) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self._script: Script[Recorded] = Script(*answers)

    @property
    def requests(self) -> list[Recorded]:
        return self._script.requests

    def script(self, *answers: str | Answer | Callable[[Recorded], Answer]) -> None:
        """Replaces the answers that are still to be given."""
        self._script.replace(*answers)

    def take(self, request: Recorded) -> Answer:
        """Records a request and returns its answer."""
        return self._script.take(request)


@contextlib.contextmanager
def serve(*answers: str | Answer | Callable[[Recorded], Answer], keeps_alive: bool = False) -> Iterator[ScriptedServer]:
    """Runs a server with these answers on a free port of loopback until the block ends.

    Every connection is closed after its answer, unless it `keeps_alive`; then the client has to close it.
    """
    closing = threading.Event()

    class Handler(_Handler):
        pass

    with _Server(("127.0.0.1", 0), Handler) as http:
        server = ScriptedServer(http.server_port, *answers)
        Handler.server_script, Handler.closing, Handler.keeps_alive = server, closing, keeps_alive
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            closing.set()
            http.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """Takes hundreds of connections at once."""

    request_queue_size = 1_000
    daemon_threads = False  # so that closing waits for the threads, and no socket stays open


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # each piece goes out at once, as from a model; else streams stall for 40 ms
    server_script: ScriptedServer
    closing: threading.Event
    keeps_alive: bool

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone away between two requests
            super().handle()

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", "0"))
        content = self.rfile.read(size)
        if len(content) < size:
            self.close_connection = True  # the client has gone away before all of it was sent
            return
        self._answer(json.loads(content))

    def _answer(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server_script.take(Recorded(path=self.path, headers=headers, body=body))
        try:
            if answer.is_dropped:
                self.close_connection = True
            elif answer.body is not None:
                self._send(answer, answer.body, "application/json")
            elif body.get("stream"):
                self._send_stream(answer, body)
            else:
                self._pause(answer.pause * (answer.pings + len(answer.pieces)))
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
        self.wfile.write(content[: len(content) // 2] if answer.is_cut else content)
        self.close_connection = self.close_connection or answer.is_cut

    def _send_stream(self, answer: Answer, request: Mapping[str, Any]) -> None:
        self._head(answer, "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        start = {**_message(answer, request), "content": [], "stop_reason": None}
        start["usage"] = {**answer.usage, "output_tokens": 1}
        self._event("message_start", message=start)
        has_text = bool(answer.pieces) or not answer.calls
        if has_text:
            self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in answer.pieces:
            self._pause(answer.pause)
            self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        for _ in range(answer.pings):
            self._pause(answer.pause)
            self._event("ping")
        self._hold(answer)
        if answer.error_event is not None:
            self._event("error", **answer.error_event)
        if answer.is_cut or answer.error_event is not None:
            self.close_connection = True
            return
        if has_text:
            self._event("content_block_stop", index=0)
        for index, block in enumerate(answer.tool_uses, start=int(has_text)):
            self._send_tool_use(index, block)
        delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
        self._event("message_delta", delta=delta, usage={"output_tokens": answer.usage["output_tokens"]})
        self._event("message_stop")
        self.wfile.write(b"0\r\n\r\n")

    def _send_tool_use(self, index: int, block: Mapping[str, Any]) -> None:
        """A call of a tool, its arguments in two pieces, as they come from a model."""
        self._event("content_block_start", index=index, content_block={**block, "input": {}})
        text = json.dumps(block["input"])
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            self._event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
        self._event("content_block_stop", index=index)

    def _event(self, name: str, **data: Any) -> None:
        event = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.flush()

    def _pause(self, seconds: float) -> None:
        """Lets time pass, unless the server is closing."""
        self.closing.wait(seconds)

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
        "content": answer.content,
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": dict(answer.usage),
    }
