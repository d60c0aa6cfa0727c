"""What a process has had answered and spent on judges; safe to share among threads."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dispatcher.judge.protocol import Question, Verdict

__all__ = ["JudgeMemory"]

_MOST_VERDICTS = 1_000


class JudgeMemory:
    """The last verdicts by model and question, and the US dollars spent. Nothing of it is written anywhere."""

    def __init__(self, most: int = _MOST_VERDICTS) -> None:
        self._most = most
        self._spent = 0.0
        self._verdicts: OrderedDict[tuple[str | None, Question], Verdict] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """In US dollars; what cost an unknown amount counts as nothing."""
        return self._spent

    def recall(self, model: str | None, question: Question) -> Verdict | None:
        """What the same question was answered before, if that is still known."""
        with self._lock:
            verdict = self._verdicts.get((model, question))
            if verdict is not None:
                self._verdicts.move_to_end((model, question))
            return verdict

    def keep(self, model: str | None, question: Question, verdict: Verdict) -> None:
        """Counts what a verdict cost, and keeps it, if it is an answer, in place of the one not asked for longest."""
        with self._lock:
            if not verdict.is_estimated:
                self._spent += verdict.cost or 0.0
            if verdict.fault is not None:
                return
            self._verdicts[model, question] = verdict
            if len(self._verdicts) > self._most:
                self._verdicts.popitem(last=False)
