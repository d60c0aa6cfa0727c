"""What went wrong at the model's service, in this package's errors: one clear line, the request id, what to do.

Never shows a key: whatever the service or a library says is searched for it first.
"""

from __future__ import annotations

import email.utils
import re
import textwrap
import time
from collections.abc import Iterable
from typing import Any

from dispatcher.errors import (
    BrokenStreamError,
    CredentialError,
    LLMError,
    NetworkError,
    OverloadedError,
    PromptTooLongError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
    UnknownModelError,
)

__all__ = ["broken_stream", "not_the_api", "redact", "status_error", "translate"]

_TOO_LONG = re.compile(
    r"too (long|large|many tokens)|context (window|length|limit)|exceeds? .*(tokens|maximum)", re.IGNORECASE
)
_KEY_LIKE = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}")
_LONGEST_REASON = 300
_WISHES = {"true": True, "false": False}


def translate(
    problem: Exception, *, model: str, base_url: str, secrets: Iterable[str] = (), retries: int = 0
) -> LLMError:
    """The error for an exception of the SDK or of the HTTP library below it."""
    import anthropic
    import httpx2

    if isinstance(problem, LLMError):
        return problem
    if isinstance(problem, anthropic.APIStatusError):
        return _status_error(problem, model, secrets, retries)
    if isinstance(problem, anthropic.APITimeoutError) or "Timeout" in type(problem).__name__:
        return ResponseTimeoutError(
            f"no answer from {base_url} in time", hint="try again, or raise llm.timeout in config.yaml"
        )
    if isinstance(problem, ValueError):
        return not_the_api(base_url)
    reason = redact(_innermost(problem), secrets)
    if isinstance(problem, anthropic.CredentialsError):
        return CredentialError(f"the credential can't be used: {reason}", hint="check the profile or the token file")
    if isinstance(problem, (anthropic.APIConnectionError, httpx2.HTTPError, OSError)):
        return NetworkError(
            f"{base_url} can't be reached: {reason}", hint="check the network, a proxy and llm.base_url"
        )
    return LLMError(f"the request could not be made: {type(problem).__name__}: {reason}", hint="--debug says where")


def broken_stream(cause: LLMError | None, partial: str, request_id: str | None) -> BrokenStreamError:
    """The error for an answer that stopped in the middle."""
    reason = f": {cause.message}" if cause is not None else ": the connection was closed before the end"
    if isinstance(cause, NetworkError):
        reason = ": the connection was lost"
    return BrokenStreamError(
        f"the answer broke off after {len(partial):,} characters{reason}",
        hint="what came is kept; try again for the whole",
        request_id=request_id or (cause.request_id if cause is not None else None),
        partial=partial,
    )


def not_the_api(base_url: str) -> ServiceError:
    """The error for a server that answers, but not in the form of the Messages API."""
    return ServiceError(f"{base_url} does not answer as the Messages API does", hint="check llm.base_url")


def redact(text: str, secrets: Iterable[str]) -> str:
    """A text without the secrets, as they are and as libraries quote them, and without what looks like a key."""
    for secret in (secret.strip() for secret in secrets):
        if secret:
            text = text.replace(secret, "[key]").replace(str(secret.encode())[2:-1], "[key]")
    return _KEY_LIKE.sub("[key]", text)


def _status_error(problem: Any, model: str, secrets: Iterable[str], retries: int) -> LLMError:
    error = status_error(
        int(problem.status_code),
        str(problem.type or ""),
        textwrap.shorten(redact(str(problem.api_message or problem.message), secrets), _LONGEST_REASON),
        model=model,
        retries=retries,
        request_id=problem.request_id,
        retry_after=_retry_after(problem),
    )
    error.should_retry = _WISHES.get(problem.response.headers.get("x-should-retry", ""))
    return error


def status_error(
    status: int,
    kind: str,
    said: str,
    *,
    model: str,
    retries: int = 0,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> LLMError:
    """The error for an HTTP status and what the service says: the kind of its error, and a line for people.

    `retry_after` is the wait in seconds that it asks for.
    """
    known: dict[str, Any] = {"request_id": request_id, "retry_after": retry_after}
    # A stream that has begun well can still tell of an error; such a one is not tried again.
    after = f" (HTTP {status})" + (", also after the retries" if retries else "") if status >= 400 else ""
    if status in (401, 403) or kind in ("authentication_error", "permission_error"):
        return CredentialError(
            f"the service refused the key (HTTP {status}): {said}",
            hint="check ANTHROPIC_API_KEY, or the variable that llm.api_key_env names",
            **known,
        )
    if status == 404:
        hint = "name another with --model, in the agent's file or in llm.model"
        return UnknownModelError(
            f'the service does not have the model "{model}" (HTTP 404): {said}',
            hint=hint if kind == "not_found_error" else f"{hint}; or check llm.base_url",
            **known,
        )
    if status == 413 or (status == 400 and _TOO_LONG.search(said)):
        return PromptTooLongError(
            f'the prompt is too long for "{model}" (HTTP {status}): {said}',
            hint="shorten the task or the files given with it",
            **known,
        )
    if status == 429 or kind == "rate_limit_error":
        when = f"in {retry_after:g} seconds" if retry_after is not None else "in a while"
        message = f"too many requests{after}: {said}"
        return RateLimitError(message, hint=f"try again {when}", **known)
    if status == 529 or kind == "overloaded_error":
        return OverloadedError(
            f"the service is overloaded{after}: {said}",
            hint="try again in a while, or name another model with --model",
            **known,
        )
    if status == 408:
        return ResponseTimeoutError(f"no answer in time{after}: {said}", hint="try again in a while", **known)
    if status >= 500 or status == 409 or kind == "api_error":
        return ServiceError(f"the service failed{after}: {said}", hint="try again in a while", **known)
    return RequestError(f"the service refused the request (HTTP {status}): {said}", **known)


def _retry_after(problem: Any) -> float | None:
    """The wait in seconds that the service asks for, which it may give in three ways."""
    headers = problem.response.headers
    try:
        return float(headers["retry-after-ms"]) / 1000
    except (KeyError, ValueError):
        pass
    asked = headers.get("retry-after", "")
    try:
        return float(asked)
    except ValueError:
        moment = email.utils.parsedate_tz(asked)
    try:
        return None if moment is None else max(0.0, email.utils.mktime_tz(moment) - time.time())
    except (ValueError, OverflowError):  # a date that no calendar has
        return None


def _innermost(problem: BaseException) -> str:
    """The first cause, which says most: "Connection refused" rather than "Connection error."."""
    while (cause := problem.__cause__ or problem.__context__) is not None:
        problem = cause
    return str(problem) or type(problem).__name__
