"""A scorer learned from a registry's own examples.

Where agents have many examples, what tells them apart is best learned from the examples: ridge regression of the agents
on the TF-IDF vectors of their examples, in its dual form (Saunders, Gammerman and Vovk 1998), so that its cost depends
on the number of examples and not of terms. Phrases and pieces of words are vectors of their own, each of length 1, so
that the many pieces do not drown the phrases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.text import VIEWS, Word, all_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExampleRegression", "RegressionBlock", "fit_regression"]

_PENALTY = 0.5
_TERMS: tuple[Callable[[Sequence[Word]], list[str]], ...] = (VIEWS["phrases"], all_pieces)


@dataclass(frozen=True, slots=True)
class RegressionBlock:
    """The terms of one kind: `idf` has the shape (terms,), `coefficients` (terms, agents)."""

    vocabulary: Mapping[str, int]
    idf: NDArray[np.float64]
    coefficients: NDArray[np.float32]

    def scores(self, terms: Sequence[str]) -> NDArray[np.float64]:
        counts = Counter(term for term in terms if term in self.vocabulary)
        if not counts:
            return np.zeros(self.coefficients.shape[1])
        numbers = [self.vocabulary[term] for term in sorted(counts)]
        values = np.array([1 + math.log(counts[term]) for term in sorted(counts)]) * self.idf[numbers]
        return np.asarray(values / np.linalg.norm(values) @ self.coefficients[numbers].astype(float))


@dataclass(frozen=True, slots=True)
class ExampleRegression:
    """What was learned, by the kind of terms."""

    blocks: tuple[RegressionBlock, ...]

    def scores(self, words: Sequence[Word]) -> NDArray[np.float64]:
        """The score of each agent, at least 0; shape (agents,)."""
        found = sum(block.scores(terms(words)) for block, terms in zip(self.blocks, _TERMS, strict=True))
        return np.asarray(np.maximum(0.0, found))


def fit_regression(
    documents: Sequence[Sequence[Word]], rows: Sequence[int], agent_count: int, weights: Sequence[float]
) -> ExampleRegression:
    """Fits one document, the words of an example, a row to the agents that they belong to; `weights` is how far."""
    parts = [_vectors([terms(words) for words in documents]) for terms in _TERMS]
    kernel = sum((matrix @ matrix.T).toarray() for _, _, matrix in parts) / len(parts)
    kernel[np.diag_indices_from(kernel)] += _PENALTY
    targets = np.zeros((len(documents), agent_count))
    targets[np.arange(len(documents)), rows] = weights
    dual = np.linalg.solve(kernel, targets) / len(parts)
    return ExampleRegression(
        tuple(
            RegressionBlock(vocabulary, idf, (matrix.T @ dual).astype(np.float32)) for vocabulary, idf, matrix in parts
        )
    )


def _vectors(documents: Sequence[Sequence[str]]) -> tuple[dict[str, int], NDArray[np.float64], Any]:
    """The terms of documents, their inverse document frequency, and a sparse matrix with a row of length 1 each."""
    import scipy.sparse

    vocabulary: dict[str, int] = {}
    indices: list[int] = []
    values: list[float] = []
    starts = [0]
    for terms in documents:
        counts = Counter(terms)
        indices.extend(vocabulary.setdefault(term, len(vocabulary)) for term in counts)
        values.extend(1 + math.log(count) for count in counts.values())
        starts.append(len(indices))
    matrix = scipy.sparse.csr_matrix((values, indices, starts), shape=(len(documents), len(vocabulary)))
    frequency = np.bincount(np.asarray(indices, np.int64), minlength=len(vocabulary))
    idf = np.log((1 + len(documents)) / (1 + frequency)) + 1
    matrix = matrix @ scipy.sparse.diags_array(idf)
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return vocabulary, idf, scipy.sparse.diags_array(1 / np.maximum(norms, 1e-12)) @ matrix
