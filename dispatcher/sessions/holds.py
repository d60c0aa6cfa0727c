"""Who may run a turn, among threads and processes: a locked file a session, in a folder beside the sessions.

The system itself lets go of a lock when its process ends, however that ends, so that no hold outlives its holder and
none has to be renewed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from pathlib import Path

__all__ = ["Holds"]


class Holds:
    """The holds of one store object in a folder that it shares with others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._descriptors: dict[str, int] = {}

    def try_hold(self, session_id: str) -> bool:
        """Raises OSError where the folder can't be written to."""
        with self._lock:
            if session_id in self._descriptors:
                return False
            try:
                descriptor = _locked(self._path(session_id))
            except FileNotFoundError:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = _locked(self._path(session_id))
            if descriptor is not None:
                self._descriptors[session_id] = descriptor
            return descriptor is not None

    def release(self, session_id: str) -> None:
        with self._lock:
            descriptor = self._descriptors.pop(session_id, None)
        if descriptor is not None:
            # Gone before it is unlocked: whoever waits for this file notices that it is no longer the one by name.
            with contextlib.suppress(OSError):
                self._path(session_id).unlink()
            os.close(descriptor)

    def close(self) -> None:
        for session_id in list(self._descriptors):
            self.release(session_id)

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(session_id.encode()).hexdigest()[:32]}.lock"


def _locked(path: Path) -> int | None:
    """The descriptor of a file that is locked by this call; None if somebody else has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            if _is_still_there(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has removed it meanwhile


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
