"""Escalation: which decisions are judged, what becomes of the answer, and that a failure is never worse than none."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatcher import (
    Agent,
    Decision,
    DecisionMade,
    Dispatcher,
    How,
    Outcome,
    Question,
    Registry,
    Router,
    Said,
    Settings,
    Usage,
    Verdict,
)
from dispatcher.errors import OverloadedError
from dispatcher.judge import Escalator, JudgeMemory, Policy
from dispatcher.routing.weights import Calibration
from dispatcher.settings import BudgetSettings, JudgeSettings, LLMSettings, Price, RoutingSettings, Rule
from dispatcher.testing import ScriptedClient, says, serve, stalls
from tests.workshop import TEAM, craft, ranking

TASK = "sew a seam in the bread"
"""A task that two of the team are near to."""
ASSISTANT = craft("assistant", "Answers what nobody else does.", "You help.", disable_model_invocation=True)
ALWAYS = Policy(escalate="always", below=0.5, top_k=40)


class StubJudge:
    """Answers as a test wants, and keeps the questions."""

    model = "stub"

    def __init__(self, answer: Verdict | Exception | None = None) -> None:
        self.answer = answer or Verdict(pick="welder", reason="It is hot.", sureness=0.9, model="stub", cost=0.25)
        self.questions: list[Question] = []

    def judge(self, question: Question) -> Verdict:
        self.questions.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def ajudge(self, question: Question) -> Verdict:
        return self.judge(question)


Decide = Callable[..., Decision]


@pytest.fixture(params=["sync", "async"])
def decide(request: pytest.FixtureRequest) -> Decide:
    """What an escalator makes of a decision, in each of the two ways."""

    def run(escalator: Escalator, decision: Decision, **options: Any) -> Decision:
        if request.param == "sync":
            return escalator.decide(decision, **options)
        return asyncio.run(escalator.adecide(decision, **options))

    return run


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(TEAM)


@pytest.fixture
def offline(router: Router) -> Decision:
    return router.route(TASK)


def test_the_pick_comes_first_and_the_others_keep_their_order(decide: Decide, offline: Decision) -> None:
    judge = StubJudge()
    decision = decide(Escalator(judge, ALWAYS), offline)
    assert offline.candidates[0].name != "welder"
    assert (decision.how, decision.outcome) == (How.JUDGED, Outcome.ROUTED)
    assert decision.agent is not None
    assert decision.agent.name == "welder"
    assert ranking(decision) == ["welder", *(name for name in ranking(offline) if name != "welder")]
    assert decision.reason == "It is hot."
    assert decision.margin == round(decision.candidates[0].score - decision.candidates[1].score, 6)


def test_the_decision_records_how_it_was_judged(decide: Decide, offline: Decision) -> None:
    answer = Verdict(
        pick="welder", reason="It is\n hot.", sureness=0.9, model="m", usage=Usage(input_tokens=7), cost=0.2
    )
    found = decide(Escalator(StubJudge(answer), ALWAYS), offline).judgement
    assert found is not None
    assert (found.pick, found.reason, found.failure, found.was_asked) == ("welder", "It is hot.", None, True)
    assert (found.offline_pick, found.offline_confidence) == (offline.candidates[0].name, offline.confidence)
    assert (found.model, found.usage, found.cost, found.sureness) == ("m", Usage(input_tokens=7), 0.2, 0.9)
    assert found.latency > 0


def test_the_shortlist_does_not_tell_the_ranking(router: Router) -> None:
    judge = StubJudge()
    escalator = Escalator(judge, replace(ALWAYS, top_k=3))
    offline = router.route(TASK)
    escalator.decide(offline)
    (question,) = judge.questions
    names = [option.name for option in question.shortlist]
    assert names == sorted(names)
    assert set(names) == set(ranking(offline)[:3])
    assert {option.description for option in question.shortlist} == {
        one.agent.description for one in offline.candidates[:3]
    }


def test_no_prompt_is_shown_but_the_last_turns_and_the_beginning_of_the_material(offline: Decision) -> None:
    judge = StubJudge()
    turns = [Said(role="user", text=str(number)) for number in range(10)]
    Escalator(judge, ALWAYS).decide(offline, turns=turns, material="log " * 5_000)
    (question,) = judge.questions
    assert [turn.text for turn in question.turns] == ["4", "5", "6", "7", "8", "9"]
    assert question.task.startswith(f"{TASK}\n\nlog log")
    assert len(question.task) < 1_200
    assert not any(agent.prompt in str(question) for agent in TEAM if agent.prompt)


@pytest.mark.parametrize(
    ("escalate", "below", "asked"), [("never", 1.0, 0), ("unsure", 0.0, 0), ("unsure", 1.0, 1), ("always", 0.0, 1)]
)
def test_a_judge_is_asked_as_often_as_the_policy_says(
    offline: Decision, escalate: Any, below: float, asked: int
) -> None:
    judge = StubJudge()
    decision = Escalator(judge, Policy(escalate=escalate, below=below, top_k=5)).decide(offline)
    assert len(judge.questions) == asked
    assert (decision is offline) == (asked == 0)


def test_what_scores_did_not_decide_is_never_judged(router: Router) -> None:
    ruled = Router(TEAM, rules=[Rule(any=("seam",), force="tailor")])
    judge = StubJudge()
    for decision in (router.route(TASK, agent="tailor"), router.route(f"@tailor {TASK}"), ruled.route(TASK)):
        assert Escalator(judge, ALWAYS).decide(decision) is decision
    assert judge.questions == []


def test_an_agent_that_may_not_be_chosen_is_not_on_the_shortlist(router: Router) -> None:
    judge = StubJudge(Verdict(pick="tailor"))
    decision = Escalator(judge, ALWAYS).decide(router.route(TASK, exclude=["tailor"]))
    assert "tailor" not in {option.name for option in judge.questions[0].shortlist}
    assert decision.agent is None or decision.agent.name != "tailor"


@pytest.mark.parametrize("pick", ["butcher", "", "tailor; joiner", "Tailor"])
def test_an_answer_outside_the_shortlist_is_refused(decide: Decide, offline: Decision, pick: str) -> None:
    decision = decide(Escalator(StubJudge(Verdict(pick=pick, cost=0.1)), ALWAYS), offline)
    assert decision.judgement is not None
    assert "not on the shortlist" in str(decision.judgement.failure)
    assert decision.judgement.pick is None
    assert replace(decision, judgement=None) == offline


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (OverloadedError("the service is overloaded\nreally"), "the service is overloaded"),
        (RuntimeError("broken\nin two"), "RuntimeError: broken in two"),
        (Verdict(pick=None, fault="declined"), "declined"),
        ({"pick": "tailor"}, "not a Verdict"),
    ],
)
def test_a_failure_leaves_the_router_s_pick(decide: Decide, offline: Decision, answer: Any, told: str) -> None:
    decision = decide(Escalator(StubJudge(answer), ALWAYS), offline)
    assert decision.judgement is not None
    assert told in str(decision.judgement.failure)
    assert decision.judgement.was_asked
    assert replace(decision, judgement=None) == offline


def test_without_a_judge_the_decision_says_why(decide: Decide, offline: Decision) -> None:
    decision = decide(Escalator(None, ALWAYS, unavailable="there is no key"), offline)
    assert decision.judgement is not None
    assert (decision.judgement.failure, decision.judgement.was_asked) == ("there is no key", False)
    assert (decision.agent, decision.how) == (offline.agent, offline.how)


class Slow(StubJudge):
    """Answers only when it is let go; remembers that it did."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.thread: threading.Thread | None = None

    def judge(self, question: Question) -> Verdict:
        self.thread = threading.current_thread()
        self.go.wait()
        return super().judge(question)

    async def ajudge(self, question: Question) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")


