"""How sure a ranking is: the probability that its first pick is right.

It is the product of two, each a small logistic model over a few numbers that tell something of a ranking: that any
agent of the registry fits the task at all, and that the first is the right one if so. The first depends on how many
tasks fit nobody, which nobody can know from a task: a share is assumed, and config can set it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dispatcher.routing.index import FEATURES, TaskScores
from dispatcher.routing.weights import Weights

__all__ = ["CONFIDENCE_FEATURES", "confidence_features", "confidence_of"]

CONFIDENCE_FEATURES = (
    "probability",
    "lead",
    "agreement",
    "spread",
    "agents",
    "whole",
    "description",
    "example",
    "characters",
    "peak",
    "gate",
    "gated_example",
    "words",
)

_COLUMN = {name: column for column, name in enumerate(FEATURES)}


def confidence_features(
    scores: TaskScores, logits: NDArray[np.float64], weights: NDArray[np.float64], gate: float, word_count: int
) -> dict[str, float]:
    """What tells how sure a ranking is.

    Parameters
    ----------
    scores: of the candidates, shape (candidates, features).
    logits: the candidates' weighted sums, shape (candidates,).
    weights: of the features.
    gate: how far the registry is known by examples, 0 to 1.
    word_count: how many words of the task can carry meaning.

    probability: the softmax of the best, as log odds. lead: its distance to the next. agreement: the weighted share of
    features that it leads. spread: the entropy of the softmax, 0 to 1. agents: the logarithm of their number. whole,
    description, example, characters: the largest cosines. peak: how far the best cosine stands out of the mean.
    """
    best = int(np.argmax(logits))
    shifted = np.exp(logits - logits.max())
    softmax = shifted / shifted.sum()
    ordered = np.sort(logits)[::-1]
    positive = np.maximum(weights, 0.0)
    leads = (scores.raw[best] >= scores.best - 1e-12) & (scores.best > 0)
    cosines = scores.cosines
    largest = {name: float(cosines[:, _COLUMN[name]].max()) for name in _COSINES}
    whole = cosines[:, _COLUMN["whole.tfidf"]]
    probability = float(np.clip(softmax[best], 1e-6, 1 - 1e-6))
    entropy = -float((softmax * np.log(np.maximum(softmax, 1e-12))).sum())
    return {
        "probability": math.log(probability / (1 - probability)),
        "lead": float(ordered[0] - ordered[1]) / max(positive.sum(), 1e-9) if len(ordered) > 1 else 1.0,
        "agreement": float((positive * leads).sum() / max(positive.sum(), 1e-9)),
        "spread": entropy / math.log(len(logits)) if len(logits) > 1 else 0.0,
        "agents": math.log(len(logits)),
        "whole": largest["whole.tfidf"],
        "description": largest["description.tfidf"],
        "example": largest["example.tfidf"],
        "characters": largest["whole.characters"],
        "peak": math.log((float(whole.max()) + 0.01) / (float(whole.mean()) + 0.01)),
        "gate": gate,
        "gated_example": gate * largest["example.phrases"],
        "words": math.log(1 + word_count),
    }


def confidence_of(features: Mapping[str, float], weights: Weights, out_of_scope_share: float) -> float:
    """The probability that the first pick is right, when that share of tasks fits no agent."""
    right = _probability(weights.right.log_odds(features))
    shift = _log_odds(1 - out_of_scope_share) - _log_odds(1 - weights.fits_share)
    return right * _probability(weights.fits.log_odds(features) + shift)


_COSINES = ("whole.tfidf", "description.tfidf", "example.tfidf", "whole.characters", "example.phrases")


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds))))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
