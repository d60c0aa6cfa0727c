"""Whether a tool of an MCP server may be called: the person at the terminal is asked, and without one it may not.

What needs no word of theirs: what `tools.approval: allow` or --yes allowed beforehand, and agents that turn to each
other, which does nothing on this machine. Claude Code as executor has rules of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from dispatcher.cli.console import Console, one_line
from dispatcher.runtime import ToolCall
from dispatcher.runtime.tools import SERVER_PREFIX
from dispatcher.settings import ToolSettings

__all__ = ["Approval"]

_YES, _ALWAYS, _NO = ("y", "yes"), ("a", "always"), ("", "n", "no")
_LONGEST_SHOWN = 2_000  # characters of a call's arguments
_NOBODY = "nobody can be asked whether tools may be called, so they are not; --yes or tools.approval: allow lets them"


class Approval:
    """The user's word on each call, as a run asks for it (`approve`); what is allowed for always, it remembers."""

    def __init__(self, console: Console, settings: ToolSettings) -> None:
        self._console = console
        self._is_given = settings.approval == "allow"
        self._allowed: set[str] = set()
        self._has_told = False

    def __call__(
        self, call: ToolCall, *, asking: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> bool | str:
        """Whether a call may happen, or why not.

        Parameters
        ----------
        asking: what surrounds a question, where something else is being shown meanwhile.
        """
        if self._is_given or not call.name.startswith(SERVER_PREFIX) or call.name in self._allowed:
            return True
        if not self._console.is_interactive or self._console.quiet:
            self._tell_once()
            return "nobody is there to allow it"
        with asking():
            answer = self._asked(call)
        said = answer.casefold()
        if said in _ALWAYS:
            self._allowed.add(call.name)
        return said in (*_YES, *_ALWAYS) or (False if said in _NO else answer)

    def _asked(self, call: ToolCall) -> str:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        self._console.say(f"{call.agent} wants to call {call.name} with", style="yellow")
        self._console.say(one_line(arguments, _LONGEST_SHOWN), indent=2)
        if len(arguments) > _LONGEST_SHOWN:
            self._console.say(f"which are {len(arguments):,} characters, not all of them shown", indent=2)
        return self._console.ask("May it? (y: yes, a: always, n or a reason: no)", is_fresh=True)

    def _tell_once(self) -> None:
        if not self._has_told:
            self._console.insist(f"note: {_NOBODY}")
            self._has_told = True
