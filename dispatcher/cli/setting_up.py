"""From the options of a command to a dispatcher or a registry, telling the user what was odd on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dispatcher.cli.console import Console
from dispatcher.cli.options import settings_flags
from dispatcher.cli.views import show_registry_faults
from dispatcher.registry import Registry
from dispatcher.runtime import Dispatcher
from dispatcher.settings import LoadedSettings, load_settings

__all__ = ["load_dispatcher", "load_registry"]


def load_dispatcher(
    console: Console,
    *,
    agents: Sequence[str] | None,
    config: Path | None,
    variables: Sequence[str] | None = None,
) -> Dispatcher:
    """Raises ConfigError, and AgentFileError if no agent is left."""
    dispatcher = Dispatcher.from_config(flags=settings_flags(agents, variables), config=config)
    for notice in dispatcher.notices:
        console.notice(notice)
    show_registry_faults(dispatcher.registry, console)
    return dispatcher


def load_registry(
    console: Console, *, agents: Sequence[str] | None, config: Path | None
) -> tuple[Registry, LoadedSettings]:
    """The agents alone, for commands that look at them."""
    loaded = load_settings(flags=settings_flags(agents), config=config)
    for notice in loaded.notices:
        console.notice(notice)
    return Registry.from_settings(loaded.settings), loaded
