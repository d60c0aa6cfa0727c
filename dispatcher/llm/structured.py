"""Answers as JSON: a request with a schema, and the object that came back.

The service holds the model to the schema; a service of the user's own may not, so an answer is looked at before it is
used. What the values mean is for the caller to check. Whoever needs to know what an answer cost, also one that can't
be used, asks with `dataclasses.replace(request, schema=...)` and reads the Completion with `parse_json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dispatcher.errors import AnswerError, OfflineError
from dispatcher.llm.client import COMPLETE_STOPS, NOT_SENT, Completion, LLMClient, Request, Usage

__all__ = ["acomplete_json", "complete_json", "parse_json"]

_FENCE = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)
_REASONS = {
    "refusal": ("the model declined to answer", "name another model"),
    "max_tokens": ("the answer was cut off at its longest", "raise llm.max_tokens in config.yaml"),
    "model_context_window_exceeded": ("the answer was cut off where the model's window ends", "shorten what is asked"),
}


def complete_json(client: LLMClient, request: Request, schema: Mapping[str, Any]) -> tuple[dict[str, Any], Usage]:
    """Asks for a JSON object of a schema, and returns it with the tokens it took.

    Parameters
    ----------
    client: the model's service.
    request: what is asked; a schema of its own does not count.
    schema: a JSON schema of the type "object", with `additionalProperties: false` in every object, as the Messages API
        wants it.

    Raises AnswerError for an answer that is not such an object, OfflineError where nothing is sent, and the other
    errors of the LLMError branch.
    """
    completion = client.complete(replace(request, schema=schema))
    return parse_json(completion, schema), completion.usage


async def acomplete_json(
    client: LLMClient, request: Request, schema: Mapping[str, Any]
) -> tuple[dict[str, Any], Usage]:
    """`complete_json` for coroutines."""
    completion = await client.acomplete(replace(request, schema=schema))
    return parse_json(completion, schema), completion.usage


def parse_json(completion: Completion, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an answer holds, with every key that the schema requires.

    Raises AnswerError if the answer is not whole or not such an object, and OfflineError if it was never asked for.
    """
    if completion.stop_reason == NOT_SENT:
        raise OfflineError("nothing was sent: there is no credential", hint="set ANTHROPIC_API_KEY to your key")
    if completion.stop_reason not in COMPLETE_STOPS:
        message, hint = _REASONS.get(
            completion.stop_reason, (f"the answer is not whole ({completion.stop_reason})", None)
        )
        raise _unfit(completion, message, hint)
    fenced = _FENCE.match(completion.text)
    try:
        value: Any = json.loads(fenced[1] if fenced else completion.text)
    except (ValueError, RecursionError):
        raise _unfit(completion, "the answer is not JSON", "the model may not know structured output") from None
    if not isinstance(value, dict):
        raise _unfit(completion, "the answer is not a JSON object")
    if missing := [key for key in schema.get("required", ()) if key not in value]:
        raise _unfit(completion, f'the answer has no "{missing[0]}"')
    return value


def _unfit(completion: Completion, message: str, hint: str | None = None) -> AnswerError:
    return AnswerError(
        message,
        hint=hint,
        request_id=completion.request_id,
        stop_reason=completion.stop_reason,
        text=completion.text,
    )
