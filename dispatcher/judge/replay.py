"""Recorded picks as judge: what a model would have answered, without asking it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.errors import UsageError
from dispatcher.judge.prompt import estimated_usage
from dispatcher.judge.protocol import Question, Verdict
from dispatcher.llm import cost_of
from dispatcher.settings import Price

__all__ = ["Pick", "ReplayJudge", "read_picks", "sureness_of"]

_SHAPE = '{"task": "...", "top3": ["best", "second", "third"], "confidence": 0.8}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What was picked for a task, best first, and how sure that was of the first, 0 to 1."""

    task: str
    names: tuple[str, ...]
    confidence: float | None = None


class ReplayJudge:
    """Answers with the first recorded pick that is on the shortlist; has none for a task that is not recorded.

    Parameters
    ----------
    picks: the recording, by task.
    model: whose price tells what asking it would have cost; unknown if not given.
    prices: prices by model, besides the built-in ones.
    """

    def __init__(
        self, picks: Mapping[str, Pick], *, model: str | None = None, prices: Mapping[str, Price] | None = None
    ) -> None:
        self.model = model
        self._picks = picks
        self._prices = prices or {}

    @classmethod
    def from_file(
        cls, path: Path, *, model: str | None = None, prices: Mapping[str, Price] | None = None
    ) -> ReplayJudge:
        """A judge of the picks in a file, a JSON object a line. Raises UsageError, with file and line, for another."""
        return cls(read_picks(path), model=model, prices=prices)

    def judge(self, question: Question) -> Verdict:
        pick = self._picks.get(question.task)
        offered = {option.name for option in question.shortlist}
        name = next((name for name in pick.names if name in offered), None) if pick is not None else None
        usage = estimated_usage(question)
        cost = cost_of(usage, self.model, self._prices) if self.model is not None else None
        taken: dict[str, Any] = {"model": self.model, "usage": usage, "cost": cost, "is_estimated": True}
        if pick is None or name is None:
            fault = "the task is not recorded" if pick is None else "none of the recorded picks is on the shortlist"
            return Verdict(pick=None, fault=fault, **taken)
        return Verdict(pick=name, reason="recorded", sureness=sureness_of(pick, name), **taken)

    async def ajudge(self, question: Question) -> Verdict:
        return self.judge(question)


def sureness_of(pick: Pick, name: str) -> float | None:
    """How sure a recording is of one of its picks; it only tells of the first."""
    return pick.confidence if name == pick.names[0] else None


def read_picks(path: Path) -> dict[str, Pick]:
    """A recording, by task; of two lines for one task the later counts. Raises UsageError, with file and line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UsageError(f"{path}: the recorded picks can't be read: {reason}", hint=f"a line is {_SHAPE}") from None
    lines = enumerate(text.split("\n"), start=1)
    picks = [_parsed(line, path, number) for number, line in lines if line.strip()]
    if not picks:
        raise UsageError(f"{path}: there are no recorded picks in this file", hint=f"a line is {_SHAPE}")
    return {pick.task: pick for pick in picks}


def _parsed(line: str, path: Path, number: int) -> Pick:
    try:
        record = json.loads(line)
        task, names, confidence = record["task"], record["top3"], record.get("confidence")
        is_fit = isinstance(task, str) and isinstance(names, list) and all(isinstance(name, str) for name in names)
        if is_fit and _is_share(confidence):
            return Pick(task=task, names=tuple(names), confidence=confidence)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise UsageError(f"{path}:{number}: this line is no recorded pick", hint=f"a line is {_SHAPE}")


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)
