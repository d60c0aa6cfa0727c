"""Files that are for the user alone: what is kept of tasks and of money."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["open_private"]


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """Opens a file, and makes it and its folder first where they are not there: mode 0600, and 0700.

    Parameters
    ----------
    flags: those of `os.open`, besides O_CREAT.

    Returns the file descriptor, which the caller closes. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, flags | os.O_CREAT, 0o600)
