"""agent-dispatcher: routes a task to the right one of your Markdown agents, says why and how sure, and runs it.

    from dispatcher import Dispatcher

    dispatcher = Dispatcher.from_config()
    decision = dispatcher.route("design a user API")
    print(decision.agent.name, decision.reason)
    print(dispatcher.dispatch("design a user API").text)

The public names are those of `__all__`; each is imported when it is first used, so that importing this costs nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.agent import (
        Agent,
        Capability,
        Collaborator,
        Diagnostic,
        Example,
        Severity,
        Source,
        ToolPolicy,
        Trigger,
    )
    from dispatcher.agentfile import ReadResult, read_agent_file
    from dispatcher.cache import Cache
    from dispatcher.decisionlog import DecisionLog
    from dispatcher.errors import (
        AgentFileError,
        AttachmentError,
        BudgetError,
        ConfigError,
        DispatcherError,
        LLMError,
        McpServerError,
        SessionBusyError,
        SessionError,
        SessionStoreError,
        UnknownAgentError,
        UsageError,
        VariableError,
    )
    from dispatcher.judge import AnthropicJudge, Judge, Option, Question, ReplayJudge, Said, Verdict
    from dispatcher.llm import AnthropicClient, Completion, LLMClient, Message, OfflineClient, Request, TextDelta, Usage
    from dispatcher.mcp_servers import McpServer
    from dispatcher.registry import Registry
    from dispatcher.routing import Candidate, Decision, Evidence, How, Judgement, Outcome, Router
    from dispatcher.runtime import (
        AgentAnswered,
        AgentAsked,
        Attachment,
        DecisionMade,
        Dispatcher,
        Event,
        HandedOver,
        HistoryTrimmed,
        Plan,
        Reply,
        RunOptions,
        Session,
        Stopped,
        Tool,
        ToolCall,
        ToolCalled,
        ToolResult,
        ToolReturned,
        TornTurnFound,
        UsageReported,
        load_attachment,
    )
    from dispatcher.sessions import (
        Handoff,
        MemorySessionStore,
        SessionInfo,
        SessionStore,
        SQLiteSessionStore,
        Turn,
        TurnState,
    )
    from dispatcher.settings import Rule, Settings, load_settings

_PLACES = {
    "dispatcher.agent": (
        "Agent",
        "Capability",
        "Collaborator",
        "Diagnostic",
        "Example",
        "Severity",
        "Source",
        "ToolPolicy",
        "Trigger",
    ),
    "dispatcher.agentfile": ("ReadResult", "read_agent_file"),
    "dispatcher.cache": ("Cache",),
    "dispatcher.decisionlog": ("DecisionLog",),
    "dispatcher.errors": (
        "AgentFileError",
        "AttachmentError",
        "BudgetError",
        "ConfigError",
        "DispatcherError",
        "LLMError",
        "McpServerError",
        "SessionBusyError",
        "SessionError",
        "SessionStoreError",
        "UnknownAgentError",
        "UsageError",
        "VariableError",
    ),
    "dispatcher.judge": ("AnthropicJudge", "Judge", "Option", "Question", "ReplayJudge", "Said", "Verdict"),
    "dispatcher.llm": (
        "AnthropicClient",
        "Completion",
        "LLMClient",
        "Message",
        "OfflineClient",
        "Request",
        "TextDelta",
        "Usage",
    ),
    "dispatcher.mcp_servers": ("McpServer",),
    "dispatcher.registry": ("Registry",),
    "dispatcher.routing": ("Candidate", "Decision", "Evidence", "How", "Judgement", "Outcome", "Router"),
    "dispatcher.runtime": (
        "AgentAnswered",
        "AgentAsked",
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
        "load_attachment",
    ),
    "dispatcher.sessions": (
        "Handoff",
        "MemorySessionStore",
        "SQLiteSessionStore",
        "SessionInfo",
        "SessionStore",
        "Turn",
        "TurnState",
    ),
    "dispatcher.settings": ("Rule", "Settings", "load_settings"),
}

__all__ = [
    "Agent",
    "AgentAnswered",
    "AgentAsked",
    "AgentFileError",
    "AnthropicClient",
    "AnthropicJudge",
    "Attachment",
    "AttachmentError",
    "BudgetError",
    "Cache",
    "Candidate",
    "Capability",
    "Collaborator",
    "Completion",
    "ConfigError",
    "Decision",
    "DecisionLog",
    "DecisionMade",
    "Diagnostic",
    "Dispatcher",
    "DispatcherError",
    "Event",
    "Evidence",
    "Example",
    "HandedOver",
    "Handoff",
    "HistoryTrimmed",
    "How",
    "Judge",
    "Judgement",
    "LLMClient",
    "LLMError",
    "McpServer",
    "McpServerError",
    "MemorySessionStore",
    "Message",
    "OfflineClient",
    "Option",
    "Outcome",
    "Plan",
    "Question",
    "ReadResult",
    "Registry",
    "ReplayJudge",
    "Reply",
    "Request",
    "Router",
    "Rule",
    "RunOptions",
    "SQLiteSessionStore",
    "Said",
    "Session",
    "SessionBusyError",
    "SessionError",
    "SessionInfo",
    "SessionStore",
    "SessionStoreError",
    "Settings",
    "Severity",
    "Source",
    "Stopped",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCalled",
    "ToolPolicy",
    "ToolResult",
    "ToolReturned",
    "TornTurnFound",
    "Trigger",
    "Turn",
    "TurnState",
    "UnknownAgentError",
    "Usage",
    "UsageError",
    "UsageReported",
    "VariableError",
    "Verdict",
    "__version__",
    "load_attachment",
    "load_settings",
    "read_agent_file",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


__getattr__ = on_demand(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted(__all__)
