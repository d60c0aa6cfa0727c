"""The steps of a turn: what the loop yields to a driver, and what a driver throws into it. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dispatcher.llm import Request
from dispatcher.runtime.reply import Event
from dispatcher.runtime.tools import Approve, Tool, ToolCall, ToolResult
from dispatcher.sessions import Turn

__all__ = ["Ask", "GetApproval", "Interruption", "Keep", "Step", "Steps", "UseTool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Send a request; feed the Completion. `tools` are those it offers.

    Pieces of text go straight to the caller, unless it `is_quiet`: what one agent answers to another is not for users.
    """

    request: Request
    tools: tuple[Tool, ...] = ()
    is_quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GetApproval:
    """Ask the caller whether a call may happen; feed the answer."""

    call: ToolCall
    approve: Approve


@dataclass(frozen=True, slots=True, kw_only=True)
class UseTool:
    """Call a tool; feed what it returned, or the Exception that it raised."""

    tool: Tool
    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write a turn to the store of its session; feed nothing."""

    session_id: str
    turn: Turn


class Interruption(Exception):  # noqa: N818  not an error by itself: it carries one, or a wish to stop
    """What a driver throws into the loop where a step ends otherwise than by itself.

    `cause` is the exception that ended it, which is raised again once the turn is put in order; `partial` is the text
    that had come, and `results` are those of the calls that were made before, of the same answer.
    """

    def __init__(self, cause: BaseException, partial: str = "") -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.partial = partial
        self.results: tuple[ToolResult, ...] = ()

    @property
    def is_wanted(self) -> bool:
        """Whether the caller wanted it so: closed the events, cancelled the coroutine, pressed Ctrl-C."""
        return isinstance(self.cause, (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt))


Step = Ask | GetApproval | UseTool | Keep | Event
Steps = Generator[Step, Any, None]
