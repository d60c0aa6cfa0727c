"""How lines are typed: editing, history and completion at a terminal.

The history is made of the conversations that are kept, and of what this chat was told; there is no file of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from dispatcher.cli.chat.completion import suggestions
from dispatcher.cli.console import one_line
from dispatcher.errors import SessionStoreError
from dispatcher.registry import Registry
from dispatcher.sessions import SessionStore

__all__ = ["TerminalLines"]

_MOST_SESSIONS, _MOST_TURNS = 20, 50
_WIDEST_ABOUT = 60
_MENU_ROWS = 6


class TerminalLines:
    """Lines from the terminal.

    Parameters
    ----------
    registry: whose names are completed.
    store: whose tasks are in the history.
    """

    def __init__(self, registry: Registry, store: SessionStore) -> None:
        self._session: PromptSession[str] = PromptSession(
            completer=_Names(registry),
            history=InMemoryHistory(list(_tasks(store))),
            key_bindings=_keys(),
            reserve_space_for_menu=_MENU_ROWS,
            prompt_continuation="  ",
        )

    def read(self, agent: str | None) -> str:
        """The next line, as `Lines` has it."""
        return self._session.prompt([("bold", f"@{agent}> " if agent else "> ")])


class _Names(Completer):
    """Completion as prompt_toolkit asks for it."""

    def __init__(self, registry: Registry) -> None:
        self._agents = {agent.slug or agent.name: agent.description for agent in registry.agents}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        for found in suggestions(document.text_before_cursor, self._agents, Path.cwd()):
            about = one_line(found.about, _WIDEST_ABOUT)
            yield Completion(found.text, start_position=-found.replaces, display_meta=about)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _tasks(store: SessionStore) -> Iterator[str]:
    """What the last sessions were asked, the oldest first."""
    try:
        for info in reversed(store.sessions()[:_MOST_SESSIONS]):
            yield from (turn.task for turn in store.turns(info.id, last=_MOST_TURNS))
    except SessionStoreError:
        return  # a history that can't be read is none; the store's fault is told where a turn needs it
