"""The scorers: each compares a task with one or more fields of the agents, in one view, by one weighting.

Adding evidence means adding a line here and fitting the weights again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DENSE", "KEYWORDS", "REGRESSION", "SCORERS", "WHOLE", "Scorer"]

WHOLE = ("name", "description", "trigger", "example", "context", "body")
"""The fields that count as the whole of an agent."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """One comparison.

    `weighting` is TF-IDF cosine (Salton and Buckley 1988, sublinear counts) or BM25 (Robertson and Zaragoza 2009).
    """

    name: str
    fields: tuple[str, ...]
    view: Literal["words", "phrases", "spelling"]
    weighting: Literal["tfidf", "bm25"]


SCORERS: tuple[Scorer, ...] = (
    Scorer("name.tfidf", ("name",), "words", "tfidf"),
    Scorer("description.tfidf", ("description",), "words", "tfidf"),
    Scorer("trigger.tfidf", ("trigger",), "words", "tfidf"),
    Scorer("capability.bm25", ("capability",), "words", "bm25"),
    Scorer("example.tfidf", ("example",), "words", "tfidf"),
    Scorer("context.tfidf", ("context",), "words", "tfidf"),
    Scorer("heading.bm25", ("heading",), "words", "bm25"),
    Scorer("bullet.tfidf", ("bullet",), "words", "tfidf"),
    Scorer("body.bm25", ("body",), "words", "bm25"),
    Scorer("whole.tfidf", WHOLE, "words", "tfidf"),
    Scorer("whole.bm25", WHOLE, "words", "bm25"),
    Scorer("exclusion.tfidf", ("exclusion",), "words", "tfidf"),
    Scorer("example.phrases", ("example",), "phrases", "tfidf"),
    Scorer("whole.phrases", WHOLE, "phrases", "tfidf"),
    Scorer("description.spelling", ("description",), "spelling", "tfidf"),
    Scorer("example.spelling", ("example",), "spelling", "tfidf"),
    Scorer("whole.spelling", WHOLE, "spelling", "tfidf"),
    Scorer("whole.spelling.bm25", WHOLE, "spelling", "bm25"),
)

KEYWORDS = "trigger.keywords"
"""The scorer that counts the short triggers of a file that stand in the task word for word."""

REGRESSION = "example.regression"
"""The scorer that is learned from a registry's own examples, where it has little else."""

DENSE = ("meaning.prose", "meaning.examples")
"""The scorers that compare vectors: of the task with that of an agent's prose, and with the mean of its examples."""
