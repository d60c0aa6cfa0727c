"""The Message Batches API: many requests at once, answered within a day, at half the price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dispatcher.errors import (
    CredentialError,
    LLMError,
    OverloadedError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
    UnknownModelError,
)
from dispatcher.llm.anthropic_client import AnthropicClient, request_body
from dispatcher.llm.client import Completion, Request
from dispatcher.llm.failures import redact

__all__ = ["AnthropicBatches", "BatchClient", "BatchState"]

_ERRORS: Mapping[str, type[LLMError]] = {
    "authentication_error": CredentialError,
    "permission_error": CredentialError,
    "not_found_error": UnknownModelError,
    "invalid_request_error": RequestError,
    "rate_limit_error": RateLimitError,
    "overloaded_error": OverloadedError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A batch as the service sees it. `has_ended` once the results of all its requests can be had."""

    id: str
    has_ended: bool


class BatchClient(Protocol):
    """A service that takes batches. All methods raise errors of the LLMError branch."""

    def submit(self, requests: Mapping[str, Request]) -> BatchState:
        """Sends requests, each under a name of letters, digits, - and _ (64 at most)."""

    def state(self, batch: str) -> BatchState:
        """How far a batch is."""

    def results(self, batch: str) -> dict[str, Completion | LLMError]:
        """The answer to each request of a batch that has ended, or what went wrong with it, by its name."""


class AnthropicBatches:
    """The batches of a client's service."""

    def __init__(self, client: AnthropicClient) -> None:
        self._client = client

    def submit(self, requests: Mapping[str, Request]) -> BatchState:
        bodies: Any = [{"custom_id": name, "params": request_body(request)} for name, request in requests.items()]
        model = next(iter(requests.values())).model
        created = self._client.ask(
            lambda sdk, timeout: sdk.messages.batches.create(requests=bodies, timeout=timeout), model=model
        )
        return _state(created)

    def state(self, batch: str) -> BatchState:
        return _state(self._ask_of(batch, lambda sdk, timeout: sdk.messages.batches.retrieve(batch, timeout=timeout)))

    def results(self, batch: str) -> dict[str, Completion | LLMError]:
        # All of it is read at once, so that a connection that breaks is an error here and not halfway through.
        found = self._ask_of(batch, lambda sdk, timeout: list(sdk.messages.batches.results(batch, timeout=timeout)))
        return {str(each.custom_id): self._result(each.result) for each in found}

    def _ask_of(self, batch: str, question: Any) -> Any:
        try:
            return self._client.ask(question, model=batch)
        except UnknownModelError as problem:
            raise RequestError(
                f'the service does not have the batch "{batch}" (HTTP 404)',
                hint="it is kept for 29 days, for the workspace of the key that submitted it",
                request_id=problem.request_id,
            ) from None

    def _result(self, result: Any) -> Completion | LLMError:
        if result.type == "succeeded":
            return self._client.completion_of(result.message)
        if result.type == "errored":
            error = result.error.error
            kind = _ERRORS.get(str(error.type), ServiceError)
            said = redact(str(error.message), ())
            return kind(f"the service failed in the batch: {said}", request_id=result.error.request_id)
        if result.type == "expired":
            return ResponseTimeoutError("the batch expired before it was its turn", hint="run the same again")
        return LLMError(f"the request was not answered ({result.type})", hint="run the same again")


def _state(batch: Any) -> BatchState:
    if getattr(batch, "type", None) != "message_batch":
        raise ServiceError("the service does not answer as the Message Batches API does", hint="check llm.base_url")
    return BatchState(id=str(batch.id), has_ended=batch.processing_status == "ended")
