"""The `{{NAME}}` placeholders of a prompt: finding, dropping and filling them.

`${{ ... }}` belongs to other languages and is left alone. A value that is filled in is never read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dispatcher.agent import Placeholder
from dispatcher.agentfile.lines import LineIndex

__all__ = ["drop_placeholders", "fill_placeholders", "find_placeholders"]

_PLACEHOLDER = re.compile(r"\{\{(?<!\$\{\{)[ \t]*([A-Z][A-Z0-9_]*)[ \t]*\}\}")


def find_placeholders(text: str, *, first_line: int = 1) -> tuple[Placeholder, ...]:
    """Every use of a placeholder in a text whose first line is line `first_line` of its file."""
    index = LineIndex(text, first_line=first_line)
    return tuple(Placeholder(name=found[1], line=index.line_of(found.start())) for found in _PLACEHOLDER.finditer(text))


def drop_placeholders(text: str) -> str:
    """A text for routing: a placeholder says nothing of what an agent is for."""
    return _PLACEHOLDER.sub(" ", text)


def fill_placeholders(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder that has a value replaced by it, in one pass; the others stand as they are."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
