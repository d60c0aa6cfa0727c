"""`--judge`: who judges in an evaluation, where and how often."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.judge import Escalator, Judge
    from dispatcher.routing.weights import Weights
    from dispatcher.settings import Settings

__all__ = ["AT_ONCE", "check_judge", "load_escalator"]

AT_ONCE = 8
"""How many tasks a model is asked about at a time."""

_REPLAY = "replay:"


def check_judge(written: str | None, *, escalate: str | None, below: float | None, top_k: int | None) -> None:
    """Raises UsageError for a judge of another form, or for options that mean nothing without one."""
    from dispatcher.errors import UsageError

    if written is None:
        given = {"--escalate": escalate, "--escalate-below": below, "--top-k": top_k}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} means nothing without --judge", hint="add --judge anthropic")
    elif not _is_known(written):
        raise UsageError(f'--judge "{written}" is no judge', hint="it is anthropic, or replay:FILE of recorded picks")


def load_escalator(written: str, settings: Settings, weights: Weights, escalate: str | None) -> Escalator:
    """The judge that was named. Naming one is to ask it where the router is unsure, unless told otherwise.

    Raises UsageError for a recording that can't be read, and OfflineError if a model can't be asked.
    """
    from dispatcher.judge import Escalator, Policy

    is_replay = written.startswith(_REPLAY)
    routing = settings.routing
    if escalate is None and routing.escalate == "never":
        routing = replace(routing, escalate="unsure")
    return Escalator(
        _replayed(Path(written.removeprefix(_REPLAY)), settings) if is_replay else _asked(settings),
        Policy.of(routing, settings.judge, weights),
        timeout=settings.judge.timeout,
        budget=None if is_replay else settings.judge.budget,
    )


def _is_known(written: str) -> bool:
    return written == "anthropic" or (written.startswith(_REPLAY) and len(written) > len(_REPLAY))


def _replayed(path: Path, settings: Settings) -> Judge:
    from dispatcher.judge import ReplayJudge
    from dispatcher.llm import choose_model

    model = choose_model(flag=settings.judge.model, agent_models=(), settings=settings.llm).name
    return ReplayJudge.from_file(path, model=model, prices=settings.llm.prices)


def _asked(settings: Settings) -> Judge:
    from dispatcher.errors import OfflineError
    from dispatcher.runtime.loading import anthropic_judge

    judge, unavailable = anthropic_judge(settings, None, os.environ)
    if judge is None:
        raise OfflineError(f"the judge can't be asked: {unavailable}", hint="--judge replay:FILE needs no key")
    return judge
