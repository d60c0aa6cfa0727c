"""A static model of model2vec in place of the shipped encoder: a tiny one, made here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatcher import Agent, ConfigError, Router
from dispatcher.cache import Cache
from dispatcher.routing.encoder import load_encoder
from dispatcher.routing.index import FEATURES
from dispatcher.routing.text import analyze
from dispatcher.routing.weights import Weights, load_weights, shipped_weights
from tests.workshop import craft

# What bakers say lies one way, what tailors say the other.
VECTORS = {"bread": (1.0, 0.0), "loaf": (0.9, 0.1), "coat": (0.0, 1.0), "hem": (0.1, 0.9)}
TEAM = [craft("baker", "bread"), craft("tailor", "coat")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from model2vec import StaticModel
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {word: number for number, word in enumerate(("[UNK]", *VECTORS))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    vectors = np.array([(0.0, 0.0), *VECTORS.values()], np.float32)
    StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def meaning_alone(path: Path) -> Weights:
    """Weights that look at nothing but the vectors of a model."""
    only = {name: float(name == "meaning.prose") for name in FEATURES}
    return dataclasses.replace(
        shipped_weights(),
        prose=only,
        mixed=only,
        examples=only,
        encoder_path=path,
        encoder_digest=load_encoder(path).digest,
    )


def test_texts_get_the_directions_of_their_words(model: Path) -> None:
    found = load_encoder(model).encode([analyze("Bread!"), analyze("a loaf, a hem"), analyze("")])
    assert found[0] == pytest.approx([1.0, 0.0])
    assert found[1] == pytest.approx([0.5**0.5, 0.5**0.5])
    assert found[2].tolist() == [0.0, 0.0]


def test_agents_are_met_by_words_that_lie_near_theirs(model: Path) -> None:
    router = Router(TEAM, weights=meaning_alone(model))
    assert [router.route(task).candidates[0].name for task in ("loaf", "hem")] == ["baker", "tailor"]


def test_the_vectors_of_agents_are_kept_until_one_of_them_changes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model2vec import StaticModel

    encoded: list[str] = []
    encode = StaticModel.encode

    def noting(self: StaticModel, texts: list[str], **options: Any) -> Any:
        encoded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(StaticModel, "encode", noting)

    def encoded_for(*agents: Agent) -> list[str]:
        encoded.clear()
        router = Router(agents, weights=meaning_alone(model), cache=Cache(tmp_path / "cache"))
        assert router.route("loaf").candidates[0].name == "baker"
        return list(encoded)

    first = encoded_for(*TEAM)
    assert len(first) > 1
    assert encoded_for(*TEAM) == ["loaf"]
    assert "loaf bread" in " ".join(encoded_for(craft("baker", "loaf bread"), TEAM[1]))


def test_weights_name_their_model_relative_to_their_own_place(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(meaning_alone(model).to_json(tmp_path), encoding="utf-8")
    assert '"file": "model"' in path.read_text(encoding="utf-8")
    assert load_weights(path).encoder.digest == load_encoder(model).digest


def test_another_model_than_the_weights_were_learned_with_is_an_error(model: Path) -> None:
    weights = dataclasses.replace(meaning_alone(model), encoder_digest="0" * 12)
    with pytest.raises(ConfigError, match="the weights were learned with encoder 000000000000"):
        Router(TEAM, weights=weights).route("loaf")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_without_one_of_its_files_is_an_error(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing"):
        load_encoder(model)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_torn_model_is_an_error(model: Path, name: str) -> None:
    (model / name).write_bytes((model / name).read_bytes()[:20])
    with pytest.raises(ConfigError, match="can't be read"):
        load_encoder(model)
