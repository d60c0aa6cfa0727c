"""The report as one HTML page: it needs no network and no script, and a policy in its head sees to that."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.evaluation.metrics import AgentMetrics, Confusion
from dispatcher.evaluation.report.budget import fitting, left_out
from dispatcher.evaluation.report.data import Miss, Report
from dispatcher.evaluation.report.html_parts import (
    agent_name,
    fold,
    note,
    numbers,
    opened,
    safe,
    scrolled,
    section,
    table,
)
from dispatcher.evaluation.report.labels import (
    METRICS,
    Label,
    compared,
    cut,
    escalated,
    figure,
    metric,
    share,
    shown_name,
    trimmed,
)
from dispatcher.evaluation.report.matrix import most_confused
from dispatcher.evaluation.report.plots import (
    agent_bar,
    confusion_plot,
    coverage_plot,
    escalation_plot,
    reliability_plot,
    thinned,
)
from dispatcher.evaluation.report.style import STYLE
from dispatcher.evaluation.statistics import Move

__all__ = ["to_html"]

_EXPLAINED_BYTES = 2_300_000
_LISTED_BYTES = 3_000_000
_MOST_AGENTS = 1_000
_MOST_TAGS = 200
_MOST_PAIRS = 200
_OPEN_ITEMS = 20
_MOST_MOVES = 300
_TASKS_A_PAIR = 10
_LONGEST_SUMMARY = 160
_LONGEST_TASK = 2_000
_LONGEST_EXPLANATION = 4_000
_TILES = ("top1", "top3", "coverage_at_90", "ece")
_CURVE_ROWS = 11


def to_html(report: Report) -> str:
    """The whole page. However much was evaluated, it stays below about 5 MB, and says what it leaves out."""
    sections = {
        "summary": ("Metrics", _metrics(report)),
        "confidence": ("Confidence", _confidence(report)),
        "judged": ("Judged", _judged(report)),
        "tags": ("By tag", _tags(report)),
        "agents": ("By agent", _agents(report)),
        "confusions": ("Confusions", _confusions(report)),
        "comparison": ("Comparison", _comparison(report)),
        "misses": ("Misses", _misses(report)),
    }
    shown = {anchor: (title, html) for anchor, (title, html) in sections.items() if html}
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, (title, _) in shown.items())
    body = "".join(section(anchor, title, html) for anchor, (title, html) in shown.items())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{safe(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{safe(report.title)}</h1>\n{_provenance(report)}{_tiles(report)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n{body}</main>\n</body>\n</html>\n'
    )


def _provenance(report: Report) -> str:
    lines = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>\n" for name, value in report.provenance)
    return f'<dl class="given">\n{lines}</dl>\n' if lines else ""


def _tiles(report: Report) -> str:
    tiles = []
    for label in (label for label in METRICS if label.name in _TILES):
        value = metric(report.metrics, label)
        shown = figure(value) if label.is_less_better else share(value)
        interval = report.intervals.get(label.name)
        sure = f'<dd class="note">95 %: {_interval(report, label)}</dd>' if interval else ""
        tiles.append(f'<div><dt>{safe(label.title)}</dt><dd class="large">{shown}</dd>{sure}</div>')
    return f'<dl class="tiles">{"".join(tiles)}</dl>\n'


def _metrics(report: Report) -> str:
    counted = report.metrics
    said = f"Tasks that have an agent: {counted.n:,}. Tasks that no agent fits: {counted.n_out_of_scope:,}."
    rows = [
        [
            safe(label.title + (" ↓" if label.is_less_better else "")),
            f"<b>{figure(metric(counted, label))}</b>",
            _interval(report, label),
            *(figure(metric(other, label)) for other in report.baselines.values()),
        ]
        for label in METRICS
    ]
    meanings = "".join(f"<dt>{safe(label.title)}</dt><dd>{safe(label.meaning)}</dd>" for label in METRICS)
    return (
        f"<p>{said}</p>\n"
        + table(
            "Metrics, and baselines on the same tasks", ["Metric", "Value", "95 % interval", *report.baselines], rows
        )
        + note("↓ marks metrics of which less is better. A dash stands where the tasks leave a metric undefined.")
        + fold("What the metrics say", f'<dl class="given">{meanings}</dl>')
    )


def _interval(report: Report, label: Label) -> str:
    interval = report.intervals.get(label.name)
    return "–" if interval is None else f"{figure(interval.low)} to {figure(interval.high)}"


def _confidence(report: Report) -> str:
    if not report.coverage_curve:
        return ""
    metrics = report.metrics
    now = None
    if metrics.coverage is not None and metrics.selective_accuracy is not None:
        now = (metrics.coverage, metrics.selective_accuracy)
    bins = [
        [f"{each.low:.1f} to {each.high:.1f}", f"{each.n:,}", figure(each.confidence), figure(each.accuracy)]
        for each in report.reliability
    ]
    points = [
        [share(point.coverage), share(point.accuracy), figure(point.threshold)]
        for point in thinned(report.coverage_curve, _CURVE_ROWS)
    ]
    return (
        f'<div class="plots"><figure><h3>Is it as often right as it says?</h3>{reliability_plot(report.reliability)}'
        "<figcaption>Points on the dashed line are honest; above it the router is too modest, below it too sure. "
        "Columns below count the tasks. Tasks that have an agent only.</figcaption>"
        + numbers("Reliability", ["Confidence from", "Tasks", "Mean confidence", "Right"], bins)
        + "</figure>\n<figure><h3>What does a threshold buy?</h3>"
        + coverage_plot(report.coverage_curve, now=now, at_90=metrics.coverage_at_90)
        + "<figcaption>The surest tasks are on the left; the dashed line is 90 % right. The curve is over tasks that "
        "have an agent; the diamond is what was routed now, of all tasks.</figcaption>"
        + numbers("Coverage against accuracy", ["Coverage", "Right", "Threshold"], points)
        + "</figure></div>\n"
    )


def _judged(report: Report) -> str:
    figures = report.escalation
    if figures is None:
        return ""
    said = "".join(f"<p>{safe(sentence)}</p>\n" for sentence in escalated(figures))
    if len(figures.curve) < 2:
        return said
    points = [
        [share(point.calls), share(point.accuracy), figure(point.threshold)]
        for point in thinned(figures.curve, _CURVE_ROWS)
    ]
    return (
        f'{said}<div class="plots"><figure><h3>What does a judged task buy?</h3>{escalation_plot(figures.curve)}'
        "<figcaption>The least sure tasks are judged first; the dashed line is what the scores alone give. Tasks that "
        "have an agent only.</figcaption>"
        + numbers("Accuracy against the share judged", ["Judged", "Right", "Below confidence"], points)
        + "</figure></div>\n"
    )


def _tags(report: Report) -> str:
    shown = list(report.by_tag.items())[:_MOST_TAGS]
    if not shown:
        return ""
    head = ["Tag", "Tasks", "No agent fits", *(label.title for label in METRICS)]
    rows = [
        [safe(tag), f"{each.n:,}", f"{each.n_out_of_scope:,}", *(figure(metric(each, label)) for label in METRICS)]
        for tag, each in shown
    ]
    return note(left_out(len(report.by_tag), len(shown), "tags")) + table(
        "Metrics of the tasks with each tag", head, rows
    )


def _agents(report: Report) -> str:
    if not report.by_agent:
        return ""
    weakest = sorted(report.by_agent, key=lambda agent: (agent.f1, -agent.n, agent.agent))[:_MOST_AGENTS]
    said = "Weakest first. The bar is F1; the triangle above it is precision, the one below it recall. "
    return note(said + left_out(len(report.by_agent), len(weakest), "agents")) + table(
        "Precision, recall and F1 of each agent",
        ["Agent", "0 to 1", "F1", "Precision", "Recall", "Tasks"],
        [_agent_row(agent) for agent in weakest],
    )


def _agent_row(agent: AgentMetrics) -> list[str]:
    figures = [figure(value) for value in (agent.f1, agent.precision, agent.recall)]
    return [safe(shown_name(agent.agent)), agent_bar(agent), *figures, f"{agent.n:,}"]


def _confusions(report: Report) -> str:
    if not report.confusions:
        return ""
    matrix = most_confused(report.by_agent, report.confusions)
    aside = f" Wrong picks of agents that are not shown: {matrix.left_out:,}." if matrix.left_out else ""
    said = f"Rows are the expected agents, columns the first picks. Outlined cells are right, filled ones wrong.{aside}"
    shown = report.confusions[:_MOST_PAIRS]
    pairs = [_pair(pair) for pair in shown]
    return (
        f"<figure>{scrolled('Confusion matrix', confusion_plot(matrix))}"
        f"<figcaption>{safe(said)}</figcaption></figure>\n"
        f"<h3>Pairs, most frequent first</h3>\n{note(left_out(len(report.confusions), len(shown), 'pairs'))}"
        f"{opened(pairs, _OPEN_ITEMS, 'pairs')}"
    )


def _pair(pair: Confusion) -> str:
    tasks = "".join(f"<li>{safe(cut(task, _LONGEST_SUMMARY))}</li>" for task in pair.tasks[:_TASKS_A_PAIR])
    more = len(pair.tasks) - _TASKS_A_PAIR
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    summary = f"{len(pair.tasks):,} × {agent_name(pair.expected)} → {agent_name(pair.predicted)}"
    return fold(summary, f"<ul>{tasks}{rest}</ul>")


def _comparison(report: Report) -> str:
    if report.comparison is None:
        return ""
    up, down = report.comparison.up, report.comparison.down
    return f"<p>{safe(compared(report.comparison))}</p>\n{_moves('Right now, wrong before', up)}" + _moves(
        "Wrong now, right before", down
    )


def _moves(title: str, moves: Sequence[Move]) -> str:
    if not moves:
        return ""
    shown = [_move(move) for move in moves[:_MOST_MOVES]]
    return (
        f"<h3>{safe(title)}: {len(moves):,}</h3>\n"
        + note("First pick before → first pick now. " + left_out(len(moves), len(shown), "tasks"))
        + opened(shown, _OPEN_ITEMS, "tasks")
    )


def _move(move: Move) -> str:
    """A task with the pick before and now, one of which is the expected one."""
    return (
        f'<p class="move">{safe(cut(move.task, _LONGEST_SUMMARY))}'
        f'<span class="meta">{agent_name(move.old)} → {agent_name(move.new)}</span></p>\n'
    )


def _misses(report: Report) -> str:
    if not report.misses:
        return "<p>None.</p>\n"
    html, cut_short = fitting(report.misses, _miss, explained=_EXPLAINED_BYTES, listed=_LISTED_BYTES)
    said = f"Tasks that went wrong: {len(report.misses):,}, the surest first. Open one for what it was decided on."
    return f'<p>{said}</p>\n{note(cut_short)}<div class="list">\n{html}</div>\n'


def _miss(miss: Miss, is_explained: bool) -> str:
    expected = f"expected {agent_name(miss.expected)}" if miss.expected is not None else "<b>no agent fits</b>"
    summary = (
        f"{safe(cut(miss.task, _LONGEST_SUMMARY))}"
        f'<span class="meta">{expected}, first pick {agent_name(miss.predicted)}, '
        f"confidence {miss.confidence:.2f}{_rank(miss)}</span>"
    )
    return fold(summary, _miss_body(miss) if is_explained else "<p>The explanation is left out.</p>")


def _rank(miss: Miss) -> str:
    if miss.expected is None:
        return ""
    return f", expected one at rank {miss.rank}" if miss.rank else ", expected one not ranked"


def _miss_body(miss: Miss) -> str:
    texts = {
        "Task": trimmed(miss.task, _LONGEST_TASK) if cut(miss.task, _LONGEST_SUMMARY) != miss.task else "",
        "Context (not routed on)": trimmed(miss.context, _LONGEST_TASK),
        "Explanation": trimmed("\n".join(miss.explanation), _LONGEST_EXPLANATION),
    }
    parts = [f'<p class="note">{title}</p><pre>{safe(text)}</pre>' for title, text in texts.items() if text.strip()]
    return "".join(parts) or "<p>There is no explanation.</p>"
