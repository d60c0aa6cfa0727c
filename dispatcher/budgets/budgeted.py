"""A client that asks its limits before each request, and tells them afterwards what it cost.

Exactly, where the service told; where it did not (a stream that broke off, or a request that was stopped or ran out of
time), about: the prompt and what came of the answer. A request that the service refused costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Self, TypeVar

from dispatcher.budgets.estimate import estimated_cost
from dispatcher.budgets.limits import Limit
from dispatcher.errors import BrokenStreamError, BudgetError, LLMError, ResponseTimeoutError
from dispatcher.llm import NOT_SENT, Completion, LLMClient, Request, TextDelta, cost_of
from dispatcher.settings import Price

__all__ = ["BudgetedClient"]

Piece = TypeVar("Piece", bound=TextDelta | Completion)


class BudgetedClient:
    """A client that stays within limits.

    Parameters
    ----------
    client: the one that sends.
    limits: the budgets that each request counts in; a new object for each run, with a new Limit of that run.
    prices: prices by model, besides the built-in ones.

    All four methods raise BudgetError, before anything is sent, where a request would cost more than is left, or where
    the price of its model is not known. A ResilientClient goes around it, so that each of its attempts is asked for at
    the price of the model that it goes to.
    """

    def __init__(
        self, client: LLMClient, limits: Sequence[Limit], *, prices: Mapping[str, Price] | None = None
    ) -> None:
        self.client = client
        self.limits = tuple(limits)
        self._prices = prices or {}

    def complete(self, request: Request) -> Completion:
        with _Bill(self, request) as bill:
            return bill.heard(self.client.complete(request))

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        with _Bill(self, request) as bill, ExitStack() as stack:
            pieces = self.client.stream(request)
            if (close := getattr(pieces, "close", None)) is not None:
                stack.callback(close)
            for piece in pieces:
                yield bill.heard(piece)

    async def acomplete(self, request: Request) -> Completion:
        with _Bill(self, request) as bill:
            return bill.heard(await self.client.acomplete(request))

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        with _Bill(self, request) as bill:
            async with AsyncExitStack() as stack:
                pieces = self.client.astream(request)
                if (close := getattr(pieces, "aclose", None)) is not None:
                    stack.push_async_callback(close)
                async for piece in pieces:
                    yield bill.heard(piece)

    def prepare(self) -> None:
        """Loads what the client needs, if it says so."""
        if (prepare := getattr(self.client, "prepare", None)) is not None:
            prepare()

    def close(self) -> None:
        """Closes the connections of the client."""
        if (close := getattr(self.client, "close", None)) is not None:
            close()

    async def aclose(self) -> None:
        """The same for those of the running event loop."""
        if (close := getattr(self.client, "aclose", None)) is not None:
            await close()

    def estimate(self, request: Request) -> float:
        """About what a request costs. Raises BudgetError for a model whose price is not known."""
        cost = estimated_cost(request, self._prices)
        if cost is None:
            raise BudgetError(
                f'a budget can\'t be kept with the model "{request.model}", whose price is not known',
                hint="add it to llm.prices in config.yaml",
                budget=self.limits[0].name,
                limit=self.limits[0].dollars,
                spent=self.limits[0].spent,
            )
        return cost

    def cost(self, completion: Completion) -> float | None:
        return cost_of(completion.usage, completion.model, self._prices)

    def cost_so_far(self, request: Request, text: str) -> float:
        """About what a request has cost that was stopped after a text."""
        return estimated_cost(request, self._prices, text) or 0.0


class _Bill:
    """One request: what is set aside for it, and what is paid in the end."""

    def __init__(self, payer: BudgetedClient, request: Request) -> None:
        self._payer = payer
        self._request = request
        self._estimate = payer.estimate(request) if payer.limits else 0.0
        self._completion: Completion | None = None
        self._parts: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as reserved:
            for limit in self._payer.limits:
                limit.reserve(self._estimate)
                reserved.callback(limit.settle, self._estimate, 0.0)
            reserved.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        cost = self._cost(problem)
        for limit in self._payer.limits:
            limit.settle(self._estimate, cost)

    def heard(self, piece: Piece) -> Piece:
        """Notes what came, and returns it."""
        if isinstance(piece, Completion):
            self._completion = piece
        elif isinstance(piece, TextDelta):
            self._parts.append(piece.text)
        return piece

    def _cost(self, problem: BaseException | None) -> float:
        if self._completion is not None:
            if self._completion.stop_reason == NOT_SENT:
                return 0.0
            cost = self._payer.cost(self._completion)
            return self._estimate if cost is None else cost
        is_stopped = self._parts or isinstance(problem, (BrokenStreamError, ResponseTimeoutError))
        is_refused = isinstance(problem, LLMError) and not is_stopped
        return 0.0 if is_refused else self._payer.cost_so_far(self._request, "".join(self._parts))
