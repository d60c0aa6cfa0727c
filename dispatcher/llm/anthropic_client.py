"""The client for the Messages API, on the vendor's SDK: any service that speaks it, any credential that the SDK takes.

One assembler turns raw events into pieces of text and a completion, whose blocks `blocks` puts together; the four
methods only differ in how they wait.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dispatcher.characters import well_formed, well_formed_content
from dispatcher.errors import CredentialError, LLMError, NetworkError
from dispatcher.llm.blocks import BlockAssembler
from dispatcher.llm.client import Completion, Request, TextDelta, Usage
from dispatcher.llm.failures import broken_stream, not_the_api, translate
from dispatcher.llm.hangup import HangUp
from dispatcher.settings import LLMSettings

if TYPE_CHECKING:
    import anthropic

__all__ = ["STANDARD_BASE_URL", "AnthropicClient", "has_credential", "request_body"]

T = TypeVar("T")

STANDARD_BASE_URL = "https://api.anthropic.com"
_KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_SIGNS_OF_A_PROFILE = ("ANTHROPIC_PROFILE", "ANTHROPIC_CONFIG_DIR", "ANTHROPIC_FEDERATION_RULE_ID")
_AUTHORIZATION = re.compile(r"(?im)^\s*(?:authorization|x-api-key)\s*:\s*(?:Bearer\s+)?(.*)$")
_CONNECT_SECONDS = 10.0


def request_body(request: Request) -> dict[str, Any]:
    """A request as it is sent, less what only says how (streaming)."""
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        # The prompt of an agent is the same for all its tasks, so the service is asked to keep it.
        "system": [{"type": "text", "text": well_formed(request.system), "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": message.role, "content": well_formed_content(message.content)} for message in request.messages
        ],
    }
    output: dict[str, Any] = {}
    if request.effort is not None:
        output["effort"] = request.effort
    if request.schema is not None:
        output["format"] = {"type": "json_schema", "schema": dict(request.schema)}
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    return body | ({"output_config": output} if output else {})


def base_url_of(settings: LLMSettings, environment: Mapping[str, str]) -> str:
    return (settings.base_url or environment.get("ANTHROPIC_BASE_URL") or STANDARD_BASE_URL).rstrip("/")


def has_credential(settings: LLMSettings, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the SDK would find a credential of any kind: a key, a token, a profile, a federation.

    The SDK is only asked, which takes a second, where there is a sign of a profile. Raises CredentialError for a
    profile that is there and can't be used.
    """
    environment = os.environ if environment is None else environment
    if any(environment.get(name, "").strip() for name in (settings.api_key_env or "", *_KEY_VARIABLES)):
        return True
    if _AUTHORIZATION.search(environment.get("ANTHROPIC_CUSTOM_HEADERS", "")):
        return True
    if not any(environment.get(name) for name in _SIGNS_OF_A_PROFILE) and not _profile_folder(environment).is_dir():
        return False
    import anthropic

    try:
        with anthropic.Anthropic() as client:
            return bool(client.api_key or client.auth_token or client.credentials)
    except anthropic.AnthropicError as problem:
        raise CredentialError(f"the credential can't be used: {problem}", hint="check the profile") from None


