"""Words and figures as both kinds of report show them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dispatcher.evaluation.escalation import EscalationFigures
from dispatcher.evaluation.metrics import Metrics
from dispatcher.evaluation.statistics import Comparison

__all__ = [
    "METRICS",
    "Label",
    "clean",
    "compared",
    "cut",
    "escalated",
    "figure",
    "metric",
    "share",
    "shown_name",
    "trimmed",
]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_NONE = "–"
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """How a metric is presented: `name` is its field in Metrics."""

    name: str
    title: str
    meaning: str
    is_less_better: bool = False


METRICS = (
    Label(name="top1", title="Top-1", meaning="share of tasks whose agent is ranked first"),
    Label(name="top3", title="Top-3", meaning="share of tasks whose agent is among the first three"),
    Label(name="mrr", title="MRR", meaning="mean of 1 / rank of the right agent"),
    Label(name="macro_f1", title="Macro F1", meaning="mean of the F1 of the agents, each counting the same"),
    Label(
        name="auroc",
        title="AUROC",
        meaning="how well confidence tells right first picks from wrong ones; 0.5 is chance",
    ),
    Label(
        name="oos_auroc",
        title="AUROC, out of scope",
        meaning="how well it tells tasks that no agent fits; 0.5 is chance",
    ),
    Label(
        name="ece", title="ECE", meaning="mean gap between confidence and accuracy, in ten bins", is_less_better=True
    ),
    Label(name="brier", title="Brier score", meaning="mean squared error of the confidence", is_less_better=True),
    Label(
        name="coverage_at_90",
        title="Coverage at 90 %",
        meaning="largest share of tasks, surest first, of which 90 % are right",
    ),
    Label(name="coverage", title="Coverage", meaning="share of all tasks that were routed to an agent"),
    Label(
        name="selective_accuracy",
        title="Selective accuracy",
        meaning="share of the routed tasks that the right agent got",
    ),
)


def metric(metrics: Metrics, label: Label) -> float | None:
    """The figure that a label is for."""
    value: float | None = getattr(metrics, label.name)
    return value


def figure(value: float | None) -> str:
    """A figure between 0 and 1 with three decimals; a dash where it is undefined."""
    return _NONE if value is None else f"{value:.3f}"


def share(value: float | None, *, decimals: int = 1) -> str:
    """A figure between 0 and 1 in percent; a dash where it is undefined."""
    return _NONE if value is None else f"{100 * value:.{decimals}f} %"


def shown_name(agent: str | None) -> str:
    """An agent's name, or what stands for none."""
    return "(no agent)" if agent is None else cut(agent, _LONGEST_NAME)


def clean(text: str) -> str:
    """A text without control characters and without those that turn its direction around."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def cut(text: str, most: int) -> str:
    """The beginning of a text on one line of at most `most` characters."""
    folded = " ".join(clean(text).split())
    return folded if len(folded) <= most else folded[: most - 1].rstrip() + "…"


def trimmed(text: str, most: int) -> str:
    """A text with its lines, without what is beyond `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…\n({len(text) - most:,} more characters)"


def compared(comparison: Comparison) -> str:
    """What a comparison found, in sentences."""
    found = (
        f"Moved up (right now, wrong before): {len(comparison.up):,}. Moved down: {len(comparison.down):,}. "
        f"Right as before: {comparison.both_right:,}. Wrong as before: {comparison.both_wrong:,}. "
        f"McNemar's exact test: p = {comparison.p_value:.3g}."
    )
    if comparison.only_old or comparison.only_new:
        found += f" Tasks of the old run only: {comparison.only_old:,}, of the new one only: {comparison.only_new:,}."
    return found


def escalated(figures: EscalationFigures) -> list[str]:
    """What asking a judge gave and took, in sentences."""
    said = [
        f"Judged: {figures.asked:,} of {figures.n:,} tasks ({share(figures.share)}). Top-1: "
        f"{figure(figures.offline_top1)} by the scores alone, {figure(figures.top1)} with the judge."
    ]
    if figures.asked:
        cost = f"${figures.cost:.4f}" if figures.cost is not None else "cost unknown"
        about = " Estimated: nothing was sent." if figures.is_estimated else ""
        said.append(
            f"Tokens: {figures.prompt_tokens:,} in ({round(figures.prompt_tokens / figures.asked):,} a task judged, at "
            f"most {figures.most_prompt_tokens:,}), {figures.output_tokens:,} out, {cost}.{about}"
        )
    said += [f"The scores' own pick stood for {count:,}: {reason}." for reason, count in figures.failures.items()]
    return said
