"""`dispatch TASK`: a task needs no command's name before it, and options may stand before a command or after it.

So the words are put in order before they are parsed: the command's path, then the options that stood before it. What
is no command is a task; a word that is nearly one is asked about first, since a task may cost money.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from dispatcher.errors import UsageError

__all__ = ["TaskGroup"]

DEFAULT_COMMAND = "run"
_OWN_OPTIONS = frozenset({"--help", "--version", "--install-completion", "--show-completion"})
_SHORTEST_NEARLY = 4


class TaskGroup(TyperGroup):
    """A group of commands whose default is to run a task."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._in_order(args))

    def _in_order(self, args: Sequence[str]) -> list[str]:
        """The path of the command, then its options, then everything else."""
        path: list[str] = []
        options: list[str] = []
        group: Any = self
        words = iter(args)
        for word in words:
            if word in _OWN_OPTIONS and not path:
                return [word, *words]
            if word == "--":
                return [DEFAULT_COMMAND, *options, "--", *words] if not path else [*path, *options, "--", *words]
            if word.startswith("-") and word != "-":
                options.extend(self._with_value(word, words))
                continue
            command = group.commands.get(word)
            if command is None:
                if not path:
                    self._ask_if_nearly_a_command(word)
                    path = [DEFAULT_COMMAND]
                return [*path, *options, word, *words]
            path.append(word)
            if not isinstance(command, TyperGroup):
                return [*path, *options, *words]
            group = command
        return [*(path or [DEFAULT_COMMAND]), *options]

    def _with_value(self, option: str, words: Iterator[str]) -> list[str]:
        """An option with the word after it, if it takes one."""
        takes_value = any(
            option in parameter.opts and not getattr(parameter, "is_flag", False)
            for parameter in self.commands[DEFAULT_COMMAND].params
        )
        value = next(words, None) if takes_value else None
        return [option] if value is None else [option, value]

    def _ask_if_nearly_a_command(self, word: str) -> None:
        from rapidfuzz.distance import DamerauLevenshtein

        for name in self.commands:
            allowed = 1 if len(name) < 6 else 2
            is_near = DamerauLevenshtein.distance(word, name, score_cutoff=allowed) <= allowed
            if not is_near or len(name) < _SHORTEST_NEARLY or len(word) < _SHORTEST_NEARLY:
                continue
            hint = f"for the command: dispatch {name} ...; for the task: dispatch -- {word} ..."
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(f'"{word}" is nearly the command "{name}"', hint=hint)
            if not typer.confirm(f'"{word}" is nearly the command "{name}". Run it as a task?', err=True):
                raise UsageError("nothing was run", hint=hint)
            return
