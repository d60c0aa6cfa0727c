"""Fitting the weights file, and saying honestly how good it is: on sets that it did not see.

With several sets, one is left out at a time, all variants of a registry together; with one set, a fifth of its agents
with their tasks. The table of held-out figures is part of the file's provenance.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.errors import UsageError
from dispatcher.evaluation.tuning.calibrating import Observations, calibrate, observe, thresholds_for
from dispatcher.evaluation.tuning.escalating import Aim, Escalating, EscalationRow
from dispatcher.evaluation.tuning.fitting import fit_weights, no_weights
from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.encoder import Encoder, shipped_encoder
from dispatcher.routing.index import FEATURES
from dispatcher.routing.weights import KINDS, Weights, kind_shares
from dispatcher.version import __version__

__all__ = ["FEW_TASKS", "Fold", "Tuned", "seen_by", "tune"]

FEW_TASKS = 200
"""Fewer tasks than this change the weights little: the penalty that holds them outweighs what they say."""

_AGENT_FOLDS = 5
_SEED = 20
_EVEN = 1e-4  # the figures in a weights file are rounded so


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What was left out, the weights that never saw it, and how these and the ones before did on it."""

    name: str
    weights: Weights
    tasks: int
    top1: float
    top3: float
    before_top1: float
    before_top3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The weights fitted on everything, the folds that say how good such weights are, and what a judge would add."""

    weights: Weights
    folds: tuple[Fold, ...]
    escalation: tuple[EscalationRow, ...] = ()

    @property
    def is_worse(self) -> bool:
        """Whether fewer held-out tasks are right than with the weights before: by top1, and by top3 if that is even."""
        top1 = sum(fold.tasks * (fold.top1 - fold.before_top1) for fold in self.folds) / max(1, self.task_count)
        top3 = sum(fold.tasks * (fold.top3 - fold.before_top3) for fold in self.folds) / max(1, self.task_count)
        return top1 < -_EVEN or (top1 <= _EVEN and top3 < -_EVEN)

    @property
    def task_count(self) -> int:
        return sum(fold.tasks for fold in self.folds)


def tune(
    problems: Sequence[Problem],
    *,
    before: Weights,
    encoder: Encoder | None = None,
    replaced: Weights | None = None,
    from_scratch: bool = False,
    aim: Aim | None = None,
    progress: Callable[[str], None] | None = None,
) -> Tuned:
    """Fits weights and calibration. Raises UsageError where leaving something out leaves no task with an agent.

    Parameters
    ----------
    problems: the sets; those of one name are left out together.
    before: the weights to improve on, and to stay near to, unless `from_scratch`.
    encoder: what the weights fitted on everything go with, the shipped one if not given; those of a fold go with the
        encoder of the sets left out.
    replaced: the weights to compare with, if not those before.
    aim: what asking a judge is to come to, where picks of one are recorded.
    progress: called with what is being done.
    """
    start = no_weights() if from_scratch else before.table
    kept_start = None if from_scratch else before
    start_name = "nothing" if from_scratch else f"weights {before.fingerprint}"
    said = progress or (lambda text: None)
    escalating = Escalating(aim or Aim())
    parts = list(_fitted_parts(problems, start, said))
    folds = []
    for part in parts:
        others = [(problem, other.fitted) for other in parts if other is not part for problem in other.left_out]
        observed = Observations.joined([observe(*other) for other in others])
        provenance = _provenance(part.kept, start_name) | {"left_out": part.name}
        weights = _weights(part.fitted, observed, provenance, kept_start, part.left_out[0].encoder)
        judged = [(problem, replace(weights, **_by_kind(fitted))) for problem, fitted in others]
        weights = escalating.learned_without(part.left_out, weights, judged)
        folds.append(_fold(part.name, weights, part.fitted, part.left_out, replaced or before))
    unseen = [observe(problem, part.fitted) for part in parts for problem in part.left_out]
    said("on everything")
    fitted = fit_weights(problems, start)
    provenance = _provenance(problems, start_name) | {"held_out": [_held_out(fold) for fold in folds]}
    weights = _weights(fitted, Observations.joined(unseen), provenance, kept_start, encoder or shipped_encoder())
    return Tuned(weights=escalating.learned(weights), folds=tuple(folds), escalation=escalating.rows)


@dataclass(frozen=True, slots=True)
class _Part:
    """What was left out, what was kept, and the weights fitted to that; shape (kinds, features).

    What is left out is what a calibration may learn from: rankings by weights that were fitted to them look too sure.
    """

    name: str
    kept: Sequence[Problem]
    left_out: Sequence[Problem]
    fitted: NDArray[np.float64]


def _fitted_parts(
    problems: Sequence[Problem], start: NDArray[np.float64], said: Callable[[str], None]
) -> Iterator[_Part]:
    for name, kept, left_out in _splits(problems):
        if not any(problem.labels for problem in kept):
            raise UsageError(
                f"without {name} there is no task with an agent",
                hint="tuning takes tasks of two agents, or of two sets, at least",
            )
        said(f"without {name}")
        yield _Part(name, kept, left_out, fit_weights(kept, start))


def seen_by(weights: Weights, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems that weights were fitted on."""
    seen = {known.get("digest") for known in weights.provenance.get("sets", ())}
    return tuple(problem for problem in problems if problem.digest in seen)


