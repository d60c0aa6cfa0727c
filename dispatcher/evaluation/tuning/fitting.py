"""The weights: a conditional logit (McFadden 1974) over the agents of a registry, fitted on several registries at once.

The probability of an agent is the softmax of its weighted features; evidence for an agent never counts against it, so
the weights are not negative, and that of exclusions is never positive. Registries count by the square root of their
tasks, so that a large one does not decide alone. A quadratic penalty holds the weights near where they start, which
matters where tasks are few.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.index import FEATURES
from dispatcher.routing.scorers import DENSE, REGRESSION
from dispatcher.routing.weights import KINDS, kind_shares

__all__ = ["fit_weights", "no_weights"]

# Scorers that compare words share their evidence and so their weight; one that stands alone is held less, and one that
# is fitted to the registry least.
_PENALTY, _PENALTY_ALONE, _PENALTY_FITTED = 2.0, 0.3, 0.01
_LEAST_EXCLUSION = 0.25
_MOST_ITERATIONS = 300
_SHAPE = (len(KINDS), len(FEATURES))
_EXCLUSION = "exclusion.tfidf"
_OWN_PENALTIES = {**dict.fromkeys(DENSE, _PENALTY_ALONE), REGRESSION: _PENALTY_FITTED}
_PENALTIES = np.array([_OWN_PENALTIES.get(name, _PENALTY) for name in FEATURES])


def no_weights() -> NDArray[np.float64]:
    """Where fitting starts if nothing is known; shape (kinds of registries, features)."""
    return np.zeros(_SHAPE)


def fit_weights(problems: Sequence[Problem], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights that make the right agents most likely, not too far from where they start; both of the shape (kinds
    of registries, features)."""
    from scipy.optimize import minimize

    prepared = [
        (problem.relative, problem.expected, kind_shares(problem.gate))
        for problem in (problem.in_scope() for problem in problems)
        if len(problem.expected)
    ]
    bounds = [(None, -_LEAST_EXCLUSION) if name == _EXCLUSION else (0.0, None) for name in FEATURES] * len(KINDS)
    first = np.clip(start + 0.5, 0.0, None)
    first[:, FEATURES.index(_EXCLUSION)] = -_LEAST_EXCLUSION
    total = sum(np.sqrt(len(expected)) for _, expected, _ in prepared)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(_SHAPE)
        distance = weights - start
        value, gradient = float((_PENALTIES * distance**2).sum()), 2 * _PENALTIES * distance
        for relative, expected, shares in prepared:
            likelihood, slope = _likelihood(relative, expected, shares @ weights)
            importance = 1 / np.sqrt(len(expected))
            value -= importance * likelihood
            gradient -= importance * np.outer(shares, slope)
        return value / total, gradient.ravel() / total

    options = {"maxiter": _MOST_ITERATIONS}
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return np.asarray(found.reshape(_SHAPE))


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
