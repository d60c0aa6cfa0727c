"""Who takes the next turn of a conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dispatcher import (
    Decision,
    Dispatcher,
    How,
    Question,
    Registry,
    Router,
    Rule,
    Settings,
    UnknownAgentError,
    UsageError,
    Verdict,
)
from dispatcher.cli.outputs import OUTPUTS, schema_of
from dispatcher.evaluation.conversations import (
    DecidedTurn,
    Kind,
    LabelledTurn,
    measure_conversations,
    read_conversations,
)
from dispatcher.runtime.sticky import Spoken, route_turn
from dispatcher.settings import RoutingSettings
from tests.cli_calls import Outcome, call
from tests.conversing import EchoClient
from tests.workshop import TEAM

ROOT = Path(__file__).parents[1]
BREAD = Spoken(task="bake bread from rye flour, my sourdough loaf is flat", agent="bread-baker")
COAT = Spoken(task="mend the seam of my coat", agent="tailor")


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(TEAM)


def decide(router: Router, task: str, *spoken: Spoken) -> Decision:
    return route_turn(task, spoken, router.route_after)


def name_of(decision: Decision) -> str | None:
    return decision.agent.name if decision.agent is not None else None


@pytest.mark.parametrize(
    "task", ["make it faster", "and the tests?", "why?", "shorter please", "thanks!", "hm", "what about rye", "", "👍"]
)
def test_a_follow_up_stays_and_says_why(router: Router, task: str) -> None:
    decision = decide(router, task, BREAD)
    assert (name_of(decision), decision.how) == ("bread-baker", How.STICKY)
    assert decision.reason
    assert decision.candidates[0].name == "bread-baker"
    assert decision.task == task


@pytest.mark.parametrize(
    ("task", "agent"),
    [
        ("our steel gate is broken, please weld the frame and grind its edges", "welder"),
        ("i need new curtains, sew them of thick cloth and stitch every seam twice", "tailor"),
        ("by the way, weld the steel gate", "welder"),
    ],
)
def test_a_new_subject_goes_to_the_right_agent(router: Router, task: str, agent: str) -> None:
    decision = decide(router, task, BREAD)
    assert (name_of(decision), decision.how) == (agent, How.SCORED)
    assert decision.reason.startswith("it is a new subject; ")


def test_a_new_subject_that_the_same_agent_would_fit_best_goes_to_the_next(router: Router) -> None:
    decision = decide(router, "by the way, i need help: bake bread, sew a coat, stitch its seam, weld a frame", BREAD)
    assert (name_of(decision), decision.how) == ("tailor", How.SCORED)
    assert decision.candidates[0].name == "tailor"
    assert '"tailor" fits it best after "bread-baker"' in decision.reason


def test_where_there_is_one_agent_it_keeps_the_conversation() -> None:
    (baker,) = [agent for agent in TEAM if agent.name == "bread-baker"]
    decision = decide(Router([baker]), "by the way, i need help: weld a steel gate", BREAD)
    assert (name_of(decision), decision.how) == ("bread-baker", How.STICKY)


def test_the_first_turn_is_routed_as_any_task_is(router: Router) -> None:
    task = "weld a steel frame"
    assert decide(router, task) == router.route(task)
    assert decide(router, task, Spoken(task="zzz", agent=None)) == router.route(task)


def test_an_earlier_agent_is_gone_back_to(router: Router) -> None:
    task = "our coat again: now the seam of its other sleeve came apart, stitch it twice"
    assert name_of(decide(router, task, COAT, BREAD)) == "tailor"


def test_a_name_switches(router: Router) -> None:
    decision = decide(router, "@tailor and this?", BREAD)
    assert (name_of(decision), decision.how, decision.task) == ("tailor", How.MENTION, "and this?")
    switched = Spoken(task=decision.task, agent="tailor")
    assert name_of(decide(router, "shorter please", BREAD, switched)) == "tailor"


@pytest.mark.parametrize("task", ["@auto bake bread from wheat", " @AUTO: bake bread from wheat"])
def test_auto_lets_go(router: Router, task: str) -> None:
    decision = decide(router, task, COAT)
    assert (name_of(decision), decision.how, decision.task) == ("bread-baker", How.SCORED, "bake bread from wheat")
    assert decision.reason.startswith("@auto lets go")


def test_auto_without_a_task_and_a_name_that_is_none_are_told(router: Router) -> None:
    with pytest.raises(UsageError, match="there is no task after @auto"):
        decide(router, "@auto ", BREAD)
    with pytest.raises(UnknownAgentError):
        decide(router, "@tailr mend it", BREAD)


def test_a_word_that_begins_like_auto_is_no_order(router: Router) -> None:
    assert decide(router, "@automatic doors?", BREAD).how is How.STICKY


def test_what_the_caller_or_a_rule_says_goes_first() -> None:
    router = Router(TEAM, rules=[Rule(any=("urgent",), force="welder")])
    assert name_of(decide(router, "and that is urgent", BREAD)) == "welder"
    forced = route_turn("why?", [BREAD], lambda task, said: router.route_after(task, said, agent="tailor"))
    assert (name_of(forced), forced.how) == ("tailor", How.FORCED)


def test_an_agent_that_is_gone_or_left_out_holds_nothing(router: Router) -> None:
    gone = Spoken(task="paint it", agent="painter")
    assert decide(router, "why?", gone) == router.route("why?")
    without = route_turn("why?", [BREAD], lambda task, said: router.route_after(task, said, exclude=["bread-baker"]))
    assert without.how is not How.STICKY


def test_the_same_conversation_is_decided_the_same(router: Router) -> None:
    assert decide(router, "and with wheat?", BREAD, COAT) == decide(router, "and with wheat?", BREAD, COAT)


def test_a_session_keeps_its_agent() -> None:
    client = EchoClient()
    session = Dispatcher(Registry.from_agents(TEAM), client=client).session("a")
    session.dispatch(BREAD.task)
    reply = session.dispatch("make it faster")
    assert (reply.decision.how, name_of(reply.decision)) == (How.STICKY, "bread-baker")
    assert session.route("why?").how is How.STICKY
    assert session.turns[1].how == "sticky"
    assert session.dispatch("@auto weld a steel gate").turn is not None
    assert (session.agent, session.turns[2].task) == ("welder", "weld a steel gate")


class Recorded:
    """A judge that picks one agent and keeps the questions."""

    def __init__(self, pick: str) -> None:
        self.pick = pick
        self.questions: list[Question] = []

    def judge(self, question: Question) -> Verdict:
        self.questions.append(question)
        return Verdict(pick=self.pick, reason="it is about cloth", sureness=0.99)

    async def ajudge(self, question: Question) -> Verdict:
        return self.judge(question)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_judge_is_asked_of_new_subjects_alone_and_hears_what_was_said(is_async: bool) -> None:
    judge = Recorded("tailor")
    settings = Settings(routing=RoutingSettings(escalate="always"))
    team = Dispatcher(Registry.from_agents(TEAM), settings=settings, client=EchoClient(), judge=judge)
    session = team.session("a")

    def take(task: str) -> Decision:
        return (asyncio.run(session.adispatch(task)) if is_async else session.dispatch(task)).decision

    def route(task: str) -> Decision:
        return asyncio.run(session.aroute(task)) if is_async else session.route(task)

    take(f"@bread-baker {BREAD.task}")
    assert (take("why?").how, len(judge.questions)) == (How.STICKY, 0)
    changed = take("our steel gate is broken, please weld the frame and grind its edges")
    assert (changed.how, name_of(changed)) == (How.JUDGED, "tailor")
    assert [(said.role, said.text) for said in judge.questions[0].turns] == [
        ("user", BREAD.task),
        ("assistant", "answer to 1"),
        ("user", "why?"),
        ("assistant", "answer to 3"),
    ]
    assert route("thanks!").how is How.STICKY
    plan = asyncio.run(session.aplan("thanks!")) if is_async else session.plan("thanks!")
    assert name_of(plan.decision) == "tailor"


def test_a_session_heeds_settings_and_options() -> None:
    settings = Settings(rules=(Rule(any=("urgent",), veto="bread-baker"),))
    dispatcher = Dispatcher(Registry.from_agents(TEAM), settings=settings, client=EchoClient())
    session = dispatcher.session("a")
    session.dispatch(BREAD.task)
    assert name_of(session.plan("urgent: and the crust?").decision) != "bread-baker"
    assert session.plan("why?", agent="tailor").decision.how is How.FORCED
    decision = dispatcher.route("weld a steel gate")
    assert session.plan("why?", decision=decision).decision is decision


# --- evaluation


def turn(kind: Kind, before: str | None, agent: str, chosen: str | None) -> DecidedTurn:
    labelled = LabelledTurn(task="t", agent=agent, kind=kind)
    return DecidedTurn(turn=labelled, before=before, chosen=chosen, reason="")


def test_the_figures_are_shares_of_the_turns_they_are_of() -> None:
    metrics = measure_conversations(
        [
            turn(Kind.FIRST, None, "a", "a"),
            turn(Kind.FOLLOW_UP, "a", "a", "a"),
            turn(Kind.FOLLOW_UP, "a", "a", "b"),
            turn(Kind.SMALL_TALK, "a", "a", None),
            turn(Kind.CHANGE, "a", "b", "c"),
            turn(Kind.CHANGE, "a", "b", "a"),
            turn(Kind.RETURN, "b", "a", "a"),
        ]
    )
    assert (metrics.n, metrics.n_follow_ups, metrics.n_changes) == (7, 3, 3)
    assert metrics.follow_ups_kept == pytest.approx(1 / 3)
    assert metrics.small_talk_kept == 0
    assert metrics.changes_caught == pytest.approx(2 / 3)
    assert metrics.changes_right == pytest.approx(1 / 3)
    assert (metrics.returns_right, metrics.first_right) == (1, 1)
    assert measure_conversations([]).follow_ups_kept is None


FIRST = {"task": "bake", "agent": "a", "kind": "first"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", ":1: this line is not JSON"),
        ("[]", ":1: this is no conversation"),
        ({"turns": []}, ":1: this is no conversation"),
        ({"turns": [FIRST], "tags": "x"}, ":1: this is no conversation"),
        ({"turns": [{"task": "x"}]}, ":1: a turn needs task, agent and kind"),
        ({"turns": [FIRST | {"kind": "begin"}]}, ':1: there is no kind "begin"'),
        ({"turns": [FIRST, FIRST]}, ':1: turn 2 can\'t be "first"'),
        ({"turns": [FIRST, FIRST | {"kind": "follow_up", "agent": "b"}]}, ':1: turn 2 can\'t be "follow_up"'),
        ({"turns": [FIRST, FIRST | {"kind": "change"}]}, ':1: turn 2 can\'t be "change"'),
        ({"turns": [FIRST, FIRST | {"kind": "return", "agent": "b"}]}, ':1: turn 2 can\'t be "return"'),
        ("", "there are no conversations in this file"),
    ],
)
def test_a_wrong_conversation_is_told_with_its_line(tmp_path: Path, record: Any, message: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_conversations(path)
    assert message in caught.value.message


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    return lambda *options: call(capsys, ["eval", "--agents", str(ROOT / "agents"), *options])


HELD = str(ROOT / "eval" / "conversations" / "held.jsonl")


def test_the_held_conversations_are_measured(evaluate: Callable[..., Outcome], tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    gates = ("--min", "follow_ups_kept=0.78", "--min", "changes_caught=0.8", "--min", "small_talk_kept=0.9")
    done = evaluate("--conversations", HELD, "--json", str(figures), *gates)
    assert (done.code, done.err) == (0, "")
    written = json.loads(figures.read_text(encoding="utf-8"))
    jsonschema.validate(written, schema_of(OUTPUTS["eval-conversations"]))
    assert f"follow_ups_kept {written['metrics']['follow_ups_kept']:>18.3f}" in done.out
    assert set(written["by_tag"]) == {"plain", "terse"}


def test_a_gate_that_is_missed_fails(evaluate: Callable[..., Outcome]) -> None:
    done = evaluate("--conversations", HELD, "--min", "follow_ups_kept=1", "-v")
    assert done.code == 1
    assert "missed: follow_ups_kept is" in done.out
    assert "expected" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--conversations", "absent.jsonl"), "the conversations can't be read"),
        (("--conversations", HELD, "--tasks", "x"), "--tasks means nothing with --conversations"),
        (("--conversations", HELD, "--baselines"), "--baselines means nothing with --conversations"),
        (("--conversations", HELD, "--min", "top1=0.9"), 'there is no metric "top1"'),
        ((), "there is nothing to measure"),
    ],
)
def test_options_that_make_no_sense_are_told(
    evaluate: Callable[..., Outcome], options: tuple[str, ...], message: str
) -> None:
    done = evaluate(*options)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_a_label_that_is_no_agent_is_told(evaluate: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"turns": [FIRST | {"agent": "debuger"}]}), encoding="utf-8")
    done = evaluate("--conversations", str(path))
    assert done.code == 2
    assert 'did you mean "debugger"?' in done.err


@pytest.mark.parametrize(("split", "count"), [("tune", 227), ("held", 62)])
def test_the_conversations_are_what_is_promised(split: str, count: int) -> None:
    conversations = read_conversations(ROOT / "eval" / "conversations" / f"{split}.jsonl")
    kinds = {turn.kind for conversation in conversations for turn in conversation.turns}
    assert len(conversations) == count
    assert kinds == set(Kind)
