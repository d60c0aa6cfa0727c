"""The table of commands: each is imported and built when it is first asked for.

A call needs one or two of them, and building one takes typer as long as reading a file of agents.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import typer

__all__ = ["Commands"]

_PLACES: Mapping[str, str | tuple[str, Mapping[str, str]]] = {
    "run": "run.run",
    "route": "route.route",
    "agents": (
        "Look at the agents.",
        {"list": "agents.list_agents", "show": "agents.show", "check": "agents.check"},
    ),
    "config": (
        "Look at the settings.",
        {"show": "config.show", "init": "config.init", "schema": "config.schema"},
    ),
    "eval": "evaluate.evaluate",
    "tune": "tune.tune",
    "enrich": "enrich.enrich",
    "version": "versions.version",
}
"""Where the function of each command stands; a group has a line of help and commands of its own."""


class Commands(MutableMapping[str, Any]):
    """The commands by name, in the order in which help shows them."""

    def __init__(self) -> None:
        self._names = list(_PLACES)
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name, _PLACES[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._names.append(name)
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        self._names.remove(name)
        self._built.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def _build(name: str, place: str | tuple[str, Mapping[str, str]]) -> Any:
    if isinstance(place, str):
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(name)(_function(place))
        return typer.main.get_command(app)
    summary, commands = place
    app = typer.Typer(name=name, help=summary, rich_markup_mode=None, add_completion=False)
    for own, function in commands.items():
        app.command(own)(_function(function))
    return typer.main.get_command(app)


def _function(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(f"dispatcher.cli.{module}"), name)
