"""A server by its name: connected when its tools are first needed, and again after it was lost."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from dispatcher.errors import McpServerError, UsageError
from dispatcher.mcp_servers.connection import Connection, cause_of
from dispatcher.settings import McpServerSettings

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["McpServer", "ServerAnswer", "ServerTool"]

_NAME = re.compile(r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*")
_LONGEST_NAME = 40
_SECONDS_TO_NEXT_TRY = 30.0
_GRACE_SECONDS = 5.0  # beyond a call's own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTool:
    """What a server says of a tool; `schema` is the JSON schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What a call came to. `is_error` is the server's own word."""

    text: str
    is_error: bool = False


class McpServer:
    """An MCP server whose tools agents may call, as `mcp__NAME__TOOL`: a command that speaks the protocol over its
    standard input and output, or the address of one that does so over HTTP. A context manager around its connection.

    Parameters
    ----------
    name: letters, digits, - and single _.
    command, args, env: what is started, and what it finds in its environment besides PATH, HOME and the like.
    url, headers: where it is reached instead (streamable HTTP), and what goes along with each request.
    timeout: the longest wait in seconds for it to be there, and for the answer to a call.

    Nothing is started before an agent is to be run whose file allows a tool of it. Raises UsageError for an impossible
    name, and for both or neither of a command and an address.
    """

    def __init__(
        self,
        name: str,
        *,
        command: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        try:
            settings = McpServerSettings(
                command=command, args=tuple(args), env=env or {}, url=url, headers=headers or {}, timeout=timeout
            )
        except ValueError as problem:
            raise UsageError(f'the MCP server "{name}": {problem}') from None
        self._begin(name, settings)

    @classmethod
    def of(cls, name: str, settings: McpServerSettings) -> Self:
        """The server that settings describe."""
        server = cls.__new__(cls)
        server._begin(name, settings)
        return server

    def _begin(self, name: str, settings: McpServerSettings) -> None:
        if _NAME.fullmatch(name) is None or len(name) > _LONGEST_NAME:
            raise UsageError(
                f'"{name}" can\'t be the name of an MCP server',
                hint=f"use up to {_LONGEST_NAME} letters, digits, - and single _",
            )
        self.name = name
        self.settings = settings
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        self._failure: tuple[float, McpServerError] | None = None

    def tools(self) -> tuple[ServerTool, ...]:
        """What the server offers; it is started or reached now if it is not there yet.

        Raises McpServerError where that fails, which is not tried again for half a minute, and UsageError without the
        extra `mcp`.
        """
        with self._lock:
            if self._failure is not None and time.monotonic() < self._failure[0] + _SECONDS_TO_NEXT_TRY:
                raise self._failure[1]
            connection = self._connection
            if connection is None or not connection.is_open:
                connection = self._connect()
            return tuple(
                ServerTool(name=tool.name, description=tool.description or tool.title or "", schema=tool.input_schema)
                for tool in connection.tools()
            )

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ServerAnswer:
        """Calls a tool. Raises McpServerError where no answer came."""
        connection, calling = self._calling(tool, arguments)
        try:
            return _answer(calling.result(self.settings.timeout + _GRACE_SECONDS))
        except (Exception, CancelledError) as problem:  # noqa: BLE001  anything can come out of a connection
            raise self._unanswered(problem, connection) from None
        finally:
            calling.cancel()

    async def acall(self, tool: str, arguments: Mapping[str, Any]) -> ServerAnswer:
        """`call` for coroutines; cancelling it stops the call."""
        connection, calling = self._calling(tool, arguments)
        try:
            async with asyncio.timeout(self.settings.timeout + _GRACE_SECONDS):
                return _answer(await asyncio.wrap_future(calling))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise self._unanswered(ConnectionError("the connection was closed"), connection) from None
        except Exception as problem:  # noqa: BLE001  anything can come out of a connection
            raise self._unanswered(problem, connection) from None

    def close(self) -> None:
        """Closes the connection, and ends the process that was started; the server can be used again."""
        with self._lock:
            self._connection, self._failure = None, None
            if self._closing is not None:
                self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _connect(self) -> Connection:
        _check_extra()
        if self._closing is not None:
            self._closing()
        connection = Connection(self.name, self.settings)
        self._closing = weakref.finalize(self, connection.close)
        try:
            connection.tools()
        except Exception as problem:  # noqa: BLE001  anything can keep a process from starting
            self._closing()
            said = " ".join(connection.last_lines)
            failure = McpServerError(
                f'the MCP server "{self.name}" can\'t be {"reached" if self.settings.url else "started"}: '
                f"{_told(problem, self.settings)}{f' ({said})' if said else ''}",
                hint="look at tools.mcp_servers in your config.yaml",
            )
            self._failure = (time.monotonic(), failure)
            raise failure from None
        self._connection, self._failure = connection, None
        return connection

    def _calling(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Connection, Future[CallToolResult]]:
        connection = self._connection
        try:
            if connection is None:
                raise ConnectionError("the connection is closed")
            return connection, connection.begin(tool, arguments)
        except ConnectionError as problem:
            raise self._unanswered(problem, connection) from None

    def _unanswered(self, problem: BaseException, connection: Connection | None) -> McpServerError:
        """What is told of a call without an answer; a connection that is gone is given up, for a new one next time."""
        if connection is not None and not _leaves_it_open(problem):
            connection.is_lost = True
        return McpServerError(f'the MCP server "{self.name}" gave no answer: {_told(problem, self.settings)}')


def _answer(result: CallToolResult) -> ServerAnswer:
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        from pydantic_core import to_json

        parts = [to_json(result.structured_content, fallback=str).decode("utf-8")]
    return ServerAnswer(text="\n".join(parts), is_error=bool(result.is_error))


def _part(block: Any) -> str:
    """A block of an answer as text; what is none is named."""
    if block.type == "text":
        return str(block.text)
    if block.type == "resource":
        return str(getattr(block.resource, "text", f"[{block.resource.uri}]"))
    if block.type == "resource_link":
        return f"[{block.uri}]"
    return f"[{block.type}, {block.mime_type}: not shown]"


def _leaves_it_open(problem: BaseException) -> bool:
    """Whether a call failed over a connection that still stands."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED

    is_told = isinstance(problem, MCPError) and problem.code != CONNECTION_CLOSED
    return is_told or isinstance(problem, TimeoutError)


def _told(problem: BaseException, settings: McpServerSettings) -> str:
    problem = cause_of(problem)
    if isinstance(problem, TimeoutError):
        return f"nothing came in {settings.timeout:g} seconds"
    if isinstance(problem, FileNotFoundError):
        return f'there is no command "{settings.command}"'
    return str(getattr(problem, "message", "") or problem or type(problem).__name__)


def _check_extra() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise UsageError(
            "MCP servers need a package that is not installed", hint='install it: pip install "agent-dispatcher[mcp]"'
        ) from None
