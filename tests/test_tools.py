"""Tools: what a model is told of a function, what an agent's file allows, and the loop that calls them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from dispatcher import (
    Agent,
    Dispatcher,
    Event,
    Message,
    Registry,
    Reply,
    Settings,
    Source,
    SQLiteSessionStore,
    Stopped,
    Tool,
    ToolCall,
    ToolCalled,
    ToolPolicy,
    ToolReturned,
    TurnState,
    Usage,
    UsageError,
    UsageReported,
)
from dispatcher.errors import RequestError
from dispatcher.runtime import MAX_ITERATIONS
from dispatcher.runtime.tools import offered_tools, unavailable_tools
from dispatcher.settings import LLMSettings, Price, ToolSettings
from dispatcher.testing import calls, says, serve
from tests.scripted_turns import Scripted, ends, results_of, wants


@dataclasses.dataclass
class Place:
    """Where it is."""

    city: str
    country: str = "NL"


def weather(place: Place, days: int = 1, unit: Literal["c", "f"] = "c") -> dict[str, Any]:
    """Looks up the weather.

    Only for Europe.

    Parameters
    ----------
    place: where.
    days: how many
        days, from today.
    """
    return {"city": place.city, "country": place.country, "days": days, "unit": unit}


def shout(text: str) -> str:
    """Says it loudly.

    Args:
        text (str): what to say
    """
    return text.upper()


async def wait_for(text: str) -> str:
    """Waits.

    :param text: what for
    """
    await asyncio.sleep(0)
    return f"waited for {text}"


def agent_of(**fields: Any) -> Agent:
    source = Source(path=Path("/shop/helper.md"), root=Path("/shop"))
    return Agent(name="helper", description="Helps.", prompt="You help.\n", source=source, **fields)


def dispatcher_of(client: Any, *tools: Any, agent: Agent | None = None, **options: Any) -> Dispatcher:
    return Dispatcher(Registry.from_agents([agent or agent_of()]), client=client, tools=tools, **options)


Run = Callable[..., Reply]


def blocks_of(message: Message) -> tuple[Mapping[str, Any], ...]:
    assert not isinstance(message.content, str)
    return tuple(message.content)


async def collected(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


@pytest.fixture(params=["dispatch", "stream", "adispatch", "astream"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_task(runner: Any, task: str = "help", **options: Any) -> Reply:
        options.setdefault("agent", "helper")
        if request.param == "dispatch":
            replied: Reply = runner.dispatch(task, **options)
            return replied
        if request.param == "adispatch":
            awaited: Reply = asyncio.run(runner.adispatch(task, **options))
            return awaited
        if request.param == "stream":
            events = list(runner.stream(task, **options))
        else:
            events = asyncio.run(collected(runner.astream(task, **options)))
        assert isinstance(events[-1], Stopped)
        return events[-1].reply

    return run_task


# --- what a model is told


def test_a_signature_and_a_docstring_become_a_definition() -> None:
    definition = Tool.of(weather).definition
    assert (definition["name"], definition["description"]) == (
        "weather",
        "Looks up the weather.\n\nOnly for Europe.",
    )
    schema = definition["input_schema"]
    assert schema["required"] == ["place"]
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"place", "days", "unit"}
    days = schema["properties"]["days"]
    assert (days["type"], days["default"], days["description"]) == ("integer", 1, "how many days, from today.")
    assert schema["properties"]["unit"]["enum"] == ["c", "f"]
    json.dumps(definition)


@pytest.mark.parametrize(("function", "description"), [(shout, "what to say"), (wait_for, "what for")])
def test_docstrings_of_other_manners_are_read(function: Any, description: str) -> None:
    definition = Tool.of(function).definition
    assert definition["input_schema"]["properties"]["text"]["description"] == description
    assert "\n" not in definition["description"]


def test_names_that_pydantic_has_too_are_fine(run: Run) -> None:
    def odd(json: str, copy: int, schema: str = "x") -> str:
        return f"{json} {copy} {schema}"

    client = Scripted(wants(("odd", {"json": "a", "copy": 2})), ends())
    run(dispatcher_of(client, odd))
    assert results_of(client.requests[1]) == [("a 2 x", False)]


def test_methods_and_callables_can_be_tools(run: Run) -> None:
    class Shop:
        """A shop."""

        def price(self, article: str) -> float:
            """The price."""
            return float(len(article))

        def __call__(self, question: str) -> str:
            return question

    client = Scripted(wants(("price", {"article": "tea"}), ("ask", {"question": "x"})), ends())
    run(dispatcher_of(client, Shop().price, Tool.of(Shop(), name="ask", description="Asks.")))
    assert results_of(client.requests[1]) == [("3.0", False), ("x", False)]


def without_types(text) -> None:  # type: ignore[no-untyped-def]
    """What is it?"""


def with_many(*texts: str) -> None:
    """How many?"""


def with_a_lock(lock: threading.Thread) -> None:
    """Of no type that JSON has."""


@pytest.mark.parametrize("function", [without_types, with_many, with_a_lock, lambda text: text])
def test_a_function_that_a_model_can_not_be_told_is_refused(function: Any) -> None:
    with pytest.raises(UsageError):
        Tool.of(function)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match='two tools of the name "shout"'):
        dispatcher_of(Scripted(ends()), shout, Tool.of(weather, name="shout"))


# --- what an agent's file allows


@pytest.mark.parametrize(
    ("policy", "offered"),
    [
        (ToolPolicy(), ["weather", "shout"]),
        (ToolPolicy(allowed=()), []),
        (ToolPolicy(allowed=("shout", "Read")), ["shout"]),
        (ToolPolicy(allowed=("SHOUT",)), []),
        (ToolPolicy(allowed=("shout(loud:*)",)), []),
        (ToolPolicy(disallowed=("shout",)), ["weather"]),
        (ToolPolicy(disallowed=("SHOUT(loud:*)",)), ["weather"]),
        (ToolPolicy(disallowed=("*",)), []),
        (ToolPolicy(allowed=("shout",), disallowed=("shout",)), []),
    ],
)
def test_the_file_limits_the_tools(policy: ToolPolicy, offered: list[str]) -> None:
    agent = agent_of(tools=policy)
    tools = (Tool.of(weather), Tool.of(shout))
    assert [tool.name for tool in offered_tools(agent, tools)] == offered
    client = Scripted(ends())
    dispatcher_of(client, weather, shout, agent=agent).dispatch("help", agent="helper")
    assert [tool["name"] for tool in client.requests[0].tools] == offered


def test_without_tools_none_are_sent(run: Run) -> None:
    client = Scripted(ends())
    run(dispatcher_of(client))
    assert client.requests[0].tools == ()


def test_a_name_that_is_not_available_is_said_before_the_run() -> None:
    agent = agent_of(tools=ToolPolicy(allowed=("shout", "Read")), mcp_servers={"files": {}})
    plan = dispatcher_of(Scripted(ends()), shout, agent=agent).plan("help", agent="helper")
    assert plan.notices == (
        "its file names tools that are not here (Read, MCP server files); it is run with shout alone",
    )
    assert unavailable_tools(agent, plan.tools) == ("Read", "MCP server files")


def test_a_tool_that_is_not_allowed_is_never_called_whatever_the_model_says(run: Run) -> None:
    called: list[str] = []

    def erase(path: str) -> None:
        """Erases a file."""
        called.append(path)

    client = Scripted(wants(("erase", {"path": "/"}), ("nothing", {})), ends())
    run(dispatcher_of(client, erase, shout, agent=agent_of(tools=ToolPolicy(disallowed=("erase",)))))
    assert called == []
    [(text, is_error), other] = results_of(client.requests[1])
    assert (text, is_error) == ('there is no tool "erase" for this agent; there are: shout', True)
    assert other[1] is True


def test_a_run_can_have_tools_of_its_own(run: Run) -> None:
    client = Scripted(ends())
    run(dispatcher_of(client, shout), tools=[weather])
    assert [tool["name"] for tool in client.requests[0].tools] == ["weather"]


# --- the loop


def test_a_call_is_carried_out_and_its_result_sent(run: Run) -> None:
    client = Scripted(wants(("weather", {"place": {"city": "Gouda"}, "days": 2}), text="Let me see."), ends("Rain."))
    reply = run(dispatcher_of(client, weather))
    assert (reply.text, reply.stop_reason, reply.is_complete) == ("Rain.", "end_turn", True)
    [user, assistant, results] = client.requests[1].messages
    assert (user.content, assistant.role, results.role) == ("help", "assistant", "user")
    assert [block["type"] for block in assistant.content if isinstance(block, Mapping)] == ["text", "tool_use"]
    assert results_of(client.requests[1]) == [('{"city":"Gouda","country":"NL","days":2,"unit":"c"}', False)]
    assert reply.usage == Usage(input_tokens=30, output_tokens=3)


def test_events_tell_of_calls_results_and_usage() -> None:
    client = Scripted(wants(("shout", {"text": "a"}), ("shout", {"text": "b"}), text="hm"), ends())
    events = list(dispatcher_of(client, shout).stream("help", agent="helper"))
    assert [type(event).__name__ for event in events] == [
        "DecisionMade",
        "TextDelta",
        "UsageReported",
        "ToolCalled",
        "ToolReturned",
        "ToolCalled",
        "ToolReturned",
        "TextDelta",
        "UsageReported",
        "Stopped",
    ]
    assert [event.call.arguments for event in events if isinstance(event, ToolCalled)] == [{"text": "a"}, {"text": "b"}]
    assert [event.result.text for event in events if isinstance(event, ToolReturned)] == ["A", "B"]
    assert [event.call.agent for event in events if isinstance(event, ToolCalled)] == ["helper"] * 2


def test_the_cost_is_that_of_all_requests(run: Run) -> None:
    price = Price(input=1, output=0, cache_write=0, cache_read=0)
    settings = Settings(llm=LLMSettings(prices={"m": price}))
    client = Scripted(wants(("shout", {"text": "a"})), ends())
    assert run(dispatcher_of(client, shout, settings=settings)).cost == pytest.approx(30 / 1_000_000)
    client = Scripted(wants(("shout", {"text": "a"})), ends())
    events = list(dispatcher_of(client, shout).stream("help", agent="helper"))
    assert [event.cost for event in events if isinstance(event, UsageReported)] == [None, None]


def test_an_exception_goes_back_to_the_model(run: Run) -> None:
    def fail(text: str) -> str:
        """Fails."""
        raise OSError(f"no {text}")

    client = Scripted(wants(("fail", {"text": "luck"})), ends("sorry"))
    assert run(dispatcher_of(client, fail)).text == "sorry"
    assert results_of(client.requests[1]) == [("OSError: no luck", True)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "the arguments are wrong: text: Field required"),
        ({"text": "a", "loud": True}, "the arguments are wrong: loud: Extra inputs are not permitted"),
        ({"text": ["a"]}, "the arguments are wrong: text: Input should be a valid string"),
    ],
)
def test_wrong_arguments_go_back_to_the_model(run: Run, arguments: dict[str, Any], told: str) -> None:
    client = Scripted(wants(("shout", arguments)), ends())
    run(dispatcher_of(client, shout))
    assert results_of(client.requests[1]) == [(told, True)]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (3, "3"), (["é"], '["é"]'), (Path("/a"), '"/a"'), ("", "")]
)
def test_any_result_becomes_text(value: Any, text: str) -> None:
    def give() -> Any:
        return value

    client = Scripted(wants(("give", {})), ends())
    dispatcher_of(client, give).dispatch("help", agent="helper")
    assert results_of(client.requests[1]) == [(text, False)]


def test_a_long_result_is_cut_and_says_so(run: Run) -> None:
    def read() -> str:
        """Reads."""
        return "x" * 1_000

    client = Scripted(wants(("read", {})), ends())
    run(dispatcher_of(client, read, settings=Settings(tools=ToolSettings(max_result_chars=10))))
    assert results_of(client.requests[1]) == [("x" * 10 + "\n[cut here: the first 10 of 1,000 characters]", False)]


@pytest.mark.parametrize(("of_the_file", "of_config", "asked"), [(3, 25, 3), (None, 2, 2), (9, 4, 4)])
def test_a_model_is_not_asked_for_ever(run: Run, of_the_file: int | None, of_config: int, asked: int) -> None:
    client = Scripted(wants(("shout", {"text": "again"}), text="once more"))
    settings = Settings(tools=ToolSettings(max_iterations=of_config))
    reply = run(dispatcher_of(client, shout, agent=agent_of(max_turns=of_the_file), settings=settings))
    assert (reply.stop_reason, reply.is_complete, reply.text) == (MAX_ITERATIONS, False, "once more")
    assert len(client.requests) == asked


# --- approval


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (True, ("A", False)),
        (False, ("the call was not approved", True)),
        ("not on Sundays", ("the call was not approved: not on Sundays", True)),
        (None, ("the call was not approved", True)),
        (1, ("the call was not approved", True)),
    ],
)
def test_each_call_is_approved_or_not(run: Run, answer: Any, told: tuple[str, bool]) -> None:
    asked: list[ToolCall] = []

    def approve(call: ToolCall) -> Any:
        asked.append(call)
        return answer

    client = Scripted(wants(("shout", {"text": "a"})), ends())
    run(dispatcher_of(client, shout), approve=approve)
    assert [(call.name, call.arguments, call.agent) for call in asked] == [("shout", {"text": "a"}, "helper")]
    assert results_of(client.requests[1]) == [told]


def test_a_callback_that_fails_ends_the_turn_and_calls_nothing(run: Run) -> None:
    called: list[str] = []

    def note(text: str) -> None:
        """Notes."""
        called.append(text)

    def approve(call: ToolCall) -> bool:
        raise LookupError("nobody to ask")

    session = dispatcher_of(Scripted(wants(("note", {"text": "a"})), ends()), note).session("a")
    with pytest.raises(LookupError):
        run(session, approve=approve)
    assert called == []
    assert [(turn.state, turn.error) for turn in session.turns] == [(TurnState.FAILED, "LookupError")]


def test_coroutines_can_be_tools_and_approve() -> None:
    async def approve(call: ToolCall) -> bool:
        await asyncio.sleep(0)
        return call.name == "wait_for"

    client = Scripted(wants(("wait_for", {"text": "tea"}), ("shout", {"text": "a"})), ends())
    dispatcher = dispatcher_of(client, wait_for, shout)
    asyncio.run(dispatcher.adispatch("help", agent="helper", approve=approve))
    assert results_of(client.requests[1]) == [("waited for tea", False), ("the call was not approved", True)]


def test_coroutine_functions_are_refused_where_nobody_can_wait_for_them() -> None:
    client = Scripted(wants(("shout", {"text": "a"})), ends())
    with pytest.raises(UsageError, match='the tool "wait_for" is a coroutine function'):
        dispatcher_of(client, wait_for).dispatch("help", agent="helper")
    assert client.requests == []

    async def approve(call: ToolCall) -> bool:
        return True

    with pytest.raises(UsageError, match="the approval callback is a coroutine function"):
        dispatcher_of(client, shout).dispatch("help", agent="helper", approve=approve)


def test_a_slow_function_does_not_stop_the_loop() -> None:
    release = threading.Event()

    def slow() -> str:
        """Waits for somebody else in the same loop."""
        return "released" if release.wait(10) else "stuck"

    client = Scripted(wants(("slow", {})), ends())

    async def both() -> None:
        task = asyncio.create_task(dispatcher_of(client, slow).adispatch("help", agent="helper"))
        await asyncio.sleep(0.01)
        release.set()
        await task

    asyncio.run(both())
    assert results_of(client.requests[1]) == [("released", False)]


# --- with sessions, and over the wire


def test_a_turn_with_calls_is_kept_whole_and_sent_again(run: Run, tmp_path: Path) -> None:
    client = Scripted(wants(("shout", {"text": "a"}), text="hm"), ends("A it is."), ends("still A"))
    with SQLiteSessionStore(tmp_path / "s.sqlite3") as store:
        session = dispatcher_of(client, shout, store=store).session("a")
        run(session)
        run(session, "and now?")
        first = session.turns[0]
    assert [message.role for message in first.messages] == ["user", "assistant", "user", "assistant"]
    assert first.answer == "hm\n\nA it is."
    assert first.usage == Usage(input_tokens=30, output_tokens=3)
    assert [message.role for message in client.requests[2].messages] == ["user", "assistant"] * 2 + ["user"]


def test_a_turn_that_fails_after_a_call_keeps_what_was_done_and_is_not_sent_again(run: Run) -> None:
    client = Scripted(wants(("shout", {"text": "a"})), RequestError("refused"), ends())
    session = dispatcher_of(client, shout).session("a")
    with pytest.raises(RequestError):
        run(session)
    [turn] = session.turns
    assert (turn.state, len(turn.messages), turn.usage.input_tokens) == (TurnState.FAILED, 3, 10)
    run(session, "again")
    assert [message.content for message in client.requests[-1].messages] == ["again"]


def test_a_turn_that_is_stopped_during_a_call_is_kept() -> None:
    began = threading.Event()
    client = Scripted(wants(("hang", {})), ends())

    async def hang() -> str:
        """Hangs."""
        began.set()
        await asyncio.sleep(60)
        return "never"

    session = dispatcher_of(client, hang).session("a")

    async def stop() -> None:
        task = asyncio.create_task(session.adispatch("help", agent="helper"))
        while not began.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    [turn] = session.turns
    assert (turn.state, len(turn.messages), turn.is_answered) == (TurnState.CANCELLED, 3, True)
    [result] = blocks_of(turn.messages[-1])
    assert (result["is_error"], result["content"]) == (True, "there is no result: the turn ended first")


def test_what_was_done_before_a_turn_was_stopped_is_kept_and_sent_again() -> None:
    def interrupt() -> None:
        """Stands for Ctrl-C during a call."""
        raise KeyboardInterrupt

    client = Scripted(wants(("shout", {"text": "a"}), ("interrupt", {}), text="hm"), ends("fine"))
    session = dispatcher_of(client, shout, interrupt).session("a")
    with pytest.raises(KeyboardInterrupt):
        session.dispatch("help", agent="helper")
    session.dispatch("go on", agent="helper")
    _, _, results, last = client.requests[-1].messages
    assert [(block["content"], block.get("is_error", False)) for block in blocks_of(results)] == [
        ("A", False),
        ("there is no result: the turn ended first", True),
    ]
    assert last.content == "go on"


def test_after_the_last_iteration_the_conversation_goes_on_from_there(run: Run) -> None:
    client = Scripted(wants(("shout", {"text": "a"})), wants(("shout", {"text": "b"})), ends("fine"))
    session = dispatcher_of(client, shout, settings=Settings(tools=ToolSettings(max_iterations=2))).session("a")
    assert run(session).stop_reason == MAX_ITERATIONS
    run(session, "go on")
    messages = client.requests[-1].messages
    assert [message.role for message in messages] == ["user", "assistant", "user", "assistant", "user", "user"]
    [result] = blocks_of(messages[4])
    assert (result["tool_use_id"], result["is_error"]) == ("t0", True)


def test_a_tool_that_cancels_itself_does_not_cancel_the_turn() -> None:
    async def give_up() -> None:
        """Is cancelled by something of its own."""
        raise asyncio.CancelledError

    client = Scripted(wants(("give_up", {})), ends("fine"))
    session = dispatcher_of(client, give_up).session("a")
    assert asyncio.run(session.adispatch("help", agent="helper")).text == "fine"
    assert results_of(client.requests[1]) == [("the tool was cancelled", True)]


class MuteError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def round_and_round() -> list[Any]:
    """Gives what never ends."""
    found: list[Any] = []
    found.append(found)
    return found


def raw_bytes() -> bytes:
    """Gives what is no text."""
    return b"\xff\xfe"


def raise_mute() -> None:
    """Fails without a word."""
    raise MuteError


@pytest.mark.parametrize("tool", [round_and_round, raw_bytes, raise_mute])
def test_what_can_not_be_written_as_text_is_told_to_the_model(tool: Callable[[], Any], run: Run) -> None:
    client = Scripted(wants((tool.__name__, {})), ends("fine"))
    session = dispatcher_of(client, tool).session("a")
    assert run(session).text == "fine"
    [(text, is_error)] = results_of(client.requests[1])
    assert is_error
    assert "can't be written as text" in text


def takes_function(action: Callable[[int], int]) -> None:
    """Takes what JSON knows nothing like."""


@pytest.mark.parametrize("given", [takes_function, dict])
def test_a_signature_that_no_schema_can_tell_is_refused_at_once(given: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="the tool") as caught:
        Tool.of(given)
    assert caught.value.hint


def test_a_default_that_is_no_json_is_the_functions_own_affair() -> None:
    missing = object()

    def look_up(key: str, default: Any = missing) -> str:
        """Looks up."""
        return "missing" if default is missing else key

    assert Tool.of(look_up).schema["required"] == ["key"]


def test_half_a_surrogate_pair_neither_ends_a_turn_nor_spoils_the_next(run: Run, tmp_path: Path) -> None:
    def half() -> str:
        """Gives half an emoji."""
        return "cut \ud83d"

    with serve() as server, SQLiteSessionStore(tmp_path / "s.sqlite3") as store:
        server.script(calls(("half", {})), says("fine"))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        dispatcher = dispatcher_of(None, half, settings=settings, environment={}, store=store)
        session = dispatcher.session("a")
        assert run(session, "what of \udcff?").text == "fine"
        run(session, "go on")
        dispatcher.close()
        [first, _] = session.turns
        assert (first.task, store.sessions()[0].title) == ("what of ??", "what of ??")
        assert blocks_of(first.messages[2])[0]["content"] == "cut \ud83d"
        [result] = server.requests[-1].body["messages"][2]["content"]
        assert result["content"] == "cut ?"


def test_an_answer_that_is_cut_off_in_a_call_calls_nothing(run: Run) -> None:
    called: list[str] = []

    def note(text: str) -> None:
        """Notes."""
        called.append(text)

    with serve() as server:
        server.script(dataclasses.replace(calls(("note", {"text": "a"}), text="Let me"), stop_reason="max_tokens"))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        dispatcher = dispatcher_of(None, note, settings=settings, environment={})
        reply = run(dispatcher)
        dispatcher.close()
    assert (reply.stop_reason, reply.text, called) == ("max_tokens", "Let me", [])


def test_tools_over_the_wire(run: Run) -> None:
    with serve() as server:
        server.script(calls(("weather", {"place": {"city": "Gouda"}}), text="Let me see."), says("Rain."))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        dispatcher = dispatcher_of(None, weather, settings=settings, environment={})
        reply = run(dispatcher)
        dispatcher.close()
        assert reply.text == "Rain."
        first, second = (request.body for request in server.requests)
    assert [tool["name"] for tool in first["tools"]] == ["weather"]
    assert second["messages"][1]["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_0", "name": "weather", "input": {"place": {"city": "Gouda"}}},
    ]
    [result] = second["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "toolu_0")
    assert json.loads(result["content"])["city"] == "Gouda"
