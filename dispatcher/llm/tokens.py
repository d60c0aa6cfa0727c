"""About how many tokens a text takes; only the service can count them."""

from __future__ import annotations

__all__ = ["estimated_tokens"]

_CHARACTERS_A_TOKEN = 4
_FIRST_DENSE_SIGN = "\u2e80"  # from here on a sign is about a token: Chinese, Japanese, Korean


def estimated_tokens(text: str) -> int:
    """A quarter of its letters; more where it is Chinese, Japanese or Korean."""
    dense = 0 if text.isascii() else sum(sign >= _FIRST_DENSE_SIGN for sign in text)
    return dense + (len(text) - dense) // _CHARACTERS_A_TOKEN
