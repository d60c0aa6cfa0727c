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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dispatcher.routing.weights import Weights

__all__ = ["FITS_FEATURES", "RIGHT_FEATURES", "confidence_features", "confidence_of"]

_RANKING = (
    "probability",
    "lead",
    "agreement",
    "first_places",
    "mean_rank",
    "spread",
    "agents",
    "peak",
    "gate",
    "words",
)
_COSINES = {
    "whole": "whole.tfidf",
    "description": "description.tfidf",
    "example": "example.tfidf",
    "characters": "whole.characters",
    "phrases": "example.phrases",
    "meaning": "meaning.prose",
    "example_meaning": "meaning.examples",
}
RIGHT_FEATURES = (*_RANKING, *_COSINES, "gated_phrases")
"""What tells whether the first is the right one, if any is."""

FITS_FEATURES = (*_RANKING, *(f"log_{name}" for name in _COSINES), "gated_phrases")
"""What tells whether any agent fits: the same, but that it matters most whether there is any likeness at all."""

_MOST_PROBABILITY = 0.98
_MOST_LEAD = 0.4
_FEWEST_AGENTS = 8
_NO_LIKENESS = 0.02
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
    features that it leads, and first_places the plain one. mean_rank: its mean place in all features, as a logarithm.
    spread: the entropy of the softmax, 0 to 1. agents: the logarithm of their number. peak: how far the best cosine
    stands out of the mean. whole, and the names of _COSINES: the largest cosines, and their logarithms.
    """
    best = int(np.argmax(logits))
    shifted = np.exp(logits - logits.max())
    softmax = shifted / shifted.sum()
    ordered = np.sort(logits)[::-1]
    positive = np.maximum(weights, 0.0)
    is_met = scores.best > 0
    places = (scores.raw > scores.raw[best] + 1e-12).sum(axis=0)
    leads = (places == 0) & is_met
    cosines = scores.cosines
    largest = {name: float(cosines[:, _COLUMN[scorer]].max()) for name, scorer in _COSINES.items()}
    whole = cosines[:, _COLUMN["whole.tfidf"]]
    # With one agent, or two, a lead is easily won, so it counts no more than the largest seen among many.
    probability = float(np.clip(softmax[best], 0.001, _MOST_PROBABILITY))
    lead = float(ordered[0] - ordered[1]) / max(positive.sum(), 1e-9) if len(ordered) > 1 else _MOST_LEAD
    entropy = -float((softmax * np.log(np.maximum(softmax, 1e-12))).sum())
    return {
        "probability": math.log(probability / (1 - probability)),
        "lead": min(lead, _MOST_LEAD),
        "agreement": float((positive * leads).sum() / max(positive.sum(), 1e-9)),
        "first_places": float(leads.sum() / max(int(is_met.sum()), 1)),
        "mean_rank": float(np.log1p(places[is_met]).mean()) if is_met.any() else math.log(len(logits)),
        "spread": entropy / math.log(len(logits)) if len(logits) > 1 else 0.0,
        "agents": math.log(max(len(logits), _FEWEST_AGENTS)),
        "peak": math.log((float(whole.max()) + 0.01) / (float(whole.mean()) + 0.01)),
        "gate": gate,
        "words": math.log(1 + word_count),
        **largest,
        **{f"log_{name}": math.log(value + _NO_LIKENESS) for name, value in largest.items()},
        "gated_phrases": gate * largest["phrases"],
    }


def confidence_of(features: Mapping[str, float], weights: Weights, out_of_scope_share: float) -> float:
    """The probability that the first pick is right, when that share of tasks fits no agent."""
    right = _probability(weights.right.log_odds(features))
    shift = _log_odds(1 - out_of_scope_share) - _log_odds(1 - weights.fits_share)
    return right * _probability(weights.fits.log_odds(features) + shift)


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds))))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
