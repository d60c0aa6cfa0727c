"""What a run will take, before it is begun: calls, tokens and dollars, from the length of what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dispatcher.llm import Request, Usage, cost_of
from dispatcher.llm.tokens import estimated_tokens
from dispatcher.settings import Price

__all__ = ["BATCH_FACTOR", "Estimate", "estimate"]

BATCH_FACTOR = 0.5
"""What a call in a batch costs, in terms of one by itself."""

_TOKENS_A_TASK = 40
_TOKENS_AROUND = 150  # the schema on the way in, the braces on the way out


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`cost` is in US dollars, None where the model's price is not known."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None


def estimate(
    requests: Sequence[Request], tasks: int, *, prices: Mapping[str, Price], is_batch: bool = False
) -> Estimate:
    """What some requests will take that ask for so many tasks each; `prices` are those of config."""
    factor = BATCH_FACTOR if is_batch else 1.0
    usages = [
        Usage(input_tokens=_prompt_tokens(each), output_tokens=tasks * _TOKENS_A_TASK + _TOKENS_AROUND)
        for each in requests
    ]
    costs = [cost_of(usage, each.model, prices) for usage, each in zip(usages, requests, strict=True)]
    known = [cost for cost in costs if cost is not None]
    return Estimate(
        calls=len(requests),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cost=factor * sum(known) if len(known) == len(costs) else None,
    )


def _prompt_tokens(request: Request) -> int:
    texts = [request.system, *(str(message.content) for message in request.messages)]
    return _TOKENS_AROUND + sum(map(estimated_tokens, texts))
