"""The protocol of a store of conversations: whatever has these methods, and keeps the numbered contracts of
`dispatcher.testing`, is one.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Protocol, runtime_checkable

from dispatcher.errors import SessionConflictError, UsageError
from dispatcher.sessions.turn import SessionInfo, Turn, TurnState

__all__ = ["SessionStore", "check_next", "check_session_id"]

_LONGEST_ID = 200


@runtime_checkable
class SessionStore(Protocol):
    """Keeps conversations.

    One `put` is one whole write: after a crash at any moment a turn is as one of the puts left it. All methods may be
    called from any thread, and raise SessionStoreError where the store itself fails. Coroutines use a store in another
    thread: one of its `executor`, a `concurrent.futures.Executor`, if it has that; otherwise one of the event loop's.
    """

    def put(self, session_id: str, turn: Turn) -> None:
        """Writes a turn: a new one at the end, or over the same one (by its id) as long as that is open.

        The same put again changes nothing. Raises SessionConflictError, and then writes nothing, if the number is
        another turn's, leaves a gap, or the turn has ended otherwise.
        """
        ...

    def turns(self, session_id: str, *, last: int | None = None) -> tuple[Turn, ...]:
        """All turns in their order, or the `last` ones; none of a session that is not there."""
        ...

    def info(self, session_id: str) -> SessionInfo | None:
        """A session as a list shows it; None if it is not there."""
        ...

    def sessions(self) -> tuple[SessionInfo, ...]:
        """All sessions, the one that was written to last first."""
        ...

    def remove_last(self, session_id: str, turn_id: str) -> bool:
        """Removes the last turn of a session if it is the one of this id, in one whole write; says whether it was.

        Its number is free again. The session's place in the list stays; without any turn left, the session is gone.
        """
        ...

    def delete(self, session_id: str) -> bool:
        """Deletes a session with all that is kept of it; says whether it was there."""
        ...

    def delete_before(self, moment: datetime) -> int:
        """Deletes the sessions that were last written to before a moment; says how many."""
        ...

    def try_hold(self, session_id: str) -> bool:
        """Takes a session for one turn; False, at once, if somebody has it. A holder that dies lets go by that."""
        ...

    def release(self, session_id: str) -> None:
        """Lets go of a session that this object holds; otherwise nothing."""
        ...

    def close(self) -> None:
        """Lets go of everything. A closed store opens itself again when it is used."""
        ...


def check_session_id(session_id: str) -> str:
    """Raises UsageError for what can't be the name of a session: nothing, control characters, over 200 characters."""
    has_controls = any(unicodedata.category(character).startswith("C") for character in session_id)
    if not session_id.strip() or has_controls or len(session_id) > _LONGEST_ID:
        raise UsageError(
            f"{session_id[:40]!r} can't be the name of a session",
            hint=f"use 1 to {_LONGEST_ID} characters, none of them a control character",
        )
    return session_id


def check_next(session_id: str, turn: Turn, stored: Turn | None, count: int) -> bool:
    """Whether a put has anything to write.

    Parameters
    ----------
    stored: the turn that has the number now.
    count: how many turns the session has.

    Raises SessionConflictError.
    """
    if stored is None:
        if turn.number != count + 1:
            raise _conflict(session_id, turn, f"it has {count} turns")
        return True
    if stored == turn:
        return False
    if stored.id != turn.id:
        raise _conflict(session_id, turn, "another turn has that place")
    if stored.state is not TurnState.OPEN:
        raise _conflict(session_id, turn, f"it has ended already ({stored.state})")
    return True


def _conflict(session_id: str, turn: Turn, reason: str) -> SessionConflictError:
    return SessionConflictError(
        f'turn {turn.number} of the session "{session_id}" was not written: {reason}',
        hint="let one turn end before the next begins",
    )
