"""Judges: who picks among the best agents where the router by itself is unsure. Joins routing and the LLM layer.

protocol         what a judge is asked and what it answers
prompt           a question → what is sent to a model
anthropic_judge  a model of the Messages API as judge
replay           recorded picks as judge
memory           what has been answered and spent
escalation       Decision → a question, an answer → Decision: no I/O
escalator        the same with a judge: asking, waiting no longer than is allowed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.judge.anthropic_judge import AnthropicJudge
    from dispatcher.judge.escalation import Policy
    from dispatcher.judge.escalator import Escalator
    from dispatcher.judge.memory import JudgeMemory
    from dispatcher.judge.protocol import Judge, Option, Question, Said, Verdict
    from dispatcher.judge.replay import Pick, ReplayJudge

__all__ = [
    "AnthropicJudge",
    "Escalator",
    "Judge",
    "JudgeMemory",
    "Option",
    "Pick",
    "Policy",
    "Question",
    "ReplayJudge",
    "Said",
    "Verdict",
]

__getattr__ = on_demand(
    __name__,
    {
        "dispatcher.judge.anthropic_judge": ("AnthropicJudge",),
        "dispatcher.judge.escalation": ("Policy",),
        "dispatcher.judge.escalator": ("Escalator",),
        "dispatcher.judge.memory": ("JudgeMemory",),
        "dispatcher.judge.protocol": (
            "Judge",
            "Option",
            "Question",
            "Said",
            "Verdict",
        ),
        "dispatcher.judge.replay": (
            "Pick",
            "ReplayJudge",
        ),
    },
)
