"""Circuit breakers: a model that failed several times in a row is left alone for a while, by everybody here.

After that, one request may try; if it goes well the circuit is closed again, else the time begins anew. Times are those
of a monotonic clock, in seconds; safe to share among threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Circuits"]


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    asked_from: float | None = None  # None while it is closed


class Circuits:
    """The circuit of each model.

    Parameters
    ----------
    after: how many failures in a row open a circuit; 0 for never.
    seconds: how long it then stays open at least.
    """

    def __init__(self, *, after: int = 5, seconds: float = 30.0) -> None:
        self._after = after
        self._seconds = seconds
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def wait_for(self, model: str, now: float) -> float:
        """The seconds for which a model is not to be asked; with 0 it is the caller who asks it."""
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is None or circuit.asked_from is None:
                return 0.0
            if now < circuit.asked_from:
                return circuit.asked_from - now
            circuit.asked_from = now + self._seconds  # for all but this one caller, until it knows more
            return 0.0

    def succeeded(self, model: str) -> None:
        with self._lock:
            self._circuits.pop(model, None)

    def failed(self, model: str, now: float, retry_after: float | None = None) -> None:
        """Counts a failure; `retry_after` are the seconds for which the service asked to be left alone."""
        if not self._after:
            return
        with self._lock:
            circuit = self._circuits.setdefault(model, _Circuit())
            circuit.failures += 1
            if circuit.failures >= self._after:
                circuit.asked_from = now + max(self._seconds, retry_after or 0.0)
