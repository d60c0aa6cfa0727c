"""The client that sends nothing: used where there is no credential, and for dry runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from dispatcher.llm.client import NOT_SENT, Completion, Request, TextDelta

__all__ = ["OfflineClient"]


class OfflineClient:
    """Answers every request with an empty completion whose stop reason says that nothing was sent."""

    def complete(self, request: Request) -> Completion:
        return Completion(text="", model=request.model, stop_reason=NOT_SENT)

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        yield self.complete(request)

    async def acomplete(self, request: Request) -> Completion:
        return self.complete(request)

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        yield self.complete(request)