def test_nobody_waits_longer_than_the_timeout(decide: Decide, offline: Decision) -> None:
    judge = Slow()
    decision = decide(Escalator(judge, ALWAYS, timeout=0.02), offline)
    judge.go.set()
    assert decision.judgement is not None
    assert decision.judgement.failure == "no answer in 0.02 seconds"
    assert decision.agent == offline.agent


class Unprepared(StubJudge):
    """Has to load something before its first answer, and fails where it was not asked to."""

    def __init__(self, problem: Exception | None = None) -> None:
        super().__init__()
        self.is_prepared = False
        self.problem = problem

    def prepare(self) -> None:
        if self.problem is not None:
            raise self.problem
        self.is_prepared = True

    def judge(self, question: Question) -> Verdict:
        assert self.is_prepared
        return super().judge(question)


def test_what_a_judge_loads_is_not_counted_as_the_time_of_its_answer(
    decide: Decide, offline: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, clock = Unprepared(), iter((10.0, 10.5))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) if judge.is_prepared else pytest.fail("too early"))
    decision = decide(Escalator(judge, ALWAYS), offline)
    assert (decision.how, decision.judgement and decision.judgement.latency) == (How.JUDGED, 0.5)


def test_what_a_judge_can_not_load_leaves_the_router_s_pick(decide: Decide, offline: Decision) -> None:
    decision = decide(Escalator(Unprepared(ImportError("no such library")), ALWAYS), offline)
    assert decision.agent == offline.agent
    assert decision.judgement is not None
    assert decision.judgement.failure == "ImportError: no such library"
    assert not decision.judgement.was_asked


