"""All that may be offered to agents, functions and MCP servers, and what of it an agent gets.

A server is started only for an agent whose file allows one of its tools.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.agent import Agent
from dispatcher.errors import McpServerError, UsageError
from dispatcher.mcp_servers import McpServer, ServerAnswer, ServerTool
from dispatcher.runtime.tools import (
    LONGEST_NAME,
    SERVER_PREFIX,
    Tool,
    ToolFailedError,
    allows_server,
    as_tools,
    offered_tools,
)

__all__ = ["Offered", "Toolbox"]

_ODD = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What an agent gets, and what it does not get for a reason that its user should know."""

    tools: tuple[Tool, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """Made by `Toolbox.of`."""

    tools: tuple[Tool, ...] = ()
    servers: tuple[McpServer, ...] = ()

    @classmethod
    def of(cls, given: Iterable[Tool | Callable[..., Any] | McpServer]) -> Toolbox:
        """Raises UsageError for two of one name, and for a function that a model can't be told."""
        given = tuple(given)
        servers = tuple(each for each in given if isinstance(each, McpServer))
        names = [server.name for server in servers]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f'there are two MCP servers of the name "{twice[0]}"')
        return cls(tools=as_tools(each for each in given if not isinstance(each, McpServer)), servers=servers)

    def with_servers(self, servers: Iterable[McpServer]) -> Toolbox:
        """The same with more servers; of two of one name, the one that is here stays."""
        names = {server.name for server in self.servers}
        return Toolbox(
            tools=self.tools, servers=(*self.servers, *(server for server in servers if server.name not in names))
        )

    def offered(self, agent: Agent) -> Offered:
        """What the agent's file allows; servers that are needed for that are started. Raises UsageError without the
        extra `mcp`."""
        found, notices = list(self.tools), []
        for server in self.servers:
            if not allows_server(agent, server.name):
                continue
            try:
                tools = server.tools()
            except McpServerError as problem:
                notices.append(f"{problem.message}; it is run without its tools")
                continue
            for tool in tools:
                name = f"{SERVER_PREFIX}{server.name}__{_ODD.sub('_', tool.name)}"
                if len(name) > LONGEST_NAME or name in {each.name for each in found}:
                    notices.append(f'the tool "{tool.name}" of the MCP server "{server.name}" is left out for its name')
                else:
                    found.append(_tool(server, tool, name))
        return Offered(tools=offered_tools(agent, found), notices=tuple(notices))

    async def aopen(self, agents: Sequence[Agent]) -> None:
        """Starts what the agents may need, so that `offered` need not wait for it."""
        wanted = [server for server in self.servers if any(allows_server(agent, server.name) for agent in agents)]
        await asyncio.gather(*(asyncio.to_thread(_open, server) for server in wanted))

    def close(self) -> None:
        for server in self.servers:
            server.close()


def _open(server: McpServer) -> None:
    try:
        server.tools()
    except McpServerError:
        return  # it is told to whoever needs it


def _tool(server: McpServer, tool: ServerTool, name: str) -> Tool:
    def call(**arguments: Any) -> str:
        return _text(server.call(tool.name, arguments))

    async def acall(**arguments: Any) -> str:
        return _text(await server.acall(tool.name, arguments))

    return Tool(
        name=name,
        description=tool.description or tool.name,
        schema=tool.schema,
        function=call,
        coroutine=acall,
        model=None,
    )


def _text(answer: ServerAnswer) -> str:
    if answer.is_error:
        raise ToolFailedError(answer.text or "the tool failed")
    return answer.text