def _splits(problems: Sequence[Problem]) -> Iterator[tuple[str, list[Problem], list[Problem]]]:
    """What is left out, what is kept, and the problems left out."""
    names = list(dict.fromkeys(problem.name for problem in problems))
    if len(names) > 1:
        for name in names:
            kept = [problem for problem in problems if problem.name != name]
            yield name, kept, [problem for problem in problems if problem.name == name]
        return
    labels = sorted({name for problem in problems for name in problem.labels})
    shuffled = np.random.default_rng(_SEED).permutation(labels)
    parts = np.array_split(shuffled, min(_AGENT_FOLDS, max(2, len(shuffled))))
    for number, part in enumerate(parts):
        agents, share = frozenset(part.tolist()), {"part": number, "parts": len(parts)}
        kept = [problem.of_agents(agents, inside=False, **share) for problem in problems]
        left_out = [problem.of_agents(agents, inside=True, **share) for problem in problems]
        yield f"{names[0]}, part {number + 1} of the agents", kept, left_out


def _weights(
    fitted: NDArray[np.float64],
    observed: Observations,
    provenance: Mapping[str, Any],
    start: Weights | None,
    encoder: Encoder,
) -> Weights:
    """A weights file; what there is too little to learn confidence from keeps that of the start."""
    right, fits, share = calibrate(observed, start)
    weights = Weights(
        **_by_kind(fitted),
        right=right,
        fits=fits,
        fits_share=share,
        judged=start.judged if start is not None else None,
        escalate_below=start.escalate_below if start is not None else None,
        provenance=provenance,
        encoder_digest=encoder.digest,
        encoder_path=encoder.path,
    )
    if start is not None and right is start.right:
        return replace(weights, thresholds=start.thresholds)
    return replace(weights, thresholds=thresholds_for(observed, weights))


def _fold(
    name: str, weights: Weights, fitted: NDArray[np.float64], left_out: Sequence[Problem], before: Weights
) -> Fold:
    old, recorded = before.table, _recorded(name, left_out, before)
    counts = [len(problem.in_scope().expected) for problem in left_out]
    total = max(1, sum(counts))

    def mean(values: Sequence[float]) -> float:
        return sum(value * count for value, count in zip(values, counts, strict=True)) / total

    return Fold(
        name=name,
        weights=weights,
        tasks=sum(counts),
        top1=mean([_top(problem, fitted, 1) for problem in left_out]),
        top3=mean([_top(problem, fitted, 3) for problem in left_out]),
        before_top1=recorded.get("top1", mean([_top(problem, old, 1) for problem in left_out])),
        before_top3=recorded.get("top3", mean([_top(problem, old, 3) for problem in left_out])),
    )


def _recorded(name: str, left_out: Sequence[Problem], before: Weights) -> Mapping[str, float]:
    """The figures that weights have by themselves for what is left out, if they were fitted on it: from when it was
    left out there too, as to measure them on what they have seen would flatter them."""
    if len(seen_by(before, left_out)) < len(left_out):
        return {}
    return next((known for known in before.provenance.get("held_out", ()) if known.get("left_out") == name), {})


def _top(problem: Problem, weights: NDArray[np.float64], count: int) -> float:
    """The share of tasks whose agent is among the first."""
    in_scope = problem.in_scope()
    if not len(in_scope.expected):
        return 0.0
    logits = np.round(in_scope.relative @ (kind_shares(problem.gate) @ weights), 6)
    order: NDArray[np.int64] = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return float((order == in_scope.expected[:, None]).any(axis=1).mean())


def _by_kind(weights: NDArray[np.float64]) -> dict[str, Any]:
    """Weights by kind of registry and the features' names, rounded as they are written."""
    return {
        kind: {name: round(float(weight), 4) for name, weight in zip(FEATURES, of_kind, strict=True)}
        for kind, of_kind in zip(KINDS, weights, strict=True)
    }


def _held_out(fold: Fold) -> dict[str, Any]:
    return {"left_out": fold.name, "tasks": fold.tasks, "top1": round(fold.top1, 4), "top3": round(fold.top3, 4)}


def _provenance(problems: Sequence[Problem], start_name: str) -> dict[str, Any]:
    import scipy
    import sklearn

    return {
        "made_with": {
            "agent-dispatcher": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "started_from": start_name,
        "sets": [
            {
                "name": problem.name,
                "tasks": len(problem.expected),
                "agents": problem.raw.shape[1],
                "digest": problem.digest,
            }
            for problem in problems
        ],
    }