def test_loading_reaches_through_spans_and_budgets_to_the_client(registry: Registry) -> None:
    class Client(ScriptedClient):
        is_prepared = False

        def prepare(self) -> None:
            self.is_prepared = True

    client = Client(PICK)
    settings = replace(UNSURE, budget=BudgetSettings(day=1.0))
    assert Dispatcher(registry, settings=settings, client=client).route("sew curtains").how is How.JUDGED
    assert client.is_prepared


def test_an_answer_that_comes_too_late_is_paid_for_and_known_next_time(offline: Decision) -> None:
    judge = Slow()
    escalator = Escalator(judge, ALWAYS, timeout=0.02)
    escalator.decide(offline)
    judge.go.set()
    assert judge.thread is not None
    judge.thread.join(5)
    assert escalator.memory.spent == 0.25
    decision = escalator.decide(offline)
    assert (decision.how, decision.judgement and decision.judgement.is_cached) == (How.JUDGED, True)


def test_the_same_question_is_asked_once(decide: Decide, offline: Decision, router: Router) -> None:
    judge = StubJudge()
    escalator = Escalator(judge, ALWAYS)
    first, second = decide(escalator, offline), decide(escalator, offline)
    assert len(judge.questions) == 1
    assert ranking(first) == ranking(second)
    assert second.judgement is not None
    assert (second.judgement.is_cached, second.judgement.cost, second.judgement.usage) == (True, 0.0, Usage())
    decide(escalator, offline, turns=[Said(role="user", text="of leather")])
    decide(escalator, router.route(TASK, exclude=["bread-baker"]))
    assert len(judge.questions) == 3


def test_a_failure_is_asked_again(decide: Decide, offline: Decision) -> None:
    judge = StubJudge(RuntimeError("broken"))
    escalator = Escalator(judge, ALWAYS)
    decide(escalator, offline)
    judge.answer = Verdict(pick="welder")
    assert decide(escalator, offline).how is How.JUDGED


