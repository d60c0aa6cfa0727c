"""The weights file: what each scorer counts, how confidence is calibrated, and where all that comes from.

Learned from labelled tasks by `dispatch tune`, the same for every registry, small and readable. A scorer has three
weights: for registries whose agents are described in prose, for those that are known by examples, and for those in the
middle; what holds for a registry lies between two of them, by the share of examples in its text.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.errors import ConfigError
from dispatcher.routing.confidence import FITS_FEATURES, RIGHT_FEATURES
from dispatcher.routing.encoder import SHIPPED_ENCODER, Encoder, load_encoder, shipped_encoder
from dispatcher.routing.index import FEATURES
from dispatcher.routing.judged import JUDGED_FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KINDS", "Calibration", "Weights", "example_gate", "kind_shares", "load_weights", "shipped_weights"]

FORMAT = 2
KINDS = ("prose", "mixed", "examples")
"""The kinds of registries that a scorer has a weight for."""

_SHARES = (0.0, 0.15, 0.35, 0.5)
"""The shares of examples between which a registry passes from prose to mixed, and from mixed to examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A logistic model: the log odds are the intercept plus each feature times its coefficient."""

    intercept: float
    coefficients: Mapping[str, float]

    def log_odds(self, features: Mapping[str, Any]) -> Any:
        """A number, or an array where the features are arrays."""
        return self.intercept + sum(weight * features[name] for name, weight in self.coefficients.items())

    def probability(self, features: Mapping[str, float]) -> float:
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.log_odds(features)))))


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Everything that is learned.

    `prose`, `mixed` and `examples` give a weight a feature of the index. `right` tells whether the first pick is
    right, if any agent fits; `fits` whether one does, `fits_share` being the share of such tasks that it was learned
    with. `thresholds` gives, for a wanted precision, the confidence from which on decisions reach it. `judged` tells
    whether a judge's pick is right, and below the confidence `escalate_below` one is asked; both are None where there
    were no picks of a judge to learn from. `encoder_digest` names the encoder that the weights were learned with, and
    `encoder_path` is its file, None for the shipped one.
    """

    prose: Mapping[str, float]
    mixed: Mapping[str, float]
    examples: Mapping[str, float]
    right: Calibration
    fits: Calibration
    fits_share: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    judged: Calibration | None = None
    escalate_below: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    encoder_digest: str = ""
    encoder_path: Path | None = None

    @functools.cached_property
    def encoder(self) -> Encoder:
        """The encoder that these weights were learned with. Raises ConfigError if it is not there, or is another."""
        found = load_encoder(self.encoder_path) if self.encoder_path is not None else shipped_encoder()
        if self.encoder_digest not in ("", found.digest):
            place = self.encoder_path or "the shipped one"
            raise ConfigError(
                f"the weights were learned with encoder {self.encoder_digest}, and {place} is {found.digest}",
                hint="fit them again with `dispatch tune`",
            )
        return found

    @property
    def encoder_stamp(self) -> tuple[Any, ...]:
        """What tells whether the encoder is still the one that it was, without reading it."""
        path = self.encoder_path or SHIPPED_ENCODER
        try:
            status = path.stat()
        except OSError:
            return (self.encoder.digest,)  # which tells what is wrong with the file
        return self.encoder_digest, str(path.absolute()), status.st_mtime_ns, status.st_size

    @functools.cached_property
    def table(self) -> NDArray[np.float64]:
        """The weights by kind of registry and feature, shape (kinds, features)."""
        return np.array([[of_kind.get(name, 0.0) for name in FEATURES] for of_kind in self._by_kind().values()])

    def for_share(self, example_share: float) -> NDArray[np.float64]:
        """The weight of every feature, for a registry with that share of examples."""
        return kind_shares(example_gate(example_share)) @ self.table

    def _by_kind(self) -> dict[str, Mapping[str, float]]:
        return {kind: getattr(self, kind) for kind in KINDS}

    def threshold_for(self, precision: float) -> float:
        """The confidence from which on decisions have reached that precision, the next one up that is known.

        Raises ConfigError for a precision that they have never been seen to reach.
        """
        known = sorted((float(wanted), threshold) for wanted, threshold in self.thresholds.items())
        for wanted, threshold in known:
            if wanted >= precision:
                return threshold
        most = f"{known[-1][0]:g}" if known else "none"
        raise ConfigError(
            f"no confidence is known from which on a share of {precision:g} is right; the highest known is {most}",
            hint="ask for a lower precision, or set routing.min_confidence",
        )

    def to_json(self, folder: Path | None = None) -> str:
        """The text of the weights file; an encoder of their own is named relative to the folder that it is for."""
        tree: dict[str, Any] = {
            "format": FORMAT,
            "scorers": {
                name: {kind: of_kind.get(name, 0.0) for kind, of_kind in self._by_kind().items()} for name in FEATURES
            },
            "confidence": {
                "right": {"intercept": self.right.intercept, **self.right.coefficients},
                "fits": {"intercept": self.fits.intercept, **self.fits.coefficients},
                "fits_share": self.fits_share,
                "thresholds": dict(self.thresholds),
            },
            "encoder": self._encoder(folder),
            "provenance": dict(self.provenance),
        }
        if self.judged is not None:
            tree["confidence"]["judged"] = {"intercept": self.judged.intercept, **self.judged.coefficients}
        if self.escalate_below is not None:
            tree["confidence"]["escalate_below"] = self.escalate_below
        return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"

    def _encoder(self, folder: Path | None) -> dict[str, str]:
        if self.encoder_path is None:
            return {"digest": self.encoder_digest}
        path = self.encoder_path.absolute()
        shown = Path(os.path.relpath(path, folder.absolute())) if folder is not None else path
        return {"digest": self.encoder_digest, "file": shown.as_posix()}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short name of these weights, by their content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def example_gate(example_share: float) -> float:
    """How far a registry is known by examples rather than by prose: 0 to 1, and 0.5 where it is known by both."""
    return float(np.interp(example_share, _SHARES, (0.0, 0.5, 0.5, 1.0)))


