"""Tools: Python functions that an agent's model may call, and what its file allows of them.

A function's typed signature and docstring are what the model is told; what it sends is checked against them before the
function is called. Nothing is allowed that the agent's file does not allow.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.agent import Agent
from dispatcher.errors import DispatcherError, UsageError
from dispatcher.runtime.signatures import arguments_model, described, schema_of

__all__ = [
    "LONGEST_NAME",
    "SERVER_PREFIX",
    "Approve",
    "Tool",
    "ToolCall",
    "ToolFailedError",
    "ToolResult",
    "allows_name",
    "allows_server",
    "as_tools",
    "call_result",
    "checked_arguments",
    "denied_result",
    "offered_tools",
    "unavailable_tools",
    "unknown_result",
]

LONGEST_NAME = 64

SERVER_PREFIX = "mcp__"
"""How the names of MCP servers' tools begin; the server's name follows, then __ and the tool's."""


class ToolFailedError(Exception):
    """What a tool raises where its message alone is what the model should be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a model may call; made by `Tool.of`.

    `schema` is the JSON schema of its arguments. `function` may be a coroutine function; such a tool needs `adispatch`
    or `astream`. `coroutine`, where there is one, is what those two call in its place. Without a `model` the function
    checks its arguments itself.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    function: Callable[..., Any]
    model: Any = dataclasses.field(repr=False, compare=False)
    coroutine: Callable[..., Awaitable[Any]] | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str | None = None, description: str | None = None) -> Tool:
        """A tool of a function: each parameter needs a type; the docstring says what it does and what they mean.

        Raises UsageError for a function whose signature or name a model can't be told.
        """
        name = name or str(getattr(function, "__name__", ""))
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii() or len(name) > LONGEST_NAME:
            raise UsageError(
                f'"{name}" can\'t be the name of a tool',
                hint=f"use up to {LONGEST_NAME} letters, digits, _ and -, as in Tool.of(function, name=...)",
            )
        model = arguments_model(function, name)
        schema = schema_of(model, name)
        return cls(
            name=name,
            description=description or described(function).text,
            schema=schema,
            function=function,
            model=model,
        )

    @property
    def is_async(self) -> bool:
        call = getattr(self.function, "__call__", None)  # noqa: B004  the method itself is looked at
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the model is told, in the form of the Messages API."""
        return {"name": self.name, "description": self.description, "input_schema": dict(self.schema)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What a model wants to be called, for which agent. `id` is the service's."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What went back to the model. `is_error` where the tool failed or was not allowed."""

    call: ToolCall
    text: str
    is_error: bool = False

    @property
    def block(self) -> Mapping[str, Any]:
        """In the form of the Messages API."""
        block = {"type": "tool_result", "tool_use_id": self.call.id, "content": self.text}
        return block | {"is_error": True} if self.is_error else block


Approve = Callable[[ToolCall], bool | str | Awaitable[bool | str]]
"""Asked before each call: True lets it happen; False, or a reason, which the model is told, does not."""


def as_tools(given: Iterable[Tool | Callable[..., Any]]) -> tuple[Tool, ...]:
    """Tools of functions; tools stay as they are. Raises UsageError for two of one name."""
    tools = tuple(each if isinstance(each, Tool) else Tool.of(each) for each in given)
    names = [tool.name for tool in tools]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f'there are two tools of the name "{twice[0]}"', hint="name one with Tool.of(function, name=)")
    return tools


