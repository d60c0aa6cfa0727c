"""The index: for each field, the agents' passages as TF-IDF vectors.

Cosine similarity of a task with a field, over stemmed words and pairs of words (scikit-learn's TfidfVectorizer with
sublinear term counts). What each word gave can be told, since a cosine is a sum over words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.agent import Agent
from dispatcher.routing.passages import FIELDS, passages
from dispatcher.routing.text import terms

__all__ = ["FieldIndex", "build_index"]


class FieldIndex:
    """One field of all agents. `vectors` has a row an agent and a column a term."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer: Any = TfidfVectorizer(analyzer=_as_it_is, sublinear_tf=True)
        self.vectors: Any = self._vectorizer.fit_transform(documents).tocsr()

    def similarities(self, task_terms: Sequence[str]) -> NDArray[np.float64]:
        """The cosine of the task with each agent, shape (agents,)."""
        task = self._vectorizer.transform([task_terms])
        return np.asarray((self.vectors @ task.T).toarray()).ravel()

    def contributions(self, task_terms: Sequence[str], row: int) -> dict[str, float]:
        """What each term of the task gives to the cosine with the agent of that row."""
        task = self._vectorizer.transform([task_terms])
        shared = self.vectors[row].multiply(task).tocoo()
        names = self._vectorizer.get_feature_names_out()
        return {str(names[column]): float(value) for column, value in zip(shared.col, shared.data, strict=True)}


def build_index(agents: Sequence[Agent]) -> Mapping[str, FieldIndex]:
    """An index for every field in which any agent has words."""
    documents: dict[str, list[list[str]]] = {field: [[] for _ in agents] for field in FIELDS}
    for row, agent in enumerate(agents):
        for passage in passages(agent):
            documents[passage.field][row].extend(terms(passage.text))
    return {field: FieldIndex(rows) for field, rows in documents.items() if any(rows)}


def _as_it_is(tokens: Sequence[str]) -> Sequence[str]:
    return tokens
