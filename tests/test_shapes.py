"""Answers as objects: what is sent of a schema, what comes back, and what becomes of an answer that doesn't fit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from dispatcher import (
    Agent,
    Dispatcher,
    Event,
    OfflineClient,
    Registry,
    Reply,
    Settings,
    Source,
    Stopped,
    TurnState,
    UsageError,
)
from dispatcher.decisionlog import DecisionLog
from dispatcher.errors import AnswerError
from dispatcher.runtime import MAX_ITERATIONS
from dispatcher.settings import HandoffSettings, LLMSettings, Price
from tests.scripted_turns import Scripted, ends, wants

FITTING = '{"title": "Sow", "hours": 2, "due": "2027-04-01", "steps": ["dig"]}'
MISFIT = '{"title": "Sow", "hours": -2, "due": "2027-04-01", "steps": ["dig"]}'


class Work(BaseModel):
    title: str
    hours: float = Field(gt=0)
    due: date
    steps: list[str]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "hours": {"type": "number", "exclusiveMinimum": 0}},
    "required": ["title", "hours"],
}


def dispatcher_of(client: Any, *tools: Any, **options: Any) -> Dispatcher:
    source = Source(path=Path("/shop/helper.md"), root=Path("/shop"))
    agents = [
        Agent(name=name, description=description, prompt="You help.\n", source=source)
        for name, description in (("helper", "Helps with gardens."), ("smith", "Forges iron and steel."))
    ]
    return Dispatcher(Registry.from_agents(agents), client=client, tools=tools, **options)


async def collected(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def _last(events: list[Event]) -> Reply:
    assert isinstance(events[-1], Stopped)
    return events[-1].reply


Run = Callable[..., Reply]
WAYS: dict[str, Run] = {
    "dispatch": lambda runner, **options: runner.dispatch("help", agent="helper", **options),
    "stream": lambda runner, **options: _last(list(runner.stream("help", agent="helper", **options))),
    "adispatch": lambda runner, **options: asyncio.run(runner.adispatch("help", agent="helper", **options)),
    "astream": lambda runner, **options: _last(
        asyncio.run(collected(runner.astream("help", agent="helper", **options)))
    ),
}


@pytest.fixture(params=list(WAYS))
def run(request: pytest.FixtureRequest) -> Run:
    return WAYS[str(request.param)]


def test_a_model_comes_back_as_one(run: Run) -> None:
    client = Scripted(ends(FITTING))
    reply = run(dispatcher_of(client), schema=Work)
    assert reply.value == Work(title="Sow", hours=2, due=date(2027, 4, 1), steps=["dig"])
    assert reply.text == FITTING
    sent = client.requests[0].schema
    assert sent is not None
    assert (sent["additionalProperties"], sent["required"]) == (False, ["title", "hours", "due", "steps"])
    assert "exclusiveMinimum" not in sent["properties"]["hours"]
    assert "exclusiveMinimum: 0" in sent["properties"]["hours"]["description"]


def test_a_json_schema_gives_a_dict(run: Run) -> None:
    client = Scripted(ends('```json\n{"title": "Sow", "hours": 2}\n```'))
    assert run(dispatcher_of(client), schema=SCHEMA).value == {"title": "Sow", "hours": 2}


def test_sessions_take_a_schema_each_turn(run: Run) -> None:
    client = Scripted(ends(FITTING), ends("You're welcome."))
    session = dispatcher_of(client).session("a")
    assert run(session, schema=Work).value.title == "Sow"
    reply = run(session)
    assert (reply.value, reply.text, client.requests[1].schema) == (None, "You're welcome.", None)


@pytest.mark.parametrize(
    ("schema", "text", "told"),
    [
        (Work, MISFIT, "hours: Input should be greater than 0"),
        (SCHEMA, MISFIT, "hours: -2 is less than or equal to the minimum of 0"),
        (SCHEMA, '{"title": "Sow"}', 'the answer has no "hours"'),
        (Work, "Here you are.", "the answer is not JSON"),
        (SCHEMA, "[1]", "the answer is not a JSON object"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_with_its_text(run: Run, schema: Any, text: str, told: str) -> None:
    with pytest.raises(AnswerError) as raised:
        run(dispatcher_of(Scripted(ends(text))), schema=schema)
    assert told in raised.value.message
    assert raised.value.text == text


@pytest.mark.parametrize(("stop", "told"), [("refusal", "declined"), ("max_tokens", "cut off at its longest")])
def test_an_answer_that_is_not_whole_is_told(run: Run, stop: str, told: str) -> None:
    cut = dataclasses.replace(ends('{"title": "So'), stop_reason=stop)
    with pytest.raises(AnswerError, match=told) as raised:
        run(dispatcher_of(Scripted(cut)), schema=Work)
    assert (raised.value.stop_reason, raised.value.text) == (stop, '{"title": "So')


def test_a_model_that_calls_tools_for_ever_has_no_answer() -> None:
    def look() -> str:
        """Looks."""
        return "nothing"

    with pytest.raises(AnswerError) as raised:
        dispatcher_of(Scripted(wants(("look", {}))), look).dispatch("help", agent="helper", schema=Work)
    assert raised.value.stop_reason == MAX_ITERATIONS


def test_tools_are_called_before_the_object_comes(run: Run) -> None:
    def look() -> str:
        """Looks."""
        return "nothing"

    client = Scripted(wants(("look", {})), ends(FITTING))
    assert run(dispatcher_of(client, look), schema=Work).value.hours == 2
    assert [request.schema is not None for request in client.requests] == [True, True]


def test_a_misfit_is_kept_as_a_failed_turn_with_its_text_and_usage(run: Run) -> None:
    session = dispatcher_of(Scripted(ends(MISFIT), ends(FITTING))).session("a")
    with pytest.raises(AnswerError):
        run(session, schema=Work)
    assert run(session, schema=Work).value.hours == 2
    failed, done = session.turns
    assert (failed.state, failed.answer, failed.usage.input_tokens) == (TurnState.FAILED, MISFIT, 20)
    assert "hours: Input should be greater than 0" in str(failed.error)
    assert done.state is TurnState.DONE


def test_the_log_knows_what_a_misfit_cost(tmp_path: Path) -> None:
    prices = {"m": Price(input=1, output=0, cache_write=0, cache_read=0)}
    log = DecisionLog(tmp_path)
    dispatcher = dispatcher_of(Scripted(ends(MISFIT)), settings=Settings(llm=LLMSettings(prices=prices)), log=log)
    with pytest.raises(AnswerError):
        dispatcher.dispatch("help", agent="helper", schema=Work)
    [entry] = log.entries()[0]
    assert entry.error == "AnswerError"
    assert entry.cost == pytest.approx(20 / 1_000_000)


def test_an_agent_that_is_asked_answers_in_prose() -> None:
    settings = Settings(handoffs=HandoffSettings(offer="found"))
    client = Scripted(wants(("ask_agent", {"agent": "smith", "question": "a spade?"})), ends("Steel."), ends(FITTING))
    dispatcher = dispatcher_of(client, settings=settings)
    reply = dispatcher.dispatch("forge a steel spade for the gardens", agent="helper", schema=Work)
    assert reply.value.title == "Sow"
    assert [request.schema is not None for request in client.requests] == [True, False, True]


def test_without_a_key_there_is_no_object_and_a_preview_has_the_schema(run: Run) -> None:
    reply = run(dispatcher_of(OfflineClient()), schema=Work)
    assert (reply.value, reply.was_sent) == (None, False)
    assert reply.plan.request is not None and reply.plan.request.schema is not None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "items": {"type": "string"}}, 'its type is not "object"'),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "'text' is not valid"),
        ({"type": "object", "properties": {"a": {}}}, "Schema must have a 'type'"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}}, "it refers to"),
        ({"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {}}}}, "of any keys"),
        (str, "is no schema for answers"),
        ("Work", "is no schema for answers"),
    ],
)
def test_a_schema_that_can_not_be_used_is_told_before_anything_is_sent(schema: Any, told: str) -> None:
    client = Scripted(ends())
    with pytest.raises(UsageError, match=told):
        dispatcher_of(client).dispatch("help", agent="helper", schema=schema)
    assert client.requests == []


def test_what_is_sent_can_be_written_as_json() -> None:
    plan = dispatcher_of(OfflineClient()).plan("help", agent="helper", schema=Work)
    assert plan.request is not None and plan.request.schema is not None
    assert json.loads(json.dumps(plan.request.schema)) == plan.request.schema
