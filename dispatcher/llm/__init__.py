"""The LLM layer: a client protocol, the client for the Messages API, one that sends nothing, and one
that tries again and elsewhere; model names and prices.

Knows nothing of agents or routing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.llm.anthropic_client import (
        STANDARD_BASE_URL,
        AnthropicClient,
        base_url_of,
        has_credential,
        request_body,
    )
    from dispatcher.llm.attempts import AttemptPolicy
    from dispatcher.llm.batches import AnthropicBatches, BatchClient, BatchState
    from dispatcher.llm.circuits import Circuits
    from dispatcher.llm.client import (
        COMPLETE_STOPS,
        NOT_SENT,
        Attempt,
        Completion,
        LLMClient,
        Message,
        Request,
        TextDelta,
        Usage,
    )
    from dispatcher.llm.models import ModelChoice, choose_model, cost_of, in_dollars
    from dispatcher.llm.offline import OfflineClient
    from dispatcher.llm.resilient import ResilientClient
    from dispatcher.llm.structured import acomplete_json, complete_json, parse_json

__all__ = [
    "COMPLETE_STOPS",
    "NOT_SENT",
    "STANDARD_BASE_URL",
    "AnthropicBatches",
    "AnthropicClient",
    "Attempt",
    "AttemptPolicy",
    "BatchClient",
    "BatchState",
    "Circuits",
    "Completion",
    "LLMClient",
    "Message",
    "ModelChoice",
    "OfflineClient",
    "Request",
    "ResilientClient",
    "TextDelta",
    "Usage",
    "acomplete_json",
    "base_url_of",
    "choose_model",
    "complete_json",
    "cost_of",
    "has_credential",
    "in_dollars",
    "parse_json",
    "request_body",
]

__getattr__ = on_demand(
    __name__,
    {
        "dispatcher.llm.anthropic_client": (
            "STANDARD_BASE_URL",
            "AnthropicClient",
            "base_url_of",
            "has_credential",
            "request_body",
        ),
        "dispatcher.llm.attempts": ("AttemptPolicy",),
        "dispatcher.llm.batches": (
            "AnthropicBatches",
            "BatchClient",
            "BatchState",
        ),
        "dispatcher.llm.circuits": ("Circuits",),
        "dispatcher.llm.client": (
            "COMPLETE_STOPS",
            "NOT_SENT",
            "Attempt",
            "Completion",
            "LLMClient",
            "Message",
            "Request",
            "TextDelta",
            "Usage",
        ),
        "dispatcher.llm.models": (
            "ModelChoice",
            "choose_model",
            "cost_of",
            "in_dollars",
        ),
        "dispatcher.llm.offline": ("OfflineClient",),
        "dispatcher.llm.resilient": ("ResilientClient",),
        "dispatcher.llm.structured": (
            "acomplete_json",
            "complete_json",
            "parse_json",
        ),
    },
)
