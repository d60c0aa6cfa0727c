"""Agents that turn to each other: whom one may pass the conversation on to, or ask, and what its model is told of that.

An agent gets the two tools only where its file allows them, as with any other tool; a file that lists Task or Agent
allows `ask_agent`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dispatcher.agent import Agent
from dispatcher.errors import UnknownAgentError
from dispatcher.naming import find_agent
from dispatcher.runtime.tools import Tool, ToolCall, ToolResult, offered_tools

if TYPE_CHECKING:
    from dispatcher.runtime.reply import Plan

__all__ = ["Peers", "ask_agent", "colleagues", "handoff", "is_of", "peer_tools", "refused", "took_over"]

_NAMES_OF_ASKING = frozenset({"Task", "Agent"})
_LONGEST_DESCRIPTION = 200  # characters; each request holds them


class Planning(Protocol):
    """What would be sent to an agent for a text; `is_question` where it answers and the asker goes on."""

    def __call__(self, agent: Agent, text: str, reason: str, *, is_question: bool) -> Plan: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Whom an agent may turn to."""

    agents: tuple[Agent, ...]
    plan: Planning

    def named(self, name: str) -> Agent | None:
        """The agent of that name or slug, if it is one of them."""
        try:
            return find_agent(name, self.agents)
        except UnknownAgentError:
            return None


def handoff(agent: str, message: str) -> None:
    """Passes the conversation on: from now on the other agent answers the user in your place.

    Do it where the user's wish is that agent's work and not yours. You are not heard any more after that.

    Parameters
    ----------
    agent: its name.
    message: what it should know, and what is to be done, in a few sentences. It sees the conversation.
    """


def ask_agent(agent: str, question: str) -> None:
    """Asks another agent and gives you its answer; the user goes on talking to you.

    Parameters
    ----------
    agent: its name.
    question: all that it needs to answer, since it sees nothing of the conversation.
    """


def colleagues(
    agent: Agent, allowed: Sequence[Agent], *, found: Sequence[Agent], without: Sequence[str]
) -> tuple[Agent, ...]:
    """Those that an agent's file names, then those that are found.

    Parameters
    ----------
    allowed: those that may be chosen.
    found: the best of them for the task, as far as they are wanted.
    without: names of agents that are left out.
    """
    there = [one for one in allowed if one.name not in without]
    named = []
    for collaborator in agent.collaborators:
        try:
            named.append(find_agent(collaborator.name, there))
        except UnknownAgentError:
            continue  # agent files name others that a registry need not have
    return tuple({one.name: one for one in (*named, *found)}.values())


def peer_tools(agent: Agent, peers: Peers | None, others: Sequence[Tool], *, may_pass_on: bool) -> tuple[Tool, ...]:
    """The tools by which an agent turns to its peers, as far as its file allows; `others` keep their names."""
    if peers is None:
        return ()
    taken = {tool.name for tool in others}
    functions = (handoff, ask_agent) if may_pass_on else (ask_agent,)
    tools = [_told(Tool.of(function), agent, peers) for function in functions]
    return tuple(tool for tool in tools if tool.name not in taken and _is_allowed(agent, tool))


def is_of(tool: Tool, function: object) -> bool:
    """Whether a tool is the one of these two, and not another of its name."""
    return tool.function is function


def took_over(call: ToolCall, after: str, message: str) -> ToolResult:
    """What stands in the conversation where another agent takes it over, for that one to read."""
    text = (
        f'The conversation was passed on by "{call.agent}" and is now with "{after}", who answers the user: {message}'
    )
    return ToolResult(call=call, text=text)


def refused(call: ToolCall, reason: str) -> ToolResult:
    return ToolResult(call=call, text=reason, is_error=True)


def _is_allowed(agent: Agent, tool: Tool) -> bool:
    if offered_tools(agent, [tool]):
        return True
    aliases = _NAMES_OF_ASKING if is_of(tool, ask_agent) else frozenset()
    return any(offered_tools(agent, [dataclasses.replace(tool, name=name)]) for name in aliases) and not any(
        name.partition("(")[0].strip().casefold() in ("*", tool.name) for name in agent.tools.disallowed
    )


def _told(tool: Tool, agent: Agent, peers: Peers) -> Tool:
    """The tool with the names that may be given, and what each is for."""
    purposes = {one.name.casefold(): one.purpose for one in agent.collaborators}
    lines = [
        f"- {one.name}: {_short(one.description)}{_aside(purposes.get(one.name.casefold(), ''))}"
        for one in peers.agents
    ]
    properties = dict(tool.schema["properties"])
    properties["agent"] = {**properties["agent"], "enum": [one.name for one in peers.agents]}
    return dataclasses.replace(
        tool,
        description="\n".join([tool.description, "", "The agents:", *lines]),
        schema={**tool.schema, "properties": properties},
    )


def _aside(purpose: str) -> str:
    return f" ({_short(purpose)})" if purpose.strip() else ""


def _short(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _LONGEST_DESCRIPTION else f"{folded[: _LONGEST_DESCRIPTION - 1].rstrip()}…"
