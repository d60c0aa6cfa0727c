"""What a request will cost, about: its length is known, that of the answer is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dispatcher.llm import Request, Usage, cost_of
from dispatcher.llm.tokens import estimated_tokens
from dispatcher.settings import Price

__all__ = ["estimated_cost", "estimated_usage"]

_TOKENS_OF_AN_IMAGE = 1_600
_BYTES_A_TOKEN_OF_A_PDF = 30
_USUAL_ANSWER = 1_000


def estimated_usage(request: Request, answer: str | None = None) -> Usage:
    """About the tokens of a request and its answer: a usual one of 1,000, or less where fewer are allowed.

    Parameters
    ----------
    answer: what came of the answer, if that is known, for a request that was stopped.
    """
    tools = [json.dumps(dict(tool)) for tool in request.tools]
    content = [request.system, *tools, *(message.content for message in request.messages)]
    asked = sum(map(_tokens, content))
    usual = min(_USUAL_ANSWER, request.max_tokens)
    return Usage(input_tokens=asked, output_tokens=usual if answer is None else _tokens(answer))


def estimated_cost(request: Request, prices: Mapping[str, Price], answer: str | None = None) -> float | None:
    """About what a request costs, in US dollars; None where the price of its model is not known."""
    return cost_of(estimated_usage(request, answer), request.model, prices)


def _tokens(content: Any) -> int:
    if isinstance(content, str):
        return estimated_tokens(content)
    if isinstance(content, Mapping):
        kind = content.get("type")
        if kind == "image":
            return _TOKENS_OF_AN_IMAGE
        if kind == "document":
            return len(str(content.get("source", {}).get("data", ""))) // _BYTES_A_TOKEN_OF_A_PDF
        return sum(_tokens(value) for key, value in content.items() if key != "type")
    if isinstance(content, (list, tuple)):
        return sum(map(_tokens, content))
    return 0
