"""What tells whether a judge's pick is right: the features of the confidence of judged decisions."""

from __future__ import annotations

import math

__all__ = ["JUDGED_FEATURES", "judged_features"]

JUDGED_FEATURES = ("offline", "place", "gap", "sureness", "is_told")
_LEAST = 0.02  # a sureness of 0 or 1 is no proof


def judged_features(*, confidence: float, place: int, gap: float, sureness: float | None) -> dict[str, float]:
    """The features, by name.

    Parameters
    ----------
    confidence: of the router's own first pick, 0 to 1.
    place: of the judge's pick in the router's ranking, counted from 1.
    gap: the score of the router's first less that of the judge's pick.
    sureness: the judge's own, 0 to 1; None if it doesn't tell.

    offline and sureness are log odds; place is a logarithm; is_told says whether there is a sureness.
    """
    return {
        "offline": _log_odds(confidence),
        "place": math.log(place),
        "gap": gap,
        "sureness": 0.0 if sureness is None else _log_odds(sureness),
        "is_told": float(sureness is not None),
    }


def _log_odds(share: float) -> float:
    clipped = min(max(share, _LEAST), 1 - _LEAST)
    return math.log(clipped / (1 - clipped))
