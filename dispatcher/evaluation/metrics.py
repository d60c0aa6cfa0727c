"""Metrics of predictions, by the names they have in the field.

All are over the tasks that have an agent; only `oos_auroc` and the confusions look at those that none fits. A pick is
the first of the ranking, whether or not the router was sure enough to choose it; `coverage` and `selective_accuracy`
say what it did choose.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.evaluation.predictions import Prediction

__all__ = [
    "AgentMetrics",
    "Bin",
    "Confusion",
    "CoveragePoint",
    "Metrics",
    "by_agent",
    "by_tag",
    "confusions",
    "coverage_curve",
    "measure",
    "reliability",
]

_BINS = 10
_WANTED_ACCURACY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """All figures are between 0 and 1, and None where the tasks leave them undefined.

    n, n_out_of_scope   tasks that have an agent, and tasks that none fits
    top1, top3          share of tasks whose agent is the first, or one of the first three, of the ranking
    mrr                 mean reciprocal rank; a task whose agent is not in the ranking counts as 0
    macro_f1            mean F1 of the agents that have a task
    auroc               how well confidence tells right first picks from wrong ones: the probability that the right one
                        of two has the higher confidence, ties counting half (Hanley & McNeil 1982)
    oos_auroc           the same between tasks that have an agent and tasks that none fits
    ece                 expected calibration error, ten equal bins (Naeini et al. 2015); less is better
    brier               mean squared difference of confidence and being right (Brier 1950); less is better
    coverage_at_90      the largest share of tasks, most confident first, of which 90 % are right
    coverage            share of tasks that were routed
    selective_accuracy  share of those that the right agent got
    """

    n: int
    n_out_of_scope: int
    top1: float | None
    top3: float | None
    mrr: float | None
    macro_f1: float | None
    auroc: float | None
    oos_auroc: float | None
    ece: float | None
    brier: float | None
    coverage_at_90: float | None
    coverage: float | None
    selective_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMetrics:
    """How well one agent is found: `n` tasks are its own.

    Precision is None where it was never ranked first, recall where it has no task.
    """

    agent: str
    n: int
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Tasks of one agent that another was ranked first for.

    `expected` is None for tasks that no agent fits and one took; `predicted` is None where the ranking is empty.
    """

    expected: str | None
    predicted: str | None
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The tasks with a confidence from `low` to below `high`: their number, mean confidence and share of right ones."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePoint:
    """What a threshold would do: the share of tasks that reach it, and the share of those that are right."""

    coverage: float
    accuracy: float
    threshold: float


def measure(predictions: Sequence[Prediction]) -> Metrics:
    """All metrics of some predictions; see Metrics for what each is."""
    labelled = [each for each in predictions if each.expected is not None]
    unlabelled = [each for each in predictions if each.expected is None]
    ranks = [each.rank for each in labelled]
    routed = [each for each in labelled if each.agent is not None]
    return Metrics(
        n=len(labelled),
        n_out_of_scope=len(unlabelled),
        top1=_mean([float(rank == 1) for rank in ranks]),
        top3=_mean([float(1 <= rank <= 3) for rank in ranks]),
        mrr=_mean([1 / rank if rank else 0.0 for rank in ranks]),
        macro_f1=_mean([each.f1 for each in by_agent(labelled) if each.n]),
        auroc=_auroc(
            [each.confidence for each in labelled if each.is_right],
            [each.confidence for each in labelled if not each.is_right],
        ),
        oos_auroc=_auroc([each.confidence for each in labelled], [each.confidence for each in unlabelled]),
        ece=_calibration_error(labelled),
        brier=_mean([(each.confidence - each.is_right) ** 2 for each in labelled]),
        coverage_at_90=_coverage_at(_WANTED_ACCURACY, labelled),
        coverage=_mean([float(each.agent is not None) for each in labelled]),
        selective_accuracy=_mean([float(each.agent == each.expected) for each in routed]),
    )


