"""A content block of a streamed answer, put together from its pieces: text, thought, a call of a tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["BlockAssembler"]

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class BlockAssembler:
    """Starts with the block as it was announced, and takes the pieces in their order."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self._start = dict(start)
        self._texts: dict[str, list[str]] = {}
        self._json: list[str] = []
        self._citations: list[Any] = []

    def feed(self, delta: Mapping[str, Any]) -> None:
        """Takes a piece as the service sent it; kinds that are not known are passed over."""
        kind = delta["type"]
        if (name := _TEXTS.get(kind)) is not None:
            self._texts.setdefault(name, []).append(delta[name])
        elif kind == "input_json_delta":
            self._json.append(delta["partial_json"])
        elif kind == "citations_delta":
            self._citations.append(delta["citation"])

    def block(self) -> dict[str, Any]:
        """The whole block. Raises ValueError where the arguments of a call are no JSON object."""
        block = dict(self._start)
        for name, parts in self._texts.items():
            block[name] = str(block.get(name) or "") + "".join(parts)
        if text := "".join(self._json):
            block["input"] = json.loads(text)
            if not isinstance(block["input"], dict):
                raise ValueError("the arguments of a call are no JSON object")
        if self._citations:
            block["citations"] = self._citations
        return block
