"""Lines of the user, one after the other: a task for the agents, or a command of the chat.

Knows no terminal: lines come from whatever has `read`, so that tests can type.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from dispatcher.cli.chat.commands import carry_out, is_command
from dispatcher.cli.chat.conversation import Conversation
from dispatcher.errors import DispatcherError

__all__ = ["Lines", "talk"]


class Lines(Protocol):
    """Where lines come from."""

    def read(self, agent: str | None) -> str:
        """The next line. Raises EOFError at the end (Ctrl-D), and KeyboardInterrupt where the line is given up.

        Parameters
        ----------
        agent: the one that all tasks go to, if the user wants that.
        """
        ...


def talk(conversation: Conversation, lines: Lines) -> None:
    """Answers lines until there are no more. Errors and Ctrl-C end what is under way, never the chat."""
    conversation.view.opening(conversation.session, is_offline=conversation.dispatcher.is_offline)
    while not conversation.is_over:
        try:
            line = lines.read(conversation.agent).strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        if line:
            with suppress(KeyboardInterrupt):  # another one, while the first is heeded
                _answer(conversation, line)
    if conversation.is_kept:
        conversation.view.closing(conversation.session)


def _answer(conversation: Conversation, line: str) -> None:
    try:
        if is_command(line):
            carry_out(conversation, line)
        else:
            conversation.ask(line)
            conversation.view.console.say()
    except KeyboardInterrupt:
        conversation.view.console.say("Stopped.", style="yellow")
    except DispatcherError as problem:
        conversation.view.console.problem(problem)
