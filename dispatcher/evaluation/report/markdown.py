"""The report as Markdown, for pull requests and job summaries.

Texts of users stand in code spans and indented code, where neither Markdown, HTML, links nor @mentions mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dispatcher.evaluation.metrics import Confusion
from dispatcher.evaluation.report.budget import fitting, left_out
from dispatcher.evaluation.report.data import Miss, Report
from dispatcher.evaluation.report.labels import (
    METRICS,
    Label,
    clean,
    compared,
    cut,
    escalated,
    figure,
    metric,
    share,
    shown_name,
    trimmed,
)
from dispatcher.evaluation.report.plots import thinned
from dispatcher.evaluation.statistics import Move

__all__ = ["to_markdown"]

# A job summary of GitHub takes one megabyte.
_EXPLAINED_BYTES = 500_000
_LISTED_BYTES = 700_000
_MOST_ROWS = 200
_LONGEST_SUMMARY = 160
_LONGEST_TEXT = 2_000
_TASKS_A_PAIR = 3
_CURVE_ROWS = 11


def to_markdown(report: Report) -> str:
    """The whole report; it stays below one megabyte, and says what it leaves out."""
    sections = {
        "Metrics": _metrics(report),
        "Reliability": _reliability(report),
        "Judged": _judged(report),
        "By tag": _tags(report),
        "By agent": _agents(report),
        "Confusions": _confusions(report),
        "Comparison": _comparison(report),
        "Misses": _misses(report),
    }
    head = f"# {_plain(report.title)}\n\n" + "".join(
        f"- {_plain(name)}: {_code(value)}\n" for name, value in report.provenance
    )
    return head + "".join(f"\n## {title}\n\n{text}" for title, text in sections.items() if text)


def _metrics(report: Report) -> str:
    rows = [
        [
            label.title + (" ↓" if label.is_less_better else ""),
            f"**{figure(metric(report.metrics, label))}**",
            _interval(report, label),
            *(figure(metric(other, label)) for other in report.baselines.values()),
        ]
        for label in METRICS
    ]
    return (
        f"Tasks that have an agent: {report.metrics.n:,}. Tasks that no agent fits: {report.metrics.n_out_of_scope:,}. "
        "↓ marks metrics of which less is better.\n\n"
        + _table(["Metric", "Value", "95 % interval", *map(_plain, report.baselines)], rows)
    )


def _interval(report: Report, label: Label) -> str:
    interval = report.intervals.get(label.name)
    return "–" if interval is None else f"{figure(interval.low)} to {figure(interval.high)}"


def _reliability(report: Report) -> str:
    rows = [
        [f"{each.low:.1f} to {each.high:.1f}", f"{each.n:,}", figure(each.confidence), figure(each.accuracy)]
        for each in report.reliability
    ]
    return _table(["Confidence from", "Tasks", "Mean confidence", "Right"], rows) if rows else ""


def _judged(report: Report) -> str:
    if report.escalation is None:
        return ""
    said = "\n".join(f"- {_plain(sentence)}" for sentence in escalated(report.escalation))
    rows = [
        [share(point.calls), figure(point.accuracy), figure(point.threshold)]
        for point in thinned(report.escalation.curve, _CURVE_ROWS)
    ]
    return f"{said}\n\n" + _table(["Judged, least sure first", "Right of all", "Below confidence"], rows)


def _tags(report: Report) -> str:
    rows = [
        [_code(tag), f"{each.n:,}", f"{each.n_out_of_scope:,}", *(figure(metric(each, label)) for label in METRICS)]
        for tag, each in list(report.by_tag.items())[:_MOST_ROWS]
    ]
    head = ["Tag", "Tasks", "No agent fits", *(label.title for label in METRICS)]
    return _cut_table(head, rows, len(report.by_tag), "tags")


def _agents(report: Report) -> str:
    weakest = sorted(report.by_agent, key=lambda agent: (agent.f1, -agent.n, agent.agent))[:_MOST_ROWS]
    rows = [
        [_code(each.agent), figure(each.f1), figure(each.precision), figure(each.recall), f"{each.n:,}"]
        for each in weakest
    ]
    return _cut_table(
        ["Agent", "F1", "Precision", "Recall", "Tasks"], rows, len(report.by_agent), "agents, weakest first"
    )


def _confusions(report: Report) -> str:
    rows = [_pair(pair) for pair in report.confusions[:_MOST_ROWS]]
    return _cut_table(["Expected", "First pick", "Tasks", "Such as"], rows, len(report.confusions), "pairs")


def _pair(pair: Confusion) -> list[str]:
    tasks = "<br>".join(_code(cut(task, 80)) for task in pair.tasks[:_TASKS_A_PAIR])
    return [_name(pair.expected), _name(pair.predicted), f"{len(pair.tasks):,}", tasks]


def _comparison(report: Report) -> str:
    if report.comparison is None:
        return ""
    return (
        f"{compared(report.comparison)}\n"
        + _moves("Right now, wrong before", report.comparison.up)
        + _moves("Wrong now, right before", report.comparison.down)
    )


def _moves(title: str, moves: Sequence[Move]) -> str:
    rows = [
        [_code(cut(move.task, _LONGEST_SUMMARY)), _name(move.expected), _name(move.old), _name(move.new)]
        for move in moves[:_MOST_ROWS]
    ]
    head = ["Task", "Expected", "First pick before", "First pick now"]
    return f"\n### {title}\n\n{_cut_table(head, rows, len(moves), 'tasks')}" if rows else ""


def _misses(report: Report) -> str:
    if not report.misses:
        return "None.\n"
    text, cut_short = fitting(report.misses, _miss, explained=_EXPLAINED_BYTES, listed=_LISTED_BYTES)
    said = f"Tasks that went wrong: {len(report.misses):,}, the surest first. {cut_short}"
    return f"{said.strip()}\n\n{text}"


def _miss(miss: Miss, is_explained: bool) -> str:
    rank = f", expected one at rank {miss.rank}" if miss.rank else ", expected one not ranked"
    expected = f"expected {_name(miss.expected)}" if miss.expected is not None else "no agent fits"
    head = (
        f"- {_code(cut(miss.task, _LONGEST_SUMMARY))}: {expected}, first pick {_name(miss.predicted)}, "
        f"confidence {miss.confidence:.2f}{rank if miss.expected is not None else ''}\n"
    )
    if not is_explained:
        return head
    texts = [f"context: {miss.context}" if miss.context.strip() else "", "\n".join(miss.explanation)]
    return head + "".join(_indented(trimmed(text, _LONGEST_TEXT)) for text in texts if text.strip()) + "\n"


def _cut_table(head: Sequence[str], rows: Sequence[Sequence[str]], total: int, what: str) -> str:
    if not rows:
        return ""
    said = left_out(total, len(rows), what)
    return (f"{said}\n\n" if said else "") + _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a bar in a cell is escaped even in a code span (GFM specification, section 4.10)."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n" for cells in lines)


def _name(agent: str | None) -> str:
    return shown_name(None) if agent is None else _code(shown_name(agent))


def _code(text: str) -> str:
    """A text as a code span, in a fence longer than any in the text."""
    folded = cut(text, _LONGEST_TEXT)
    if not folded:
        return "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", folded)), default=0))
    margin = " " if folded.startswith("`") or folded.endswith("`") else ""
    return f"{fence}{margin}{folded}{margin}{fence}"


def _plain(text: str) -> str:
    """A text on one line in which no character means anything to Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#~&!@])", r"\\\1", cut(text, _LONGEST_SUMMARY))


def _indented(text: str) -> str:
    """A text as an indented code block that belongs to the list item before it."""
    return "\n" + "".join(f"      {line}\n" for line in clean(text).splitlines() if line.strip())
