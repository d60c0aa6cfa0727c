"""A model as judge, asked by structured output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatcher.errors import AnswerError
from dispatcher.judge.prompt import SCHEMA, build_request
from dispatcher.judge.protocol import Question, Verdict
from dispatcher.llm import Completion, LLMClient, cost_of, parse_json
from dispatcher.llm.models import CURRENT_MODELS
from dispatcher.settings import Price

__all__ = ["AnthropicJudge"]


class AnthropicJudge:
    """A judge that asks a model.

    Parameters
    ----------
    client: the model's service, such as an AnthropicClient.
    model: the model's full name; a small one if not given.
    prices: prices by model, besides the built-in ones.
    """

    def __init__(
        self, client: LLMClient, *, model: str = CURRENT_MODELS["haiku"], prices: Mapping[str, Price] | None = None
    ) -> None:
        self.model = model
        self._client = client
        self._prices = prices or {}

    def judge(self, question: Question) -> Verdict:
        """Raises the errors of the LLMError branch."""
        return self._verdict(self._client.complete(build_request(question, model=self.model)))

    async def ajudge(self, question: Question) -> Verdict:
        """`judge` for coroutines."""
        return self._verdict(await self._client.acomplete(build_request(question, model=self.model)))

    def prepare(self) -> None:
        """Loads what the client needs, if it says so, so that it is not counted as the time of an answer."""
        if (prepare := getattr(self._client, "prepare", None)) is not None:
            prepare()

    def close(self) -> None:
        """Closes the connections of the client."""
        if (close := getattr(self._client, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self._client, "aclose", None)) is not None:
            await close()

    def _verdict(self, completion: Completion) -> Verdict:
        """What an answer says; one that can't be used has cost something all the same."""
        taken: dict[str, Any] = {
            "model": completion.model,
            "usage": completion.usage,
            "cost": cost_of(completion.usage, completion.model, self._prices),
        }
        try:
            answer = parse_json(completion, SCHEMA)
        except AnswerError as problem:
            return Verdict(pick=None, fault=problem.message, **taken)
        pick, reason = answer["agent"], answer["reason"]
        if not isinstance(pick, str | None) or not isinstance(reason, str):
            return Verdict(pick=None, fault="the answer is not of the shape that was asked for", **taken)
        return Verdict(pick=pick, reason=" ".join(reason.split()), sureness=_share(answer["sureness"]), **taken)


def _share(value: Any) -> float | None:
    """A number between 0 and 1; None for anything else, which then just doesn't tell."""
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if is_share else None
