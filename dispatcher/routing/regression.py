"""A scorer learned from a registry's own examples.

Where agents have many examples and little prose, as in intent sets, what tells them apart has to be learned from the
examples: ridge regression of the agents on the TF-IDF vectors of their examples, in its dual form (Saunders, Gammerman
and Vovk 1998), so that its cost depends on the number of examples and not of terms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExampleRegression", "fit_regression"]

_PENALTY = 1.0


@dataclass(frozen=True, slots=True)
class ExampleRegression:
    """`coefficients` has a row a term and a column an agent; the terms' inverse document frequency is in it."""

    vocabulary: dict[str, int]
    coefficients: NDArray[np.float32]

    def scores(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """The score of each agent, at least 0; shape (agents,)."""
        counts = Counter(term for term in terms if term in self.vocabulary)
        if not counts:
            return np.zeros(self.coefficients.shape[1])
        numbers = [self.vocabulary[term] for term in sorted(counts)]
        values = np.array([1 + math.log(counts[term]) for term in sorted(counts)])
        scores = values @ self.coefficients[numbers].astype(float)
        return np.asarray(np.maximum(0.0, scores))


def fit_regression(
    documents: Sequence[Sequence[str]], rows: Sequence[int], agent_count: int, weights: Sequence[float]
) -> ExampleRegression:
    """Fits one document (the terms of an example) a row to the agents that they belong to; `weights` is how far."""
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
    matrix = scipy.sparse.diags_array(1 / np.maximum(norms, 1e-12)) @ matrix
    kernel = (matrix @ matrix.T).toarray()
    kernel[np.diag_indices_from(kernel)] += _PENALTY
    targets = np.zeros((len(documents), agent_count))
    targets[np.arange(len(documents)), rows] = weights
    coefficients = matrix.T @ np.linalg.solve(kernel, targets)
    return ExampleRegression(vocabulary, (idf[:, None] * coefficients).astype(np.float32))
