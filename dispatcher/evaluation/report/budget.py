"""How much of many misses a report takes: all of them in full, or the surest first while there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatcher.evaluation.report.data import Miss

__all__ = ["fitting", "left_out"]


def fitting(
    misses: Sequence[Miss], render: Callable[[Miss, bool], str], *, explained: int, listed: int
) -> tuple[str, str]:
    """The misses as text, those with the highest confidence first, and a sentence on what had to be left out, if any.

    `render` gets a miss and whether to explain it. `explained` and `listed` are sizes in bytes: up to the first, misses
    are explained; up to the second, they are listed without.
    """
    pieces: list[str] = []
    size = full = 0
    for miss in sorted(misses, key=lambda miss: -miss.confidence):
        if size >= listed:
            break
        is_explained = size < explained
        pieces.append(render(miss, is_explained))
        size += len(pieces[-1].encode(errors="replace"))
        full += is_explained
    return "".join(pieces), _told(len(misses), len(pieces), full)


def left_out(total: int, shown: int, what: str) -> str:
    """A sentence on a list that was cut short, or nothing if it was not."""
    return f"Shown are {shown:,} of {total:,} {what}." if shown < total else ""


def _told(total: int, listed: int, full: int) -> str:
    sentences = [left_out(total, listed, "misses, those with the highest confidence")] if listed < total else []
    if full < listed:
        sentences.append(f"Explanations are left out after the first {full:,}.")
    if sentences:
        sentences.append("The file that --predictions writes has every task.")
    return " ".join(sentences)
