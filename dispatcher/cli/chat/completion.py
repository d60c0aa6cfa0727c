"""What may follow what has been typed: names of commands, agents and files. Plain text in, plain text out."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dispatcher.cli.chat.commands import COMMANDS, FREE

__all__ = ["Suggestion", "suggestions"]

_COMMAND = re.compile(r"/\w*")
_ARGUMENT = re.compile(r"/(\w+)\s+(.*)", re.DOTALL)
_MENTION = re.compile(r"\s*@([\w-]*)")
_PATH = re.compile(r"(?:^|(?<=\s))(?:~|\.{1,2})?/?(?:[^\s/]+/)*[^\s/]*$")
_MOST_FILES = 200


class Suggestion(NamedTuple):
    """A text to put in place of the last `replaces` characters, and a word about it."""

    text: str
    replaces: int
    about: str = ""


def suggestions(typed: str, agents: Mapping[str, str], folder: Path) -> Iterator[Suggestion]:
    """What may stand where something was begun.

    Parameters
    ----------
    typed: the text before the cursor.
    agents: what each agent is for, by the name that is typed.
    folder: where relative paths begin.
    """
    if _COMMAND.fullmatch(typed):
        for name, command in COMMANDS.items():
            if name.startswith(typed[1:]):
                yield Suggestion(f"/{name}", len(typed), command.about)
    elif (argument := _ARGUMENT.fullmatch(typed)) is not None:
        takes = COMMANDS[argument[1]].takes if argument[1] in COMMANDS else None
        if takes == "agent":
            yield from _agents(argument[2], agents)
        elif takes == "file":
            yield from _files(argument[2], folder)
    elif (mention := _MENTION.fullmatch(typed)) is not None:
        yield from _agents(mention[1], agents)
    elif (path := _PATH.search(typed)) is not None and "/" in path[0]:
        yield from _files(path[0], folder)


def _agents(begun: str, agents: Mapping[str, str]) -> Iterator[Suggestion]:
    named = {**agents, FREE: "decide by the task"}
    for name, about in named.items():
        if name.casefold().startswith(begun.casefold()):
            yield Suggestion(name, len(begun), about)


def _files(begun: str, folder: Path) -> Iterator[Suggestion]:
    """The files of a folder that begin so; hidden ones only where the dot is typed."""
    above, _, start = begun.rpartition("/")
    inside = folder / Path(f"{above}/" if above or begun.startswith("/") else "").expanduser()
    try:
        found = sorted(inside.iterdir())[:_MOST_FILES] if not start else sorted(inside.glob(f"{glob.escape(start)}*"))
    except OSError:
        return
    for path in found:
        if path.name.startswith(".") and not start.startswith("."):
            continue
        yield Suggestion(path.name + ("/" if path.is_dir() else ""), len(start))
