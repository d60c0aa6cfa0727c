"""What surrounds a turn: its session, the history that is sent again, prices and limits; and what it took so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dispatcher.llm import Attempt, Completion, Message, Request, Usage, cost_of
from dispatcher.runtime.tools import Approve
from dispatcher.runtime.window import Fitted, History, fit
from dispatcher.sessions import Handoff, Turn
from dispatcher.settings import Price, Settings, ToolSettings

__all__ = ["Scene", "Tab", "scene_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What surrounds a turn: the session that it belongs to, if any, and the prices of models.

    `number` is the turn's place in its session, `before` the agent that had the conversation, and `torn` the turn
    before it, if that was found torn. `history` are the turns to be sent again, as far as they fit into the `window`
    (tokens); `unread` of the conversation's turns are older than those,
    which the caller `is_told` once. `approve` is asked before each call of a tool.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    session_id: str | None = None
    number: int = 1
    before: str | None = None
    torn: Turn | None = None
    history: History = ()
    unread: int = 0
    is_told: bool = False
    window: int = 200_000
    approve: Approve | None = None
    limits: ToolSettings = field(default_factory=ToolSettings)

    def fitted(self, request: Request, own: Sequence[Message]) -> Fitted:
        """The messages of a request, whose own turn's are `own`."""
        return fit(self.history, own, system=request.system, max_tokens=request.max_tokens, window=self.window)

    def told(self, dropped: int) -> Scene:
        """The same without the oldest turns, which the caller has been told of."""
        return dataclasses.replace(self, history=self.history[dropped:], unread=self.unread + dropped, is_told=True)

    def without_older_half(self) -> Scene:
        """The same with less history, after a request was found too long."""
        return dataclasses.replace(self.told((len(self.history) + 1) // 2), is_told=False)


class Tab:
    """What agents that were asked took, and who turned to whom, until it is put into the turn.

    `requests` and `attempts` count for the whole turn.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.attempts: list[Attempt] = []
        self.handoffs: list[Handoff] = []
        self._usage = Usage()
        self._cost: float | None = 0.0

    def count(self, completion: Completion) -> None:
        self.requests += 1
        self.attempts += completion.attempts

    def take(self, completion: Completion, scene: Scene) -> None:
        self.count(completion)
        cost = cost_of(completion.usage, completion.model, scene.prices)
        self._usage = self._usage + completion.usage
        self._cost = None if cost is None or self._cost is None else self._cost + cost

    def settled(self, turn: Turn) -> Turn:
        """The turn with what is on the tab, which is empty then."""
        cost = None if turn.cost is None or self._cost is None else turn.cost + self._cost
        if self._usage == Usage():
            cost = turn.cost
        turn = dataclasses.replace(
            turn, usage=turn.usage + self._usage, cost=cost, handoffs=(*turn.handoffs, *self.handoffs)
        )
        self._usage, self._cost, self.handoffs = Usage(), 0.0, []
        return turn


def scene_of(settings: Settings, approve: Approve | None) -> Scene:
    """The scene of a turn without a session."""
    return Scene(prices=settings.llm.prices, window=settings.llm.context_window, approve=approve, limits=settings.tools)
