"""What the user does not want to be kept: patterns of theirs, and what looks like a key."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatcher.errors import ConfigError
from dispatcher.llm.failures import redact

__all__ = ["Redaction"]

_REDACTED = "[redacted]"


class Redaction:
    """Takes out of texts what matches any of some regular expressions.

    Raises ConfigError for a pattern that is none.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [_compiled(pattern) for pattern in patterns]

    def __call__(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(_REDACTED, text)
        return redact(text, ())


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as problem:
        raise ConfigError(
            f'log.redact: "{pattern}" is no regular expression: {problem}', hint="mend it, or put a \\ before signs"
        ) from None
