"""Settings: config.yaml + environment + flags → one typed, frozen tree.

tree    the settings, their defaults and what each one means
files   config.yaml: which files count, what stands in them, on which line
load    all layers put together and validated; where each value came from
schema  the JSON schema of config.yaml
"""

from dispatcher.settings.load import LoadedSettings, load_settings
from dispatcher.settings.tree import (
    BudgetSettings,
    EnrichSettings,
    Escalate,
    HandoffSettings,
    JudgeSettings,
    LLMSettings,
    LogSettings,
    McpServerSettings,
    Price,
    RoutingSettings,
    Rule,
    SessionSettings,
    Settings,
    ToolSettings,
)

__all__ = [
    "BudgetSettings",
    "EnrichSettings",
    "Escalate",
    "HandoffSettings",
    "JudgeSettings",
    "LLMSettings",
    "LoadedSettings",
    "LogSettings",
    "McpServerSettings",
    "Price",
    "RoutingSettings",
    "Rule",
    "SessionSettings",
    "Settings",
    "ToolSettings",
    "load_settings",
]
