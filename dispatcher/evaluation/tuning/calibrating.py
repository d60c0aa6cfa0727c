"""The confidence: logistic models of "the first is right" and of "any agent fits", and thresholds for a precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dispatcher.evaluation.tuning.problems import Problem
from dispatcher.routing.confidence import FITS_FEATURES, RIGHT_FEATURES, confidence_features, confidence_of
from dispatcher.routing.weights import Calibration, Weights, kind_shares

__all__ = ["FEWEST_OUTCOMES", "Observations", "calibrate", "logistic", "observe", "thresholds_for"]

OUT_OF_SCOPE_SHARE = 0.1
_PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_STRENGTH = 0.1
_SHARE_OF_FEW = 0.3  # what registries of a few agents count together, beside the one that they are taken from
FEWEST_OUTCOMES = 30
_SEEN = tuple(dict.fromkeys((*RIGHT_FEATURES, *FITS_FEATURES)))
_FEWEST_FOR_A_THRESHOLD = 20


@dataclass(frozen=True, slots=True)
class Observations:
    """What could be seen of rankings whose outcome is known.

    `features` has the shape (rankings, features of confidence); `is_right` whether the first pick was right; `fits`
    whether any agent did; `importance` what each counts, so that registries count by the root of their size.
    """

    features: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    importance: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Observations]) -> Observations:
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.is_right for part in parts]),
            np.concatenate([part.fits for part in parts]),
            np.concatenate([part.importance for part in parts]),
        )


def observe(problem: Problem, weights: NDArray[np.float64]) -> Observations:
    """The rankings of a problem by weights of the shape (kinds, features), and those with some of its agents gone, so
    that there are tasks that fit nobody; and those of a few of its agents, where almost any task has a clear first."""
    absent = problem.without_some_agents()
    parts = [_observe_one(problem, weights)]
    if absent is not None:
        parts.append(_observe_one(absent, weights))
    small = [_observe_one(few, weights) for few in problem.small_registries()]
    if small:
        of_few = Observations.joined(small)
        importance = of_few.importance * (_SHARE_OF_FEW * parts[0].importance.sum() / of_few.importance.sum())
        parts.append(replace(of_few, importance=importance))
    return Observations.joined(parts)


def calibrate(observed: Observations, otherwise: Weights | None) -> tuple[Calibration, Calibration, float]:
    """The models of "the first is right, if any agent fits" and of "any agent fits", and the share that fits.

    A model is that of `otherwise`, where there is one, if an outcome has been seen too seldom to learn from.
    """
    if otherwise is not None and _rarest(observed.is_right[observed.fits]) < FEWEST_OUTCOMES:
        return otherwise.right, otherwise.fits, otherwise.fits_share
    right = _logistic(observed, RIGHT_FEATURES, observed.is_right, observed.fits)
    everything = np.ones(len(observed.fits), bool)
    if otherwise is not None and _rarest(observed.fits) < FEWEST_OUTCOMES:
        return right, otherwise.fits, otherwise.fits_share
    fits = _logistic(observed, FITS_FEATURES, observed.fits, everything, is_balanced=True)
    return right, fits, 0.5


def _rarest(outcome: NDArray[np.bool_]) -> int:
    """How often the rarer of two outcomes has been seen."""
    return int(min(outcome.sum(), (~outcome).sum()))


def thresholds_for(observed: Observations, weights: Weights) -> dict[str, float]:
    """The smallest confidence from which on decisions are right that often, with the usual share out of scope."""
    confidence = confidence_of(dict(zip(_SEEN, observed.features.T, strict=True)), weights, OUT_OF_SCOPE_SHARE)
    inside, outside = observed.importance * observed.fits, observed.importance * ~observed.fits
    share = OUT_OF_SCOPE_SHARE / (1 - OUT_OF_SCOPE_SHARE)
    importance = inside + outside * (share * inside.sum() / max(outside.sum(), 1e-9))
    order = np.argsort(-confidence, kind="stable")
    reached = np.cumsum((importance * observed.is_right)[order]) / np.maximum(np.cumsum(importance[order]), 1e-9)
    found = {}
    for precision in _PRECISIONS:
        enough = np.flatnonzero(reached >= precision)
        if len(enough) and enough[-1] >= _FEWEST_FOR_A_THRESHOLD:
            found[f"{precision:g}"] = round(float(confidence[order][enough[-1]]), 4)
    return found


def _observe_one(problem: Problem, weights: NDArray[np.float64]) -> Observations:
    of_registry = kind_shares(problem.gate) @ weights
    count = len(problem.expected)
    features = np.zeros((count, len(_SEEN)))
    is_right = np.zeros(count, bool)
    for several, scores in problem.chunks():
        logits = scores.weighted(of_registry)
        found = confidence_features(scores, logits, of_registry, problem.gate, problem.word_counts[several])
        features[several] = np.column_stack([found[name] for name in _SEEN])
        is_right[several] = np.argmax(np.round(logits, 6), axis=1) == problem.expected[several]
    return Observations(features, is_right, problem.expected >= 0, np.full(count, 1 / np.sqrt(max(count, 1))))


def _logistic(
    observed: Observations,
    names: Sequence[str],
    outcome: NDArray[np.bool_],
    keep: NDArray[np.bool_],
    *,
    is_balanced: bool = False,
) -> Calibration:
    """The model of an outcome of the observations that are kept; balanced, both outcomes count the same."""
    features = observed.features[keep][:, [_SEEN.index(name) for name in names]]
    importance, target = observed.importance[keep].copy(), outcome[keep]
    if is_balanced and target.any() and not target.all():
        for value in (True, False):
            importance[target == value] /= importance[target == value].sum()
    return logistic(features, target, importance, names)


def logistic(
    features: NDArray[np.float64], target: NDArray[np.bool_], importance: NDArray[np.float64], names: Sequence[str]
) -> Calibration:
    """A logistic regression on standardised features, written in the features' own units."""
    from sklearn.linear_model import LogisticRegression

    if target.all() or not target.any():  # one outcome only: nothing tells it from the other
        return Calibration(intercept=6.0 if target.all() else -6.0, coefficients=dict.fromkeys(names, 0.0))
    importance = importance * (len(target) / importance.sum())
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    model = LogisticRegression(C=_STRENGTH, max_iter=2_000)
    model.fit((features - mean) / deviation, target, sample_weight=importance)
    slopes = model.coef_[0] / deviation
    coefficients = {name: round(float(slope), 5) for name, slope in zip(names, slopes, strict=True)}
    return Calibration(intercept=round(float(model.intercept_[0] - slopes @ mean), 5), coefficients=coefficients)
