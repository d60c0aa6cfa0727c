"""The weights: a conditional logit (McFadden 1974) over the agents of a registry, fitted on several registries at once.

The probability of an agent is the softmax of its weighted features; evidence for an agent never counts against it, so
the weights are not negative, and that of exclusions is never positive. Registries count by the square root of their
tasks, so that a large one does not decide alone. A quadratic penalty holds the weights near where they start, which
matters where tasks are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.index import FEATURES
from dispatcher.routing.scorers import DENSE, REGRESSION

__all__ = ["FeatureWeights", "fit_weights", "uniform_weights"]

# Scorers that compare words share their evidence and so their weight; one that stands alone is held less.
_PENALTY, _PENALTY_ALONE = 5.0, 0.3
_LEAST_EXCLUSION = 0.25
_MOST_ITERATIONS = 300
_COUNT = len(FEATURES)
_EXCLUSION = FEATURES.index("exclusion.tfidf")
_PENALTIES = np.tile([_PENALTY_ALONE if name in (*DENSE, REGRESSION) else _PENALTY for name in FEATURES], 2)


@dataclass(frozen=True, slots=True)
class FeatureWeights:
    """The weight of every feature for registries in prose, and for those known by examples; shape (features,) each."""

    prose: NDArray[np.float64]
    examples: NDArray[np.float64]

    def at(self, gate: float) -> NDArray[np.float64]:
        """The weights for a registry, by how far it is known by examples."""
        return (1 - gate) * self.prose + gate * self.examples

    def named(self) -> tuple[dict[str, float], dict[str, float]]:
        """The two by the features' names, rounded as they are written."""
        prose = dict(zip(FEATURES, (round(float(weight), 4) for weight in self.prose), strict=True))
        examples = dict(zip(FEATURES, (round(float(weight), 4) for weight in self.examples), strict=True))
        return prose, examples


def uniform_weights() -> FeatureWeights:
    """Where fitting starts if nothing is known: no evidence at all."""
    zero = np.zeros(_COUNT)
    return FeatureWeights(zero, zero)


def fit_weights(problems: Sequence[Problem], start: FeatureWeights) -> FeatureWeights:
    """The weights that make the right agents most likely, not too far from where they start."""
    from scipy.optimize import minimize

    prepared = [
        (problem.relative, problem.expected, problem.gate)
        for problem in (problem.in_scope() for problem in problems)
        if len(problem.expected)
    ]
    origin = np.concatenate([start.prose, start.examples])
    bounds = [
        (None, -_LEAST_EXCLUSION) if column % _COUNT == _EXCLUSION else (0.0, None) for column in range(2 * _COUNT)
    ]
    first = np.clip(origin + 0.5, 0.0, None)
    first[[_EXCLUSION, _COUNT + _EXCLUSION]] = -_LEAST_EXCLUSION
    total = sum(np.sqrt(len(expected)) for _, expected, _ in prepared)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = 0.0, np.zeros(2 * _COUNT)
        for relative, expected, gate in prepared:
            likelihood, slope = _likelihood(relative, expected, (1 - gate) * weights[:_COUNT] + gate * weights[_COUNT:])
            importance = 1 / np.sqrt(len(expected))
            value -= importance * likelihood
            gradient[:_COUNT] -= importance * (1 - gate) * slope
            gradient[_COUNT:] -= importance * gate * slope
        distance = weights - origin
        value += float(distance @ (_PENALTIES * distance))
        return value / total, (gradient + 2 * _PENALTIES * distance) / total

    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_ITERATIONS}).x
    return FeatureWeights(found[:_COUNT], found[_COUNT:])


def _likelihood(
    relative: NDArray[np.float32], expected: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """The log likelihood of a problem and its slope in the weights."""
    logits = relative @ weights.astype(np.float32)
    logits = (logits - logits.max(axis=1, keepdims=True)).astype(float)
    odds = np.exp(logits)
    sums = odds.sum(axis=1, keepdims=True)
    tasks = np.arange(len(expected))
    value = float((logits[tasks, expected] - np.log(sums[:, 0])).sum())
    share = (odds / sums).astype(np.float32)
    slope = relative[tasks, expected].sum(axis=0) - np.einsum("ta,taf->f", share, relative)
    return value, slope.astype(float)
