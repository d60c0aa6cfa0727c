"""What the tests of the chat share: lines that are typed by a test, and a chat without a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console as Rich

from dispatcher import Dispatcher, Session
from dispatcher.cli.chat.conversation import Conversation
from dispatcher.cli.chat.loop import talk
from dispatcher.cli.chat.view import View
from dispatcher.cli.console import Console

__all__ = ["Chat", "Typed"]


class Typed:
    """Lines as a test types them: a text, an exception (a key), or what is done before the next line."""

    def __init__(self, *lines: str | type[BaseException] | Callable[[], Any]) -> None:
        self._lines = list(lines)
        self.prompts: list[str | None] = []

    def read(self, agent: str | None) -> str:
        self.prompts.append(agent)
        while self._lines:
            line = self._lines.pop(0)
            if isinstance(line, str):
                return line
            if isinstance(line, type):
                raise line
            line()
        raise EOFError


class Chat:
    """A chat of 80 columns; `shown` is what has been printed on standard output, by rich."""

    def __init__(self, dispatcher: Dispatcher, session: Session | None = None, *, is_terminal: bool = False) -> None:
        self._output = io.StringIO()
        rich = Rich(
            file=self._output, width=80, height=24, highlight=False, force_terminal=is_terminal, color_system=None
        )
        view = View(Console(), dispatcher.registry, rich)
        self.conversation = Conversation(dispatcher, session or dispatcher.session("talk", busy="refuse"), view)

    @property
    def session(self) -> Session:
        return self.conversation.session

    @property
    def shown(self) -> str:
        return self._output.getvalue()

    def type(self, *lines: str | type[BaseException] | Callable[[], Any]) -> Typed:
        """Types lines, and leaves."""
        typed = Typed(*lines)
        talk(self.conversation, typed)
        return typed
