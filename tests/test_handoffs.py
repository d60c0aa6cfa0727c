"""Agents that turn to each other within a turn: passing the conversation on, and asking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from dispatcher import (
    Agent,
    AgentAnswered,
    AgentAsked,
    Dispatcher,
    Event,
    HandedOver,
    Handoff,
    How,
    MemorySessionStore,
    Registry,
    Reply,
    Settings,
    SQLiteSessionStore,
    Stopped,
    TextDelta,
    ToolCall,
    ToolPolicy,
    Usage,
)
from dispatcher.agent import Collaborator
from dispatcher.errors import OverloadedError
from dispatcher.runtime import MAX_ITERATIONS
from dispatcher.sessions import export_session
from dispatcher.settings import HandoffSettings, ToolSettings
from tests.scripted_turns import Scripted, ends, results_of, wants
from tests.workshop import craft

BAKER = craft(
    "baker",
    "Bakes bread and cakes.",
    "You bake.\n",
    collaborators=(
        Collaborator(name="Tailor", purpose="sews the aprons"),
        Collaborator(name="miller", purpose="is in no registry"),
    ),
)
TAILOR = craft("tailor", "Sews coats and aprons.", "You sew.\n", collaborators=(Collaborator(name="baker"),))
WELDER = craft("welder", "Welds steel gates.", "You weld.\n")
SHOP = (BAKER, TAILOR, WELDER)
PASS_ON = ("handoff", {"agent": "tailor", "message": "An apron is wanted."})
ASK = ("ask_agent", {"agent": "tailor", "question": "How long is an apron?"})


def shop(client: Any, *agents: Agent, limits: ToolSettings | None = None, **options: Any) -> Dispatcher:
    values = {"offer": "named", **options}
    settings = Settings(handoffs=HandoffSettings(**values), tools=limits or ToolSettings())
    return Dispatcher(Registry.from_agents(agents or SHOP), settings=settings, client=client)


def take(dispatcher: Dispatcher, **options: Any) -> list[Event]:
    return list(dispatcher.stream("help", agent="baker", **options))


def reply_of(events: list[Event]) -> Reply:
    assert isinstance(events[-1], Stopped)
    return events[-1].reply


def tools_of(dispatcher: Dispatcher, agent: str = "baker") -> list[str]:
    return [tool.name for tool in dispatcher.plan("help", agent=agent).tools]


# --- who may be turned to


def test_nobody_may_be_turned_to_unless_config_says_so() -> None:
    dispatcher = Dispatcher(Registry.from_agents(SHOP), client=Scripted(ends()))
    assert tools_of(dispatcher) == []


def test_those_that_a_file_names_are_offered_with_what_they_are_for() -> None:
    request = shop(Scripted(ends())).plan("help", agent="baker").request
    assert request is not None
    assert [tool["name"] for tool in request.tools] == ["handoff", "ask_agent"]
    for tool in request.tools:
        assert tool["input_schema"]["properties"]["agent"]["enum"] == ["tailor"]
        assert "- tailor: Sews coats and aprons. (sews the aprons)" in tool["description"]


def test_an_agent_that_names_nobody_is_offered_nobody() -> None:
    assert tools_of(shop(Scripted(ends())), "welder") == []


def test_the_best_others_that_the_router_finds_are_offered_too() -> None:
    dispatcher = shop(Scripted(ends()), offer="found", top_k=1)
    request = dispatcher.plan("weld a steel gate", agent="baker").request
    assert request is not None
    assert request.tools[0]["input_schema"]["properties"]["agent"]["enum"] == ["tailor", "welder"]


def test_agents_that_are_left_out_are_not_offered() -> None:
    request = shop(Scripted(ends())).plan("help", agent="baker", exclude=["tailor"]).request
    assert request is not None
    assert request.tools == ()


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (ToolPolicy(), ["handoff", "ask_agent"]),
        (ToolPolicy(allowed=()), []),
        (ToolPolicy(allowed=("Read",)), []),
        (ToolPolicy(allowed=("handoff",)), ["handoff"]),
        (ToolPolicy(allowed=("Read", "Task")), ["ask_agent"]),
        (ToolPolicy(allowed=("Agent",)), ["ask_agent"]),
        (ToolPolicy(allowed=("Task(tailor)",)), []),
        (ToolPolicy(disallowed=("handoff",)), ["ask_agent"]),
        (ToolPolicy(allowed=("Task",), disallowed=("ask_agent",)), []),
        (ToolPolicy(disallowed=("*",)), []),
    ],
)
def test_an_agents_file_limits_it(policy: ToolPolicy, names: list[str]) -> None:
    baker = craft("baker", "Bakes.", "You bake.\n", collaborators=BAKER.collaborators, tools=policy)
    assert tools_of(shop(Scripted(ends()), baker, TAILOR)) == names


# --- passing on


@pytest.mark.parametrize("way", ["dispatch", "adispatch", "astream"])
def test_every_way_to_run_passes_on(way: str) -> None:
    dispatcher = shop(Scripted(wants(PASS_ON), ends("Forty inches.")))

    async def stream() -> Reply:
        return reply_of([event async for event in dispatcher.astream("help", agent="baker")])

    runs: dict[str, Callable[[], Reply]] = {
        "dispatch": lambda: dispatcher.dispatch("help", agent="baker"),
        "adispatch": lambda: asyncio.run(dispatcher.adispatch("help", agent="baker")),
        "astream": lambda: asyncio.run(stream()),
    }
    reply = runs[way]()
    assert (reply.text, reply.decision.agent, reply.decision.how) == ("Forty inches.", TAILOR, How.HANDOFF)
    assert reply.handoffs == (Handoff(before="baker", after="tailor", message="An apron is wanted."),)


def test_who_takes_over_has_its_own_prompt_and_sees_the_conversation() -> None:
    client = Scripted(wants(PASS_ON, text="One moment."), ends("Forty inches."))
    events = take(shop(client))
    [first, second] = client.requests
    assert (first.system, second.system) == ("You bake.\n", "You sew.\n")
    [user, assistant, result] = second.messages
    assert (user.content, assistant.role) == ("help", "assistant")
    assert "passed on by" in str(result.content)
    assert "An apron is wanted." in str(result.content)
    assert [event for event in events if isinstance(event, HandedOver)] == [
        HandedOver(before="baker", after="tailor", reason="An apron is wanted.", is_new_subject=False)
    ]
    assert reply_of(events).usage == Usage(input_tokens=30, output_tokens=3)


def test_the_session_goes_on_with_the_one_that_took_over(tmp_path: Any) -> None:
    client = Scripted(wants(PASS_ON), ends("Forty inches."), ends("Blue."))
    with SQLiteSessionStore(tmp_path / "s.db") as store:
        dispatcher = shop(client)
        dispatcher.store = store
        session = dispatcher.session("a")
        session.dispatch("bake bread", agent="baker")
        reply = session.dispatch("why?")
        [first, _] = dispatcher.session("a").turns
    assert (reply.decision.how, reply.decision.agent) == (How.STICKY, TAILOR)
    assert first.agent == "tailor"
    assert first.handoffs == (Handoff(before="baker", after="tailor", message="An apron is wanted."),)
    assert "*baker passed the conversation on to tailor:*" in export_session("a", [first], "markdown")
    assert json.loads(export_session("a", [first], "jsonl"))["handoffs"][0]["after"] == "tailor"


def test_an_agent_without_tools_is_sent_the_calls_before_as_text() -> None:
    client = Scripted(wants(PASS_ON), ends())
    take(shop(client, max_depth=1))
    sent = client.requests[1]
    assert sent.tools == ()
    blocks = [message.content for message in sent.messages if not isinstance(message.content, str)]
    assert {block["type"] for content in blocks for block in content} == {"text"}
    assert "An apron is wanted." in str(sent.messages[-1].content)


def test_it_does_not_go_back_to_one_that_had_the_turn() -> None:
    client = Scripted(wants(PASS_ON), wants(("handoff", {"agent": "baker", "message": "no, you"})), ends())
    reply = reply_of(take(shop(client)))
    assert [each.after for each in reply.handoffs] == ["tailor"]
    assert [tool["name"] for tool in client.requests[1].tools] == []


def test_of_two_the_first_takes_over_and_other_calls_are_answered() -> None:
    baker = craft("baker", "Bakes.", "You bake.\n", collaborators=(*BAKER.collaborators, Collaborator(name="welder")))
    client = Scripted(wants(PASS_ON, ("handoff", {"agent": "welder", "message": "x"}), ("nothing", {})), ends())
    events = take(shop(client, baker, TAILOR, WELDER))
    assert [(each.before, each.after) for each in reply_of(events).handoffs] == [("baker", "tailor")]
    content = client.requests[1].messages[-1].content
    assert "already passed on" in str(content)
    assert 'no tool "nothing"' in str(content)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"agent": "welder", "message": "x"}, '"welder" is none of those that may be turned to: tailor'),
        ({"agent": "tailor"}, "the arguments are wrong: message: Field required"),
    ],
)
def test_a_wrong_call_is_told_to_the_model(arguments: dict[str, str], told: str) -> None:
    client = Scripted(wants(("handoff", arguments)), ends())
    reply = reply_of(take(shop(client)))
    assert (reply.decision.agent, reply.handoffs) == (BAKER, ())
    assert results_of(client.requests[1]) == [(told, True)]


def test_an_agent_whose_prompt_lacks_values_is_told_to_the_model() -> None:
    tailor = craft("tailor", "Sews.", "You sew for {{SHOP}}.\n")
    client = Scripted(wants(PASS_ON), ends())
    tailor_in_need = Agent(
        name=tailor.name,
        description=tailor.description,
        prompt=tailor.prompt,
        source=tailor.source,
        placeholders=(_placeholder(),),
    )
    reply = reply_of(take(shop(client, BAKER, tailor_in_need)))
    [(told, is_error)] = results_of(client.requests[1])
    assert is_error
    assert "SHOP" in told
    assert reply.handoffs == ()


def _placeholder() -> Any:
    from dispatcher.agent import Placeholder

    return Placeholder(name="SHOP", line=1)


def test_passing_on_can_be_refused() -> None:
    seen: list[ToolCall] = []

    def approve(call: ToolCall) -> str:
        seen.append(call)
        return "stay"

    client = Scripted(wants(PASS_ON), ends())
    reply = reply_of(take(shop(client), approve=approve))
    assert (reply.decision.agent, reply.handoffs) == (BAKER, ())
    assert [call.name for call in seen] == ["handoff"]
    assert results_of(client.requests[1]) == [("the call was not approved: stay", True)]


# --- asking


def test_an_answer_comes_back_and_only_the_asker_is_heard() -> None:
    client = Scripted(wants(ASK), ends("Forty inches."), ends("An apron has forty inches."))
    events = take(shop(client))
    asked = client.requests[1]
    assert (asked.system, [message.content for message in asked.messages]) == ("You sew.\n", ["How long is an apron?"])
    assert "handoff" not in [tool["name"] for tool in asked.tools]
    assert results_of(client.requests[2]) == [("Forty inches.", False)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "An apron has forty inches."
    assert [event for event in events if isinstance(event, (AgentAsked, AgentAnswered))] == [
        AgentAsked(before="baker", after="tailor", question="How long is an apron?"),
        AgentAnswered(before="baker", after="tailor", answer="Forty inches."),
    ]
    reply = reply_of(events)
    assert reply.decision.agent == BAKER
    assert reply.usage == Usage(input_tokens=50, output_tokens=5)
    assert reply.handoffs == (
        Handoff(
            before="baker", after="tailor", message="How long is an apron?", is_question=True, answer="Forty inches."
        ),
    )


def test_who_is_asked_may_ask_others_but_nobody_who_waits() -> None:
    tailor = craft(
        "tailor", "Sews.", "You sew.\n", collaborators=(Collaborator(name="baker"), Collaborator(name="welder"))
    )
    welder = craft("welder", "Welds.", "You weld.\n", collaborators=(Collaborator(name="baker"),))
    script = (wants(ASK), wants(("ask_agent", {"agent": "welder", "question": "?"})), ends("W"), ends("T"), ends("B"))
    client = Scripted(*script)
    reply = reply_of(take(shop(client, BAKER, tailor, welder)))
    assert reply.text == "B"
    assert [(each.before, each.after, each.answer) for each in reply.handoffs] == [
        ("tailor", "welder", "W"),
        ("baker", "tailor", "T"),
    ]
    offered = [[tool["input_schema"]["properties"]["agent"]["enum"] for tool in one.tools] for one in client.requests]
    assert offered[1] == [["welder"]]
    assert offered[2] == []


def test_a_failure_of_who_is_asked_is_told_to_the_asker() -> None:
    client = Scripted(wants(ASK), OverloadedError("no capacity"), ends("Later."))
    events = take(shop(client))
    assert reply_of(events).text == "Later."
    assert results_of(client.requests[2]) == [("it gave no answer: no capacity", True)]
    [answered] = [event for event in events if isinstance(event, AgentAnswered)]
    assert answered.is_error
    assert reply_of(events).handoffs[0].answer is None


def test_all_requests_of_a_turn_count_for_its_limit() -> None:
    client = Scripted(wants(ASK))  # both ask for ever
    tailor = craft("tailor", "Sews.", "You sew.\n")
    reply = reply_of(take(shop(client, BAKER, tailor, limits=ToolSettings(max_iterations=5))))
    assert reply.stop_reason == MAX_ITERATIONS
    assert len(client.requests) <= 5


def test_what_was_asked_stands_in_a_turn_that_fails() -> None:
    client = Scripted(wants(ASK), ends("Forty."), OverloadedError("no capacity"))
    dispatcher = shop(client)
    dispatcher.store = MemorySessionStore()
    session = dispatcher.session("a")
    with pytest.raises(OverloadedError):
        session.dispatch("help", agent="baker")
    [turn] = session.turns
    assert [each.answer for each in turn.handoffs] == ["Forty."]
    assert turn.usage == Usage(input_tokens=30, output_tokens=3)