class AnthropicClient:
    """A client of the Messages API.

    Parameters
    ----------
    settings: base_url, api_key_env, timeout (seconds) and max_retries count.
    environment: where keys and ANTHROPIC_BASE_URL are looked up; the process's if not given. (The SDK looks for
        profiles and its other options in the process's.)

    The `timeout` of a Request ends a synchronous stream whatever comes of it; that of a coroutine is for its caller.
    """

    def __init__(self, settings: LLMSettings | None = None, *, environment: Mapping[str, str] | None = None) -> None:
        self._settings = settings or LLMSettings()
        self._environment = os.environ if environment is None else environment
        self._by_loop: weakref.WeakKeyDictionary[Any, anthropic.AsyncAnthropic] = weakref.WeakKeyDictionary()

    def complete(self, request: Request) -> Completion:
        try:
            message = self._sync.messages.create(**request_body(request), timeout=self._timeout(request.timeout))
        except Exception as problem:
            raise self._translated(problem, request) from problem
        return self.completion_of(message)

    def stream(self, request: Request) -> Iterator[TextDelta | Completion]:
        import anthropic

        assembler, hang_up = _Assembler(request), HangUp(request.timeout)
        try:
            with (
                self._sync.post(**self._streamed(request), stream_cls=anthropic.Stream[object]) as events,
                hang_up.due(events.response),
            ):
                assembler.request_id = events.response.headers.get("request-id")
                for event in events:
                    if (delta := assembler.feed(event)) is not None:
                        yield delta
            if hang_up.has_come and not assembler.is_finished:
                raise TimeoutError
        except Exception as problem:
            cause = TimeoutError() if hang_up.has_come else problem
            raise assembler.failure(self._translated(cause, request)) from problem
        if not assembler.has_begun:
            raise not_the_api(self._shown_url)
        yield assembler.completion()

    async def acomplete(self, request: Request) -> Completion:
        try:
            message = await self._async.messages.create(**request_body(request), timeout=self._timeout(request.timeout))
        except Exception as problem:
            raise self._translated(problem, request) from problem
        return self.completion_of(message)

    async def astream(self, request: Request) -> AsyncIterator[TextDelta | Completion]:
        import anthropic

        assembler = _Assembler(request)
        try:
            opened = await self._async.post(**self._streamed(request), stream_cls=anthropic.AsyncStream[object])
            async with opened as events:
                assembler.request_id = events.response.headers.get("request-id")
                async for event in events:
                    if (delta := assembler.feed(event)) is not None:
                        yield delta
        except Exception as problem:
            raise assembler.failure(self._translated(problem, request)) from problem
        if not assembler.has_begun:
            raise not_the_api(self._shown_url)
        yield assembler.completion()

    def ask(self, question: Callable[[anthropic.Anthropic, Any], T], *, model: str) -> T:
        """What the SDK's client answers to something that the four methods don't cover.

        `question` is called with it and the timeout. Raises errors of the LLMError branch, which name `model`.
        """
        try:
            return question(self._sync, self._timeout())
        except Exception as problem:
            raise self._translated(problem, Request(model=model, system="", messages=(), max_tokens=1)) from problem

    def completion_of(self, message: Any) -> Completion:
        """A message of the SDK as a Completion. Raises ServiceError for what is none."""
        if getattr(message, "type", None) != "message":
            raise not_the_api(self._shown_url)
        return Completion(
            text="".join(block.text for block in message.content if block.type == "text"),
            model=message.model,
            stop_reason=message.stop_reason or "end_turn",
            usage=_usage_of(_json_of(message.usage)),
            request_id=getattr(message, "_request_id", None),
            content=tuple(_json_of(block) for block in message.content),
        )

    def check_credential(self) -> None:
        """Raises CredentialError, naming the variable, where there is no key for a service that needs one."""
        name, _ = self._secret
        if not self._has_credential and self._base_url == STANDARD_BASE_URL:
            raise CredentialError(f"there is no key: {name} is not set", hint=f"set {name} to your key")

    def prepare(self) -> None:
        """Loads the SDK, which takes a second or more: for those who don't want that counted as the service's time."""
        import anthropic  # noqa: F401

    def close(self) -> None:
        """Closes the connections that were kept open for further requests."""
        if "_sync" in self.__dict__:
            self.__dict__.pop("_sync").close()

    async def aclose(self) -> None:
        """The same for the asynchronous ones of the running loop."""
        if (client := self._by_loop.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()

    @functools.cached_property
    def _sync(self) -> anthropic.Anthropic:
        import anthropic

        return anthropic.Anthropic(**self._options)

    @property
    def _async(self) -> anthropic.AsyncAnthropic:
        """One client for each event loop: a connection that is kept open belongs to the loop that opened it."""
        import anthropic

        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop[loop] = anthropic.AsyncAnthropic(**self._options)
        return self._by_loop[loop]

    @property
    def _options(self) -> dict[str, Any]:
        import anthropic

        self.check_credential()
        options: dict[str, Any] = {"max_retries": self._settings.max_retries}
        if self._settings.base_url or self._environment.get("ANTHROPIC_BASE_URL"):
            options["base_url"] = self._base_url
        name, secret = self._secret
        if secret:
            options["auth_token" if name == "ANTHROPIC_AUTH_TOKEN" else "api_key"] = secret
        elif not self._has_credential:
            # A model server on the own machine needs no key; the SDK insists on being told so.
            options["default_headers"] = {"Authorization": anthropic.Omit()}
        return options

    @property
    def _secret(self) -> tuple[str, str]:
        """The key or token that is to be used and its variable; empty where that is not set."""
        names = (self._settings.api_key_env,) if self._settings.api_key_env else _KEY_VARIABLES
        found = ((name, self._environment.get(name, "").strip()) for name in names)
        return next(((name, secret) for name, secret in found if secret), (names[0], ""))

    @property
    def _has_credential(self) -> bool:
        """Whether there is any that may be used: where config names a variable, no other."""
        if self._settings.api_key_env:
            return bool(self._secret[1])
        return has_credential(self._settings, self._environment)

    @property
    def _base_url(self) -> str:
        return base_url_of(self._settings, self._environment)

    def _streamed(self, request: Request) -> dict[str, Any]:
        """What the SDK is to post for a stream whose events stay as they come, plain JSON: its models of them take a
        fifth of the processor's time for an answer."""
        return {
            "path": "/v1/messages",
            "body": request_body(request) | {"stream": True},
            "options": {"timeout": self._timeout(request.timeout)},
            "cast_to": object,
            "stream": True,
        }

    def _timeout(self, most: float | None = None) -> Any:
        import anthropic

        seconds = self._settings.timeout if most is None else min(self._settings.timeout, most)
        return anthropic.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))

    @property
    def _shown_url(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self._base_url)

    def _translated(self, problem: Exception, request: Request) -> LLMError:
        names = (*_KEY_VARIABLES, self._settings.api_key_env or "")
        secrets = [self._environment.get(name, "") for name in names]
        secrets += _AUTHORIZATION.findall(os.environ.get("ANTHROPIC_CUSTOM_HEADERS", ""))
        return translate(
            problem, model=request.model, base_url=self._shown_url, secrets=secrets, retries=self._settings.max_retries
        )