def test_no_more_is_spent_than_the_budget(decide: Decide, router: Router) -> None:
    judge = StubJudge()
    escalator = Escalator(judge, ALWAYS, budget=0.5)
    decisions = [decide(escalator, router.route(f"{TASK} {number}")) for number in range(4)]
    assert len(judge.questions) == 2
    last = decisions[-1].judgement
    assert last is not None
    assert (last.failure, last.was_asked) == ("the budget of $0.5 is spent", False)


def test_a_budget_of_nothing_asks_nobody(offline: Decision) -> None:
    judge = StubJudge()
    assert Escalator(judge, ALWAYS, budget=0.0).decide(offline).how is How.SCORED
    assert judge.questions == []


def test_none_of_them_is_an_answer(decide: Decide, offline: Decision) -> None:
    answer = Verdict(pick=None, reason="Nobody sews bread.", sureness=0.99)
    decision = decide(Escalator(StubJudge(answer), ALWAYS), offline)
    assert decision.confidence == 0.01 < offline.confidence
    assert (decision.agent, decision.outcome, decision.how) == (None, Outcome.ABSTAINED, How.JUDGED)
    assert "Nobody sews bread." in decision.reason
    assert ranking(decision) == ranking(offline)


def with_fallback(**options: Any) -> Router:
    return Router([*TEAM, ASSISTANT], settings=RoutingSettings(fallback="assistant", **options))


@pytest.mark.parametrize("min_confidence", [0.0, 1.0])
def test_the_fallback_takes_what_the_judge_gives_to_nobody(min_confidence: float) -> None:
    offline = with_fallback(min_confidence=min_confidence).route(TASK)
    assert offline.how is (How.SCORED if min_confidence == 0 else How.FALLBACK)
    decision = Escalator(StubJudge(Verdict(pick=None)), ALWAYS).decide(offline)
    assert (decision.how, decision.agent) == (How.FALLBACK, ASSISTANT)


def test_a_fallback_that_may_not_be_chosen_is_not_chosen_by_a_judge_either() -> None:
    offline = with_fallback(min_confidence=0.0).route(TASK, exclude=["assistant"])
    assert Escalator(StubJudge(Verdict(pick=None)), ALWAYS).decide(offline).agent is None


def test_a_pick_takes_what_had_gone_to_the_fallback() -> None:
    offline = with_fallback(min_confidence=0.4).route("zzz qqq")
    assert offline.how is How.FALLBACK
    sure = replace(ALWAYS, calibration=Calibration(intercept=2.0, coefficients={}))
    decision = Escalator(StubJudge(), sure).decide(offline)
    assert (decision.how, decision.agent and decision.agent.name) == (How.JUDGED, "welder")
    assert decision.confidence == pytest.approx(0.880797)


def test_a_judge_that_is_not_sure_enough_does_not_choose() -> None:
    offline = Router(TEAM, settings=RoutingSettings(min_confidence=0.6)).route(TASK)
    doubtful = replace(ALWAYS, calibration=Calibration(intercept=0.0, coefficients={}))
    decision = Escalator(StubJudge(), doubtful).decide(offline)
    assert (decision.agent, decision.outcome, decision.confidence) == (None, Outcome.ABSTAINED, 0.5)
    assert decision.candidates[0].name == "welder"


def test_confidence_follows_the_calibration(offline: Decision) -> None:
    coefficients = {"place": -1.0, "sureness": 1.0}
    policy = replace(ALWAYS, calibration=Calibration(intercept=0.5, coefficients=coefficients))

    def confidence(pick: str, sureness: float | None) -> float:
        return Escalator(StubJudge(Verdict(pick=pick, sureness=sureness)), policy).decide(offline).confidence

    first, last = ranking(offline)[0], ranking(offline)[-1]
    assert confidence(first, 0.9) > confidence(first, None) > confidence(first, 0.1)
    assert confidence(first, 0.9) > confidence(last, 0.9)


