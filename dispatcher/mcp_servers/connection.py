"""One open connection to an MCP server, in a thread with an event loop of its own.

So callers that wait and coroutines of any event loop use the same connection, many at once, and it is opened and closed
in one task, as the protocol's library wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from dispatcher.settings import McpServerSettings

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

__all__ = ["Connection", "cause_of"]

_LAST_LINES = 5  # of what a server writes to its standard error
_MOST_PAGES = 100  # of a list of tools
_SECONDS_TO_CLOSE = 10.0


class Connection:
    """Opens at once; `tools` waits for it.

    Parameters
    ----------
    name: of the thread.
    settings: how the server is started or reached.
    """

    def __init__(self, name: str, settings: McpServerSettings) -> None:
        logging.getLogger("mcp").addHandler(logging.NullHandler())  # what goes wrong is told by us
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.is_lost = False
        self._settings = settings
        self._opened: Future[tuple[Tool, ...]] = Future()
        self._client: Client | None = None
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"mcp server {name}", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive() and not self.is_lost

    def tools(self) -> tuple[Tool, ...]:
        """What the server offers. Raises whatever kept it from being reached."""
        return self._opened.result()

    def begin(self, tool: str, arguments: Mapping[str, Any]) -> Future[CallToolResult]:
        """Begins a call; cancelling the future stops it. Raises ConnectionError where nothing is open."""
        if self._client is None:
            raise ConnectionError("the connection is closed")
        calling = self._client.call_tool(tool, dict(arguments), read_timeout_seconds=self._settings.timeout)
        try:
            return asyncio.run_coroutine_threadsafe(calling, self._loop)
        except RuntimeError:
            calling.close()
            raise ConnectionError("the connection is closed") from None

    def close(self) -> None:
        """Ends a process in the way that the protocol says, or the session with a remote server."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_SECONDS_TO_CLOSE)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as problem:  # noqa: BLE001  it belongs to whoever waits for the connection
            if not self._opened.done():
                self._opened.set_exception(cause_of(problem))

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._settings.timeout):
                self._client = await stack.enter_async_context(self._connected())
                tools = await _listed(self._client)
            self._opened.set_result(tools)
            await self._stopping.wait()
            self._client = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        settings = self._settings
        async with AsyncExitStack() as stack:
            if settings.url is not None:
                http = await stack.enter_async_context(create_mcp_http_client(headers=dict(settings.headers)))
                transport = streamable_http_client(settings.url, http_client=http)
            else:
                errors = stack.enter_context(_lines_into(self.last_lines))
                parameters = StdioServerParameters(
                    command=str(settings.command), args=list(settings.args), env=dict(settings.env)
                )
                transport = stdio_client(parameters, errlog=errors)
            yield await stack.enter_async_context(Client(transport, read_timeout_seconds=settings.timeout))


async def _listed(client: Client) -> tuple[Tool, ...]:
    """All tools, page by page."""
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(found)


@contextmanager
def _lines_into(lines: deque[str]) -> Iterator[TextIO]:
    """A file for a process to write to, whose last lines are kept."""
    reading, writing = os.pipe()

    def read() -> None:
        with open(reading, encoding="utf-8", errors="replace") as source:  # noqa: PTH123  a descriptor
            for line in source:
                lines.append(line.rstrip())

    reader = threading.Thread(target=read, name="mcp server stderr", daemon=True)
    reader.start()
    try:
        with open(writing, "w", encoding="utf-8") as target:  # noqa: PTH123  a descriptor
            yield target
    finally:
        reader.join(1.0)


def cause_of(problem: BaseException) -> BaseException:
    """The error itself, out of the groups that task groups put around it."""
    while isinstance(problem, BaseExceptionGroup) and problem.exceptions:
        problem = problem.exceptions[0]
    return problem
