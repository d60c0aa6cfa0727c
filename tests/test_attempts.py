"""What is tried for an answer: retries, waits, fallback models, circuit breakers and the deadline."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest

from dispatcher import Completion, LLMError, Registry, Settings, Stopped, TextDelta
from dispatcher.errors import (
    BrokenStreamError,
    CircuitOpenError,
    CredentialError,
    NetworkError,
    OverloadedError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ServiceError,
)
from dispatcher.llm import AttemptPolicy, Circuits, ResilientClient
from dispatcher.llm.attempts import Failure, Send, Wait, attempt_steps
from dispatcher.runtime import Dispatcher
from dispatcher.settings import LLMSettings
from dispatcher.testing import (
    Answer,
    ScriptedClient,
    breaks_off,
    drops,
    fails,
    overloaded,
    rate_limited,
    says,
    serve,
    stalls,
)
from tests.asking import REQUEST, STREAMS, WAYS, Ask, client_for

OPUS, SONNET, HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"
FINE = Completion(text="fine", model=SONNET, stop_reason="end_turn")


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    return WAYS[str(request.param)]


@pytest.fixture(params=list(STREAMS))
def ask_stream(request: pytest.FixtureRequest) -> Ask:
    return STREAMS[str(request.param)]


def played(policy: AttemptPolicy, outcomes: list[Any], circuits: Circuits | None = None) -> tuple[Any, list[Any]]:
    """What the steps come to when each request meets the next outcome, and the steps; a clock that only waits move."""
    now = [0.0]
    steps = attempt_steps(REQUEST, policy, circuits or Circuits(after=0), clock=lambda: now[0], chance=lambda: 0.0)
    seen: list[Any] = []
    fed: Any = None
    try:
        while True:
            step = steps.send(fed)
            seen.append(step.seconds if isinstance(step, Wait) else step.request.model)
            fed = None
            if isinstance(step, Wait):
                now[0] += step.seconds
            else:
                outcome = outcomes.pop(0)
                fed = outcome if isinstance(outcome, Completion | Failure) else Failure(error=outcome)
    except StopIteration as end:
        return end.value, seen
    except LLMError as error:
        return error, seen


def test_a_good_answer_is_one_attempt() -> None:
    answer, seen = played(AttemptPolicy(), [FINE])
    assert seen == [SONNET]
    (attempt,) = answer.attempts
    assert (attempt.model, attempt.error, attempt.waited) == (SONNET, None, 0.0)


def test_waits_get_longer_each_time_up_to_a_limit() -> None:
    error, seen = played(AttemptPolicy(max_retries=6), [ServiceError("down") for _ in range(7)])
    assert [step for step in seen if isinstance(step, float)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert len(error.attempts) == 7
    assert str(error) == f"down (7 attempts: {SONNET})"
    assert [attempt.waited for attempt in error.attempts] == [0, 0.5, 1, 2, 4, 8, 8]


def test_what_the_service_asks_for_is_waited_to_the_second() -> None:
    _, seen = played(AttemptPolicy(), [RateLimitError("slow down", retry_after=41.5), FINE])
    assert seen == [SONNET, 41.5, SONNET]


def test_nobody_is_kept_waiting_for_minutes() -> None:
    error, seen = played(AttemptPolicy(), [RateLimitError("slow down", retry_after=3_000)])
    assert (type(error), error.retry_after, seen) == (RateLimitError, 3_000, [SONNET])


@pytest.mark.parametrize(
    "error", [OverloadedError("x"), RateLimitError("x"), ServiceError("x"), ResponseTimeoutError("x")]
)
def test_a_model_that_fails_is_replaced_by_its_fallbacks_in_their_order(error: LLMError) -> None:
    policy = AttemptPolicy(fallbacks=(OPUS, SONNET, HAIKU), max_retries=0)
    answer, seen = played(policy, [error, error, replace(FINE, model=HAIKU)])
    assert seen == [SONNET, OPUS, HAIKU]
    assert answer.model == HAIKU
    assert [(each.model, each.error) for each in answer.attempts] == [
        (SONNET, type(error).__name__),
        (OPUS, type(error).__name__),
        (HAIKU, None),
    ]


@pytest.mark.parametrize("error", [CredentialError("x"), RequestError("x"), NetworkError("x")])
def test_what_another_model_would_meet_too_is_told_at_once(error: LLMError) -> None:
    policy = AttemptPolicy(fallbacks=(OPUS,), max_retries=0)
    raised, seen = played(policy, [error])
    assert (raised, seen) == (error, [SONNET])


def test_a_fallback_answers_rather_than_a_long_wait() -> None:
    policy = AttemptPolicy(fallbacks=(OPUS,))
    _, seen = played(policy, [RateLimitError("slow down", retry_after=30), FINE])
    assert seen == [SONNET, OPUS]


@pytest.mark.parametrize(("wish", "expected"), [(True, [SONNET, 0.5, SONNET]), (False, [SONNET])])
def test_the_services_own_word_on_another_attempt_goes_first(wish: bool, expected: list[Any]) -> None:
    error = RequestError("x") if wish else ServiceError("x")
    error.should_retry = wish
    assert played(AttemptPolicy(max_retries=1), [error, FINE])[1] == expected


def test_nothing_is_tried_again_after_the_deadline() -> None:
    policy = AttemptPolicy(deadline=2.0, max_retries=9, fallbacks=(OPUS,))
    error, seen = played(policy, [ServiceError("x") for _ in range(9)])
    assert seen == [SONNET, 0.5, SONNET, 1.0, SONNET, OPUS]  # the next wait would have been too long for both
    assert isinstance(error, ServiceError)


def test_a_wait_for_the_service_is_bounded_by_the_deadline() -> None:
    steps = attempt_steps(REQUEST, AttemptPolicy(deadline=7.0), Circuits(), clock=lambda: 0.0)
    step = next(steps)
    assert isinstance(step, Send)
    assert (step.request.timeout, step.ends) == (7.0, 7.0)


def test_after_the_beginning_of_an_answer_nothing_is_tried_again() -> None:
    policy = AttemptPolicy(fallbacks=(OPUS,))
    error, seen = played(policy, [Failure(error=OverloadedError("x"), has_begun=True)])
    assert (type(error), seen) == (OverloadedError, [SONNET])


def test_a_model_that_failed_often_is_left_alone_for_a_while() -> None:
    circuits, policy = Circuits(after=2, seconds=30), AttemptPolicy(max_retries=0)
    for _ in range(2):
        assert isinstance(played(policy, [ServiceError("x")], circuits)[0], ServiceError)
    error, seen = played(policy, [], circuits)
    assert (type(error), error.retry_after, seen) == (CircuitOpenError, 30.0, [])


def test_a_circuit_lets_one_try_when_its_time_is_over() -> None:
    circuits = Circuits(after=1, seconds=30)
    circuits.failed("m", 100.0)
    assert circuits.wait_for("m", 110.0) == 20.0
    assert circuits.wait_for("m", 130.0) == 0.0
    assert circuits.wait_for("m", 131.0) == 29.0
    circuits.succeeded("m")
    assert circuits.wait_for("m", 132.0) == 0.0


def test_a_circuit_stays_open_as_long_as_the_service_asks() -> None:
    circuits = Circuits(after=1, seconds=30)
    circuits.failed("m", 0.0, retry_after=90.0)
    assert circuits.wait_for("m", 60.0) == 30.0


def test_success_forgets_the_failures_before() -> None:
    circuits = Circuits(after=2)
    circuits.failed("m", 0.0)
    circuits.succeeded("m")
    circuits.failed("m", 0.0)
    assert circuits.wait_for("m", 0.0) == 0.0


def test_the_fallback_of_a_model_that_is_left_alone_answers_at_once() -> None:
    circuits = Circuits(after=1)
    circuits.failed(SONNET, 0.0)
    _, seen = played(AttemptPolicy(fallbacks=(OPUS,)), [FINE], circuits)
    assert seen == [OPUS]


def test_the_error_of_a_model_that_was_asked_says_more_than_that_one_was_not() -> None:
    circuits = Circuits(after=1)
    circuits.failed(OPUS, 0.0)
    policy = AttemptPolicy(fallbacks=(OPUS,), max_retries=0)
    assert isinstance(played(policy, [OverloadedError("full")], circuits)[0], OverloadedError)


def test_a_key_that_is_refused_opens_no_circuit() -> None:
    circuits = Circuits(after=1)
    played(AttemptPolicy(), [CredentialError("x")], circuits)
    assert circuits.wait_for(SONNET, 0.0) == 0.0


def resilient(*answers: Any, **policy: Any) -> tuple[ResilientClient, ScriptedClient]:
    client = ScriptedClient(*answers)
    return ResilientClient(client, AttemptPolicy(**policy)), client


@pytest.mark.parametrize(
    "answer", [rate_limited(0), overloaded(0), fails(503, retry_after="0"), fails(500, retry_after="0")]
)
def test_all_four_ways_try_again(ask: Ask, answer: Answer) -> None:
    client, inner = resilient(answer, says("Hello ", "world"))
    completion = ask(client)[1]
    assert completion.text == "Hello world"
    assert [attempt.error is None for attempt in completion.attempts] == [False, True]
    assert len(inner.requests) == 2


def test_all_four_ways_fall_back(ask: Ask) -> None:
    client, _ = resilient(overloaded(), says("Hello"), fallbacks=(HAIKU,), max_retries=0)
    parts, completion = ask(client)
    assert ("".join(parts) or "Hello", completion.model, len(completion.attempts)) == ("Hello", HAIKU, 2)


def test_all_four_ways_tell_what_was_tried(ask: Ask) -> None:
    client, _ = resilient(overloaded(0), fallbacks=(HAIKU,), max_retries=1)
    with pytest.raises(OverloadedError, match="4 attempts") as caught:
        ask(client)
    assert [attempt.model for attempt in caught.value.attempts] == [SONNET, SONNET, HAIKU, HAIKU]


def test_a_stream_that_breaks_off_is_not_begun_anew(ask_stream: Ask) -> None:
    client, inner = resilient(breaks_off("Hel"), says("Hello"), fallbacks=(HAIKU,))
    with pytest.raises(BrokenStreamError) as caught:
        ask_stream(client)
    assert (caught.value.partial, len(inner.requests), len(caught.value.attempts)) == ("Hel", 1, 1)


def test_a_stream_that_tells_of_an_overload_before_any_text_is_tried_elsewhere(ask_stream: Ask) -> None:
    event = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
    client, _ = resilient(says(error_event=event), says("Hello"), fallbacks=(HAIKU,), max_retries=0)
    assert ask_stream(client)[1].model == HAIKU


def test_the_deadline_ends_a_coroutines_wait() -> None:
    client, _ = resilient(stalls("Hel"), deadline=0.05)
    with pytest.raises(ResponseTimeoutError, match=r"within 0\.05 seconds"):
        asyncio.run(client.acomplete(REQUEST))


def test_the_deadline_ends_a_coroutines_stream_and_keeps_what_came() -> None:
    async def collect() -> None:
        async for event in resilient(stalls("Hel"), deadline=0.05)[0].astream(REQUEST):
            seen.append(event)

    seen: list[Any] = []
    with pytest.raises(BrokenStreamError, match=r"0\.05 seconds") as caught:
        asyncio.run(collect())
    assert (seen, caught.value.partial) == ([TextDelta(text="Hel")], "Hel")


def test_the_deadline_ends_a_slow_stream(ask_stream: Ask) -> None:
    client, _ = resilient(says(*"abcdefgh", pause=0.03), deadline=0.1)
    with pytest.raises(BrokenStreamError) as caught:
        ask_stream(client)
    assert "abcdefgh".startswith(caught.value.partial)


def test_over_sockets_the_deadline_bounds_the_wait(ask: Ask) -> None:
    with serve(stalls()) as server, closing(client_for(server.base_url)) as inner:
        client = ResilientClient(inner, AttemptPolicy(deadline=0.1))
        since = time.monotonic()
        with pytest.raises(LLMError):
            ask(client)
        assert time.monotonic() - since < 60  # the timeout of the client alone is ten times as long


ENDLESS = 500_000
"""Pings enough for hours; each of them begins a read timeout anew."""


def test_the_deadline_ends_a_stream_of_pings(ask_stream: Ask) -> None:
    with serve(says(pings=ENDLESS, pause=0.02)) as server, closing(client_for(server.base_url)) as inner:
        client = ResilientClient(inner, AttemptPolicy(deadline=0.2, fallbacks=(OPUS,)))
        with pytest.raises(ResponseTimeoutError, match=r"within 0\.2 seconds, all attempts together") as caught:
            ask_stream(client)
    assert [each.model for each in caught.value.attempts] == [SONNET]


def test_the_deadline_keeps_what_came_before_the_pings(ask_stream: Ask) -> None:
    with serve(says("Hel", pings=ENDLESS, pause=0.02)) as server, closing(client_for(server.base_url)) as inner:
        inner.prepare()
        client = ResilientClient(inner, AttemptPolicy(deadline=0.2))
        with pytest.raises(BrokenStreamError, match=r"within 0\.2 seconds, all attempts together") as caught:
            ask_stream(client)
    assert caught.value.partial == "Hel"


def test_a_stream_that_ends_in_time_is_whole_for_all_its_pings(ask_stream: Ask) -> None:
    with serve(says("Hello", pings=3, pause=0.01)) as server, closing(client_for(server.base_url)) as inner:
        assert ask_stream(ResilientClient(inner, AttemptPolicy(deadline=60)))[1].text == "Hello"


def test_over_sockets_lost_connections_are_tried_again(ask: Ask) -> None:
    with serve(drops(), says("Hello")) as server:
        client = ResilientClient(client_for(server.base_url), AttemptPolicy(max_retries=1))
        assert ask(client)[1].text == "Hello"


def test_a_stream_that_is_closed_closes_the_one_below() -> None:
    closed: list[bool] = []

    class Watching(ScriptedClient):
        def stream(self, request: Any) -> Iterator[Any]:
            try:
                yield from super().stream(request)
            finally:
                closed.append(True)

    events: Any = ResilientClient(Watching(says("a", "b"))).stream(REQUEST)
    next(events)
    events.close()
    assert closed == [True]


def test_a_clients_own_fault_is_told() -> None:
    class Silent(ScriptedClient):
        def stream(self, request: Any) -> Iterator[Any]:
            return iter(())

    with pytest.raises(LLMError, match="without a completion"):
        list(ResilientClient(Silent()).stream(REQUEST))


def test_a_thousand_answers_with_faults_are_each_whole_or_told() -> None:
    chance = random.Random(7)  # noqa: S311
    kinds: list[Callable[[], Any]] = [lambda: says("Hello"), lambda: overloaded(0), lambda: rate_limited(0), drops]
    client = ScriptedClient(*(chance.choice(kinds)() for _ in range(3_000)))
    circuits = Circuits(after=0)
    asking = ResilientClient(client, AttemptPolicy(max_retries=3), circuits, sleep=lambda seconds: None)
    came = failed = 0
    for _ in range(1_000):
        try:
            came += asking.complete(REQUEST).text == "Hello"
        except LLMError as error:
            assert len(error.attempts) == 4
            failed += 1
    assert (came + failed, came > 600) == (1_000, True)


REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"


def test_a_dispatcher_falls_back_as_config_says_and_keeps_the_record(registry_of: Callable[..., Registry]) -> None:
    settings = Settings(llm=LLMSettings(fallbacks=("haiku",)))
    client = ScriptedClient(overloaded(), says("Looks ", "fine."))
    dispatcher = Dispatcher(registry_of({"r.md": REVIEWER}), settings=settings, client=client)
    *_, last = dispatcher.stream("review", agent="reviewer")
    assert isinstance(last, Stopped)
    assert (last.reply.text, last.reply.model) == ("Looks fine.", HAIKU)
    assert [(each.model, each.error) for each in last.reply.attempts] == [(SONNET, "OverloadedError"), (HAIKU, None)]
    assert last.reply.cost == pytest.approx((10 * 0.1 + 5 * 0.5) / 1e6)


def test_the_service_of_config_is_tried_again_once_for_each_retry(registry_of: Callable[..., Registry]) -> None:
    with serve(overloaded(0.01)) as server:
        settings = Settings(llm=LLMSettings(base_url=server.base_url, max_retries=2))
        dispatcher = Dispatcher(registry_of({"r.md": REVIEWER}), settings=settings, environment={})
        with dispatcher, pytest.raises(OverloadedError, match="3 attempts"):
            dispatcher.dispatch("review", agent="reviewer")
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_what_the_service_asks_for_is_read_in_each_of_its_forms(headers: dict[str, str], expected: Any) -> None:
    answer = fails(429, "rate_limit_error", "slow down", **headers)
    with serve(answer) as server, closing(client_for(server.base_url)) as client, pytest.raises(RateLimitError) as told:
        client.complete(REQUEST)
    assert told.value.retry_after == expected


@pytest.mark.parametrize(("word", "tries"), [("true", 2), ("false", 1)])
def test_the_header_that_wishes_for_another_attempt_is_heeded(ask: Ask, word: str, tries: int) -> None:
    with serve(fails(400 if word == "true" else 500, retry_after="0", x_should_retry=word), "fine") as server:
        client = ResilientClient(client_for(server.base_url), AttemptPolicy(max_retries=1))
        with suppress(LLMError):
            ask(client)
        assert len(server.requests) == tries
