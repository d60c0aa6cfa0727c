"""A small MCP server, run as a program: `python mcp_program.py stdio`, or `http`, which prints its port."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

__all__ = ["main"]


def main(transport: str) -> None:
    import uvicorn
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("shop", log_level="ERROR")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool(name="pid.of")
    def process() -> str:
        return str(os.getpid())

    @server.tool()
    def secret() -> str:
        """What stands in the environment."""
        return f"{os.environ.get('SHOP_KEY')} {os.environ.get('ANTHROPIC_API_KEY')}"

    @server.tool()
    def refuse() -> str:
        """Fails."""
        raise ToolError("not today")

    @server.tool()
    def die() -> str:
        """Ends the process."""
        os._exit(1)

    @server.tool()
    def hang() -> str:
        """Takes its time."""
        time.sleep(60)
        return "late"

    if transport == "stdio":
        server.run()
        return
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app: Any = _guarded(server.streamable_http_app())
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


def _guarded(app: Any) -> Any:
    """The application for those alone who have the key."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (b"x-shop-key", b"open sesame") not in scope["headers"]:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return guarded


if __name__ == "__main__":
    main(sys.argv[1])
