"""What of a long conversation fits into the model's window: its last turns, whole, and the oldest are left out.

Tokens are estimated, on the large side, since only the service can count them; what it refuses all the same is tried
again with less.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.llm import Message

__all__ = ["Fitted", "History", "estimated_tokens", "fit", "without_calls"]

History = tuple[tuple[Message, ...], ...]
"""The turns of a conversation that are sent again, each with its messages."""

_BYTES_A_TOKEN = 3  # English has four, other languages and code less
_TOKENS_A_MESSAGE = 8
_TOKENS_AN_IMAGE = 2_000
_TOKENS_A_DOCUMENT = 3_000
_BYTES_A_TOKEN_OF_A_DOCUMENT = 40  # of its base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The messages that are sent, and how many of the oldest turns are not."""

    messages: tuple[Message, ...]
    dropped: int


def fit(history: History, own: Sequence[Message], *, system: str, max_tokens: int, window: int) -> Fitted:
    """As many of the last turns as fit.

    Parameters
    ----------
    own: the messages of the turn itself, which are sent in any case.
    max_tokens: what the answer may take of the window.
    window: tokens, of prompt and answer together.
    """
    room = window - max_tokens - _of_text(system) - estimated_tokens(own)
    kept = 0
    for turn in reversed(history):
        room -= estimated_tokens(turn)
        if room < 0:
            break
        kept += 1
    turns = history[len(history) - kept :]
    return Fitted(
        messages=(*(message for turn in turns for message in turn), *own),
        dropped=len(history) - kept,
    )


def estimated_tokens(messages: Sequence[Message]) -> int:
    """The tokens of messages, on the large side."""
    return sum(_TOKENS_A_MESSAGE + _of_content(message.content) for message in messages)


def without_calls(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same with calls of tools and their results as text: the service takes them only where tools are offered."""
    return tuple(
        message if isinstance(message.content, str) else Message(role=message.role, content=_as_texts(message.content))
        for message in messages
    )


def _as_texts(blocks: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"type": "text", "text": text} if (text := _told(block)) is not None else block for block in blocks)


def _told(block: Mapping[str, Any]) -> str | None:
    """A call of a tool, or its result, in words; None for any other block."""
    if block.get("type") == "tool_use":
        return f"[calls {block.get('name')}: {json.dumps(block.get('input'), ensure_ascii=False, default=str)}]"
    if block.get("type") == "tool_result":
        content = block.get("content", "")
        return f"[result: {content if isinstance(content, str) else json.dumps(content, default=str)}]"
    return None


def _of_content(content: Any) -> int:
    if isinstance(content, str):
        return _of_text(content)
    return sum(_of_block(block) for block in content)


def _of_block(block: Mapping[str, Any]) -> int:
    source = block.get("source")
    if block.get("type") == "image":
        return _TOKENS_AN_IMAGE
    if block.get("type") == "document" and isinstance(source, Mapping):
        return _TOKENS_A_DOCUMENT + len(str(source.get("data", ""))) // _BYTES_A_TOKEN_OF_A_DOCUMENT
    if block.get("type") == "text":
        return _of_text(str(block.get("text", "")))
    if block.get("type") == "tool_result" and not isinstance(block.get("content", ""), str):
        return _of_content(block["content"])
    return _of_text(str(dict(block)))


def _of_text(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN + 1
