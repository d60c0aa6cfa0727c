"""MCP servers as clients see them: started or reached, their tools listed, and called. Knows nothing of agents.

connection   one open connection, in a thread of its own
server       a server by its name, connected when it is needed
"""

from dispatcher.mcp_servers.server import McpServer, ServerAnswer, ServerTool

__all__ = ["McpServer", "ServerAnswer", "ServerTool"]
