"""Dense encoders: words → a vector, so that texts meet that share a meaning and not a word.

The shipped one is a table of vectors, one a stem, learned from tasks and the agents they are for (`eval/research/`).
Others can take its place: a folder of a static model2vec model, with weights fitted to it. Knows of texts alone, not
of agents.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dispatcher.errors import ConfigError
from dispatcher.routing.text import Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHIPPED_ENCODER", "Encoder", "StemEncoder", "load_encoder", "shipped_encoder", "stems_of", "unit"]


SHIPPED_ENCODER = Path(__file__).parent / "encoder.npz"


class Encoder(Protocol):
    """What the index asks of an encoder.

    `digest` names its content; `path` is where it was read from, None for the shipped one; `parts` is what name and
    description, triggers and capabilities, and the body count in an agent's vector.
    """

    digest: str
    path: Path | None
    parts: tuple[float, float, float]

    def encode(self, texts: Sequence[Sequence[Word]]) -> NDArray[np.float64]:
        """A vector of length 1 for each text, shape (texts, dimensions); zeros for one without a word that is known."""
        ...


class StemEncoder:
    """A vector a stem; that of a text is their sum, each by the logarithm of its count.

    Parameters
    ----------
    rows: the number of each stem's row, in their order.
    vectors: shape (stems, dimensions), 8 bits a number.
    scales: what the numbers of a row are multiplied by, shape (stems,).
    """

    def __init__(
        self,
        rows: Mapping[str, int],
        vectors: NDArray[np.int8],
        scales: NDArray[np.float32],
        parts: tuple[float, float, float],
        *,
        path: Path | None = None,
        digest: str = "",
    ) -> None:
        self.path = path
        self.digest = digest
        self.parts = parts
        self.rows = rows
        self.vectors = vectors
        self.scales = scales

    def encode(self, texts: Sequence[Sequence[Word]]) -> NDArray[np.float64]:
        found = np.zeros((len(texts), self.vectors.shape[1]))
        stems = [stems_of(words) for words in texts]
        # Each is looked up once, as the rows of an encoder that was kept are searched for.
        every = set(itertools.chain.from_iterable(stems))
        rows_of = {stem: row for stem in every if (row := self.rows.get(stem)) is not None}
        for number, of_text in enumerate(stems):
            counts = Counter(stem for stem in of_text if stem in rows_of)
            if counts:
                rows = [rows_of[stem] for stem in counts]
                amounts = self.scales[rows] * np.array([1 + math.log(count) for count in counts.values()])
                found[number] = amounts @ self.vectors[rows].astype(float)
        return unit(found)

    @classmethod
    def from_vectors(
        cls, stems: Sequence[str], vectors: NDArray[np.float32], parts: tuple[float, float, float]
    ) -> StemEncoder:
        """An encoder of vectors as they were learned, rounded to 8 bits a number."""
        scales = np.maximum(np.abs(vectors).max(axis=1), 1e-9) / 127
        rounded = np.round(vectors / scales[:, None]).astype(np.int8)
        return cls(_numbered(stems), rounded, scales.astype(np.float32), parts)

    def to_bytes(self) -> bytes:
        """The file of this encoder: arrays of numpy, without pickled objects."""
        written = io.BytesIO()
        np.savez(
            written,
            stems=np.frombuffer("\n".join(self.rows).encode(), np.uint8),
            vectors=self.vectors,
            scales=self.scales,
            parts=np.array(self.parts, np.float32),
        )
        return written.getvalue()


def stems_of(words: Sequence[Word]) -> list[str]:
    """The stems that an encoder looks at: those that can carry meaning."""
    return [word.stem for word in words if word.carries_meaning]


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of length 1 in the same directions; shape (vectors, dimensions)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def load_encoder(path: Path) -> Encoder:
    """Reads the file of a StemEncoder, or the folder of a model2vec model. Raises ConfigError for anything else."""
    if path.is_dir():
        from dispatcher.routing.static_model import StaticModelEncoder

        return StaticModelEncoder(path)
    try:
        content = path.read_bytes()
        return _parse(content, path)
    except OSError as problem:
        raise ConfigError(
            f"{path}: the encoder can't be read: {problem.strerror}", hint="it belongs beside its weights file"
        ) from None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise ConfigError(f"{path}: this is no encoder: {problem}", hint="it belongs beside its weights file") from None


@functools.cache
def shipped_encoder() -> Encoder:
    """The encoder that comes with the package."""
    return _parse(SHIPPED_ENCODER.read_bytes(), None)


def _parse(content: bytes, path: Path | None) -> StemEncoder:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        stems = arrays["stems"].tobytes().decode().split("\n")
        vectors, scales, parts = arrays["vectors"], arrays["scales"], arrays["parts"]
    if vectors.dtype != np.int8 or vectors.ndim != 2 or scales.shape != (len(vectors),) or len(stems) != len(vectors):
        raise ValueError("its tables do not fit together")
    if not (np.isfinite(scales).all() and np.isfinite(parts).all()):
        raise ValueError("not all of its numbers are numbers to reckon with")
    first, second, third = (float(part) for part in parts)
    digest = hashlib.sha256(content).hexdigest()[:12]
    return StemEncoder(_numbered(stems), vectors, scales, (first, second, third), path=path, digest=digest)


def _numbered(stems: Sequence[str]) -> dict[str, int]:
    return {stem: row for row, stem in enumerate(stems)}