def offered_tools(agent: Agent, tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Those that the agent's file allows; what it writes in a way that is not understood here allows nothing.

    "Bash(git:*)" limits the arguments of a tool, which nobody here could enforce: it does not allow the tool, and
    forbids all of it where it forbids. "mcp__files" means all tools of the MCP server "files".
    """
    return tuple(tool for tool in tools if allows_name(agent, tool.name))


def allows_name(agent: Agent, name: str) -> bool:
    """Whether the agent's file allows a tool of that name."""
    policy = agent.tools
    forbidden = {_bare(each) for each in policy.disallowed}
    if "*" in forbidden or _is_meant(_bare(name), forbidden):
        return False
    return policy.allowed is None or _is_meant(name, policy.allowed)


def allows_server(agent: Agent, server: str) -> bool:
    """Whether the agent's file may allow a tool of an MCP server; which ones, `offered_tools` tells."""
    policy = agent.tools
    forbidden = {_bare(name) for name in policy.disallowed}
    if "*" in forbidden or any(name.casefold() in forbidden for name in _whole(server)):
        return False
    whole = f"{SERVER_PREFIX}{server}"
    return policy.allowed is None or any(name == whole or name.startswith(f"{whole}__") for name in policy.allowed)


def unavailable_tools(agent: Agent, offered: Sequence[Tool]) -> tuple[str, ...]:
    """The names in the agent's file that nobody offers, with its MCP servers."""
    names = {tool.name for tool in offered}
    servers = {name.split("__")[1] for name in names if name.startswith(SERVER_PREFIX)}
    names |= {each for server in servers for each in _whole(server)} | {f"MCP server {server}" for server in servers}
    asked = [*(agent.tools.allowed or ()), *(f"MCP server {name}" for name in agent.mcp_servers)]
    return tuple(name for name in asked if name not in names)


def checked_arguments(tool: Tool, call: ToolCall) -> Mapping[str, Any]:
    """The arguments as the function takes them. Raises pydantic's ValidationError."""
    if tool.model is None:
        return dict(call.arguments)
    checked = tool.model.model_validate(dict(call.arguments))
    return {str(info.alias): getattr(checked, name) for name, info in type(checked).model_fields.items()}


def call_result(call: ToolCall, outcome: object, most: int) -> ToolResult:
    """What a tool returned, or the exception that it raised, as text of at most `most` characters.

    What can't be written as text is an error of the tool's, which the model is told as any other.
    """
    try:
        text = _told(outcome) if isinstance(outcome, Exception) else _as_text(outcome)
    except Exception as problem:  # noqa: BLE001  a text of its own may raise anything
        reason = f"what it gave can't be written as text ({type(outcome).__name__}: {type(problem).__name__})"
        return ToolResult(call=call, text=reason, is_error=True)
    return ToolResult(call=call, text=_cut(text, most), is_error=isinstance(outcome, Exception))


def denied_result(call: ToolCall, answer: object) -> ToolResult:
    """What the model is told of a call that was not approved."""
    reason = f": {answer}" if isinstance(answer, str) and answer else ""
    return ToolResult(call=call, text=f"the call was not approved{reason}", is_error=True)


def unknown_result(call: ToolCall, offered: Sequence[Tool]) -> ToolResult:
    """What the model is told where it calls a tool that it was not offered."""
    names = ", ".join(tool.name for tool in offered) or "none"
    text = f'there is no tool "{call.name}" for this agent; there are: {names}'
    return ToolResult(call=call, text=text, is_error=True)


def _is_meant(name: str, names: Collection[str]) -> bool:
    """Whether a tool is among those named, by its own name or by its server's."""
    if name in names:
        return True
    return name.startswith(SERVER_PREFIX) and any(each in names for each in _whole(name.split("__")[1]))


def _whole(server: str) -> tuple[str, str]:
    """The names that stand for all tools of a server."""
    return f"{SERVER_PREFIX}{server}", f"{SERVER_PREFIX}{server}__*"


def _bare(name: str) -> str:
    return name.partition("(")[0].strip().casefold()


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, fallback=str, indent=None).decode("utf-8")


def _told(problem: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(problem, (ToolFailedError, DispatcherError)):
        return str(problem)
    if isinstance(problem, ValidationError):
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
        listed = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        return f"the arguments are wrong: {listed}"
    return f"{type(problem).__name__}: {problem}"


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[cut here: the first {most:,} of {len(text):,} characters]"
