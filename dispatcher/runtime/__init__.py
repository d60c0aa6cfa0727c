"""Runs and conversations: a decision, a prompt, requests, an answer. The Dispatcher facade is the way in.

attachments   files given with a task
loading       what a dispatcher works with, read and put together
deciding      a task → whom it goes to
planning      a task → whom it goes to and what is sent
prompt        an agent and a task → what is sent
reply         what comes out: events and the reply
steps         what a turn yields to a driver
scene         what surrounds a turn, and what it took so far
loop          one turn as a generator without I/O
drivers       what carries its steps out, waiting or not
running       a turn by itself
session       turns that know of each other
sticky        who takes the next turn of a conversation
shapes        what an answer has to look like, where that is laid down
claude_code   the executor that runs agents with tools of its own
toolbox       functions and MCP servers together, and what an agent gets of them
tools         functions that a model may call, and what an agent's file allows of them
handoffs      whom an agent may pass the conversation on to, or ask
signatures    what a model is told of a function's arguments
window        what of a long conversation is sent again
dispatcher    all of it together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.runtime.attachments import Attachment, load_attachment
    from dispatcher.runtime.dispatcher import Dispatcher
    from dispatcher.runtime.planning import RunOptions
    from dispatcher.runtime.reply import (
        ABSTAINED,
        MAX_ITERATIONS,
        AgentAnswered,
        AgentAsked,
        DecisionMade,
        Event,
        HandedOver,
        HistoryTrimmed,
        Plan,
        Reply,
        Stopped,
        ToolCalled,
        ToolReturned,
        TornTurnFound,
        UsageReported,
    )
    from dispatcher.runtime.session import Session, WhenBusy
    from dispatcher.runtime.tools import Approve, Tool, ToolCall, ToolResult

__all__ = [
    "ABSTAINED",
    "MAX_ITERATIONS",
    "AgentAnswered",
    "AgentAsked",
    "Approve",
    "Attachment",
    "DecisionMade",
    "Dispatcher",
    "Event",
    "HandedOver",
    "HistoryTrimmed",
    "Plan",
    "Reply",
    "RunOptions",
    "Session",
    "Stopped",
    "Tool",
    "ToolCall",
    "ToolCalled",
    "ToolResult",
    "ToolReturned",
    "TornTurnFound",
    "UsageReported",
    "WhenBusy",
    "load_attachment",
]

__getattr__ = on_demand(
    __name__,
    {
        "dispatcher.runtime.attachments": ("Attachment", "load_attachment"),
        "dispatcher.runtime.dispatcher": ("Dispatcher",),
        "dispatcher.runtime.planning": ("RunOptions",),
        "dispatcher.runtime.reply": (
            "ABSTAINED",
            "MAX_ITERATIONS",
            "AgentAnswered",
            "AgentAsked",
            "DecisionMade",
            "Event",
            "HandedOver",
            "HistoryTrimmed",
            "Plan",
            "Reply",
            "Stopped",
            "ToolCalled",
            "ToolReturned",
            "TornTurnFound",
            "UsageReported",
        ),
        "dispatcher.runtime.session": ("Session", "WhenBusy"),
        "dispatcher.runtime.tools": ("Approve", "Tool", "ToolCall", "ToolResult"),
    },
)
