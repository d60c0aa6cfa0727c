"""Evaluation: how well agents are chosen, on tasks whose agent is known.

tasks         labelled tasks, from JSON lines, CSV or YAML
predictions   what a router says to each task
metrics       how good that is, in all, by agent and by tag
statistics    how sure the figures are, and what changed from one run to the next
baselines     naive TF-IDF and BM25, to compare with
escalation    what asking a judge gave
gates         the least that a figure must reach
gain          what a change to the agents gives
"""

from dispatcher.evaluation.baselines import bm25_baseline, tfidf_baseline
from dispatcher.evaluation.escalation import EscalationFigures, EscalationPoint, measure_escalation
from dispatcher.evaluation.gain import Gain, measure_gain, unseen
from dispatcher.evaluation.gates import Gate, MissedGate, check_gates, parse_gates
from dispatcher.evaluation.metrics import (
    AgentMetrics,
    Bin,
    Confusion,
    CoveragePoint,
    Metrics,
    by_agent,
    by_tag,
    confusions,
    coverage_curve,
    measure,
    reliability,
)
from dispatcher.evaluation.predictions import Judged, Prediction, predict, read_predictions, write_predictions
from dispatcher.evaluation.statistics import Comparison, Interval, Move, bootstrap, compare
from dispatcher.evaluation.tasks import LabelledTask, check_labels, read_tasks

__all__ = [
    "AgentMetrics",
    "Bin",
    "Comparison",
    "Confusion",
    "CoveragePoint",
    "EscalationFigures",
    "EscalationPoint",
    "Gain",
    "Gate",
    "Interval",
    "Judged",
    "LabelledTask",
    "Metrics",
    "MissedGate",
    "Move",
    "Prediction",
    "bm25_baseline",
    "bootstrap",
    "by_agent",
    "by_tag",
    "check_gates",
    "check_labels",
    "compare",
    "confusions",
    "coverage_curve",
    "measure",
    "measure_escalation",
    "measure_gain",
    "parse_gates",
    "predict",
    "read_predictions",
    "read_tasks",
    "reliability",
    "tfidf_baseline",
    "unseen",
    "write_predictions",
]
