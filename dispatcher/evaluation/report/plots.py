"""Plots as inline SVG, written by hand: colors come from the page's style sheet, so they follow light and dark.

Every plot says what it shows without color too: by shape, by position or by a written count.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeVar

from dispatcher.evaluation.escalation import EscalationPoint
from dispatcher.evaluation.metrics import AgentMetrics, Bin, CoveragePoint
from dispatcher.evaluation.report.labels import cut, share, shown_name
from dispatcher.evaluation.report.matrix import Matrix
from dispatcher.evaluation.report.svg import Area, beside, grid, picture, x_axis

__all__ = ["agent_bar", "confusion_plot", "coverage_plot", "escalation_plot", "reliability_plot", "thinned"]

Point = TypeVar("Point", CoveragePoint, EscalationPoint)

_MOST_POINTS = 200
_CELL = 30
_LONGEST_NAME = 22
_LETTER = 6.4
"""The width of a letter, about."""


def reliability_plot(bins: Sequence[Bin]) -> str:
    """Confidence against the share that was right, with the number of tasks in each bin below."""
    area = Area()
    filled = [each for each in bins if each.n]
    parts = [grid(area, "right"), f'<path class="ideal" d="M{area.x(0)} {area.y(0)}L{area.x(1)} {area.y(1)}"/>']
    for each in filled:
        x, y = area.x(each.confidence), area.y(each.accuracy)
        told = f"confidence {each.confidence:.2f}, right {each.accuracy:.2f}, {each.n:,} tasks"
        parts.append(f'<path class="gap" d="M{x} {area.y(each.confidence)}V{y}"/>')
        parts.append(f'<circle class="point" cx="{x}" cy="{y}" r="4.5"><title>{told}</title></circle>')
    parts.extend([_counts(filled), x_axis(area, 316, "confidence")])
    largest = max((abs(each.confidence - each.accuracy) for each in filled), default=0.0)
    described = f"{len(filled)} bins have tasks; the largest gap between confidence and accuracy is {largest:.2f}."
    return picture(title="Reliability diagram", described=described, parts=parts, height=344, kind="plot")


def coverage_plot(points: Sequence[CoveragePoint], *, now: tuple[float, float] | None, at_90: float | None) -> str:
    """The share of tasks routed, most confident first, against the share of these that was right.

    `now` is coverage and accuracy at the router's own threshold; `at_90` the largest coverage that is 90 % right.
    """
    area = Area(height=284)
    parts = [grid(area, "right among routed")]
    if points:
        places = [f"{area.x(point.coverage)} {area.y(point.accuracy)}" for point in thinned(points, _MOST_POINTS)]
        parts.append(f'<path class="curve" d="M{"L".join(places)}"/>')
    described = f"{share(at_90 or 0, decimals=0)} of the tasks can be routed at 90 % right."
    parts.append(f'<path class="ideal" d="M{area.x(0)} {area.y(0.9)}H{area.x(1)}"/>')
    if at_90:
        parts.append(f'<path class="gap" d="M{area.x(at_90)} {area.y(0)}V{area.y(0.9)}"/>')
        parts.append(beside(area, at_90, area.y(0) - 8, f"{share(at_90, decimals=0)} at 90 % right"))
    if now is not None:
        x, y = area.x(now[0]), area.y(now[1])
        routed, right = share(now[0], decimals=0), share(now[1], decimals=0)
        parts.append(f'<path class="mark" d="M{x} {y - 7}l7 7l-7 7l-7 -7z"/>')
        parts.append(beside(area, now[0], y + 22, f"now: {routed} routed, {right} right"))
        described += f" As routed now: {routed} routed, {right} of them right."
    parts.append(x_axis(area, 316, "coverage: share of tasks routed"))
    return picture(title="Coverage against accuracy", described=described, parts=parts, height=344, kind="plot")


def escalation_plot(points: Sequence[EscalationPoint]) -> str:
    """The share of tasks put to a judge, least confident first, against the share of all tasks that was right."""
    area = Area(height=284)
    parts = [grid(area, "right of all tasks")]
    places = [f"{area.x(point.calls)} {area.y(point.accuracy)}" for point in thinned(points, _MOST_POINTS)]
    parts.append(f'<path class="curve" d="M{"L".join(places)}"/>')
    first, last = points[0], points[-1]
    x, y = area.x(last.calls), area.y(last.accuracy)
    told = f"{share(last.calls, decimals=0)} judged, {share(last.accuracy)} right"
    parts.append(f'<path class="ideal" d="M{area.x(0)} {area.y(first.accuracy)}H{area.x(1)}"/>')
    parts.append(f'<path class="mark" d="M{x} {y - 7}l7 7l-7 7l-7 -7z"/>')
    parts.append(beside(area, last.calls, y - 14, told))
    parts.append(x_axis(area, 316, "share of tasks judged"))
    described = f"From {share(first.accuracy)} right with nobody judged to {told}."
    return picture(
        title="Accuracy against the share of tasks judged", described=described, parts=parts, height=344, kind="plot"
    )


def confusion_plot(matrix: Matrix) -> str:
    """Expected agents as rows, first picks as columns; right picks are outlined, wrong ones filled."""
    names = [escape(cut(shown_name(name), _LONGEST_NAME)) for name in matrix.names]
    label = max((len(cut(shown_name(name), _LONGEST_NAME)) for name in matrix.names), default=0) * _LETTER
    # The names of columns lean to the right by thirty degrees, so they need less height, and room beyond the grid.
    left, top, size = round(label + 14), round(label * 0.87 + 16), len(names) * _CELL
    parts = [_grid_of_cells(left, top, len(names))]
    for place, name in enumerate(names):
        middle = place * _CELL + _CELL // 2
        x, y = left + middle + 4, top - 8
        parts.append(f'<text class="end" x="{left - 8}" y="{top + middle + 4}">{name}</text>')
        parts.append(f'<text x="{x}" y="{y}" transform="rotate(-60 {x} {y})">{name}</text>')
    largest = max((count for (row, column), count in matrix.counts.items() if row != column), default=1)
    for (row, column), count in matrix.counts.items():
        kind = 'class="right"' if row == column else f'class="wrong" fill-opacity="{0.12 + 0.4 * count / largest:.2f}"'
        x, y = left + column * _CELL, top + row * _CELL
        parts.append(
            f"<g><title>expected {names[row]}, first pick {names[column]}: {count:,}</title>"
            f'<rect {kind} x="{x + 2}" y="{y + 2}" width="{_CELL - 4}" height="{_CELL - 4}"/>'
            f'<text class="middle" x="{x + _CELL // 2}" y="{y + _CELL // 2 + 4}">{count}</text></g>'
        )
    return picture(
        title="Confusion matrix",
        described=f"{len(names)} agents as rows (expected) and columns (first pick); the list below has the pairs.",
        parts=parts,
        width=left + size + round(label * 0.5 + 8),
        height=top + size + 4,
        kind="matrix",
    )


def agent_bar(agent: AgentMetrics) -> str:
    """One agent's F1 as a bar, precision as a triangle above it, recall as one below; the figures stand beside."""
    parts = [
        '<rect class="track" x="4" y="5" width="120" height="8"/>',
        f'<rect class="bar" x="4" y="5" width="{120 * agent.f1:.1f}" height="8"/>',
    ]
    if agent.precision is not None:
        parts.append(f'<path d="M{4 + 120 * agent.precision:.1f} 7l-4 -7h8z"/>')
    if agent.recall is not None:
        parts.append(f'<path d="M{4 + 120 * agent.recall:.1f} 11l-4 7h8z"/>')
    return f'<svg class="agent" width="128" height="18" viewBox="0 0 128 18" aria-hidden="true">{"".join(parts)}</svg>'


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def _counts(bins: Sequence[Bin]) -> str:
    """How many tasks each bin has, as columns below the diagram; the tallest is 34 units."""
    area = Area(top=262, height=34)
    most = max((each.n for each in bins), default=1)
    parts = [f'<path class="grid" d="M{area.x(0)} {area.y(0)}H{area.x(1)}"/>']
    for each in bins:
        x, width, y = area.x(each.low), area.width * (each.high - each.low), area.y(each.n / most)
        parts.append(
            f'<rect class="count" x="{x + 1}" y="{y}" width="{width - 2:.1f}" height="{area.y(0) - y:.1f}"/>'
            f'<text class="small middle" x="{x + width / 2:.1f}" y="{y - 3:.1f}">{each.n}</text>'
        )
    parts.append(f'<text class="small end" x="{area.left - 6}" y="{area.y(0)}">tasks</text>')
    return "".join(parts)


def _grid_of_cells(left: int, top: int, number: int) -> str:
    size = number * _CELL
    steps = range(0, size + 1, _CELL)
    lines = "".join(f"M{left} {top + step}h{size}M{left + step} {top}v{size}" for step in steps)
    return f'<path class="grid" d="{lines}"/>'
