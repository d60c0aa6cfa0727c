"""The table of commands: each is imported and built when it is first asked for.

A call needs one or two of them, and building one takes typer as long as reading a file of agents.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["AsTyped", "Commands"]

_PLACES: Mapping[str, str | tuple[str, Mapping[str, str]]] = {
    "run": "run.run",
    "chat": "chat.command.chat",
    "route": "route.route",
    "agents": (
        "Look at the agents.",
        {"list": "agents.list_agents", "show": "agents.show", "check": "agents.check"},
    ),
    "sessions": (
        "Look at the conversations that are kept.",
        {
            "list": "sessions.list_sessions",
            "show": "sessions.show",
            "export": "sessions.export",
            "delete": "sessions.delete",
        },
    ),
    "config": (
        "Look at the settings.",
        {"show": "config.show", "init": "config.init", "schema": "config.schema"},
    ),
    "cache": ("Look at what is kept between runs.", {"show": "cache.show", "clear": "cache.clear"}),
    "eval": "evaluate.evaluate",
    "tune": "tune.tune",
    "enrich": "enrich.enrich",
    "log": "log.log",
    "feedback": "feedback.feedback",
    "version": "versions.version",
}
"""Where the function of each command stands; a group has a line of help and commands of its own."""


class AsTyped:
    """A command whose texts are taken as they are typed.

    Typer has pydantic make text of text, which takes longer to load than all else that a command needs; so it is asked
    only for values of other types, and where one is given.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if "process_value" not in vars(parameter):
                parameter.process_value = functools.partial(_processed, parameter, parameter.process_value)
        return parameters


class TextCommand(AsTyped, TyperCommand):
    """A command of its own."""


def _processed(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    is_text = isinstance(value, str) and parameter.type_descriptor.annotation is str
    is_plain = value is None or (is_text and parameter.callback is None)
    if is_plain and not parameter.required and not parameter.multiple and parameter.nargs == 1:
        return value
    if value is None and parameter.multiple:
        return []
    if parameter.type_descriptor.annotation == list[str] and isinstance(value, tuple | list | None):
        return list(value or ())
    return process(context, value)


class Commands(MutableMapping[str, Any]):
    """The commands by name, in the order in which help shows them."""

    def __init__(self) -> None:
        self._names = list(_PLACES)
        self._built: dict[str, Any] = {}

    def summary(self, name: str, width: int) -> str:
        """What the help of a command begins with, in at most `width` characters."""
        place = _PLACES[name]
        text = inspect.getdoc(_function(place)) if isinstance(place, str) else place[0]
        return TextCommand(name, help=text).get_short_help_str(width)

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
        app.command(name, cls=TextCommand)(_function(place))
        return typer.main.get_command(app)
    summary, commands = place
    app = typer.Typer(name=name, help=summary, rich_markup_mode=None, add_completion=False)
    for own, function in commands.items():
        app.command(own, cls=TextCommand)(_function(function))
    return typer.main.get_command(app)


def _function(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(f"dispatcher.cli.{module}"), name)
