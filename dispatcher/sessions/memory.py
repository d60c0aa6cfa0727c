"""A store that lasts as long as the process: for tests, and for those who want nothing kept."""

from __future__ import annotations

import threading
from datetime import datetime

from dispatcher.sessions.store import check_next, check_session_id
from dispatcher.sessions.turn import SessionInfo, Turn, now, total_cost, total_usage

__all__ = ["MemorySessionStore"]


class MemorySessionStore:
    """Keeps conversations in this object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, list[Turn]] = {}
        self._updated: dict[str, datetime] = {}
        self._held: set[str] = set()

    def put(self, session_id: str, turn: Turn) -> None:
        check_session_id(session_id)
        with self._lock:
            turns = self._turns.get(session_id, [])
            stored = turns[turn.number - 1] if 0 < turn.number <= len(turns) else None
            if not check_next(session_id, turn, stored, len(turns)):
                return
            self._turns[session_id] = turns
            turns[turn.number - 1 :] = [turn, *turns[turn.number :]]
            self._updated[session_id] = turn.ended or turn.started

    def turns(self, session_id: str, *, last: int | None = None) -> tuple[Turn, ...]:
        with self._lock:
            turns = self._turns.get(session_id, [])
            return tuple(turns if last is None else turns[max(0, len(turns) - last) :])

    def info(self, session_id: str) -> SessionInfo | None:
        turns = self.turns(session_id)
        if not turns:
            return None
        return SessionInfo(
            id=session_id,
            created=turns[0].started,
            updated=self._updated.get(session_id, now()),
            turns=len(turns),
            title=turns[0].task,
            agents=tuple(dict.fromkeys(turn.agent for turn in turns if turn.agent is not None)),
            usage=total_usage(turns),
            cost=total_cost(turns),
        )

    def sessions(self) -> tuple[SessionInfo, ...]:
        found = [info for info in map(self.info, list(self._turns)) if info is not None]
        return tuple(sorted(found, key=lambda info: (info.updated, info.id), reverse=True))

    def remove_last(self, session_id: str, turn_id: str) -> bool:
        with self._lock:
            turns = self._turns.get(session_id, [])
            if not turns or turns[-1].id != turn_id:
                return False
            turns.pop()
            if not turns:
                del self._turns[session_id], self._updated[session_id]
            return True

    def delete(self, session_id: str) -> bool:
        with self._lock:
            self._updated.pop(session_id, None)
            return self._turns.pop(session_id, None) is not None

    def delete_before(self, moment: datetime) -> int:
        old = [session_id for session_id, updated in list(self._updated.items()) if updated < moment]
        return sum(self.delete(session_id) for session_id in old)

    def try_hold(self, session_id: str) -> bool:
        with self._lock:
            if session_id in self._held:
                return False
            self._held.add(session_id)
            return True

    def release(self, session_id: str) -> None:
        with self._lock:
            self._held.discard(session_id)

    def close(self) -> None:
        """Lets go of the holds; what is kept stays as long as the object."""
        with self._lock:
            self._held.clear()
