"""The executor `claude-code`: agents run by Claude Code, with its own tools for files and shells (extra `claude-code`).

Its messages become the events of the turn loop. What an agent's file allows is enforced here, before each call, and the
caller's approval asked; without one, Claude Code's own rules say what may happen unasked. Of its settings, only the
user's own count, and never those of a project.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dispatcher.agent import Agent
from dispatcher.errors import BudgetError, DispatcherError, ServiceError, UsageError
from dispatcher.llm import Completion, Message, Request, TextDelta, Usage, in_dollars
from dispatcher.runtime.reply import MAX_ITERATIONS, Piece, ToolCalled, ToolReturned
from dispatcher.runtime.tools import Approve, ToolCall, ToolResult, allows_name, allows_server

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

    from dispatcher.mcp_servers import McpServer

__all__ = ["ClaudeCode"]


@dataclass(frozen=True, kw_only=True)
class ClaudeCode:
    """How one agent is run.

    Parameters
    ----------
    agent: whose prompt is sent; its file limits the tools and the steps.
    max_turns: how often the model is asked at most.
    max_result_chars: the longest result of a tool that an event tells.
    path: the `claude` program, in place of the one that comes with the extra.
    servers: MCP servers that it may use as well.
    approve: asked before each call.
    budget: US dollars that the run may cost.
    """

    agent: Agent
    max_turns: int
    max_result_chars: int = 40_000
    path: str | None = None
    servers: tuple[McpServer, ...] = ()
    approve: Approve | None = None
    budget: float | None = None

    def stream(self, request: Request) -> Generator[Piece, None, None]:
        """`astream` for callers that wait: it goes on in a thread, and closing it stops that at once."""
        pieces: queue.SimpleQueue[Piece | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()

        async def pump() -> None:
            async with aclosing(self.astream(request)) as events:
                async for event in events:
                    pieces.put(event)

        task = loop.create_task(pump())

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=lambda: loop) as runner:
                    runner.run(_awaited(task))
                pieces.put(None)
            except BaseException as problem:  # noqa: BLE001  it belongs to whoever waits for the answer
                pieces.put(problem)

        thread = threading.Thread(target=run, name="claude code", daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            with contextlib.suppress(RuntimeError):  # it is at its end already
                loop.call_soon_threadsafe(task.cancel)
            thread.join()

    async def astream(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Text, calls of tools and their results as they come, and last the Completion.

        Raises UsageError without the extra or the program, ServiceError where it fails, and BudgetError where the run
        cost all that it may.
        """
        sdk = _sdk()
        reading = _Reading(self.agent.name, self.max_result_chars, self.budget)
        try:
            async with sdk.ClaudeSDKClient(self._options(request)) as client:
                await client.query(_prompt(request))
                async for message in client.receive_response():
                    for piece in reading.pieces(message):
                        yield piece
                        if isinstance(piece, Completion):
                            return
        except sdk.CLINotFoundError as problem:
            raise UsageError(
                f"the program of Claude Code is not there: {problem}".partition("\n")[0],
                hint="install it, or set claude_code_path",
            ) from None
        except sdk.ClaudeSDKError as problem:
            raise ServiceError(f"Claude Code failed: {problem}") from None
        raise ServiceError("Claude Code ended without an answer")

    def _options(self, request: Request) -> ClaudeAgentOptions:
        from claude_agent_sdk import ClaudeAgentOptions, HookMatcher

        policy = self.agent.tools
        tools: Any = {"type": "preset", "preset": "claude_code"}
        if "*" in policy.disallowed:
            tools = []
        elif policy.allowed is not None:
            plain = (name for name in policy.allowed if "(" not in name and not name.startswith("mcp__"))
            tools = [name for name in plain if allows_name(self.agent, name)]
        return ClaudeAgentOptions(
            system_prompt=request.system,
            model=request.model,
            max_turns=self.max_turns,
            max_budget_usd=self.budget,
            effort=cast(Any, request.effort),
            tools=tools,
            disallowed_tools=[name.partition("(")[0].strip() for name in policy.disallowed if name != "*"],
            mcp_servers={each.name: _described(each) for each in self.servers if allows_server(self.agent, each.name)},
            strict_mcp_config=True,
            setting_sources=["user"],
            permission_mode="dontAsk",
            hooks={"PreToolUse": [HookMatcher(hooks=[self._may_be_used])]},
            include_partial_messages=True,
            output_format={"type": "json_schema", "schema": dict(request.schema)} if request.schema else None,
            env={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(request.max_tokens)},
            cli_path=self.path,
        )

    async def _may_be_used(self, asked: Any, call_id: str | None, _context: Any) -> Any:
        """Whether a call may happen: what the agent's file says, then the caller; without one, Claude Code decides."""
        name = str(asked.get("tool_name"))
        if name == "StructuredOutput":  # by which it gives an answer of a schema
            return {}
        if not allows_name(self.agent, name):
            return _decided("deny", f'the file of "{self.agent.name}" does not allow {name}')
        if self.approve is None:
            return {}
        call = ToolCall(
            id=str(call_id), name=name, arguments=dict(asked.get("tool_input") or {}), agent=self.agent.name
        )
        answer = self.approve(call)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is True:
            return _decided("allow", "")
        return _decided("deny", answer if isinstance(answer, str) and answer else "the call was not approved")


