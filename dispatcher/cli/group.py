"""`dispatch TASK`: a task needs no command's name before it, and options may stand before a command or after it.

So the words are put in order before they are parsed: the command's path, then the options that stood before it. What
is no command is a task; a word that is nearly one is asked about first, since a task may cost money.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from dispatcher.cli.commands import AsTyped, Commands
from dispatcher.cli.console import Console
from dispatcher.errors import UsageError

__all__ = ["OUTPUT_CLOSED", "TaskGroup"]

DEFAULT_COMMAND = "run"
OUTPUT_CLOSED = 141  # as a shell reports a command that was stopped by a closed pipe
_OWN_OPTIONS = frozenset({"-h", "--help", "--version", "--install-completion", "--show-completion"})
_SHORTEST_NEARLY = 4


class TaskGroup(AsTyped, TyperGroup):
    """A group of commands whose default is to run a task."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Commands = Commands()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_completion = ctx.resilient_parsing
        words = self._in_order(args, may_ask=not is_completion) if args or not is_completion else args
        return super().parse_args(ctx, words)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands, and the options of a task."""
        default = self.commands[DEFAULT_COMMAND]
        return [*super().shell_complete(ctx, incomplete), *default.shell_complete(ctx, incomplete)]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # which typer would make a failure
            raise typer.Exit(OUTPUT_CLOSED) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options of a task first, which need no command's name either."""
        default = self.commands[DEFAULT_COMMAND]
        records = [param.get_help_record(ctx) for param in default.params if param.param_type_name == "option"]
        with formatter.section("Options for a task"):
            formatter.write_dl([record for record in records if record is not None])
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands by what their help begins with, for which none of them has to be built."""
        width = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands.summary(name, width)) for name in self.commands])

    def _in_order(self, args: Sequence[str], *, may_ask: bool) -> list[str]:
        """The path of the command, then its options, then everything else."""
        if list(args) == ["help"]:
            return ["--help"]
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
                    if may_ask:
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
        console = Console()
        for name in self.commands:
            if not _is_slip(word, name) or len(name) < _SHORTEST_NEARLY or len(word) < _SHORTEST_NEARLY:
                continue
            hint = f"for the command: dispatch {name} ...; for the task: dispatch -- {word} ..."
            likeness = f'"{word}" is nearly the command "{name}"'
            if not console.is_interactive:
                raise UsageError(likeness, hint=hint)
            if console.ask(f"{likeness}. Run it as a task? [y/N]").lower() not in ("y", "yes"):
                raise UsageError("nothing was run", hint=hint)
            return


def _is_slip(word: str, name: str) -> bool:
    """Whether a letter is wrong, missing or too much, or two neighbours have changed places."""
    unlike = (place for place, (one, other) in enumerate(zip(word, name, strict=False)) if one != other)
    first = next(unlike, min(len(word), len(name)))
    word, name = word[first:], name[first:]
    are_swapped = word[:2] == name[1::-1] and word[2:] == name[2:]
    return are_swapped or word[1:] in (name, name[1:]) or word == name[1:]