def by_agent(predictions: Sequence[Prediction]) -> tuple[AgentMetrics, ...]:
    """Every agent that has a task or was ranked first for one, by name. F1 is 2 TP / (2 TP + FP + FN)."""
    labelled = [each for each in predictions if each.expected is not None]
    own = Counter(each.expected for each in labelled)
    picked = Counter(each.first for each in labelled)
    right = Counter(each.expected for each in labelled if each.is_right)
    return tuple(
        AgentMetrics(
            agent=agent,
            n=own[agent],
            precision=right[agent] / picked[agent] if picked[agent] else None,
            recall=right[agent] / own[agent] if own[agent] else None,
            f1=2 * right[agent] / (own[agent] + picked[agent]),
        )
        for agent in sorted(name for name in {*own, *picked} if name is not None)
    )


def by_tag(predictions: Sequence[Prediction]) -> dict[str, Metrics]:
    """The metrics of the tasks with each tag, by the tag's name; a task counts with each of its tags."""
    tagged: dict[str, list[Prediction]] = defaultdict(list)
    for each in predictions:
        for tag in each.tags:
            tagged[tag].append(each)
    return {tag: measure(tagged[tag]) for tag in sorted(tagged)}


def confusions(predictions: Sequence[Prediction]) -> tuple[Confusion, ...]:
    """The pairs of an expected and a wrongly preferred agent, most frequent first, then by name.

    A task that no agent fits is among them only if one took it.
    """
    pairs: dict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for each in predictions:
        if each.expected is None and each.agent is not None:
            pairs[None, each.agent].append(each.task)
        elif each.expected is not None and not each.is_right:
            pairs[each.expected, each.first].append(each.task)
    found = [Confusion(expected=pair[0], predicted=pair[1], tasks=tuple(tasks)) for pair, tasks in pairs.items()]
    return tuple(sorted(found, key=lambda one: (-len(one.tasks), one.expected or "", one.predicted or "")))


def reliability(predictions: Sequence[Prediction], bins: int = _BINS) -> tuple[Bin, ...]:
    """The tasks that have an agent, by confidence in `bins` equal bins; those that hold a task, lowest first.

    A confidence of 1 belongs to the last bin.
    """
    cells: list[list[Prediction]] = [[] for _ in range(bins)]
    for each in predictions:
        if each.expected is not None:
            cells[min(bins - 1, int(each.confidence * bins))].append(each)
    return tuple(
        Bin(
            low=place / bins,
            high=(place + 1) / bins,
            n=len(cell),
            confidence=math.fsum(each.confidence for each in cell) / len(cell),
            accuracy=sum(each.is_right for each in cell) / len(cell),
        )
        for place, cell in enumerate(cells)
        if cell
    )


def coverage_curve(predictions: Sequence[Prediction]) -> tuple[CoveragePoint, ...]:
    """What each threshold would do, on the tasks that have an agent; from the highest confidence to the lowest.

    There is a point for each confidence that occurs, since a threshold can't tell equals apart (the risk–coverage curve
    of El-Yaniv & Wiener 2010, upside down).
    """
    ordered = _most_confident_first(predictions)
    points = []
    hits = 0
    for place, each in enumerate(ordered, start=1):
        hits += each.is_right
        if place == len(ordered) or ordered[place].confidence != each.confidence:
            points.append(
                CoveragePoint(coverage=place / len(ordered), accuracy=hits / place, threshold=each.confidence)
            )
    return tuple(points)


def _coverage_at(accuracy: float, predictions: Sequence[Prediction]) -> float | None:
    ordered = _most_confident_first(predictions)
    if not ordered:
        return None
    covered = hits = 0
    for place, each in enumerate(ordered, start=1):
        hits += each.is_right
        if hits / place >= accuracy:
            covered = place
    return covered / len(ordered)


def _most_confident_first(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The tasks that have an agent; those of the same confidence stay in their order."""
    labelled = [each for each in predictions if each.expected is not None]
    return sorted(labelled, key=lambda each: -each.confidence)


def _calibration_error(labelled: Sequence[Prediction]) -> float | None:
    if not labelled:
        return None
    return math.fsum(cell.n * abs(cell.confidence - cell.accuracy) for cell in reliability(labelled)) / len(labelled)


def _auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """The Mann–Whitney statistic, as the share of pairs in which the positive is higher; ties count half."""
    if not positive or not negative:
        return None
    above, below = Counter(positive), Counter(negative)
    passed = 0
    won = 0.0
    for value in sorted({*above, *below}):
        won += above[value] * (passed + below[value] / 2)
        passed += below[value]
    return won / (len(positive) * len(negative))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
