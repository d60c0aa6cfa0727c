"""The pieces that the HTML page is made of. Whatever takes `text` escapes it; whatever takes `html` does not."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dispatcher.evaluation.report.labels import clean, shown_name

__all__ = ["agent_name", "fold", "note", "numbers", "opened", "safe", "scrolled", "section", "table"]


def safe(text: str) -> str:
    """A text that stays one: no markup of its own, no control characters."""
    return escape(clean(text))


def agent_name(agent: str | None) -> str:
    return f"<b>{safe(shown_name(agent))}</b>"


def section(anchor: str, title: str, *html: str) -> str:
    return f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{safe(title)}</h2>\n{"".join(html)}</section>\n'


def note(text: str) -> str:
    return f'<p class="note">{safe(text)}</p>\n' if text else ""


def scrolled(label: str, html: str) -> str:
    """A box that scrolls by itself, so that the page does not; it can be reached and scrolled by keyboard."""
    return f'<div class="scroll" role="region" aria-label="{safe(label)}" tabindex="0">\n{html}</div>\n'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in a box that scrolls; the first cell of each row is its header, and all cells are HTML."""
    titles = "".join(f'<th scope="col">{safe(title)}</th>' for title in head)
    body = "".join(_row(*row) for row in rows)
    return scrolled(
        caption,
        f"<table><caption>{safe(caption)}</caption>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table>\n",
    )


def fold(summary_html: str, html: str) -> str:
    """Something that opens on demand."""
    return f"<details><summary>{summary_html}</summary><div>{html}</div></details>\n"


def opened(items: Sequence[str], most: int, what: str) -> str:
    """A list of HTML items, those after the first `most` of them folded."""
    rest = fold(f"{len(items) - most:,} more {what}", "".join(items[most:])) if len(items) > most else ""
    return f'<div class="list">\n{"".join(items[:most])}{rest}</div>\n'


def numbers(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The figures of a plot, folded below it."""
    return fold("The numbers", table(caption, head, rows))


def _row(first: str, *others: str) -> str:
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>\n'
