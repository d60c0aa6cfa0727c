"""OpenTelemetry spans around route, judge, run, request and tool; and nothing where nobody has it set up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dispatcher import Dispatcher, Registry, Settings
from dispatcher.errors import BudgetError, OverloadedError
from dispatcher.settings import BudgetSettings, JudgeSettings, RoutingSettings
from dispatcher.testing import ScriptedClient, overloaded, says
from dispatcher.tracing import tool_span

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
COOK = "---\nname: cook\ndescription: Writes recipes for dinner.\n---\nYou cook.\n"
REVIEW = "review this pull request for bugs"
USAGE = {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5}

Spans = Callable[[], dict[str, ReadableSpan]]


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The provider of a process can be set once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[Spans]:
    """The spans that ended, by name."""
    exporter.clear()
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}


def dispatcher_of(registry_of: Callable[..., Registry], *answers: Any, **settings: Any) -> Dispatcher:
    registry = registry_of({"r.md": REVIEWER, "c.md": COOK})
    return Dispatcher(registry, settings=Settings(**settings), client=ScriptedClient(*answers))


async def collected(events: Any) -> list[Any]:
    return [event async for event in events]


WAYS: dict[str, Callable[[Dispatcher], Any]] = {
    "dispatch": lambda dispatcher: dispatcher.dispatch(REVIEW, agent="reviewer"),
    "stream": lambda dispatcher: list(dispatcher.stream(REVIEW, agent="reviewer")),
    "adispatch": lambda dispatcher: asyncio.run(dispatcher.adispatch(REVIEW, agent="reviewer")),
    "astream": lambda dispatcher: asyncio.run(collected(dispatcher.astream(REVIEW, agent="reviewer"))),
}


@pytest.fixture(params=list(WAYS))
def run(request: pytest.FixtureRequest) -> Callable[[Dispatcher], Any]:
    return WAYS[str(request.param)]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    return span.parent is not None and of.context is not None and span.parent.span_id == of.context.span_id


def test_a_run_has_a_span_and_its_request_one_below(
    registry_of: Callable[..., Registry], spans: Spans, run: Any
) -> None:
    run(dispatcher_of(registry_of, says("Looks ", "fine.", usage=USAGE)))
    found = spans()
    assert set(found) == {"route", "invoke_agent reviewer", "chat claude-sonnet-5-5"}
    whole, chat = found["invoke_agent reviewer"], found["chat claude-sonnet-5-5"]
    assert is_child(chat, whole)
    assert (whole.kind, chat.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert attributes(whole) | {"dispatcher.cost_usd": 0} == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.name": "reviewer",
        "gen_ai.agent.description": "Reviews pull requests for bugs and style.",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.response.model": "claude-sonnet-5-5",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 8,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "dispatcher.cost_usd": 0,
    }
    told = attributes(chat)
    assert (told["gen_ai.operation.name"], told["gen_ai.usage.output_tokens"]) == ("chat", 4)
    assert (told["gen_ai.request.max_tokens"], told["dispatcher.attempts"]) == (16_000, 1)


def test_neither_tasks_nor_answers_are_told(registry_of: Callable[..., Registry], spans: Spans, run: Any) -> None:
    run(dispatcher_of(registry_of, says("A private answer.")))
    told = json.dumps([attributes(span) for span in spans().values()])
    assert "private" not in told
    assert REVIEW not in told


def test_routing_has_a_span(registry_of: Callable[..., Registry], spans: Spans) -> None:
    decision = dispatcher_of(registry_of, "x").route(REVIEW)
    told = attributes(spans()["route"])
    assert (told["gen_ai.agent.name"], told["dispatcher.how"]) == ("reviewer", "scored")
    assert told["dispatcher.confidence"] == decision.confidence


@pytest.mark.parametrize("is_async", [False, True])
def test_a_judge_has_a_span_with_its_request_below(
    registry_of: Callable[..., Registry], spans: Spans, is_async: bool
) -> None:
    pick = says(json.dumps({"agent": "cook", "reason": "x", "sureness": 0.9}), usage=USAGE)
    routing, judge = RoutingSettings(escalate="always"), JudgeSettings(model="haiku")
    dispatcher = dispatcher_of(registry_of, pick, routing=routing, judge=judge)
    task = "something for dinner"
    decision = asyncio.run(dispatcher.aroute(task)) if is_async else dispatcher.route(task)
    assert decision.judgement is not None
    found = spans()
    told = attributes(found["judge"])
    assert (told["gen_ai.agent.name"], told["gen_ai.request.model"]) == ("cook", "claude-haiku-5-5")
    assert is_child(found["chat claude-haiku-5-5"], found["judge"])


def test_spans_belong_to_that_of_the_caller(registry_of: Callable[..., Registry], spans: Spans, run: Any) -> None:
    dispatcher = dispatcher_of(registry_of, "x")
    with trace.get_tracer("a chat tool").start_as_current_span("a request") as outer:
        run(dispatcher)
        assert trace.get_current_span() is outer
    found = spans()
    assert is_child(found["invoke_agent reviewer"], found["a request"])
    assert is_child(found["route"], found["a request"])


def test_an_error_is_told_by_its_name_alone(registry_of: Callable[..., Registry], spans: Spans, run: Any) -> None:
    with pytest.raises(OverloadedError):
        run(dispatcher_of(registry_of, overloaded()))
    for span in (spans()["invoke_agent reviewer"], spans()["chat claude-sonnet-5-5"]):
        assert attributes(span)["error.type"] == "OverloadedError"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "OverloadedError")


def test_a_run_over_budget_says_so(registry_of: Callable[..., Registry], spans: Spans, run: Any) -> None:
    with pytest.raises(BudgetError):
        run(dispatcher_of(registry_of, "x", budget=BudgetSettings(run=0)))
    found = spans()
    assert "the budget of this run" in str(found["invoke_agent reviewer"].status.description)
    assert "chat claude-sonnet-5-5" not in found


def test_a_stream_that_the_caller_stops_is_no_error(registry_of: Callable[..., Registry], spans: Spans) -> None:
    events: Any = dispatcher_of(registry_of, says("a", "b")).stream(REVIEW, agent="reviewer")
    next(events)
    next(events)
    events.close()
    span = spans()["invoke_agent reviewer"]
    assert attributes(span)["dispatcher.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET


def test_many_streams_at_once_keep_their_requests_apart(registry_of: Callable[..., Registry], exporter: Any) -> None:
    exporter.clear()
    dispatcher = dispatcher_of(registry_of, says(*"abc", pause=0.001))

    async def all_at_once() -> None:
        await asyncio.gather(*(collected(dispatcher.astream(REVIEW, agent="reviewer")) for _ in range(20)))

    asyncio.run(all_at_once())
    finished = exporter.get_finished_spans()
    runs = {span.context.span_id for span in finished if span.name == "invoke_agent reviewer"}
    parents = [span.parent.span_id for span in finished if span.name.startswith("chat")]
    assert (len(runs), set(parents), len(parents)) == (20, runs, 20)


def test_a_tool_has_a_span(spans: Spans) -> None:
    with pytest.raises(LookupError), tool_span("look_up", "toolu_1"):
        raise LookupError("nothing there")
    span = spans()["execute_tool look_up"]
    assert attributes(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.call.id": "toolu_1",
        "gen_ai.tool.type": "function",
        "error.type": "LookupError",
    }


def test_nothing_of_it_is_imported_by_us() -> None:
    code = (
        "import sys; from pathlib import Path; from dispatcher import Dispatcher; from dispatcher.testing import *\n"
        "print(Dispatcher.from_config(client=ScriptedClient('hi')).dispatch('x', agent='assistant').text)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["hi", "[]"]
