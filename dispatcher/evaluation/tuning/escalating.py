"""When to ask a judge, and how often it is right: learned from recorded picks.

The least confident tasks are judged first. The threshold is the confidence below which that comes to a wanted share of
calls, or to a wanted accuracy; what it does is told of sets that were left out, by what the others taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dispatcher.errors import UsageError
from dispatcher.evaluation.tuning.calibrating import FEWEST_OUTCOMES, OUT_OF_SCOPE_SHARE, logistic
from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.confidence import confidence_features, confidence_of
from dispatcher.routing.judged import JUDGED_FEATURES, judged_features
from dispatcher.routing.weights import Calibration, Weights, kind_shares
from dispatcher.settings import JudgeSettings

__all__ = ["Aim", "Escalating", "EscalationRow", "JudgedTasks", "check_aim", "judged_tasks"]

_SHARES = tuple(step / 10 for step in range(11))
_USUAL_CALLS = 0.5
_TOP_K = JudgeSettings().top_k


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What asking a judge is to come to: a share of calls, or an accuracy with as few calls as it takes."""

    calls: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationRow:
    """What a wanted share of calls came to on sets that were left out: the share of their tasks that was judged, and
    the share of all of them that was right."""

    wanted: float
    calls: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class JudgedTasks:
    """Tasks that have an agent, with what the scores and a recorded judge say.

    `confidence` is that of the scores; `is_right` whether their first pick is right, and `is_right_judged` whether what
    a judge makes of it is; `features` has the shape (tasks, features of judged confidence) and holds where
    `is_answered`. `importance` is what each counts, so that registries count by the root of their size.
    """

    confidence: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    is_right_judged: NDArray[np.bool_]
    is_answered: NDArray[np.bool_]
    features: NDArray[np.float64]
    importance: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[JudgedTasks]) -> JudgedTasks:
        return cls(
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.is_right for part in parts]),
            np.concatenate([part.is_right_judged for part in parts]),
            np.concatenate([part.is_answered for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.importance for part in parts]),
        )

    def accuracy_below(self, threshold: float) -> NDArray[np.bool_]:
        """Whether each is right, when those below a threshold are judged."""
        return np.where(self.confidence < threshold, self.is_right_judged, self.is_right)


