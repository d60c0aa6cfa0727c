"""Every error that this package raises on purpose.

    DispatcherError                 anything below; has a hint for the user and an exit code
    ├── UsageError            2     the call itself is wrong: an option, a name, a task
    │   ├── ConfigError       2     config.yaml, an environment variable or a flag holds a wrong value
    │   ├── UnknownAgentError 2     an agent was named that is not in the registry
    │   ├── VariableError     2     a prompt has placeholders that nobody defined
    │   ├── AttachmentError   2     a file given with the task can't be read or sent
    │   └── UnknownSessionError 2   a conversation was named that is not in the store
    ├── AgentFileError        3     agent files leave nothing to work with
    ├── LLMError              5     the model's service did not give a complete answer
    │   ├── OfflineError            no credential, and config wants an error instead of a preview
    │   ├── CredentialError         the service refused the key
    │   ├── UnknownModelError       the service has no model of that name
    │   ├── PromptTooLongError      the prompt is larger than the model's window
    │   ├── RequestError            the service refused the request for another reason
    │   ├── RateLimitError          too many requests, after the retries
    │   ├── OverloadedError         the service has no capacity, after the retries
    │   ├── CircuitOpenError        the model failed so often just now that it is not asked
    │   ├── ServiceError            the service failed, after the retries
    │   ├── ResponseTimeoutError    no answer in time
    │   ├── NetworkError            the service could not be reached
    │   ├── AnswerError             the answer is not what was asked for: declined, cut off, or of another shape
    │   └── BrokenStreamError       the answer stopped in the middle; what came is kept in `partial`
    ├── McpServerError        1     a server of tools can't be started or reached, or gave no answer
    ├── SessionError          6     a conversation can't be gone on with
    │   ├── SessionBusyError        another turn of it is under way
    │   ├── SessionConflictError    a turn would take the place of another
    │   └── SessionStoreError       the store failed: a full disk, a damaged file, no right to write
    └── BudgetError           7     a budget is spent; `spent` says how much

Abstaining, "no agent fits" and a lenient parse are results, not errors.
This module imports nothing of the package.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AgentFileError",
    "AnswerError",
    "AttachmentError",
    "BrokenStreamError",
    "BudgetError",
    "CircuitOpenError",
    "ConfigError",
    "CredentialError",
    "DispatcherError",
    "LLMError",
    "McpServerError",
    "NetworkError",
    "OfflineError",
    "OverloadedError",
    "PromptTooLongError",
    "RateLimitError",
    "RequestError",
    "ResponseTimeoutError",
    "ServiceError",
    "SessionBusyError",
    "SessionConflictError",
    "SessionError",
    "SessionStoreError",
    "UnknownAgentError",
    "UnknownModelError",
    "UnknownSessionError",
    "UsageError",
    "VariableError",
]


class DispatcherError(Exception):
    """The root of the tree.

    Parameters
    ----------
    message: what went wrong, in one or a few lines, naming the file and line where there is one.
    hint: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DispatcherError):
    """The call itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting holds a wrong value."""


class UnknownAgentError(UsageError):
    """An agent was named that is not in the registry; `suggestions` are the nearest names."""

    def __init__(self, message: str, *, hint: str | None = None, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.suggestions = suggestions


class VariableError(UsageError):
    """A prompt has placeholders that nobody defined; `names` are theirs."""

    def __init__(self, message: str, *, hint: str | None = None, names: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.names = names


class AttachmentError(UsageError):
    """A file given with the task can't be read or sent."""


class UnknownSessionError(UsageError):
    """A conversation was named that is not in the store."""


class AgentFileError(DispatcherError):
    """Agent files leave nothing to work with."""

    exit_code = 3


class LLMError(DispatcherError):
    """The model's service did not give a complete answer.

    `request_id` is the service's own name for the request, to be quoted to its support. `retry_after` is the wait in
    seconds that it asked for. `should_retry` is what it says of another attempt, if it says anything. `attempts` are
    those that were made (`dispatcher.llm.Attempt`), where something kept count. `usage` is what was spent on no answer
    (`dispatcher.llm.Usage`), where that is known.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry: bool | None = None
        self.attempts: tuple[Any, ...] = ()
        self.usage: Any = None


class OfflineError(LLMError):
    """No credential, and config wants an error instead of a preview."""


class CredentialError(LLMError):
    """The service refused the key."""


class UnknownModelError(LLMError):
    """The service has no model of that name."""


class PromptTooLongError(LLMError):
    """The prompt is larger than the model's window."""


class RequestError(LLMError):
    """The service refused the request for another reason."""


class RateLimitError(LLMError):
    """Too many requests, after the retries."""


class OverloadedError(LLMError):
    """The service has no capacity, after the retries."""


class CircuitOpenError(LLMError):
    """A model failed so often just now that it is not asked again yet; `retry_after` says when it will be."""


class ServiceError(LLMError):
    """The service failed, after the retries."""


class ResponseTimeoutError(LLMError):
    """No answer in time."""


class NetworkError(LLMError):
    """The service could not be reached."""


class AnswerError(LLMError):
    """The answer is not what was asked for: the model declined, was cut off, or answered in another shape.

    `stop_reason` is the Messages API's word for why the answer ended, `text` what came all the same.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        request_id: str | None = None,
        stop_reason: str = "end_turn",
        text: str = "",
    ) -> None:
        super().__init__(message, hint=hint, request_id=request_id)
        self.stop_reason = stop_reason
        self.text = text


class BrokenStreamError(LLMError):
    """The answer stopped in the middle; `partial` is the text that had come."""

    def __init__(
        self, message: str, *, hint: str | None = None, request_id: str | None = None, partial: str = ""
    ) -> None:
        super().__init__(message, hint=hint, request_id=request_id)
        self.partial = partial


class BudgetError(DispatcherError):
    """A budget does not allow another request; nothing was sent.

    `budget` is its name ("run", "day"), `limit` what it allows, `spent` what was spent of it and `estimate` about what
    the request would have cost, all in US dollars.
    """

    exit_code = 7

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        budget: str = "",
        limit: float = 0.0,
        spent: float = 0.0,
        estimate: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.estimate = estimate


class McpServerError(DispatcherError):
    """A server of tools can't be started or reached, or gave no answer. Runs go on without it."""


class SessionError(DispatcherError):
    """A conversation can't be gone on with."""

    exit_code = 6


class SessionBusyError(SessionError):
    """Another turn of the conversation is under way, here or in another process."""


class SessionConflictError(SessionError):
    """A turn would take the place of another; the store is as it was."""


class SessionStoreError(SessionError):
    """The store failed. Where the answer had come by then, `text` holds it."""

    def __init__(self, message: str, *, hint: str | None = None, text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text
