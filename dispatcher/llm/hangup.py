"""The end of a stream's time: a timer that hangs up on the service while another thread waits for it.

A read timeout can't do that, as every ping begins it anew. Knows of connections alone, not of what comes over them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["HangUp"]


class HangUp:
    """The end of so many seconds from now, or of none.

    `has_come` says whether it ended the connection that was `due` to be over by then.
    """

    def __init__(self, seconds: float | None) -> None:
        self.has_come = False
        self._ends = None if seconds is None else time.monotonic() + seconds

    @contextlib.contextmanager
    def due(self, response: Any) -> Iterator[None]:
        """Ends the connection of a response, if the block lasts too long; who reads from it finds it closed."""
        if self._ends is None:
            yield
            return
        timer = threading.Timer(max(0.0, self._ends - time.monotonic()), self._end, [response])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self, response: Any) -> None:
        self.has_come = True
        connection = response.extensions.get("network_stream")
        opened = connection.get_extra_info("socket") if connection is not None else None
        # Only that wakes a thread that reads, which then closes the connection itself; it may have done so by now.
        with contextlib.suppress(OSError):
            if opened is not None:
                opened.shutdown(socket.SHUT_RDWR)
