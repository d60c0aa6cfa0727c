"""Fitting the weights file, and saying honestly how good it is: on sets that it did not see.

With several sets, one is left out at a time, all variants of a registry together; with one set, a fifth of its agents
with their tasks. The table of held-out figures is part of the file's provenance.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.evaluation.tuning.calibrating import Observations, calibrate, observe, thresholds_for
from dispatcher.evaluation.tuning.fitting import FeatureWeights, fit_weights, log_likelihood, uniform_weights
from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.index import FEATURES
from dispatcher.routing.weights import Weights
from dispatcher.version import __version__

__all__ = ["FEW_TASKS", "Fold", "Tuned", "tune"]

FEW_TASKS = 200
"""Fewer tasks than this change the weights little: the penalty that holds them outweighs what they say."""

_AGENT_FOLDS = 5
_SEED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What was left out, the weights that never saw it, and how these and the ones before did on it."""

    name: str
    weights: Weights
    tasks: int
    top1: float
    top3: float
    likelihood: float
    before_top1: float
    before_likelihood: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The weights fitted on everything, and the folds that say how good such weights are."""

    weights: Weights
    folds: tuple[Fold, ...]

    @property
    def is_better(self) -> bool:
        """Whether the held-out tasks are likelier than with the weights before; every fold counts by its tasks."""
        gain = sum(fold.tasks * (fold.likelihood - fold.before_likelihood) for fold in self.folds)
        return gain > 0

    @property
    def task_count(self) -> int:
        return sum(fold.tasks for fold in self.folds)


def tune(
    problems: Sequence[Problem],
    *,
    before: Weights,
    from_scratch: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Tuned:
    """Fits weights and calibration.

    Parameters
    ----------
    problems: the sets; those of one name are left out together.
    before: the weights to improve on, and to stay near to, unless `from_scratch`.
    progress: called with what is being done.
    """
    start = uniform_weights() if from_scratch else _feature_weights(before)
    said = progress or (lambda text: None)
    folds: list[Fold] = []
    unseen: list[Observations] = []
    for name, kept, left_out in _splits(problems):
        said(f"without {name}")
        fitted = fit_weights(kept, start)
        weights = _weights(fitted, Observations.joined([observe(problem, fitted) for problem in kept]), {})
        folds.append(_fold(name, weights, fitted, left_out, before))
        unseen.extend(observe(problem, fitted) for problem in left_out)
    said("on everything")
    fitted = fit_weights(problems, start)
    provenance = _provenance(problems, folds, from_scratch=from_scratch)
    return Tuned(weights=_weights(fitted, Observations.joined(unseen), provenance), folds=tuple(folds))


def _splits(problems: Sequence[Problem]) -> Iterator[tuple[str, list[Problem], list[Problem]]]:
    """What is left out, what is kept, and the problems left out."""
    names = list(dict.fromkeys(problem.name for problem in problems))
    if len(names) > 1:
        for name in names:
            kept = [problem for problem in problems if problem.name != name]
            yield name, kept, [problem for problem in problems if problem.name == name]
        return
    labelled = np.unique(np.concatenate([problem.expected for problem in problems]))
    shuffled = np.random.default_rng(_SEED).permutation(labelled[labelled >= 0])
    for number, agents in enumerate(np.array_split(shuffled, min(_AGENT_FOLDS, max(2, len(shuffled)))), start=1):
        kept = [problem.of_agents(agents, inside=False) for problem in problems]
        left_out = [problem.of_agents(agents, inside=True) for problem in problems]
        yield f"{names[0]}, part {number} of the agents", kept, left_out


def _weights(fitted: FeatureWeights, observed: Observations, provenance: Mapping[str, Any]) -> Weights:
    prose, examples = fitted.named()
    right, fits, share = calibrate(observed)
    weights = Weights(prose=prose, examples=examples, right=right, fits=fits, fits_share=share, provenance=provenance)
    thresholds = thresholds_for(observed, weights)
    return Weights(
        prose=prose,
        examples=examples,
        right=right,
        fits=fits,
        fits_share=share,
        thresholds=thresholds,
        provenance=provenance,
    )


def _fold(name: str, weights: Weights, fitted: FeatureWeights, left_out: Sequence[Problem], before: Weights) -> Fold:
    old = _feature_weights(before)
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
        likelihood=mean([log_likelihood(problem, fitted) for problem in left_out]),
        before_top1=mean([_top(problem, old, 1) for problem in left_out]),
        before_likelihood=mean([log_likelihood(problem, old) for problem in left_out]),
    )


def _top(problem: Problem, weights: FeatureWeights, count: int) -> float:
    """The share of tasks whose agent is among the first."""
    in_scope = problem.in_scope()
    if not len(in_scope.expected):
        return 0.0
    logits = np.round(in_scope.relative @ weights.at(problem.gate), 6)
    order: NDArray[np.int64] = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return float((order == in_scope.expected[:, None]).any(axis=1).mean())


def _feature_weights(weights: Weights) -> FeatureWeights:
    return FeatureWeights(
        np.array([weights.prose.get(name, 0.0) for name in FEATURES]),
        np.array([weights.examples.get(name, 0.0) for name in FEATURES]),
    )


def _provenance(problems: Sequence[Problem], folds: Sequence[Fold], *, from_scratch: bool) -> dict[str, Any]:
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
        "started_from": "nothing" if from_scratch else "the weights before",
        "sets": [
            {
                "name": problem.name,
                "tasks": len(problem.expected),
                "agents": problem.raw.shape[1],
                "digest": problem.digest,
            }
            for problem in problems
        ],
        "held_out": [
            {"left_out": fold.name, "tasks": fold.tasks, "top1": round(fold.top1, 4), "top3": round(fold.top3, 4)}
            for fold in folds
        ],
    }