def test_the_shipped_weights_know_of_judged_decisions() -> None:
    policy = Policy.of(RoutingSettings(escalate="unsure"), JudgeSettings(), Router(TEAM).weights)
    assert policy.calibration is not None
    assert 0.2 < policy.below < 0.8
    told = Policy.of(
        RoutingSettings(escalate="unsure", escalate_below=0.125), JudgeSettings(top_k=3), Router(TEAM).weights
    )
    assert (told.below, told.top_k) == (0.125, 3)


def test_weights_that_know_no_judge_take_the_shipped_ones_knowledge() -> None:
    weights = Router(TEAM).weights
    bare = replace(weights, judged=None, escalate_below=None)
    settings = RoutingSettings(escalate="unsure")
    assert Policy.of(settings, JudgeSettings(), bare) == Policy.of(settings, JudgeSettings(), weights)


FILES = {
    f"{name}.md": f"---\nname: {name}\ndescription: {what}\n---\nYou {name}.\n"
    for name, what in {"tailor": "Sews coats and curtains.", "baker": "Bakes bread.", "welder": "Welds steel."}.items()
}
PICK = json.dumps({"agent": "welder", "reason": "It is hot.", "sureness": 0.9})
UNSURE = Settings(routing=RoutingSettings(escalate="always"))

Plan = Callable[..., Decision]


@pytest.fixture
def registry(registry_of: Callable[..., Registry]) -> Registry:
    return registry_of(FILES)


@pytest.fixture(params=["route", "aroute", "plan", "aplan", "dispatch", "adispatch", "stream", "astream"])
def decided(request: pytest.FixtureRequest) -> Plan:
    """The decision, in each of the ways in which a dispatcher comes to one."""

    def run(dispatcher: Dispatcher, task: str, **options: Any) -> Decision:
        way = getattr(dispatcher, request.param)
        if request.param == "stream":
            events = list(way(task, **options))
            return decision_of(events[0])
        if request.param == "astream":
            return asyncio.run(first_of(way(task, **options)))
        found = way(task, **options)
        if request.param.startswith("a"):
            found = asyncio.run(found)
        return found if isinstance(found, Decision) else found.decision

    return run


async def first_of(events: Any) -> Decision:
    found = [event async for event in events]
    return decision_of(found[0])


def decision_of(event: Any) -> Decision:
    assert isinstance(event, DecisionMade)
    return event.plan.decision


def test_a_judge_of_the_user_s_own_is_asked_in_every_way(registry: Registry, decided: Plan) -> None:
    judge = StubJudge()
    dispatcher = Dispatcher(registry, settings=UNSURE, client=ScriptedClient(), judge=judge)
    decision = decided(dispatcher, "sew curtains", turns=[Said(role="user", text="good day")])
    assert (decision.how, decision.agent and decision.agent.name) == (How.JUDGED, "welder")
    assert [turn.text for turn in judge.questions[0].turns] == ["good day"]


def test_nobody_is_asked_unless_config_says_so(registry: Registry, decided: Plan) -> None:
    judge = StubJudge()
    decision = decided(Dispatcher(registry, client=ScriptedClient(), judge=judge), "sew curtains")
    assert (decision.how, decision.judgement, judge.questions) == (How.SCORED, None, [])


def test_the_model_of_config_judges(registry: Registry) -> None:
    with serve() as server:
        server.script(says(PICK))
        settings = replace(
            UNSURE,
            llm=LLMSettings(base_url=server.base_url, aliases={"small": "qwen3:8b"}),
            judge=JudgeSettings(model="small"),
        )
        with Dispatcher(registry, settings=settings, environment={}) as dispatcher:
            decision = dispatcher.route("sew curtains")
        assert (decision.how, decision.agent and decision.agent.name) == (How.JUDGED, "welder")
        assert [request.body["model"] for request in server.requests] == ["qwen3:8b"]