def kind_shares(gate: float) -> NDArray[np.float64]:
    """What the weights of each kind count for a registry, by how far it is known by examples; shape (kinds,)."""
    return np.array([max(0.0, 1 - 2 * gate), 1 - abs(1 - 2 * gate), max(0.0, 2 * gate - 1)])


def load_weights(path: Path) -> Weights:
    """Reads a weights file. Raises ConfigError for one that can't be read or is of another format."""
    try:
        return parse_weights(path.read_text(encoding="utf-8"), path.parent)
    except OSError as problem:
        raise ConfigError(
            f"{path}: the weights file can't be read: {problem.strerror}", hint="check --weights"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise ConfigError(
            f"{path}: this is no weights file of format {FORMAT}: {problem}", hint="`dispatch tune` writes them"
        ) from None


@functools.cache
def shipped_weights() -> Weights:
    """The weights that come with the package."""
    return parse_weights((Path(__file__).parent / "weights.json").read_text(encoding="utf-8"))


def parse_weights(text: str, folder: Path | None = None) -> Weights:
    """The weights in a file's text, with an encoder of their own in that folder. Raises ValueError, KeyError or
    TypeError if there are none."""
    tree = json.loads(text)
    if tree["format"] != FORMAT:
        raise ValueError(f"its format is {tree['format']}")
    unknown = set(tree["scorers"]) - set(FEATURES)
    if unknown:
        raise ValueError(f"there is no scorer {', '.join(sorted(unknown))}")
    confidence, encoder = tree["confidence"], tree.get("encoder", {})
    return Weights(
        **{kind: {name: _number(entry[kind]) for name, entry in tree["scorers"].items()} for kind in KINDS},
        right=_calibration(confidence["right"], RIGHT_FEATURES),
        fits=_calibration(confidence["fits"], FITS_FEATURES),
        fits_share=_number(confidence["fits_share"]),
        thresholds={str(_number(wanted)): _number(value) for wanted, value in confidence.get("thresholds", {}).items()},
        judged=_calibration(confidence["judged"], JUDGED_FEATURES) if "judged" in confidence else None,
        escalate_below=_number(confidence["escalate_below"]) if "escalate_below" in confidence else None,
        provenance=dict(tree.get("provenance", {})),
        encoder_digest=str(encoder.get("digest", "")),
        encoder_path=folder / encoder["file"] if folder is not None and "file" in encoder else None,
    )


def _calibration(tree: Mapping[str, Any], known: Collection[str]) -> Calibration:
    coefficients = {name: _number(value) for name, value in tree.items() if name != "intercept"}
    if unknown := coefficients.keys() - set(known):
        raise ValueError(f"confidence knows nothing of {', '.join(sorted(unknown))}")
    return Calibration(intercept=_number(tree["intercept"]), coefficients=coefficients)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number to reckon with")
    return number
