"""Encoders: what is written is read again, what is no encoder is an error, and what their vectors say of agents."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatcher import Agent, ConfigError, Example, Router
from dispatcher.agent import Passage
from dispatcher.routing.dense import DenseIndex, vectors_of
from dispatcher.routing.encoder import Encoder, StemEncoder, load_encoder, shipped_encoder
from dispatcher.routing.index import FEATURES, best_of
from dispatcher.routing.indexing import build_index
from dispatcher.routing.scorers import DENSE
from dispatcher.routing.text import Word, analyze
from dispatcher.routing.weights import load_weights, shipped_weights
from tests.workshop import craft

MEANINGS = {"dough": (1, 0, 0), "loaf": (0.9, 0.1, 0), "bolt": (0, 1, 0), "rivet": (0, 0.8, 0.2), "hem": (0, 0, 1)}
"""Stems with what they mean: baking, metal, cloth."""


def encoder_of(meanings: Mapping[str, tuple[float, ...]] = MEANINGS) -> StemEncoder:
    return StemEncoder.from_vectors([*meanings], np.array([*meanings.values()], np.float32), (1.0, 0.5, 0.25))


def words(*texts: str) -> list[list[Word]]:
    return [analyze(text) for text in texts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of an encoder."""
    path = tmp_path / "encoder.npz"
    path.write_bytes(encoder_of().to_bytes())
    return path


def test_what_is_written_is_read_again(path: Path) -> None:
    texts = words("dough and bolts", "hems hems rivet", "")
    read = load_encoder(path)
    assert read.encode(texts).tolist() == encoder_of().encode(texts).tolist()
    assert (read.parts, read.path, len(read.digest)) == ((1.0, 0.5, 0.25), path, 12)
    assert isinstance(read, StemEncoder)
    assert read.to_bytes() == path.read_bytes()


