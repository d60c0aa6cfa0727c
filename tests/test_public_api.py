"""The public names of the package, and what importing it costs."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys

import pytest

import dispatcher

PUBLIC_NAMES = [
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
HEAVY = ["anthropic", "numpy", "pydantic", "scipy", "sklearn", "typer"]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_public_names_are_frozen() -> None:
    assert sorted(dispatcher.__all__) == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_public_name_is_there(name: str) -> None:
    assert not inspect.ismodule(getattr(dispatcher, name))


def test_dir_lists_the_public_names() -> None:
    assert set(PUBLIC_NAMES) <= set(dir(dispatcher))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Dispacher"):
        _ = dispatcher.Dispacher


def test_the_dispatcher_has_its_methods() -> None:
    methods = {name for name, _ in inspect.getmembers(dispatcher.Dispatcher, callable) if not name.startswith("_")}
    asked = {"adispatch", "aplan", "aroute", "astream", "dispatch", "plan", "route", "stream"}
    assert methods == asked | {"aclose", "close", "from_config", "reload", "session"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import dispatcher").isdisjoint(HEAVY)


def test_heavy_modules_are_loaded_when_they_are_needed() -> None:
    assert "numpy" in loaded_by("from dispatcher import Router")


def test_the_log_says_nothing_unless_it_is_asked_for() -> None:
    handlers = logging.getLogger("dispatcher").handlers
    assert [type(handler) for handler in handlers] == [logging.NullHandler]
