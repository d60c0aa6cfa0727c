"""The weights file: what is written is read again, broken files are errors, the shipped one has its provenance."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatcher import ConfigError, Router
from dispatcher.routing.confidence import FITS_FEATURES, RIGHT_FEATURES
from dispatcher.routing.encoder import shipped_encoder
from dispatcher.routing.index import FEATURES
from dispatcher.routing.scorers import DENSE
from dispatcher.routing.weights import (
    KINDS,
    Calibration,
    Weights,
    example_gate,
    kind_shares,
    load_weights,
    shipped_weights,
)
from tests.workshop import TEAM

Tree = dict[str, Any]


@pytest.fixture
def weights() -> Weights:
    return Weights(
        prose={"name.tfidf": 0.5, "exclusion.tfidf": -0.25},
        mixed={"name.tfidf": 0.4, "example.tfidf": 1.0},
        examples={"name.tfidf": 0.1, "whole.bm25": 2.0},
        right=Calibration(intercept=-1.5, coefficients={"lead": 2.25}),
        fits=Calibration(intercept=0.75, coefficients={"log_whole": 1.0, "gate": -0.5}),
        fits_share=0.2,
        thresholds={"0.8": 0.4, "0.95": 0.9},
        provenance={"sets": [{"name": "werkstatt", "tasks": 12}], "note": "größer"},
        encoder_digest=shipped_encoder().digest,
    )


def test_what_is_written_is_read_again(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(weights.to_json(), encoding="utf-8")
    read = load_weights(path)
    assert read.to_json() == weights.to_json()
    assert read.fingerprint == weights.fingerprint
    assert (read.right, read.fits, read.fits_share) == (weights.right, weights.fits, 0.2)
    assert (read.thresholds, read.provenance) == (weights.thresholds, weights.provenance)
    for share in (0.0, 0.2, 1.0):
        assert read.for_share(share).tolist() == weights.for_share(share).tolist()


def test_the_shipped_file_is_as_it_would_be_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(shipped_weights().to_json(), encoding="utf-8")
    again = load_weights(path)
    assert again.to_json() == shipped_weights().to_json()
    router, other = Router(TEAM), Router(TEAM, weights=again)
    assert router.route("rye bread and a steel gate") == other.route("rye bread and a steel gate")


def test_a_fingerprint_tells_weights_apart(weights: Weights) -> None:
    others = [
        dataclasses.replace(weights, fits_share=0.3),
        dataclasses.replace(weights, prose={**weights.prose, "name.tfidf": 0.51}),
        dataclasses.replace(weights, mixed={}),
        dataclasses.replace(weights, thresholds={}),
        dataclasses.replace(weights, encoder_digest="0123456789ab"),
    ]
    assert len({each.fingerprint for each in (weights, *others)}) == 6


def test_weights_lie_between_those_of_two_kinds_of_registries(weights: Weights) -> None:
    names = ("name.tfidf", "example.tfidf", "whole.bm25", "exclusion.tfidf")
    columns = [FEATURES.index(name) for name in names]
    found = {share: weights.for_share(share)[columns].tolist() for share in (0.0, 0.075, 0.15, 0.35, 0.425, 0.5, 1.0)}
    assert found[0.0] == [0.5, 0.0, 0.0, -0.25]
    assert found[0.075] == pytest.approx([0.45, 0.5, 0.0, -0.125])
    assert found[0.15] == found[0.35] == [0.4, 1.0, 0.0, 0.0]
    assert found[0.425] == pytest.approx([0.25, 0.5, 1.0, 0.0])
    assert found[0.5] == found[1.0] == [0.1, 0.0, 2.0, 0.0]


def test_the_shares_of_the_kinds_are_of_neighbours_and_make_up_one() -> None:
    assert [kind_shares(gate).tolist() for gate in (0.0, 0.5, 1.0)] == np.eye(len(KINDS)).tolist()
    for gate in np.linspace(0, 1, 21):
        shares = kind_shares(gate)
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()
        assert shares[0] == 0 or shares[2] == 0


def test_the_gate_opens_with_the_share_of_examples() -> None:
    gates = [example_gate(share / 10) for share in range(11)]
    assert (gates[0], gates[-1]) == (0.0, 1.0)
    assert gates == sorted(gates)


@pytest.mark.parametrize(("precision", "threshold"), [(0.1, 0.4), (0.8, 0.4), (0.81, 0.9), (0.95, 0.9)])
def test_a_precision_gets_the_next_threshold_that_is_known(
    weights: Weights, precision: float, threshold: float
) -> None:
    assert weights.threshold_for(precision) == threshold


@pytest.mark.parametrize("precision", [0.96, 1.0])
def test_a_precision_that_was_never_reached_is_a_config_error(weights: Weights, precision: float) -> None:
    with pytest.raises(ConfigError, match=rf"share of {precision:g} is right; the highest known is 0\.95") as caught:
        weights.threshold_for(precision)
    assert "routing.min_confidence" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="the highest known is none"):
        dataclasses.replace(weights, thresholds={}).threshold_for(precision)


def without(*keys: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        *outer, last = keys
        for key in outer:
            tree = tree[key]
        del tree[last]

    return change


def with_value(value: Any, *keys: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        *outer, last = keys
        for key in outer:
            tree = tree[key]
        tree[last] = value

    return change


BROKEN: dict[str, tuple[Callable[[Tree], None], str]] = {
    "another format": (with_value(99, "format"), "its format is 99"),
    "no format": (without("format"), "format"),
    "no scorers": (without("scorers"), "scorers"),
    "no confidence": (without("confidence"), "confidence"),
    "no intercept": (without("confidence", "right", "intercept"), "intercept"),
    "no share": (without("confidence", "fits_share"), "fits_share"),
    "half a scorer": (without("scorers", "name.tfidf", "examples"), "examples"),
    "a scorer of format 1": (with_value({"prose": 1, "examples": 1}, "scorers", "name.tfidf"), "mixed"),
    "an unknown scorer": (with_value({"prose": 1}, "scorers", "smell.tfidf"), "no scorer smell.tfidf"),
    "an encoder in words": (with_value("the usual", "encoder"), ""),
    "an encoder without a name": (with_value({"file": 7}, "encoder"), ""),
    "scorers as a list": (with_value([], "scorers"), ""),
    "a weight in words": (with_value("much", "scorers", "name.tfidf", "prose"), "much"),
    "no weight": (with_value(None, "scorers", "name.tfidf", "prose"), ""),
    "an endless weight": (with_value(math.inf, "scorers", "name.tfidf", "prose"), "inf is no number"),
    "no number": (with_value(math.nan, "confidence", "fits", "intercept"), "nan is no number"),
    "an unknown coefficient": (with_value(1.0, "confidence", "right", "mood"), "nothing of mood"),
    "a coefficient of the other": (with_value(1.0, "confidence", "right", "log_whole"), "nothing of log_whole"),
    "a threshold for words": (with_value(0.5, "confidence", "thresholds", "high"), "high"),
    "thresholds as a list": (with_value([0.5], "confidence", "thresholds"), ""),
    "provenance in words": (with_value("by hand", "provenance"), ""),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_a_config_error_that_names_it(weights: Weights, tmp_path: Path, kind: str) -> None:
    change, said = BROKEN[kind]
    tree = copy.deepcopy(json.loads(weights.to_json()))
    change(tree)
    assert_refused(tmp_path / "weights.json", json.dumps(tree).encode(), said)


@pytest.mark.parametrize(
    "content",
    [b"", b"no JSON", b"[]", b"null", b"17", b"\xff\xfe{}", b"[" * 100_000, b'{"format": 1}', b'{"format": 2}'],
)
def test_what_is_no_weights_file_is_a_config_error(tmp_path: Path, content: bytes) -> None:
    assert_refused(tmp_path / "weights.json", content, "no weights file of format 2")


def assert_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_weights(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message
    assert "dispatch tune" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_weights(tmp_path / name)


def test_the_shipped_weights_are_complete_and_within_reason() -> None:
    shipped = shipped_weights()
    exclusion = FEATURES.index("exclusion.tfidf")
    assert set(shipped.prose) == set(shipped.mixed) == set(shipped.examples) == set(FEATURES)
    assert (np.delete(shipped.table, exclusion, axis=1) >= 0).all()
    assert (shipped.table[:, exclusion] < 0).all()
    assert (shipped.table[:, [FEATURES.index(name) for name in DENSE]] > 0).all()
    assert shipped.encoder_digest == shipped.encoder.digest == shipped_encoder().digest
    assert set(shipped.right.coefficients) <= set(RIGHT_FEATURES)
    assert set(shipped.fits.coefficients) <= set(FITS_FEATURES)
    assert 0 < shipped.fits_share < 1
    wanted = sorted(shipped.thresholds, key=float)
    thresholds = [shipped.thresholds[each] for each in wanted]
    assert "0.9" in wanted
    assert thresholds == sorted(thresholds)
    assert all(0 <= threshold <= 1 for threshold in thresholds)


def test_the_shipped_weights_say_where_they_are_from() -> None:
    provenance = shipped_weights().provenance
    assert {"agent-dispatcher", "python", "numpy", "scikit-learn"} <= set(provenance["made_with"])
    for each in provenance["sets"]:
        assert (each["tasks"] > 0, each["agents"] > 0) == (True, True)
        assert len(each["digest"]) >= 12
    names = {each["name"] for each in provenance["sets"]}
    assert {each["left_out"] for each in provenance["held_out"]} == names
    for each in provenance["held_out"]:
        assert 0 < each["top1"] <= each["top3"] <= 1
