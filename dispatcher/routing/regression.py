"""A scorer learned from a registry's own examples.

Where agents have many examples, what tells them apart is best learned from the examples: multinomial logistic
regression of the agents on the TF-IDF vectors of their examples, in its dual form (Zhu and Hastie 2005, "Kernel
Logistic Regression and the Import Vector Machine"), so that its cost depends on the number of examples and not of
terms. Phrases and pieces of words are vectors of their own, each of length 1, so that the many pieces do not drown the
phrases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatcher.routing.text import VIEWS, Word, all_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExampleRegression", "RegressionBlock", "fit_regression"]

_LOOSENESS = 50.0
"""What a mistake counts beside the size of the coefficients: the C of scikit-learn's LogisticRegression."""

_MOST_ITERATIONS = 12
_JITTER = 1e-4  # keeps a kernel with two equal examples invertible
_TERMS: Mapping[str, Callable[[Sequence[Word]], list[str]]] = {"phrases": VIEWS["phrases"], "pieces": all_pieces}
"""The terms of the blocks, by what they are."""


@dataclass(frozen=True, slots=True)
class RegressionBlock:
    """The terms of one kind: `idf` has the shape (terms,), `coefficients` (terms, agents)."""

    vocabulary: Mapping[str, int]
    idf: NDArray[np.float64]
    coefficients: NDArray[np.float32]

    def scores(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """What the terms of a task say for each agent; shape (agents,)."""
        numbers, values = self._weighted(terms)
        return np.asarray(values @ self.coefficients[numbers].astype(float))

    def contributions(self, terms: Sequence[str], row: int, least: int) -> dict[str, float]:
        """What each term says for one agent rather than another."""
        numbers, values = self._weighted(terms)
        given = values * (self.coefficients[numbers, row].astype(float) - self.coefficients[numbers, least])
        return dict(zip(self._known(terms), given.tolist(), strict=True))

    def _known(self, terms: Sequence[str]) -> list[str]:
        return sorted({term for term in terms if term in self.vocabulary})

    def _weighted(self, terms: Sequence[str]) -> tuple[list[int], NDArray[np.float64]]:
        """The numbers of the terms that are known, and a vector of length 1 of what they count."""
        counts = Counter(terms)
        known = self._known(terms)
        numbers = [self.vocabulary[term] for term in known]
        values = np.array([1 + math.log(counts[term]) for term in known]) * self.idf[numbers]
        return numbers, values / max(float(np.linalg.norm(values)), 1e-12)


@dataclass(frozen=True, slots=True)
class ExampleRegression:
    """What was learned, by the kind of terms."""

    blocks: tuple[RegressionBlock, ...]

    def scores(self, words: Sequence[Word]) -> NDArray[np.float64]:
        """The log odds of each agent against the least likely one, so at least 0; shape (agents,)."""
        found = self._sums(words)
        return np.asarray(found - np.min(found))

    def contributions(self, words: Sequence[Word], row: int) -> Iterator[tuple[str, str, float]]:
        """What each term of the task gives to one agent's log odds: view, term and amount."""
        least = int(np.argmin(self._sums(words)))
        for block, (view, terms) in zip(self.blocks, _TERMS.items(), strict=True):
            for term, amount in block.contributions(terms(words), row, least).items():
                yield view, term, amount

    def _sums(self, words: Sequence[Word]) -> NDArray[np.float64]:
        parts = [block.scores(terms(words)) for block, terms in zip(self.blocks, _TERMS.values(), strict=True)]
        return np.asarray(np.sum(parts, axis=0))


def fit_regression(
    documents: Sequence[Sequence[Word]], rows: Sequence[int], agent_count: int, weights: Sequence[float]
) -> ExampleRegression:
    """Fits one document, the words of an example, a row to the agents that they belong to; `weights` is what each
    counts."""
    parts = [_vectors([terms(words) for words in documents]) for terms in _TERMS.values()]
    kernel = sum((matrix @ matrix.T).toarray() for _, _, matrix in parts) / len(parts)
    dual = _fit_dual(kernel, np.asarray(rows), agent_count, np.asarray(weights)) / len(parts)
    return ExampleRegression(
        tuple(
            RegressionBlock(vocabulary, idf, (matrix.T @ dual).astype(np.float32)) for vocabulary, idf, matrix in parts
        )
    )


def _fit_dual(
    kernel: NDArray[np.float64], rows: NDArray[np.int64], agent_count: int, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The dual coefficients, shape (documents, agents): by what each document's likeness speaks for each agent.

    In the coordinates of the kernel's Cholesky factor it is a plain logistic regression, with as many features as
    documents.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import minimize

    count = len(kernel)
    factor = np.linalg.cholesky(kernel + _JITTER * np.eye(count)).astype(np.float32)
    targets = np.zeros((count, agent_count), np.float32)
    targets[np.arange(count), rows] = 1
    importance = (_LOOSENESS * weights).astype(np.float32)[:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coefficients = flat.reshape(count, agent_count).astype(np.float32)
        logits = factor @ coefficients
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        sums = odds.sum(axis=1, keepdims=True)
        likelihood = (importance * (logits * targets - targets * np.log(sums))).sum(dtype=float)
        slope = coefficients - factor.T @ (importance * (targets - odds / sums))
        return float(flat @ flat) / 2 - likelihood, slope.astype(float).ravel()

    start = np.zeros(count * agent_count)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_ITERATIONS}).x
    return np.asarray(solve_triangular(factor.astype(float).T, found.reshape(count, agent_count)))


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
