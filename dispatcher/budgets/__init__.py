"""Money: what a request may cost, what was spent, and where it stops. Knows of models and prices, not of agents.

estimate   what a request will cost, about, before it is sent
limits     a budget, what was spent of it and what is under way
spending   the spend of each day, in a small file that processes share
budgeted   a client that asks its limits before each request, and tells them what it cost
"""

from dispatcher.budgets.budgeted import BudgetedClient
from dispatcher.budgets.estimate import estimated_cost, estimated_usage
from dispatcher.budgets.limits import DayLimit, Limit
from dispatcher.budgets.spending import SpendingFile, spending_path

__all__ = [
    "BudgetedClient",
    "DayLimit",
    "Limit",
    "SpendingFile",
    "estimated_cost",
    "estimated_usage",
    "spending_path",
]
