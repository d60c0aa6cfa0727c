"""Why a candidate has its score: what each field gave, from which words, and where they stand in the file.

A score is a sum over features, and a feature a sum over terms, so it can be taken apart without a rest.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dispatcher.agent import Agent, Passage
from dispatcher.routing.decision import Evidence
from dispatcher.routing.dense import DENSE_PARTS
from dispatcher.routing.index import FEATURES, Index
from dispatcher.routing.passages import keywords, passages
from dispatcher.routing.scorers import DENSE, KEYWORDS, WHOLE
from dispatcher.routing.text import Word, all_pieces, analyze, content_stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["amounts_by_field", "evidence_of"]

_MOST_EVIDENCE = 12
_LEAST_SHARE = 0.005
_LEAST_ALIKE = 0.25  # of the pieces of two words, lest any be listed that only end alike
_BY_SPELLING = ("spelling", "pieces")
_WITH_VECTORS = frozenset({"example"}).union(*DENSE_PARTS)

_Amounts = dict[str, dict[str, float]]  # by field, then by term or word


class _Held(NamedTuple):
    """A passage of an agent, with its words."""

    passage: Passage
    words: list[Word]


class _Holder(NamedTuple):
    """A passage and the terms in it that a field's amount is to be shared out by."""

    held: _Held
    terms: list[str]


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
    given, by_spelling = _given_by_field(index, row, words, shares)
    held = [_Held(passage, analyze(passage.text)) for passage in passages(agent)]
    found: list[Evidence] = []
    for field, amounts in given.items():
        found.extend(_shared_out(field, amounts, _of_field(field, held), agent))
    for field, amounts in by_spelling.items():
        found.extend(_alike(field, amounts, _of_field(field, held), agent))
    found.extend(_keyword_evidence(index, agent, row, words, float(shares[FEATURES.index(KEYWORDS)])))
    found.extend(_nearest_in_meaning(index, agent, row, words, shares, held))
    found = [one for one in found if _counts(one.contribution)]
    found.sort(key=lambda one: (-abs(one.contribution), one.field, one.line or 0))
    return tuple(found[:_MOST_EVIDENCE])


def _counts(amount: float) -> bool:
    """Whether an amount is worth telling of."""
    return abs(round(amount, 6)) >= _LEAST_SHARE


def _given_by_field(
    index: Index, row: int, words: Sequence[Word], shares: NDArray[np.float64]
) -> tuple[_Amounts, _Amounts]:
    """What each term gave in each field; and what each word gave by its spelling, where it did not meet itself."""
    given: _Amounts = defaultdict(lambda: defaultdict(float))
    by_spelling: _Amounts = defaultdict(lambda: defaultdict(float))
    owners = {piece: word.written for word in reversed(words) for piece in all_pieces([word])}
    stems = {word.written: word.stem for word in words}
    for view, term, amounts in index.contributions(words, row):
        for name, amount in zip(FEATURES, amounts * shares, strict=True):
            if amount and view in _BY_SPELLING:
                by_spelling[name.split(".")[0]][owners[term] if view == "pieces" else term] += float(amount)
            elif amount:
                given[name.split(".")[0]][term] += float(amount)
    for field, of_words in by_spelling.items():
        for written in [written for written in of_words if stems[written] in given.get(field, ())]:
            given[field][stems[written]] += of_words.pop(written)
    return given, by_spelling


def _of_field(field: str, held: Sequence[_Held]) -> list[_Held]:
    """The passages that a field's scorers read."""
    fields = WHOLE if field == "whole" else (field,)
    return [entry for entry in held if entry.passage.field in fields]


def _alike(field: str, amounts: Mapping[str, float], held: Sequence[_Held], agent: Agent) -> Iterator[Evidence]:
    """For each word of the task that met by its pieces alone, the word of the file that is most like it; nothing where
    none is much like it, as then its pieces stand in words that have little to do with it."""
    amounts = {written: amount for written, amount in amounts.items() if _counts(amount)}
    places: dict[Word, Passage] = {}
    for entry in held if amounts else ():
        for word in entry.words:
            places.setdefault(word, entry.passage)
    pieces = {word: frozenset(all_pieces([word])) for word in places}
    for written, amount in amounts.items():
        own = frozenset(all_pieces(analyze(written)))
        likeness, word = max(((_likeness(own, pieces[word]), word) for word in places), key=itemgetter(0))
        if likeness >= _LEAST_ALIKE:
            passage = places[word]
            yield Evidence(
                field=field,
                words=(f"{written} ~ {word.written}",),
                text=" ".join(passage.text.split()),
                path=passage.path or agent.source.path,
                line=passage.line,
                contribution=round(amount, 6),
            )


def _likeness(first: frozenset[str], second: frozenset[str]) -> float:
    """The share of the pieces of two words that both have (Dice 1945)."""
    return 2 * len(first & second) / max(1, len(first) + len(second))


def _nearest_in_meaning(
    index: Index,
    agent: Agent,
    row: int,
    words: Sequence[Word],
    shares: NDArray[np.float64],
    held: Sequence[_Held],
) -> Iterator[Evidence]:
    """The passage of the agent whose vector is nearest to the task's, with what the vectors gave."""
    columns = [FEATURES.index(name) for name in DENSE]
    given = float(index.dense.score([words])[0, row] @ shares[columns])
    held = [entry for entry in held if entry.passage.field in _WITH_VECTORS]
    if not held or not _counts(given):
        return
    encoder = index.dense.encoder
    likeness = encoder.encode([words]) @ encoder.encode([entry.words for entry in held]).T
    passage = held[int(np.argmax(likeness))].passage
    yield Evidence(
        field=DENSE[0].split(".")[0],
        words=(),
        text=" ".join(passage.text.split()),
        path=passage.path or agent.source.path,
        line=passage.line,
        contribution=round(given, 6),
    )


def _shared_out(field: str, amounts: Mapping[str, float], held: Sequence[_Held], agent: Agent) -> Iterator[Evidence]:
    """Shares what a field gave among its passages; each term counts for the passage that holds most of the rest."""
    left = dict(amounts)
    holders = _holders(left, held) if _counts(sum(map(abs, left.values()))) else []
    while left:
        best, chosen = 0.0, None  # type: float, _Holder | None
        for holder in holders:
            amount = sum(abs(left[term]) for term in holder.terms if term in left)
            if amount > best + 1e-12:
                best, chosen = amount, holder
        if chosen is None or not _counts(best):
            return
        passage, written = chosen.held
        met = [term for term in chosen.terms if term in left]
        stems = {stem for term in met for stem in term.split(" ")}
        yield Evidence(
            field=field,
            words=_shown(written, stems),
            text=" ".join(passage.text.split()),
            path=passage.path or agent.source.path,
            line=passage.line,
            contribution=round(sum(left.pop(term) for term in met), 6),
        )


def _holders(terms: Collection[str], held: Sequence[_Held]) -> list[_Holder]:
    """The passages that hold any of the terms, each with those that it holds."""
    stems = {stem for term in terms for stem in term.split(" ")}
    near = (entry for entry in held if not stems.isdisjoint(word.stem for word in entry.words))
    return [_Holder(entry, [term for term in _terms(entry.words) if term in terms]) for entry in near]


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
