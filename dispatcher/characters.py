r"""Texts that can be printed, sent and stored as UTF-8, whatever they came from: JSON may hold half a surrogate pair
(`"\ud800"`), and so do the words of a command line that are no UTF-8. Knows nothing of what the texts say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["well_formed", "well_formed_content"]


def well_formed(text: str) -> str:
    """A text with a question mark in place of each half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def well_formed_content(value: Any) -> Any:
    """The same of every text in mappings and lists."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed_content(key): well_formed_content(each) for key, each in value.items()}
    return [well_formed_content(each) for each in value] if isinstance(value, (list, tuple)) else value
