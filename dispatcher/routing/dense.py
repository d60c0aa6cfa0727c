"""What the encoder says: the cosines of a task with each agent's prose, and with the mean of its examples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.routing.encoder import Encoder, unit
from dispatcher.routing.text import Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DENSE_PARTS", "DenseIndex", "FieldWords", "vectors_of"]

DENSE_PARTS: tuple[Collection[str], ...] = (
    frozenset({"name", "description"}),
    frozenset({"trigger", "capability"}),
    frozenset({"heading", "body"}),
)
"""The fields of the parts that the vector of an agent's prose is put together from."""

FieldWords = Sequence[tuple[str, Sequence[Word], float]]
"""The passages of an agent: the field of each, its words, and what it counts, 1 at most."""


@dataclass(frozen=True, slots=True)
class DenseIndex:
    """`vectors` has the shape (2, agents, dimensions): of the agents' prose, and of their examples."""

    encoder: Encoder
    vectors: NDArray[np.float32]

    def score(self, tasks: Sequence[Sequence[Word]]) -> NDArray[np.float64]:
        """The cosines, at least 0; shape (tasks, agents, 2)."""
        of_tasks = self.encoder.encode(tasks).astype(np.float32)
        # Task by task, since a product of them all rounds otherwise, and a task's scores are the same in any company.
        cosines = np.stack([(of_tasks[:, None] @ vectors.T)[:, 0] for vectors in self.vectors], axis=-1)
        return np.asarray(np.maximum(cosines, 0.0))


def vectors_of(agents: Sequence[FieldWords], encoder: Encoder) -> NDArray[np.float32]:
    """The vectors of some agents, of the shape that DenseIndex has them in."""
    parts = [
        encoder.encode([[word for field, words, _ in agent if field in fields for word in words] for agent in agents])
        for fields in DENSE_PARTS
    ]
    prose = unit(sum((weight * part for weight, part in zip(encoder.parts, parts, strict=True)), np.zeros(())))
    examples = [
        (row, words, weight) for row, agent in enumerate(agents) for field, words, weight in agent if field == "example"
    ]
    of_examples, strongest = np.zeros_like(prose), np.zeros(len(agents))
    if examples:
        rows, texts, weights = zip(*examples, strict=True)
        np.add.at(of_examples, list(rows), np.array(weights)[:, None] * encoder.encode(texts))
        np.maximum.at(strongest, list(rows), weights)
    # A mean does not notice that all which it is of counts less.
    return np.stack([prose, unit(of_examples) * strongest[:, None]]).astype(np.float32)
