"""Plain ways to choose an agent, to compare with: the TF-IDF that anybody would first write, and BM25.

Neither has rules, nor abstains where any word meets. Both leave scikit-learn's English stop words out; BM25 has stems
too, and takes CamelCase apart. They use nothing of the router's, so that they stay the same when it changes. Both break
ties by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.agent import Agent
from dispatcher.evaluation.predictions import MOST_NAMES, Prediction
from dispatcher.evaluation.tasks import LabelledTask
from dispatcher.naming import sort_by_name

__all__ = ["bm25_baseline", "tfidf_baseline"]

# The customary values: how soon more of the same word stops counting, and how much a long text is discounted.
_SATURATION = 1.5
_LENGTH = 0.75
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
# Tasks that are scored together: their scores fill a table of tasks × agents.
_CHUNK = 500


def tfidf_baseline(agents: Sequence[Agent], tasks: Sequence[LabelledTask]) -> tuple[Prediction, ...]:
    """Ranks agents by the cosine of task and agent under scikit-learn's TfidfVectorizer with its English stop words.

    An agent's text is its description and the user turns of its examples. The confidence is the best cosine.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    ordered = sort_by_name(agents)
    texts = ["\n".join((agent.description, *_example_users(agent))) for agent in ordered]
    vectorizer = TfidfVectorizer(stop_words="english")
    table = _fitted(vectorizer, texts)
    if table is None or not tasks:
        return _predictions(ordered, tasks, _nothing(ordered, tasks))
    return _predictions(ordered, tasks, _scores(vectorizer.transform(_texts_of(tasks)), table))


def bm25_baseline(agents: Sequence[Agent], tasks: Sequence[LabelledTask]) -> tuple[Prediction, ...]:
    """Ranks agents by BM25 (Robertson & Zaragoza 2009, section 3.2; inverse document frequencies never below 0).

    An agent's text is its name, description, the user turns of its examples, and its body. Since BM25 has no upper
    bound, the confidence is the lead: the best score less the second, as a share of the best.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    ordered = sort_by_name(agents)
    texts = ["\n".join((agent.name, agent.description, *_example_users(agent), agent.prompt)) for agent in ordered]
    vectorizer = CountVectorizer(analyzer=_stemming(CountVectorizer(stop_words="english").build_analyzer()))
    counts = _fitted(vectorizer, texts)
    if counts is None or not tasks:
        return _predictions(ordered, tasks, _nothing(ordered, tasks), by_lead=True)
    scores = _scores(vectorizer.transform(_texts_of(tasks)), _bm25_weights(counts))
    return _predictions(ordered, tasks, scores, by_lead=True)


def _example_users(agent: Agent) -> Iterator[str]:
    return (example.user for example in agent.examples)


def _stemming(analyze: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The words that `analyze` finds in a text without CamelCase, as stems (the Snowball stemmer for English)."""
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    return lambda text: list(stemmer.stemWords(analyze(_CAMEL.sub(" ", text))))


def _texts_of(tasks: Sequence[LabelledTask]) -> list[str]:
    return [task.task for task in tasks]


def _fitted(vectorizer: Any, texts: Sequence[str]) -> Any:
    """The texts as a sparse table, shape (texts, terms); None where there is not a word in all of them."""
    analyze = vectorizer.build_analyzer()
    return vectorizer.fit_transform(texts) if any(analyze(text) for text in texts) else None


def _bm25_weights(counts: Any) -> Any:
    """What one occurrence of a term in a task gives each agent, shape (agents, terms); sparse."""
    weights = counts.astype(float).tocoo()
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    document_frequency = np.bincount(weights.col, minlength=counts.shape[1])
    rarity = np.log1p((len(lengths) - document_frequency + 0.5) / (document_frequency + 0.5))
    discount = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / lengths.mean())
    weights.data *= (_SATURATION + 1) / (weights.data + discount[weights.row]) * rarity[weights.col]
    return weights.tocsr()


def _scores(tasks: Any, agents: Any) -> Iterator[NDArray[np.float64]]:
    """The scores of all agents for each task; shape (agents,)."""
    by_term = agents.T.tocsr()
    for begun in range(0, tasks.shape[0], _CHUNK):
        yield from np.round((tasks[begun : begun + _CHUNK] @ by_term).toarray(), 6)


def _nothing(agents: Sequence[Agent], tasks: Sequence[LabelledTask]) -> Iterator[NDArray[np.float64]]:
    return (np.zeros(len(agents)) for _ in tasks)


def _predictions(
    agents: Sequence[Agent],
    tasks: Sequence[LabelledTask],
    scores: Iterator[NDArray[np.float64]],
    *,
    by_lead: bool = False,
) -> tuple[Prediction, ...]:
    names = [agent.name for agent in agents]
    predictions = []
    for task, row in zip(tasks, scores, strict=True):
        # The agents are sorted by name, and a stable sort keeps the order of equals.
        ranking = tuple((names[place], float(row[place])) for place in np.argsort(-row, kind="stable")[:MOST_NAMES])
        best = ranking[0][1] if ranking else 0.0
        second = ranking[1][1] if len(ranking) > 1 else 0.0
        predictions.append(
            Prediction(
                task=task.task,
                expected=task.agent,
                agent=ranking[0][0] if best > 0 else None,
                confidence=_confidence(best, second, by_lead=by_lead),
                ranking=ranking,
                tags=task.tags,
                context=task.context,
            )
        )
    return tuple(predictions)


def _confidence(best: float, second: float, *, by_lead: bool) -> float:
    if best <= 0:
        return 0.0
    return (best - second) / best if by_lead else min(1.0, best)
