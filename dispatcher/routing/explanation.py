"""Why a candidate has its score: what each field gave, from which words, and where they stand in the file.

A score is a sum over features, and a feature a sum over terms, so it can be taken apart without a rest.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dispatcher.agent import Agent, Passage
from dispatcher.routing.decision import Evidence
from dispatcher.routing.index import FEATURES, Index
from dispatcher.routing.passages import keywords, passages
from dispatcher.routing.scorers import KEYWORDS, REGRESSION
from dispatcher.routing.text import Word, analyze, content_stems

__all__ = ["amounts_by_field", "evidence_of"]

_MOST_EVIDENCE = 12
_LEAST_SHARE = 0.005
_WHOLE = "whole"


def amounts_by_field(parts: NDArray[np.float64]) -> tuple[tuple[str, float], ...]:
    """What each field gave to a score; `parts` is the score by feature. The largest first; nothing is left out."""
    totals: dict[str, float] = defaultdict(float)
    for name, amount in zip(FEATURES, parts, strict=True):
        totals[name.split(".")[0]] += float(amount)
    found = ((field, round(amount, 6)) for field, amount in totals.items() if abs(amount) >= 5e-7)
    return tuple(sorted(found, key=lambda entry: (-abs(entry[1]), entry[0])))


def evidence_of(
    index: Index, agent: Agent, row: int, words: Sequence[Word], shares: NDArray[np.float64]
) -> tuple[Evidence, ...]:
    """The passages that gave most; `shares` is what a raw amount of each feature counts in the score."""
    given = _given_by_field(index, row, words, shares)
    held = [(passage, analyze(passage.text)) for passage in passages(agent)]
    found: list[Evidence] = []
    for field, amounts in given.items():
        of_field = [entry for entry in held if field in (_WHOLE, entry[0].field)]
        found.extend(_shared_out(field, amounts, of_field, agent))
    keyword_share = float(shares[FEATURES.index(KEYWORDS)])
    found.extend(_keyword_evidence(index, agent, row, words, keyword_share))
    found = [one for one in found if abs(one.contribution) >= _LEAST_SHARE]
    found.sort(key=lambda one: (-abs(one.contribution), one.field, one.line or 0))
    return tuple(found[:_MOST_EVIDENCE])


def _given_by_field(
    index: Index, row: int, words: Sequence[Word], shares: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """What each term gave in each field, from the views whose terms are words."""
    given: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for view, term, amounts in index.contributions(words, row):
        if view == "characters":
            continue
        for name, amount in zip(FEATURES, amounts * shares, strict=True):
            if amount and name not in (KEYWORDS, REGRESSION):
                given[name.split(".")[0]][term] += float(amount)
    return given


def _shared_out(
    field: str, amounts: Mapping[str, float], held: Sequence[tuple[Passage, list[Word]]], agent: Agent
) -> Iterator[Evidence]:
    """Shares what a field gave among its passages; each term counts for the passage that holds most of the rest."""
    left = dict(amounts)
    while left:
        best, passage, written = 0.0, None, []  # type: float, Passage | None, list[Word]
        for candidate, words in held:
            amount = sum(abs(left.get(term, 0.0)) for term in _terms(words))
            if amount > best + 1e-12:
                best, passage, written = amount, candidate, words
        if passage is None:
            return
        met = [term for term in _terms(written) if term in left]
        stems = {stem for term in met for stem in term.split(" ")}
        yield Evidence(
            field=field,
            words=_shown(written, stems),
            text=" ".join(passage.text.split()),
            path=passage.path or agent.source.path,
            line=passage.line,
            contribution=round(sum(left.pop(term) for term in met), 6),
        )


def _shown(written: Sequence[Word], stems: set[str]) -> tuple[str, ...]:
    """The words that met; those that carry no meaning only where there are no others."""
    met = [word for word in written if word.stem in stems]
    telling = {word.written for word in met if word.carries_meaning and not word.is_part}
    return tuple(sorted(telling or {word.written for word in met}))


def _keyword_evidence(index: Index, agent: Agent, row: int, words: Sequence[Word], share: float) -> Iterator[Evidence]:
    held: dict[tuple[str, ...], Passage] = {}
    for keyword in keywords(agent):
        held.setdefault(tuple(content_stems(analyze(keyword.text))), keyword)
    for stems in index.keywords_in(words):
        if row in index.keywords[stems]:
            found = held[stems]
            yield Evidence(
                field=found.field,
                words=(found.text,),
                text=found.text,
                path=agent.source.path,
                line=found.line,
                contribution=round(share * len(stems), 6),
            )


def _terms(words: Sequence[Word]) -> list[str]:
    """The terms of a passage in the views whose terms are words, each once."""
    stems, content = [word.stem for word in words if not word.is_part], content_stems(words)
    pairs = [f"{a} {b}" for run in (stems, content) for a, b in itertools.pairwise(run)]
    return list(dict.fromkeys([*(word.stem for word in words), *pairs]))
