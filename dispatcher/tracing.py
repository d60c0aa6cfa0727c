"""OpenTelemetry spans around what this package does, for those who have a tracer provider set up; nothing for others.

The API is never imported here: where nobody else has, there is no provider to tell. Names are those of OpenTelemetry's
semantic conventions for generative AI (`gen_ai.*`); what these have no name for is `dispatcher.*`. Tasks, prompts and
answers are in no span.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, Self

from dispatcher.errors import BudgetError, DispatcherError, LLMError
from dispatcher.llm import Completion, LLMClient, Request, TextDelta, Usage
from dispatcher.version import __version__

__all__ = ["Spanned", "TracedClient", "tool_span", "usage_attributes"]

_API = "opentelemetry.trace"
_TRACER = "agent-dispatcher"
_PROVIDER = "anthropic"


class Spanned:
    """A span around a block; nothing where there is no OpenTelemetry in the process.

    Parameters
    ----------
    name: the span's name.
    attributes: what is known at its beginning; what is None is left out.
    parent: the span that it belongs to; the current one if not given.
    is_client: whether it is around a request to another service.
    is_current: whether spans that begin meanwhile belong to it. Not for generators, which run between others' steps.

    An error of this package, or any other, is noted by the name of its class. A request that a budget refused is not
    told of.
    """

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, Any],
        *,
        parent: Spanned | None = None,
        is_client: bool = False,
        is_current: bool = False,
    ) -> None:
        self._span: Any = None
        self._activation: Any = None
        self._is_client = is_client
        api = sys.modules.get(_API)
        if api is None:
            return
        context = api.set_span_in_context(parent._span) if parent is not None and parent._span is not None else None
        kind = api.SpanKind.CLIENT if is_client else api.SpanKind.INTERNAL
        tracer = api.get_tracer(_TRACER, __version__)
        self._span = tracer.start_span(name, context=context, kind=kind, attributes=_known(attributes))
        if is_current:
            self._activation = api.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Adds what was found out meanwhile."""
        if self._span is not None:
            self._span.set_attributes(_known(attributes))

    def __enter__(self) -> Self:
        if self._activation is not None:
            self._activation.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._activation is not None:
            self._activation.__exit__(None, None, None)
        if self._span is None or (self._is_client and isinstance(problem, BudgetError)):
            return  # a span that never ends is told to nobody
        if isinstance(problem, Exception):
            self._fail(problem)
        elif problem is not None:  # closed, interrupted or cancelled
            self._span.set_attribute("dispatcher.cancelled", True)
        self._span.end()

    def _fail(self, problem: Exception) -> None:
        api = sys.modules[_API]
        name = type(problem).__qualname__
        self._span.set_attribute("error.type", name)
        # What a service says may quote the prompt, so its words are not told, unlike our own.
        if isinstance(problem, DispatcherError) and not isinstance(problem, LLMError):
            name = problem.message
        self._span.set_status(api.Status(api.StatusCode.ERROR, name))


class TracedClient:
    """A client with a span around each request.

    Parameters
    ----------
    client: the one that sends.
    parent: the span that the requests belong to; the current one if not given.
    """

    def __init__(self, client: LLMClient, parent: Spanned | None = None) -> None:
        self.client = client
        self._parent = parent

    def complete(self, request: Request) -> Completion:
        with self._span(request) as span:
            return _heard(span, self.client.complete(request))

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        with self._span(request, is_stream=True) as span, ExitStack() as stack:
            pieces = self.client.stream(request)
            if (close := getattr(pieces, "close", None)) is not None:
                stack.callback(close)
            for piece in pieces:
                yield _heard(span, piece) if isinstance(piece, Completion) else piece

    async def acomplete(self, request: Request) -> Completion:
        with self._span(request) as span:
            return _heard(span, await self.client.acomplete(request))

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        with self._span(request, is_stream=True) as span:
            async with AsyncExitStack() as stack:
                pieces = self.client.astream(request)
                if (close := getattr(pieces, "aclose", None)) is not None:
                    stack.push_async_callback(close)
                async for piece in pieces:
                    yield _heard(span, piece) if isinstance(piece, Completion) else piece

    def prepare(self) -> None:
        """Loads what the client needs, if it says so."""
        if (prepare := getattr(self.client, "prepare", None)) is not None:
            prepare()

    def close(self) -> None:
        """Closes the connections of the client."""
        if (close := getattr(self.client, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self.client, "aclose", None)) is not None:
            await close()

    def _span(self, request: Request, *, is_stream: bool = False) -> Spanned:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": request.model,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.stream": True if is_stream else None,
            "gen_ai.output.type": "json" if request.schema is not None else "text",
        }
        name = f"chat {request.model}"
        return Spanned(name, attributes, parent=self._parent, is_client=True, is_current=not is_stream)


def tool_span(name: str, call_id: str, *, parent: Spanned | None = None) -> Spanned:
    """The span around a call of a tool: its name, and the id that the model gave the call."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.type": "function",
    }
    return Spanned(f"execute_tool {name}", attributes, parent=parent, is_current=True)


def usage_attributes(usage: Usage) -> dict[str, Any]:
    """The tokens of an answer, all of the prompt's together and those of the cache by themselves."""
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or None,
    }


def _heard(span: Spanned, completion: Completion) -> Completion:
    span.note(
        {
            "gen_ai.response.model": completion.model,
            "gen_ai.response.finish_reasons": (completion.stop_reason,),
            "dispatcher.request_id": completion.request_id,
            "dispatcher.attempts": len(completion.attempts) or None,
            **usage_attributes(completion.usage),
        }
    )
    return completion


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