class _Reading:
    """Messages of Claude Code → what the turn loop knows."""

    def __init__(self, agent: str, most: int, budget: float | None) -> None:
        self._agent = agent
        self._most = most
        self._budget = budget
        self._calls: dict[str, ToolCall] = {}
        self._text = ""
        self._model = ""

    def pieces(self, message: Any) -> list[Piece]:
        kind = type(message).__name__
        if getattr(message, "parent_tool_use_id", None) is not None:
            return []  # what its own helpers say to each other
        if kind == "StreamEvent":
            delta = message.event.get("delta") or {}
            return [TextDelta(text=delta["text"])] if delta.get("type") == "text_delta" else []
        if kind == "AssistantMessage":
            self._model = message.model
            self._text = "".join(block.text for block in message.content if type(block).__name__ == "TextBlock")
            return [self._called(block) for block in message.content if type(block).__name__ == "ToolUseBlock"]
        if kind == "UserMessage" and not isinstance(message.content, str):
            return [
                self._returned(block)
                for block in message.content
                if type(block).__name__ == "ToolResultBlock" and block.tool_use_id in self._calls
            ]
        return [self._completion(message)] if kind == "ResultMessage" else []

    def _called(self, block: Any) -> ToolCalled:
        call = ToolCall(id=block.id, name=block.name, arguments=dict(block.input), agent=self._agent)
        self._calls[call.id] = call
        return ToolCalled(call=call)

    def _returned(self, block: Any) -> ToolReturned:
        parts = (
            [block.content]
            if isinstance(block.content, str)
            else [each.get("text", "") for each in block.content or ()]
        )
        result = ToolResult(
            call=self._calls[block.tool_use_id], text="\n".join(parts)[: self._most], is_error=bool(block.is_error)
        )
        return ToolReturned(result=result)

    def _completion(self, message: Any) -> Completion:
        if message.subtype == "error_max_turns":
            stop = MAX_ITERATIONS
        elif message.is_error:
            raise self._failure(message)
        else:
            stop = message.stop_reason if message.stop_reason not in (None, "tool_use") else "end_turn"
        text = message.result if message.result is not None else self._text
        if message.structured_output is not None:
            text = json.dumps(message.structured_output, ensure_ascii=False)
        return Completion(text=text, model=self._model, stop_reason=str(stop), usage=_usage(message.usage or {}))

    def _failure(self, message: Any) -> DispatcherError:
        """The error for a run that ended without an answer, with what it took."""
        usage, cost = _usage(message.usage or {}), message.total_cost_usd
        if message.subtype == "error_max_budget_usd" and self._budget is not None:
            spent = self._budget if cost is None else cost
            return BudgetError(
                f"the budget of this run allows no further request: {in_dollars(spent)} of {in_dollars(self._budget)} "
                "are spent",
                hint="raise budget.run",
                budget="run",
                limit=self._budget,
                spent=spent,
            )
        told = "; ".join(message.errors or ()) or message.result or message.subtype
        took = f"{usage.prompt_tokens:,} tokens in, {usage.output_tokens:,} out"
        price = "" if cost is None else f", {in_dollars(cost)}"
        failure = ServiceError(f"Claude Code gave no answer: {told} ({took}{price})")
        failure.usage = usage
        return failure


async def _awaited(task: asyncio.Task[None]) -> None:
    await task


def _usage(told: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=int(told.get("input_tokens") or 0),
        output_tokens=int(told.get("output_tokens") or 0),
        cache_write_tokens=int(told.get("cache_creation_input_tokens") or 0),
        cache_read_tokens=int(told.get("cache_read_input_tokens") or 0),
    )


async def _prompt(request: Request) -> AsyncIterator[dict[str, Any]]:
    """The last message, after what was said before it, which the program has no other way to be told."""
    *before, last = request.messages
    content = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else list(last.content)
    if before:
        content = [{"type": "text", "text": _conversation(before)}, *content]
    yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}


def _conversation(messages: Sequence[Message]) -> str:
    lines = [f"<{message.role}>\n{_text(message)}\n</{message.role}>" for message in messages if _text(message)]
    return "\n".join(["The conversation so far:", *lines, "What follows is new."])


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(str(block["text"]) for block in message.content if block.get("type") == "text")


def _described(server: McpServer) -> Any:
    settings = server.settings
    if settings.url is not None:
        return {"type": "http", "url": settings.url, "headers": dict(settings.headers)}
    return {"command": settings.command, "args": list(settings.args), "env": dict(settings.env)}


def _decided(decision: str, reason: str) -> dict[str, Any]:
    told = {"hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": reason}
    return {"hookSpecificOutput": told}


def _sdk() -> Any:
    try:
        import claude_agent_sdk
    except ImportError:
        raise UsageError(
            "the executor claude-code needs a package that is not installed",
            hint='install it: pip install "agent-dispatcher[claude-code]"',
        ) from None
    return claude_agent_sdk