class _Assembler:
    """Raw events in, pieces of text out; knows whether the end came."""

    def __init__(self, request: Request) -> None:
        self.request_id: str | None = None
        self.has_begun = False
        self.is_finished = False
        self._model = request.model
        self._parts: list[str] = []
        self._blocks: dict[int, BlockAssembler] = {}
        self._usage = Usage()
        self._stop_reason: str | None = None

    def feed(self, event: Any) -> TextDelta | None:
        """Takes an event as the service sent it; returns the piece of text that it brings, if any."""
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = event["delta"]
            if (block := self._blocks.get(event["index"])) is not None:
                block.feed(delta)
            if delta["type"] == "text_delta":
                self._parts.append(delta["text"])
                return TextDelta(text=delta["text"])
        elif kind == "message_start":
            self.has_begun = True
            self._model = event["message"].get("model") or self._model
            self._usage = _usage_of(event["message"].get("usage") or {})
        elif kind == "content_block_start":
            self._blocks[event["index"]] = BlockAssembler(event["content_block"])
        elif kind == "message_delta":
            self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
            self._usage = _usage_of(event.get("usage") or {}, self._usage)
        elif kind == "message_stop":
            self.is_finished = True
        return None

    def failure(self, cause: LLMError) -> LLMError:
        """The error to raise: that of a broken stream once anything has come, or if the connection was lost later."""
        is_broken = self._parts or (self.has_begun and isinstance(cause, NetworkError))
        return broken_stream(cause, "".join(self._parts), self.request_id) if is_broken else cause

    def completion(self) -> Completion:
        if not self.is_finished:
            raise broken_stream(None, "".join(self._parts), self.request_id)
        return Completion(
            text="".join(self._parts),
            model=self._model,
            stop_reason=self._stop_reason or "end_turn",
            usage=self._usage,
            request_id=self.request_id,
            content=self._content(),
        )

    def _content(self) -> tuple[dict[str, Any], ...]:
        """The blocks; where the answer was cut off at its longest, a call that was not whole is none."""
        found = []
        for index in sorted(self._blocks):
            try:
                found.append(self._blocks[index].block())
            except ValueError:
                if self._stop_reason == "tool_use":
                    raise broken_stream(None, "".join(self._parts), self.request_id) from None
        return tuple(found)


def _json_of(model: Any) -> dict[str, Any]:
    """A model of the SDK as the service sent it; a content block is to be sent back unchanged."""
    found: dict[str, Any] = model.model_dump(mode="json", exclude_unset=True)
    return found


def _usage_of(reported: Mapping[str, Any], before: Usage | None = None) -> Usage:
    """The usage that the service reports; what a later report leaves out stands as before."""
    before = before or Usage()

    def count(name: str, otherwise: int) -> int:
        value = reported.get(name)
        return otherwise if value is None else int(value)

    return Usage(
        input_tokens=count("input_tokens", before.input_tokens),
        output_tokens=count("output_tokens", before.output_tokens),
        cache_write_tokens=count("cache_creation_input_tokens", before.cache_write_tokens),
        cache_read_tokens=count("cache_read_input_tokens", before.cache_read_tokens),
    )


def _profile_folder(environment: Mapping[str, str]) -> Path:
    """Where the SDK keeps profiles; only to tell whether it is worth asking."""
    if environment.get("ANTHROPIC_CONFIG_DIR"):
        return Path(environment["ANTHROPIC_CONFIG_DIR"])
    if sys.platform == "win32":
        return Path(environment.get("APPDATA", "")) / "Anthropic"
    return Path.home() / ".config" / "anthropic"
