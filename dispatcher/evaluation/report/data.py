"""Everything that a report shows, gathered by the caller: writing it measures nothing and reads no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dispatcher.evaluation.escalation import EscalationFigures
from dispatcher.evaluation.metrics import AgentMetrics, Bin, Confusion, CoveragePoint, Metrics
from dispatcher.evaluation.statistics import Comparison, Interval

__all__ = ["Miss", "Report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A task that went wrong.

    `expected` is None where no agent fits, `predicted` where nobody was ranked; `confidence` is between 0 and 1;
    `rank` is the place of the expected agent, from 1, or 0 if it has none. `explanation` is lines of text.
    """

    task: str
    expected: str | None
    predicted: str | None
    confidence: float
    rank: int = 0
    context: str = ""
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One evaluation.

    `provenance` are lines of a name and a value: agents, tasks, weights, versions, the date. `intervals` are by the
    name of the metric, `baselines` by the name of the baseline, `by_tag` by the tag. `confusions` come most frequent
    first; `coverage_curve` from the highest threshold to the lowest. `escalation` is None where there was no judge.
    """

    title: str
    metrics: Metrics
    provenance: tuple[tuple[str, str], ...] = ()
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    by_tag: Mapping[str, Metrics] = field(default_factory=dict)
    by_agent: tuple[AgentMetrics, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    reliability: tuple[Bin, ...] = ()
    coverage_curve: tuple[CoveragePoint, ...] = ()
    misses: tuple[Miss, ...] = ()
    comparison: Comparison | None = None
    escalation: EscalationFigures | None = None