class Escalating:
    """Learns the threshold and the confidence of judged decisions, leaving out what the folds leave out."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self.unseen: list[JudgedTasks] = []
        self._tried: list[tuple[float, JudgedTasks, float]] = []

    def learned_without(
        self, left_out: Sequence[Problem], weights: Weights, kept: Sequence[tuple[Problem, Weights]]
    ) -> Weights:
        """The weights of a fold with what the sets that it kept teach of the judge, each seen by weights of its own."""
        unseen = [judged_tasks(problem, weights) for problem in left_out if problem.picks is not None]
        seen = [judged_tasks(problem, own) for problem, own in kept if problem.picks is not None]
        self.unseen += unseen
        if not seen:
            return weights
        known = JudgedTasks.joined(seen)
        for wanted in _SHARES if unseen else ():
            self._tried.append((wanted, JudgedTasks.joined(unseen), _below_for_calls(known, wanted)))
        below = self._below(known)
        return replace(
            weights, judged=_calibrated(known) or weights.judged, escalate_below=1.0 if below is None else below
        )

    def learned(self, weights: Weights) -> Weights:
        """The weights with what all sets teach, each seen as when it was left out.

        Raises UsageError for an accuracy that no share of calls reaches.
        """
        if not self.unseen:
            return weights
        known = JudgedTasks.joined(self.unseen)
        below = self._below(known)
        if below is None:
            _, shares, accuracies = _sweep(known)
            best = int(np.argmax(accuracies))
            raise UsageError(
                f"an accuracy of {self._aim.accuracy:g} is out of reach: the best is {accuracies[best]:.3f}, with "
                f"{shares[best]:.0%} of the tasks judged",
                hint="ask for less, or record the picks of a better judge",
            )
        held_out = [{"wanted": row.wanted, "calls": row.calls, "top1": row.accuracy} for row in self.rows]
        provenance = {**weights.provenance, "escalation": held_out}
        return replace(
            weights, judged=_calibrated(known) or weights.judged, escalate_below=below, provenance=provenance
        )

    @property
    def rows(self) -> tuple[EscalationRow, ...]:
        """What each share of calls came to on the sets left out, every task counting once."""
        found = []
        for wanted in _SHARES:
            parts = [(tasks, below) for share, tasks, below in self._tried if share == wanted]
            if parts:
                called = np.concatenate([tasks.confidence < below for tasks, below in parts])
                right = np.concatenate([tasks.accuracy_below(below) for tasks, below in parts])
                calls, accuracy = round(float(called.mean()), 4), round(float(right.mean()), 4)
                found.append(EscalationRow(wanted=wanted, calls=calls, accuracy=accuracy))
        return tuple(found)

    def _below(self, known: JudgedTasks) -> float | None:
        if self._aim.accuracy is not None:
            return _below_for_accuracy(known, self._aim.accuracy)
        return _below_for_calls(known, _USUAL_CALLS if self._aim.calls is None else self._aim.calls)


def check_aim(aim: Aim, problems: Sequence[Problem]) -> None:
    """Raises UsageError for an aim where no picks are recorded: to be asked before the work, not after it."""
    if aim != Aim() and all(problem.picks is None for problem in problems):
        raise UsageError(
            "without a judge's recorded picks there is no threshold to find",
            hint="name them after the tasks: --set AGENTS=TASKS.jsonl+PICKS.jsonl",
        )


def judged_tasks(problem: Problem, weights: Weights) -> JudgedTasks:
    """What the scores, by some weights, and the recorded picks say of a problem's tasks that have an agent."""
    problem = problem.in_scope()
    if problem.picks is None or problem.sureness is None:
        raise UsageError(f"{problem.name}: there are no recorded picks", hint="name them after the tasks, with a +")
    gate, count = problem.gate, len(problem.expected)
    of_registry = kind_shares(gate) @ weights.table
    total = max(float(np.maximum(of_registry, 0.0).sum()), 1e-9)
    confidence, features = np.zeros(count), np.zeros((count, len(JUDGED_FEATURES)))
    scored = np.zeros(problem.raw.shape[:2])
    for several, scores in problem.chunks():
        logits = scores.weighted(of_registry)
        seen = confidence_features(scores, logits, of_registry, gate, problem.word_counts[several])
        confidence[several] = confidence_of(seen, weights, OUT_OF_SCOPE_SHARE)
        scored[several] = np.round(logits / total, 6)
    is_right, is_right_judged, is_answered = (np.zeros(count, bool) for _ in range(3))
    for task, found in enumerate(scored):
        order = np.argsort(-found, kind="stable")
        is_right[task] = is_right_judged[task] = order[0] == problem.expected[task]
        shortlist = order[:_TOP_K].tolist()
        picked = [(column, row) for column, row in enumerate(problem.picks[task].tolist()) if row in shortlist]
        if picked:
            column, row = picked[0]
            sureness = float(problem.sureness[task])
            told = judged_features(
                confidence=float(confidence[task]),
                place=shortlist.index(row) + 1,
                gap=float(found[order[0]] - found[row]),
                sureness=None if column > 0 or np.isnan(sureness) else sureness,
            )
            features[task] = [told[name] for name in JUDGED_FEATURES]
            is_right_judged[task], is_answered[task] = row == problem.expected[task], True
    importance = np.full(count, 1 / np.sqrt(max(count, 1)))
    return JudgedTasks(confidence, is_right, is_right_judged, is_answered, features, importance)


def _calibrated(known: JudgedTasks) -> Calibration | None:
    """The model of "the judge's pick is right"; None where an outcome has been seen too seldom to learn from."""
    target, kept = known.is_right_judged[known.is_answered], known.is_answered
    if min(int(target.sum()), int((~target).sum())) < FEWEST_OUTCOMES:
        return None
    return logistic(known.features[kept], target, known.importance[kept], JUDGED_FEATURES)


def _below_for_calls(known: JudgedTasks, calls: float) -> float:
    """The threshold of the best accuracy with no more than a share of calls."""
    thresholds, shares, accuracies = _sweep(known)
    allowed = np.flatnonzero(shares <= calls + 1e-9)
    return float(thresholds[allowed[np.argmax(np.round(accuracies[allowed], 6))]])


def _below_for_accuracy(known: JudgedTasks, accuracy: float) -> float | None:
    """The lowest threshold that reaches an accuracy; None if none does."""
    thresholds, _, accuracies = _sweep(known)
    reached = np.flatnonzero(accuracies >= accuracy - 1e-9)
    return float(thresholds[reached[0]]) if len(reached) else None


def _sweep(known: JudgedTasks) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every threshold that makes a difference, from 0 up, with the share of calls and the accuracy it comes to."""
    order = np.argsort(known.confidence, kind="stable")
    importance = known.importance[order] / known.importance.sum()
    gain = importance * (known.is_right_judged[order].astype(float) - known.is_right[order])
    shares = np.concatenate([[0.0], np.cumsum(importance)])
    accuracies = float(importance @ known.is_right[order]) + np.concatenate([[0.0], np.cumsum(gain)])
    thresholds = np.concatenate([np.round(known.confidence[order], 4), [1.0]])
    # Below a threshold are those before it, so of equal ones only the first place is true.
    places = np.flatnonzero(np.concatenate([[True], np.diff(thresholds) > 0]))
    chosen = thresholds[places]
    chosen[0] = 0.0  # below the least confident of these there may be others
    return chosen, shares[places], accuracies[places]
