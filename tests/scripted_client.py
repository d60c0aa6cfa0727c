"""A model's service for tests that need no sockets: an object with the four methods of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from dispatcher import Completion, Request, TextDelta, Usage

__all__ = ["ScriptedClient"]


class ScriptedClient:
    """Answers every request with the same pieces, then raises `error` if there is one; keeps the requests."""

    def __init__(self, *pieces: str, stop_reason: str = "end_turn", error: Exception | None = None) -> None:
        self.pieces = pieces or ("fine",)
        self.stop_reason = stop_reason
        self.error = error
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        *_, last = self.stream(request)
        assert isinstance(last, Completion)
        return last

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        self.requests.append(request)
        yield from (TextDelta(text=piece) for piece in self.pieces)
        if self.error is not None:
            raise self.error
        usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
        yield Completion(
            text="".join(self.pieces),
            model=request.model,
            stop_reason=self.stop_reason,
            usage=usage,
            request_id="req_7",
        )

    async def acomplete(self, request: Request) -> Completion:
        return self.complete(request)

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        for event in self.stream(request):
            yield event
