"""How sure a ranking is: the probability that its first pick is right.

It is the product of two, each a small logistic model over a few numbers that tell something of a ranking: that any
agent of the registry fits the task at all, and that the first is the right one if so. The first depends on how many
tasks fit nobody, which nobody can know from a task: a share is assumed, and config can set it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.routing.index import FEATURES, TaskScores
from dispatcher.routing.scorers import REGRESSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dispatcher.routing.weights import Weights

__all__ = ["FITS_FEATURES", "RIGHT_FEATURES", "confidence_features", "confidence_of"]

_WHOLE, _SPELLING = "whole.tfidf", "whole.spelling"
RIGHT_FEATURES = (
    "probability",
    "second",
    "lead",
    "agreement",
    "first_places",
    "mean_rank",
    "spread",
    "agents",
    "gate",
    "words",
    "learned",
    "is_learned",
)
"""What tells whether the first is the right one, if any is."""

FITS_FEATURES = (
    "agents",
    "peak",
    "gate",
    "words",
    "matched",
    "log_whole",
    "log_spelling",
    "learned",
    "is_learned",
)
"""What tells whether any agent fits: whether there is any likeness at all, rather than how clear the first place is."""

_MOST_PROBABILITY = 0.98
_MOST_LEAD = 0.4
_NO_LIKENESS = 0.02
_LEAST_LEARNED = 1e-4
_COLUMN = {name: column for column, name in enumerate(FEATURES)}


def confidence_features(
    scores: TaskScores,
    logits: NDArray[np.float64],
    weights: NDArray[np.float64],
    gate: float,
    word_counts: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """What tells how sure rankings are; each has the shape (tasks,).

    Parameters
    ----------
    scores: of the candidates, shape (tasks, candidates, features).
    logits: the candidates' weighted sums, shape (tasks, candidates).
    weights: of the features.
    gate: how far the registry is known by examples, 0 to 1.
    word_counts: how many words of each task can carry meaning, shape (tasks,).

    probability: the softmax of the best, as log odds, and second: that of the next. lead: the distance between the two.
    agreement: the weighted share of features that the best leads, and first_places the plain one. mean_rank: its mean
    place in all features, as a logarithm. spread: the entropy of the softmax, 0 to 1. agents: the logarithm of their
    number. peak: how far the best cosine stands out of the mean. matched: BM25 of the best, a word of the task.
    log_whole and log_spelling: the logarithms of the largest cosines. learned: what the regression on the examples
    says of its own first, as log odds, 0 where there is no regression, which is_learned tells.
    """
    tasks, count = logits.shape
    best = np.argmax(logits, axis=1)
    of_best = scores.raw[np.arange(tasks), best]
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    # With one agent, or two, a lead is easily won, so it counts no more than the largest seen among many.
    first, second = _two_largest(softmax)
    first = np.clip(first, 0.001, _MOST_PROBABILITY)
    lead = np.subtract(*_two_largest(logits)) / max(np.maximum(weights, 0.0).sum(), 1e-9)
    whole, spelling = (scores.cosines(_COLUMN[scorer]) for scorer in (_WHOLE, _SPELLING))
    most_whole = whole.max(axis=1)
    entropy = -(softmax * np.log(np.maximum(softmax, 1e-12))).sum(axis=1)
    same = np.ones(tasks)
    return {
        "probability": np.log(first / (1 - first)),
        "second": second,
        "matched": of_best[:, _COLUMN["whole.bm25"]] / np.maximum(word_counts, 1),
        "lead": np.minimum(lead, _MOST_LEAD) if count > 1 else _MOST_LEAD * same,
        **_places(scores, of_best, weights),
        "spread": entropy / math.log(count) if count > 1 else 0.0 * same,
        "agents": math.log(count) * same,
        "peak": np.log((most_whole + 0.01) / (whole.mean(axis=1) + 0.01)),
        "gate": gate * same,
        "words": np.log1p(word_counts),
        "log_whole": np.log(most_whole + _NO_LIKENESS),
        "log_spelling": np.log(spelling.max(axis=1) + _NO_LIKENESS),
        **_learned(scores.raw[:, :, _COLUMN[REGRESSION]]),
    }


def confidence_of(
    features: Mapping[str, NDArray[np.float64]], weights: Weights, out_of_scope_share: float
) -> NDArray[np.float64]:
    """The probability that the first pick is right, when that share of tasks fits no agent; shape (tasks,)."""
    right = _probability(weights.right.log_odds(features))
    shift = _log_odds(1 - out_of_scope_share) - _log_odds(1 - weights.fits_share)
    found = right * _probability(weights.fits.log_odds(features) + shift)
    return np.broadcast_to(found, features["gate"].shape)  # models without coefficients give one number


def _learned(log_odds: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """What the regression says by itself, where there is one; from the shape (tasks, agents)."""
    is_learned = log_odds.any(axis=1)
    odds = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    share = np.clip(odds.max(axis=1) / odds.sum(axis=1), _LEAST_LEARNED, 1 - _LEAST_LEARNED)
    return {
        "learned": np.where(is_learned, np.log(share / (1 - share)), 0.0),
        "is_learned": is_learned.astype(float),
    }


def _places(
    scores: TaskScores, of_best: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """How the best stands by each feature, among those in which anything meets the task."""
    positive, count = np.maximum(weights, 0.0), scores.raw.shape[1]
    is_met = scores.best > 0
    places = (scores.raw > of_best[:, None, :] + 1e-12).sum(axis=1)
    leads = (places == 0) & is_met
    met = is_met.sum(axis=1)
    mean_rank = (np.log1p(places) * is_met).sum(axis=1) / np.maximum(met, 1)
    return {
        "agreement": leads @ positive / max(positive.sum(), 1e-9),
        "first_places": leads.sum(axis=1) / np.maximum(met, 1),
        "mean_rank": np.where(met > 0, mean_rank, math.log(count)),
    }


def _two_largest(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest of each row and the next, 0 where there is none; shape (rows, columns) to (rows,) each."""
    if values.shape[1] < 2:
        return values[:, 0], np.zeros(len(values))
    ordered = np.partition(values, -2, axis=1)
    return ordered[:, -1], ordered[:, -2]


def _probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