def test_the_model_of_config_judges_for_coroutines(registry: Registry) -> None:
    async def route(base_url: str) -> Decision:
        settings = replace(UNSURE, llm=LLMSettings(base_url=base_url))
        async with Dispatcher(registry, settings=settings, environment={}) as dispatcher:
            return await dispatcher.aroute("sew curtains")

    with serve(keeps_alive=True) as server:
        server.script(says(PICK))
        assert asyncio.run(route(server.base_url)).how is How.JUDGED


@pytest.fixture
def stalled() -> Iterator[str]:
    """The address of a service that never answers."""
    with serve() as server:
        server.script(stalls("{"))
        yield server.base_url


def test_a_service_that_does_not_answer_in_time_is_not_waited_for(registry: Registry, stalled: str) -> None:
    settings = replace(UNSURE, llm=LLMSettings(base_url=stalled, max_retries=0), judge=JudgeSettings(timeout=0.3))
    dispatcher = Dispatcher(registry, settings=settings, environment={})
    decision = dispatcher.route("sew curtains")
    assert (decision.how, decision.agent and decision.agent.name) == (How.SCORED, "tailor")
    assert decision.judgement is not None
    assert decision.judgement.failure
    for thread in threading.enumerate():
        if thread.name == "judge":
            thread.join(5)
    dispatcher.close()


def test_without_a_key_the_scores_decide_and_say_so(registry: Registry, decided: Plan) -> None:
    decision = decided(Dispatcher(registry, settings=UNSURE, environment={}), "sew curtains")
    assert (decision.how, decision.agent and decision.agent.name) == (How.SCORED, "tailor")
    assert decision.judgement is not None
    assert decision.judgement.failure == "there is no API key: set ANTHROPIC_API_KEY"


def test_a_budget_needs_a_price(registry: Registry) -> None:
    settings = replace(UNSURE, judge=JudgeSettings(model="mine", budget=1.0))
    client = ScriptedClient(PICK)
    decision = Dispatcher(registry, settings=settings, client=client).route("sew curtains")
    assert decision.judgement is not None
    assert 'the price of "mine" is not known' in str(decision.judgement.failure)
    assert client.requests == []
    price = Price(input=0.1, output=0, cache_write=0, cache_read=0)
    priced = replace(settings, llm=LLMSettings(prices={"mine": price}))
    assert Dispatcher(registry, settings=priced, client=client).route("sew curtains").how is How.JUDGED


def test_reloading_forgets_neither_answers_nor_what_they_cost(tmp_path: Any) -> None:
    team = tmp_path / "agents"
    team.mkdir()
    for name, text in FILES.items():
        (team / name).write_text(text, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        "dispatcher: {agents: agents, routing: {escalate: always}, judge: {budget: 0.25}}", encoding="utf-8"
    )
    judge = StubJudge()
    dispatcher = Dispatcher.from_config(folder=tmp_path, client=ScriptedClient(), judge=judge)
    dispatcher.route("sew curtains")
    dispatcher.reload()
    known, other = dispatcher.route("sew curtains"), dispatcher.route("bake bread")
    assert known.judgement is not None
    assert other.judgement is not None
    assert (known.judgement.is_cached, other.judgement.failure) == (True, "the budget of $0.25 is spent")
    assert len(judge.questions) == 1


def test_memory_is_shared_among_threads(offline: Decision) -> None:
    memory = JudgeMemory(most=5)
    escalator = Escalator(StubJudge(Verdict(pick="welder", cost=0.25)), ALWAYS, memory=memory)

    def ask(number: int) -> None:
        for count in range(10):
            escalator.decide(replace(offline, task=f"{number} {count}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.spent == 10.0


def test_agents_of_any_kind_can_be_judged(decide: Decide) -> None:
    agents: list[Agent] = [craft("größe", "Misst Größen.", "x"), craft("other", "", "y")]
    decision = decide(Escalator(StubJudge(Verdict(pick=" größe ")), ALWAYS), Router(agents).route("zzz"))
    assert decision.candidates[0].name == "größe"
