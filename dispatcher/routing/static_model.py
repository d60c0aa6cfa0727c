"""A static model of the model2vec library as the encoder, from a folder that the user has downloaded.

Needs the extra `dense`. Nothing is ever fetched: a folder has to be there, with all of its files.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dispatcher.errors import ConfigError
from dispatcher.routing.encoder import unit
from dispatcher.routing.text import Word

if TYPE_CHECKING:
    from model2vec import StaticModel

__all__ = ["StaticModelEncoder"]

_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class StaticModelEncoder:
    """Encodes the words of a text as a static model does. Raises ConfigError for a folder that holds none."""

    parts = (1.0, 0.5, 1.0)

    def __init__(self, path: Path) -> None:
        missing = [name for name in _FILES if not (path / name).is_file()]
        if missing:
            raise ConfigError(
                f"{path}: this is no model2vec model: {', '.join(missing)} is missing",
                hint="save one there with StaticModel.save_pretrained()",
            )
        self.path: Path | None = path
        content = hashlib.sha256()
        for name in _FILES:
            content.update((path / name).read_bytes())
        self.digest = content.hexdigest()[:12]
        self._model = _load(path)

    def encode(self, texts: Sequence[Sequence[Word]]) -> NDArray[np.float64]:
        """A vector of length 1 for each text, shape (texts, dimensions); zeros for one without words."""
        written = [" ".join(word.written for word in words if not word.is_part) for words in texts]
        found = np.zeros((len(texts), self._dimensions))
        kept = [number for number, text in enumerate(written) if text]
        if kept:
            found[kept] = self._model.encode([written[number] for number in kept], use_multiprocessing=False)
        return unit(found)

    @functools.cached_property
    def _dimensions(self) -> int:
        return int(self._model.dim)


def _load(path: Path) -> StaticModel:
    try:
        from model2vec import StaticModel
    except ImportError:
        raise ConfigError(
            f"{path}: for a model2vec model the package is missing",
            hint='install it: pip install "agent-dispatcher[dense]"',
        ) from None
    try:
        return StaticModel.from_pretrained(path)
    except Exception as problem:  # noqa: BLE001  whatever its readers raise, the file is not of use
        raise ConfigError(
            f"{path}: the model2vec model can't be read: {type(problem).__name__}: {problem}",
            hint="save it again with StaticModel.save_pretrained()",
        ) from None
