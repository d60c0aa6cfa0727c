"""A budget, what was spent of it, and what requests under way will take of it; safe to share among threads.

A request is let through while what was spent, what is under way and its own estimate stay within the budget. What it
really cost is counted when it is over, so an answer may be the one that goes beyond; it is the last one.
"""

from __future__ import annotations

import threading

from dispatcher.budgets.spending import SpendingFile
from dispatcher.errors import BudgetError
from dispatcher.llm import in_dollars

__all__ = ["DayLimit", "Limit"]

_NOTHING = 1e-9
_OTHERWISE = {"session": ", or begin another session", "day": ", or wait until tomorrow"}


class Limit:
    """A budget in US dollars.

    Parameters
    ----------
    name: what it is for, as in "run".
    dollars: how much may be spent.
    spent: what was spent of it before.
    """

    def __init__(self, name: str, dollars: float, *, spent: float = 0.0) -> None:
        self.name = name
        self.dollars = dollars
        self._spent = spent
        self._under_way = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        return self._spent

    def reserve(self, estimate: float) -> None:
        """Sets aside what a request will take. Raises BudgetError, with what was spent, if that is too much."""
        with self._lock:
            spent = self.spent
            if spent + self._under_way + estimate > self.dollars:
                raise self._refusal(spent, estimate)
            self._under_way += estimate

    def settle(self, estimate: float, cost: float) -> None:
        """Counts what the request cost in place of what was set aside for it."""
        with self._lock:
            self._under_way -= estimate
            self._count(cost)

    def _count(self, cost: float) -> None:
        self._spent += cost

    def _refusal(self, spent: float, estimate: float) -> BudgetError:
        taken = f"{in_dollars(spent)} of {in_dollars(self.dollars)} are spent"
        if self._under_way > _NOTHING:
            taken += f", {in_dollars(self._under_way)} are under way"
        return BudgetError(
            f"the budget of this {self.name} allows no further request: {taken}, and it would cost about "
            f"{in_dollars(estimate)}",
            hint=f"raise budget.{self.name}{_OTHERWISE.get(self.name, '')}",
            budget=self.name,
            limit=self.dollars,
            spent=spent,
            estimate=estimate,
        )


class DayLimit(Limit):
    """The budget of a day, whose spend is kept in a file that all processes of a user share."""

    def __init__(self, dollars: float, spending: SpendingFile) -> None:
        super().__init__("day", dollars)
        self._file = spending

    @property
    def spent(self) -> float:
        return self._file.today()

    def _count(self, cost: float) -> None:
        self._file.add(cost)