def test_a_digest_tells_encoders_apart(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    other.write_bytes(encoder_of({**MEANINGS, "hem": (0, 0.1, 1)}).to_bytes())
    assert load_encoder(path).digest != load_encoder(other).digest


def test_the_vector_of_a_text_has_length_one_or_none() -> None:
    known, unknown, empty, stop = encoder_of().encode(words("a loaf of dough", "sourdough", "", "the of"))
    assert np.linalg.norm(known) == pytest.approx(1)
    assert not np.array([unknown, empty, stop]).any()


def test_words_count_by_the_logarithm_of_how_often_they_stand_there() -> None:
    (found,) = encoder_of({"dough": (1, 0), "hem": (0, 1)}).encode(words("dough dough dough hem"))
    assert found[0] / found[1] == pytest.approx(1 + np.log(3))


def arrays(**changed: Any) -> bytes:
    """The file of an encoder with some of its arrays changed, or without those that are None."""
    with np.load(io.BytesIO(encoder_of().to_bytes())) as held:
        kept = {**held, **changed}
    written = io.BytesIO()
    np.savez(written, **{name: array for name, array in kept.items() if array is not None})
    return written.getvalue()


def zipped(**files: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def lone_array() -> bytes:
    written = io.BytesIO()
    np.save(written, np.zeros(3))
    return written.getvalue()


WHOLE = encoder_of().to_bytes()
FOREIGN = {
    "nothing": b"",
    "text": b'{"format": 2}',
    "another archive": zipped(readme=b"hello"),
    "one array": lone_array(),
    "half a file": WHOLE[: len(WHOLE) // 2],
    "a file without its end": WHOLE[:-30],
    "a file with a wrong byte": WHOLE.replace(b"dough", b"tough"),
    "no stems": arrays(stems=None),
    "no parts": arrays(parts=None),
    "vectors of floats": arrays(vectors=np.zeros((5, 3), np.float32)),
    "vectors of one number": arrays(vectors=np.zeros(5, np.int8)),
    "too few stems": arrays(stems=np.frombuffer(b"dough", np.uint8)),
    "too few vectors": arrays(vectors=np.zeros((4, 3), np.int8)),
    "an endless scale": arrays(scales=np.full(5, np.inf, np.float32)),
    "stems that are no text": arrays(stems=np.frombuffer(b"\xff\n\xff\n\xff\n\xff\n\xff", np.uint8)),
    "two parts": arrays(parts=np.ones(2, np.float32)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_encoder_is_a_config_error_that_names_it(path: Path, kind: str) -> None:
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(ConfigError) as caught:
        load_encoder(path)
    assert caught.value.message.startswith(f"{path}: this is no encoder")


class Harm:
    """Would leave a file behind, were it unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("kind", ["an array of it", "alone"])
def test_a_pickle_is_refused_and_never_run(path: Path, kind: str) -> None:
    alone = pickle.dumps(Harm())
    path.write_bytes(arrays(parts=np.array([Harm()], object)) if kind == "an array of it" else alone)
    with pytest.raises(ConfigError, match="this is no encoder"):
        load_encoder(path)
    assert not Path("harm").exists()


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the encoder can't be read") as caught:
        load_encoder(tmp_path / "missing.npz")
    assert "beside its weights file" in str(caught.value.hint)


def test_weights_with_another_encoder_than_they_were_learned_with_are_a_config_error(path: Path) -> None:
    fitting = replace(shipped_weights(), encoder_path=path, encoder_digest=load_encoder(path).digest)
    assert Router([craft("baker", "Dough.")], weights=fitting).route("a loaf").candidates[0].score > 0
    for weights in (
        replace(fitting, encoder_digest=shipped_encoder().digest),
        replace(fitting, encoder_path=None),
    ):
        with pytest.raises(ConfigError, match=r"learned with encoder \w{12}, and .+ is \w{12}") as caught:
            Router([craft("baker", "Dough.")], weights=weights).route("a loaf")
        assert "dispatch tune" in str(caught.value.hint)


def test_a_weights_file_finds_its_encoder_from_its_own_folder(path: Path, tmp_path: Path) -> None:
    weights = replace(shipped_weights(), encoder_path=path, encoder_digest=load_encoder(path).digest)
    deep = tmp_path / "deep" / "weights.json"
    deep.parent.mkdir()
    deep.write_text(weights.to_json(deep.parent), encoding="utf-8")
    assert '"file": "../encoder.npz"' in deep.read_text(encoding="utf-8")
    assert load_weights(deep).encoder.digest == load_encoder(path).digest
    path.unlink()
    with pytest.raises(ConfigError, match="the encoder can't be read"):
        _ = load_weights(deep).encoder


def test_the_shipped_encoder_knows_what_developers_say() -> None:
    shipped = shipped_encoder()
    near, far, other = shipped.encode(
        words("our k8s pods crash", "kubernetes deployment", "copywriting for a newsletter")
    )
    assert near @ far > near @ other + 0.2
    assert shipped.path is None
    assert near.shape == (128,)


# --- what vectors say of agents


def similar(agents: list[list[tuple[str, str, float]]], task: str) -> list[list[float]]:
    """The cosines of a task with agents given by field, text and weight: a row an agent, of prose and of examples."""
    held = [[(field, analyze(text), weight) for field, text, weight in agent] for agent in agents]
    (found,) = DenseIndex(encoder_of(), vectors_of(held, encoder_of())).score(words(task))
    return [[round(float(cosine), 4) for cosine in row] for row in found]


def test_prose_and_examples_are_two_scorers() -> None:
    agents = [[("description", "Dough.", 1.0)], [("example", "dough", 1.0)], [("exclusion", "dough", 1.0)]]
    assert similar(agents, "loaves of dough") == [
        [pytest.approx(1, abs=0.01), 0.0],
        [0.0, pytest.approx(1, abs=0.01)],
        [0, 0],
    ]


def test_opposite_meanings_and_words_that_are_not_known_give_nothing() -> None:
    against = StemEncoder.from_vectors(["good", "bad"], np.array([[1], [-1]], np.float32), (1.0, 0.5, 0.25))
    index = DenseIndex(against, vectors_of([[("description", analyze("good"), 1.0)]], against))
    assert index.score(words("bad", "unheard", "good"))[:, 0, 0].tolist() == [0.0, 0.0, 1.0]


def test_the_parts_of_a_file_count_as_the_encoder_says() -> None:
    (((of_description, _),), ((of_body, _),)) = (
        similar([[("description", "dough", 1.0), ("body", "bolt", 1.0)]], task) for task in ("dough", "bolt")
    )
    assert of_description / of_body == pytest.approx(1.0 / 0.25, rel=0.01)


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.25])
def test_examples_count_by_their_weight(weight: float) -> None:
    agent = [("example", "dough", 1.0), ("example", "bolt", weight)]
    ((_, of_dough),), ((_, of_bolt),) = (similar([agent], task) for task in ("dough", "bolt"))
    assert of_bolt / of_dough == pytest.approx(weight, rel=0.01)


def test_examples_that_all_count_less_do_so_without_others_to_compare_with() -> None:
    agents = [[("example", "dough", weight), ("example", "bolt", weight)] for weight in (1.0, 0.5)]
    ((_, fresh), (_, stale)) = similar(agents, "dough")
    assert stale == pytest.approx(fresh / 2, rel=0.01)


def test_passages_of_less_weight_reach_the_index_with_it() -> None:
    def agent(weight: float) -> Agent:
        passages = tuple(
            Passage(field="example", text=text, weight=value) for text, value in (("dough", 1.0), ("bolt", weight))
        )
        return craft("smith", examples=(Example(user="hem"),), enriched=passages)

    column = FEATURES.index("meaning.examples")
    found = [
        build_index([agent(weight)], encoder_of()).score(analyze("bolt")).raw[0, 0, column] for weight in (1.0, 0.5)
    ]
    assert found == pytest.approx([1 / 3**0.5, 0.5 / 2.25**0.5], rel=0.01)


def test_an_agent_is_found_without_a_word_of_the_task(path: Path) -> None:
    weights = replace(shipped_weights(), encoder_path=path, encoder_digest=load_encoder(path).digest)
    agents = [craft("a", "Dough."), craft("b", "Bolts."), craft("c", "Hems.")]
    decision = Router(agents, weights=weights).route("rivets")
    assert [candidate.name for candidate in decision.candidates if candidate.score > 0.1] == ["b"]
    assert Router(agents, weights=replace(weights, prose={}, mixed={}, examples={})).route("rivets").agent is None


def test_the_nearest_in_meaning_counts_in_full_only_if_it_is_near() -> None:
    columns = [FEATURES.index(name) for name in ("whole.tfidf", *DENSE)]
    raw = np.zeros((3, 2, len(FEATURES)))
    raw[0][:, columns] = [[0.2, 0.2, 0.8], [0.1, 0.1, 0.4]]
    raw[1][:, columns] = [[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]
    assert best_of(raw)[:, columns].tolist() == [[0.2, 0.5, 0.8], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]


def test_encoders_of_another_kind_can_take_its_place() -> None:
    class Letters:
        """A dimension for each letter that a text begins with."""

        digest = "letters"
        path: Path | None = None
        parts = (1.0, 1.0, 1.0)

        def encode(self, texts: Any) -> Any:
            return np.array([np.arange(26) == ord((text[0].written if text else "~")[0]) - 97 for text in texts], float)

    other: Encoder = Letters()
    scores = build_index([craft("a", "b"), craft("c", "d")], other).score(analyze("arnica")).raw[0]
    assert scores[:, FEATURES.index("meaning.prose")].tolist() == [1.0, 0.0]
