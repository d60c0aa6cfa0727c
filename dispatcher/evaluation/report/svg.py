"""What plots are drawn on: the area for shares from 0 to 1, its grid and axis, and the SVG element with its texts.

Coordinates are units of the view box; a plot 360 units wide fills a phone at about one pixel a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["WIDTH", "Area", "beside", "grid", "picture", "x_axis"]

WIDTH = 360
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The rectangle in which shares from 0 to 1 are drawn."""

    left: float = 44
    top: float = 12
    width: float = 300
    height: float = 220

    def x(self, share: float) -> float:
        return round(self.left + self.width * share, 1)

    def y(self, share: float) -> float:
        return round(self.top + self.height * (1 - share), 1)


def grid(area: Area, title: str) -> str:
    """The lines of a grid, with the shares and the title of the vertical axis."""
    lines = "".join(f"M{area.x(0)} {area.y(at)}H{area.x(1)}M{area.x(at)} {area.y(0)}V{area.y(1)}" for at in _TICKS)
    shares = "".join(f'<text class="end" x="{area.left - 6}" y="{area.y(at) + 4}">{at:g}</text>' for at in _TICKS)
    x, y = 10, area.y(0.5)
    turned = f'<text class="middle" x="{x}" y="{y}" transform="rotate(-90 {x} {y})">{escape(title)}</text>'
    return f'<path class="grid" d="{lines}"/>{shares}{turned}'


def x_axis(area: Area, y: float, title: str) -> str:
    """The shares below the horizontal axis, and its title."""
    shares = "".join(f'<text class="middle" x="{area.x(at)}" y="{y}">{at:g}</text>' for at in _TICKS)
    return f'{shares}<text class="middle" x="{area.x(0.5)}" y="{y + 18}">{escape(title)}</text>'


def beside(area: Area, share: float, y: float, text: str) -> str:
    """A text at a place on the horizontal axis, on the side that has more room."""
    is_left = share > 0.5
    x = area.x(share) + (-6 if is_left else 6)
    return f'<text class="{"end" if is_left else "start"}" x="{x}" y="{y}">{escape(text)}</text>'


def picture(*, title: str, described: str, parts: Sequence[str], height: int, width: int = WIDTH, kind: str) -> str:
    """The SVG element; `title` and `described` are what a screen reader says of it."""
    return (
        f'<svg class="{kind}" role="img" aria-label="{escape(f"{title}. {described}")}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{"".join(parts)}</svg>'
    )
