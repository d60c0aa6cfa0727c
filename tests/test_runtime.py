"""One run through the Dispatcher: plan, dispatch and stream, with a scripted client in the service's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher import (
    AgentFileError,
    DecisionMade,
    Dispatcher,
    Event,
    How,
    Outcome,
    Registry,
    Reply,
    Settings,
    Stopped,
    TextDelta,
    UnknownAgentError,
    UsageError,
    UsageReported,
    VariableError,
)
from dispatcher.errors import BrokenStreamError, OfflineError
from dispatcher.runtime import ABSTAINED
from dispatcher.settings import LLMSettings, Price, RoutingSettings
from dispatcher.testing import REQUEST_ID, ScriptedClient, breaks_off, says, serve

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
COOK = "---\nname: cook\ndescription: Writes recipes for dinner and dessert.\nmodel: opus\n---\nYou cook.\n"
TEMPLATE = "---\nname: builder\ndescription: Builds.\n---\nBuild {{KIND}}.\n\nFor {{WHO}}, as {{KIND}}: {{DONE}}.\n"
USAGE = {"input_tokens": 1_000_000, "output_tokens": 100_000}
REVIEW, NONSENSE = "review this pull request for bugs", "zzz qqq"

RegistryOf = Callable[..., Registry]


@pytest.fixture
def registry(registry_of: RegistryOf) -> Registry:
    return registry_of({"reviewer.md": REVIEWER, "cook.md": COOK, "builder.md": TEMPLATE})


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient(says("Looks ", "fine.", usage=USAGE))


@pytest.fixture
def dispatcher(registry: Registry, client: ScriptedClient) -> Dispatcher:
    return Dispatcher(registry, client=client)


async def collected(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


Run = Callable[..., Reply]


@pytest.fixture(params=["dispatch", "stream", "adispatch", "astream"])
def run(request: pytest.FixtureRequest) -> Run:
    """Each of the four ways to run a task, with its reply."""

    def run_task(dispatcher: Dispatcher, task: Any, **options: Any) -> Reply:
        if request.param == "dispatch":
            return dispatcher.dispatch(task, **options)
        if request.param == "adispatch":
            return asyncio.run(dispatcher.adispatch(task, **options))
        if request.param == "stream":
            events = list(dispatcher.stream(task, **options))
        else:
            events = asyncio.run(collected(dispatcher.astream(task, **options)))
        assert isinstance(events[0], DecisionMade)
        assert isinstance(events[-1], Stopped)
        assert events[-1].reply.plan is events[0].plan
        return events[-1].reply

    return run_task


def test_a_task_goes_to_its_agent_and_the_answer_comes_back(
    dispatcher: Dispatcher, client: ScriptedClient, run: Run
) -> None:
    reply = run(dispatcher, REVIEW)
    assert reply.decision.agent is not None
    assert reply.decision.agent.name == "reviewer"
    assert (reply.text, reply.stop_reason, reply.request_id) == ("Looks fine.", "end_turn", REQUEST_ID)
    assert (reply.was_sent, reply.is_complete) == (True, True)
    [sent] = client.requests
    assert (sent.model, sent.system, sent.max_tokens) == ("claude-sonnet-5-5", "You review code.\n", 16_000)
    assert [(message.role, message.content) for message in sent.messages] == [("user", REVIEW)]


def test_a_stream_is_the_decision_the_pieces_and_the_reply(dispatcher: Dispatcher) -> None:
    events = list(dispatcher.stream(REVIEW))
    assert events == asyncio.run(collected(dispatcher.astream(REVIEW)))
    assert [type(event) for event in events] == [DecisionMade, TextDelta, TextDelta, UsageReported, Stopped]


def test_the_decision_comes_before_anything_is_sent(dispatcher: Dispatcher, client: ScriptedClient) -> None:
    events = dispatcher.stream(REVIEW)
    assert isinstance(next(events), DecisionMade)
    assert client.requests == []


def test_a_plan_sends_nothing_and_can_be_carried_out(dispatcher: Dispatcher, client: ScriptedClient, run: Run) -> None:
    plan = dispatcher.plan(REVIEW, model="haiku")
    assert client.requests == []
    assert run(dispatcher, plan).plan is plan
    assert client.requests == [plan.request]
    assert (plan.model and plan.model.name) == "claude-haiku-5-5"


def test_what_nobody_is_sure_of_is_a_result(dispatcher: Dispatcher, client: ScriptedClient, run: Run) -> None:
    reply = run(dispatcher, NONSENSE)
    assert (reply.stop_reason, reply.text, reply.cost) == (ABSTAINED, "", None)
    assert (reply.was_sent, reply.is_complete) == (False, False)
    assert reply.decision.outcome is Outcome.ABSTAINED
    assert client.requests == []


def test_the_fallback_answers_where_nobody_is_sure(registry: Registry, client: ScriptedClient, run: Run) -> None:
    settings = Settings(routing=RoutingSettings(fallback="cook"))
    reply = run(Dispatcher(registry, settings=settings, client=client), NONSENSE)
    assert (reply.decision.how, reply.decision.agent and reply.decision.agent.name) == (How.FALLBACK, "cook")
    assert client.requests[0].system == "You cook.\n"


def test_a_fallback_that_does_not_exist_is_told_at_once(registry: Registry) -> None:
    with pytest.raises(UnknownAgentError, match="kook"):
        Dispatcher(registry, settings=Settings(routing=RoutingSettings(fallback="kook")))


def test_options_go_before_the_file_and_config(registry: Registry, client: ScriptedClient) -> None:
    dispatcher = Dispatcher(registry, settings=Settings(llm=LLMSettings(max_tokens=5)), client=client)
    dispatcher.dispatch("dinner", agent="cook")
    dispatcher.dispatch("dinner", agent="Cook", model="haiku", max_tokens=9)
    assert [(sent.model, sent.max_tokens) for sent in client.requests] == [
        ("claude-opus-5-5", 5),
        ("claude-haiku-5-5", 9),
    ]


def test_a_decision_already_made_is_carried_out(dispatcher: Dispatcher, client: ScriptedClient) -> None:
    decision = dispatcher.route("anything", agent="cook")
    assert dispatcher.dispatch(REVIEW, decision=decision).decision is decision
    assert client.requests[0].messages[0].content == "anything"


def test_agents_can_be_left_out(dispatcher: Dispatcher) -> None:
    without = dispatcher.route(REVIEW, exclude=["reviewer"]).candidates
    assert without
    assert "reviewer" not in {candidate.name for candidate in without}
    alone = dispatcher.plan(REVIEW, only=["cook"]).decision
    assert [candidate.name for candidate in alone.candidates] == ["cook"]
    assert alone.confidence < dispatcher.route(REVIEW).confidence


def test_the_cost_is_worked_out_with_the_prices_of_config(registry: Registry, client: ScriptedClient) -> None:
    price = Price(input=3, output=10, cache_write=0, cache_read=0)
    settings = Settings(llm=LLMSettings(model="mine", prices={"mine": price}))
    assert Dispatcher(registry, settings=settings, client=client).dispatch(REVIEW).cost == pytest.approx(4)
    settings = Settings(llm=LLMSettings(model="mine"))
    assert Dispatcher(registry, settings=settings, client=client).dispatch(REVIEW).cost is None


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "model_context_window_exceeded"])
def test_an_answer_that_is_not_whole_says_so(registry: Registry, run: Run, stop_reason: str) -> None:
    reply = run(Dispatcher(registry, client=ScriptedClient(says("I", stop_reason=stop_reason))), REVIEW)
    assert (reply.text, reply.stop_reason, reply.was_sent, reply.is_complete) == ("I", stop_reason, True, False)


def test_an_error_of_the_service_comes_after_the_pieces(registry: Registry) -> None:
    broken = ScriptedClient(breaks_off("Looks"))
    seen: list[Event] = []
    with pytest.raises(BrokenStreamError, match="broke off after 5 characters"):
        seen.extend(event for event in tee(Dispatcher(registry, client=broken).stream(REVIEW), seen))
    assert TextDelta(text="Looks") in seen


def tee(events: Iterator[Event], seen: list[Event]) -> Iterator[Event]:
    for event in events:
        seen.append(event)
        yield event


def test_variables_are_filled_and_never_expanded_again(registry: Registry, client: ScriptedClient) -> None:
    dispatcher = Dispatcher(registry, settings=Settings(variables={"KIND": "a {{WHO}}", "WHO": "us"}), client=client)
    dispatcher.dispatch("go", agent="builder", variables={"WHO": "them", "DONE": "$5 \\1"})
    assert client.requests[0].system == "Build a {{WHO}}.\n\nFor them, as a {{WHO}}: $5 \\1.\n"


def test_every_undefined_variable_is_listed_with_its_line(dispatcher: Dispatcher, tmp_path: Path) -> None:
    path = tmp_path / "files" / "builder.md"
    with pytest.raises(VariableError) as caught:
        dispatcher.plan("go", agent="builder", variables={"DONE": "x"})
    assert caught.value.message.splitlines()[1:] == [
        f"  {path}:5: {{{{KIND}}}}",
        f"  {path}:7: {{{{WHO}}}}",
        f"  {path}:7: {{{{KIND}}}}",
    ]
    assert caught.value.names == ("KIND", "WHO")
    assert "--var KIND=VALUE" in (caught.value.hint or "")


def test_undefined_variables_can_be_sent_as_they_stand(dispatcher: Dispatcher) -> None:
    plan = dispatcher.plan("go", agent="builder", variables={"KIND": "huts"}, allow_undefined=True)
    assert plan.request is not None
    assert plan.request.system == "Build huts.\n\nFor {{WHO}}, as huts: {{DONE}}.\n"


@pytest.mark.parametrize("task", ["@reviewer", "@reviewer:  \n"])
def test_a_name_without_a_task_is_told(dispatcher: Dispatcher, task: str) -> None:
    with pytest.raises(UsageError, match="there is no task"):
        dispatcher.plan(task)


def test_an_agent_without_a_prompt_can_not_be_run(registry_of: RegistryOf) -> None:
    registry = registry_of({"a.md": "---\nname: a\ndescription: Reviews code.\n---\n \n"})
    with pytest.raises(AgentFileError, match='the agent "a" has no prompt'):
        Dispatcher(registry, client=ScriptedClient()).plan("review", agent="a")


def test_an_empty_registry_is_told() -> None:
    with pytest.raises(AgentFileError, match="there is no agent"):
        Dispatcher(Registry.from_agents([]))


def test_what_a_file_asks_for_and_does_not_get_is_noticed(registry_of: RegistryOf) -> None:
    front = "name: a\ndescription: Reviews code.\nmodel: gpt-4.1\ntools: Read, Bash\neffort: HIGH"
    plan = Dispatcher(registry_of({"a.md": f"---\n{front}\n---\nYou review.\n"})).plan("review", agent="a")
    assert plan.notices == (
        'the model "gpt-4.1" is not one of this service; claude-sonnet-5-5 is used',
        "its file names tools (Read, Bash); it is run without any",
    )
    assert plan.request is not None
    assert plan.request.effort == "high"


def test_an_effort_that_does_not_exist_is_noticed_and_not_sent(registry_of: RegistryOf) -> None:
    text = "---\nname: a\ndescription: Reviews code.\neffort: heroic\n---\nYou review.\n"
    plan = Dispatcher(registry_of({"a.md": text})).plan("review", agent="a")
    assert plan.notices == ('the effort "heroic" is none of low, medium, high, xhigh, max; it is not sent',)
    assert plan.request is not None
    assert plan.request.effort is None


def test_without_a_credential_nothing_is_sent(registry: Registry, run: Run) -> None:
    reply = run(Dispatcher(registry, environment={}), REVIEW)
    assert (reply.was_sent, reply.is_complete, reply.text) == (False, False, "")
    assert reply.plan.request is not None


def test_without_a_credential_it_can_be_an_error(registry: Registry, run: Run) -> None:
    settings = Settings(llm=LLMSettings(offline="error"))
    with pytest.raises(OfflineError) as caught:
        run(Dispatcher(registry, settings=settings, environment={}), REVIEW)
    assert caught.value.exit_code == 5


def test_the_service_that_config_describes_is_asked(registry: Registry, run: Run) -> None:
    with serve() as server:
        server.script(says("Looks fine.", stop_reason="end_turn"))
        settings = Settings(llm=LLMSettings(base_url=server.base_url))
        assert run(Dispatcher(registry, settings=settings, environment={}), REVIEW).text == "Looks fine."


def test_a_dispatcher_closes_its_client(registry: Registry) -> None:
    closed: list[str] = []

    class Closing(ScriptedClient):
        def close(self) -> None:
            closed.append("close")

        async def aclose(self) -> None:
            closed.append("aclose")

    async def leave() -> None:
        async with Dispatcher(registry, client=Closing()):
            pass

    with Dispatcher(registry, client=Closing()) as dispatcher:
        assert dispatcher.dispatch(REVIEW).was_sent
    asyncio.run(leave())
    assert closed == ["close", "aclose"]


def test_a_run_is_logged_without_its_words(
    registry: Registry, run: Run, client: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="dispatcher"):
        Dispatcher(registry, client=client).dispatch(REVIEW)
    assert "reviewer" in caplog.text
    assert "end_turn" in caplog.text
    assert REVIEW not in caplog.text
