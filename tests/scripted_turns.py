"""A model that answers as a test scripts it, turn by turn, with calls of tools among the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from dispatcher import Completion, Request, TextDelta, Usage

__all__ = ["Scripted", "ends", "results_of", "wants"]

Script = Completion | Exception


def wants(*wanted: tuple[str, Mapping[str, Any]], text: str = "") -> Completion:
    """An answer that calls tools."""
    blocks = [
        {"type": "tool_use", "id": f"t{number}", "name": name, "input": dict(arguments)}
        for number, (name, arguments) in enumerate(wanted)
    ]
    texts = [{"type": "text", "text": text}]
    return Completion(
        text=text,
        model="m",
        stop_reason="tool_use",
        usage=Usage(input_tokens=10, output_tokens=1),
        content=(*texts, *blocks),
    )


def ends(text: str = "done") -> Completion:
    return Completion(text=text, model="m", stop_reason="end_turn", usage=Usage(input_tokens=20, output_tokens=2))


class Scripted:
    """Answers as it is scripted; the last answer stays."""

    def __init__(self, *script: Script) -> None:
        self.script = list(script)
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        completion = self.complete(request)
        yield TextDelta(text=completion.text)
        yield completion

    async def acomplete(self, request: Request) -> Completion:
        return self.complete(request)

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        for piece in self.stream(request):
            yield piece


def results_of(request: Request) -> list[tuple[str, bool]]:
    """The results that a request sends: text and whether it is an error."""
    content = request.messages[-1].content
    assert not isinstance(content, str)
    return [(str(block["content"]), bool(block.get("is_error"))) for block in content]
