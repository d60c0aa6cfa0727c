"""Budgets of a run and of a day: asked before each request, told afterwards what it cost."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Dispatcher, How, LLMError, Message, Registry, Settings
from dispatcher.budgets import BudgetedClient, DayLimit, Limit, SpendingFile, estimated_cost, estimated_usage
from dispatcher.errors import BrokenStreamError, BudgetError, OverloadedError, ResponseTimeoutError
from dispatcher.llm import AttemptPolicy, ResilientClient
from dispatcher.settings import BudgetSettings, JudgeSettings, LLMSettings, Price, RoutingSettings
from dispatcher.testing import ScriptedClient, breaks_off, overloaded, says, serve, stalls
from tests.asking import REQUEST, STREAMS, WAYS, Ask, client_for
from tests.cli_calls import TASK, call, write_team

DOLLAR = {"input_tokens": 0, "output_tokens": 100_000}
"""The usage of an answer that costs a dollar."""
ANSWER_OF_A_DOLLAR = says("Hello ", "world", usage=DOLLAR)
ABOUT_NOTHING = 0.02

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
COOK = "---\nname: cook\ndescription: Writes recipes for dinner.\n---\nYou cook.\n"

RegistryOf = Callable[..., Registry]


@pytest.fixture(params=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    return WAYS[str(request.param)]


@pytest.fixture(params=list(STREAMS))
def ask_stream(request: pytest.FixtureRequest) -> Ask:
    return STREAMS[str(request.param)]


def test_what_a_request_cost_counts_exactly(ask: Ask) -> None:
    limit = Limit("run", 5)
    client = BudgetedClient(ScriptedClient(ANSWER_OF_A_DOLLAR), [limit])
    ask(client)
    ask(client)
    assert limit.spent == pytest.approx(2)


def test_over_the_budget_nothing_is_sent(ask: Ask) -> None:
    limit, inner = Limit("run", 1.5), ScriptedClient(ANSWER_OF_A_DOLLAR)
    client = BudgetedClient(inner, [limit])
    ask(client)
    ask(client)  # goes beyond it, which nobody could know
    with pytest.raises(BudgetError, match=r"\$2\.00 of \$1\.50 are spent") as caught:
        ask(client)
    assert len(inner.requests) == 2
    error = caught.value
    assert (error.budget, error.limit, error.exit_code) == ("run", 1.5, 7)
    assert error.spent == pytest.approx(2)
    assert error.hint == "raise budget.run"


def test_a_request_that_would_go_beyond_by_itself_is_refused() -> None:
    long = Message(role="user", content="word " * 1_000_000)
    request = type(REQUEST)(model=REQUEST.model, system="", messages=(long,), max_tokens=10)
    inner = ScriptedClient()
    with pytest.raises(BudgetError, match=r"it would cost about \$2\.50"):
        BudgetedClient(inner, [Limit("run", 1)]).complete(request)
    assert inner.requests == []


def test_every_limit_counts_and_a_refusal_leaves_the_others_as_they_were() -> None:
    run, session = Limit("run", 10), Limit("session", 1, spent=1)
    client = BudgetedClient(ScriptedClient(), [run, session])
    with pytest.raises(BudgetError, match="budget of this session"):
        client.complete(REQUEST)
    assert (run.spent, session.spent) == (0, 1)
    run.reserve(10)  # all of it is still there


def test_requests_under_way_count_too() -> None:
    limit = Limit("run", 3 * ABOUT_NOTHING)
    for _ in range(3):
        limit.reserve(ABOUT_NOTHING)
    with pytest.raises(BudgetError, match=r"\$0\.0600 are under way"):
        limit.reserve(ABOUT_NOTHING)


def test_many_at_once_can_not_each_go_beyond() -> None:
    goes_on, limit = threading.Event(), Limit("run", 5 * float(estimated_cost(REQUEST, {}) or 0) + 1e-9)
    inner = ScriptedClient(says("x", waits_for=goes_on))
    client = BudgetedClient(inner, [limit])
    refused: list[BudgetError] = []

    def one() -> None:
        try:
            client.complete(REQUEST)
        except BudgetError as error:
            refused.append(error)
            if len(refused) == 15:
                goes_on.set()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(inner.requests), len(refused)) == (5, 15)


def test_a_refusal_of_the_service_costs_nothing(ask: Ask) -> None:
    limit = Limit("run", 1)
    with pytest.raises(OverloadedError):
        ask(BudgetedClient(ScriptedClient(overloaded()), [limit]))
    assert limit.spent == 0


def test_a_request_that_ran_out_of_time_costs_about_its_prompt(ask: Ask) -> None:
    limit = Limit("run", 1)
    with serve(stalls()) as server, closing(client_for(server.base_url)) as inner:
        inner.prepare()
        client = ResilientClient(BudgetedClient(inner, [limit]), AttemptPolicy(deadline=0.1))
        with pytest.raises(ResponseTimeoutError):
            ask(client)
    assert limit.spent == pytest.approx(estimated_cost(REQUEST, {}, ""))
    assert limit.spent > 0


def test_a_stream_that_broke_off_costs_about_what_came(ask_stream: Ask) -> None:
    limit = Limit("run", 1)
    with pytest.raises(BrokenStreamError):
        ask_stream(BudgetedClient(ScriptedClient(breaks_off("word " * 800)), [limit]))
    assert limit.spent == pytest.approx(estimated_cost(REQUEST, {}, "word " * 800))
    assert limit.spent > 0.01


def test_a_stream_that_the_caller_stops_costs_about_what_came() -> None:
    limit = Limit("run", 1)
    events: Any = BudgetedClient(ScriptedClient(says("a" * 4_000, "b" * 4_000)), [limit]).stream(REQUEST)
    next(events)
    events.close()
    assert limit.spent == pytest.approx(estimated_cost(REQUEST, {}, "a" * 4_000))


def test_a_cancelled_coroutine_gives_back_what_was_set_aside() -> None:
    limit = Limit("run", 1)
    client = BudgetedClient(ScriptedClient(says("x", waits_for=threading.Event())), [limit])
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(client.acomplete(REQUEST), 0.02))
    limit.reserve(1 - limit.spent)


def test_a_model_without_a_price_can_not_be_kept_within_a_budget() -> None:
    request = type(REQUEST)(model="mine", system="", messages=(), max_tokens=10)
    with pytest.raises(BudgetError, match='the model "mine", whose price is not known') as caught:
        BudgetedClient(ScriptedClient(), [Limit("run", 1)]).complete(request)
    assert caught.value.hint == "add it to llm.prices in config.yaml"
    price = Price(input=1, output=1, cache_write=1, cache_read=1)
    BudgetedClient(ScriptedClient(), [Limit("run", 1)], prices={"mine": price}).complete(request)


def test_the_estimate_knows_files_and_short_answers() -> None:
    blocks = (
        {"type": "text", "text": "a" * 400},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900_000}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 30_000}},
    )
    request = type(REQUEST)(model="m", system="b" * 40, messages=(Message(role="user", content=blocks),), max_tokens=50)
    usage = estimated_usage(request)
    assert (usage.input_tokens, usage.output_tokens) == (10 + 100 + 1_600 + 1_000, 50)


def test_the_days_spend_is_kept_in_a_file_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "spending.sqlite3"
    SpendingFile(path).add(0.25)
    SpendingFile(path).add(0.5)
    assert SpendingFile(path).today() == pytest.approx(0.75)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_each_day_begins_anew_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    path, day = tmp_path / "s.sqlite3", datetime.date(2026, 5, 1)
    SpendingFile(path, today=lambda: day).add(1)
    later = SpendingFile(path, today=lambda: day + datetime.timedelta(days=1))
    assert later.today() == 0
    SpendingFile(path, today=lambda: day + datetime.timedelta(days=400)).add(1)
    assert SpendingFile(path, today=lambda: day).today() == 0


def test_processes_share_the_day(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    code = (
        "import sys; from pathlib import Path; from dispatcher.budgets import SpendingFile\n"
        "for _ in range(40): SpendingFile(Path(sys.argv[1])).add(0.01)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert SpendingFile(path).today() == pytest.approx(1.2)


def test_a_spending_file_that_can_not_be_read_stops_before_money_is_spent(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    inner = ScriptedClient()
    with pytest.raises(BudgetError, match=r"s\.sqlite3: what was spent today can't be read"):
        BudgetedClient(inner, [DayLimit(1, SpendingFile(path))]).complete(REQUEST)
    assert inner.requests == []


def test_what_can_not_be_written_still_counts_in_this_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    spending = SpendingFile(tmp_path / "file" / "s.sqlite3")
    spending.add(0.5)
    assert spending.today() == 0.5
    assert "could not be written" in caplog.text


def dispatcher_of(registry_of: RegistryOf, client: ScriptedClient, settings: Settings) -> Dispatcher:
    return Dispatcher(registry_of({"r.md": REVIEWER, "c.md": COOK}), settings=settings, client=client)


def test_a_run_has_its_own_budget(registry_of: RegistryOf) -> None:
    settings = Settings(budget=BudgetSettings(run=0.5))
    dispatcher = dispatcher_of(registry_of, ScriptedClient(ANSWER_OF_A_DOLLAR), settings)
    for _ in range(2):
        assert dispatcher.dispatch("review", agent="reviewer").cost == pytest.approx(1)
    dear = Settings(budget=BudgetSettings(run=0.000_001))
    client = ScriptedClient()
    with pytest.raises(BudgetError, match="budget of this run"):
        dispatcher_of(registry_of, client, dear).dispatch("review", agent="reviewer")
    assert client.requests == []


def test_all_runs_of_a_day_share_one_also_after_a_restart(registry_of: RegistryOf) -> None:
    settings = Settings(budget=BudgetSettings(day=1.0))
    list(dispatcher_of(registry_of, ScriptedClient(ANSWER_OF_A_DOLLAR), settings).stream("review", agent="reviewer"))
    again = dispatcher_of(registry_of, ScriptedClient(), settings)
    with pytest.raises(BudgetError, match=r"budget of this day .* \$1\.00 of \$1\.00 are spent"):
        asyncio.run(again.adispatch("review", agent="reviewer"))


def test_the_judge_is_paid_from_the_same_budgets(registry_of: RegistryOf) -> None:
    pick = json.dumps({"agent": "cook", "reason": "x", "sureness": 0.9})
    client = ScriptedClient(says(pick, usage={"input_tokens": 50_000, "output_tokens": 0}), "fine")
    settings = Settings(
        budget=BudgetSettings(run=0.000_1, day=1),
        routing=RoutingSettings(escalate="always"),
        judge=JudgeSettings(model="haiku"),
    )
    with pytest.raises(BudgetError, match=r"\$0\.0050 of \$0\.0001 are spent"):
        dispatcher_of(registry_of, client, settings).dispatch("something for dinner")
    assert len(client.requests) == 1


def test_without_money_for_the_judge_the_routers_own_pick_stands(registry_of: RegistryOf) -> None:
    settings = Settings(budget=BudgetSettings(day=0), routing=RoutingSettings(escalate="always"))
    decision = dispatcher_of(registry_of, ScriptedClient(), settings).route("review this pull request for bugs")
    assert (decision.how, decision.agent and decision.agent.name) == (How.SCORED, "reviewer")
    assert decision.judgement is not None
    assert "budget of this day" in str(decision.judgement.failure)


def test_without_budgets_nothing_is_written(registry_of: RegistryOf, tmp_path: Path) -> None:
    dispatcher_of(registry_of, ScriptedClient(), Settings()).dispatch("review", agent="reviewer")
    assert not (tmp_path / "home" / ".local").exists()


def test_the_command_stops_with_what_was_spent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_team(tmp_path / "team")
    monkeypatch.setenv("DISPATCH_BUDGET_DAY", "0.5")
    with serve(says("Sown.", usage=DOLLAR)) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        arguments = ["--agents", str(tmp_path / "team"), "--agent", "gardener", "--model", "sonnet", TASK]
        assert call(capsys, arguments).code == 0
        second = call(capsys, arguments)
        assert len(server.requests) == 1
    assert (second.code, second.out) == (7, "")
    said = " ".join(second.err.split())
    assert "error: the budget of this day allows no further request: $1.00 of $0.50 are spent" in said
    assert "raise budget.day, or wait until tomorrow" in said


@pytest.mark.skipif(os.name == "nt", reason="resource limits are those of POSIX")
def test_a_process_that_is_killed_loses_no_spend(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    code = (
        "import sys, os; from pathlib import Path; from dispatcher.budgets import SpendingFile\n"
        "SpendingFile(Path(sys.argv[1])).add(0.5); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert SpendingFile(path).today() == 0.5


def test_fallbacks_are_counted_at_their_own_price(registry_of: RegistryOf) -> None:
    settings = Settings(budget=BudgetSettings(day=5), llm=LLMSettings(fallbacks=("haiku",)))
    client = ScriptedClient(overloaded(), says("x", usage=DOLLAR))
    dispatcher = dispatcher_of(registry_of, client, settings)
    with suppress(LLMError):
        dispatcher.dispatch("review", agent="reviewer")
    again = Settings(budget=BudgetSettings(day=0))
    with pytest.raises(BudgetError, match=r"\$0\.0500 of \$0\.00 are spent"):
        dispatcher_of(registry_of, ScriptedClient(), again).dispatch("review", agent="reviewer")


def price_of_answers(output: float) -> Price:
    return Price(input=1, output=output, cache_write=1, cache_read=1)


def test_a_fallback_is_asked_only_where_its_own_price_is_within_the_budget(registry_of: RegistryOf) -> None:
    prices = {"cheap": price_of_answers(1), "dear": price_of_answers(1_000)}
    llm = LLMSettings(model="cheap", fallbacks=("dear",), prices=prices)
    client = ScriptedClient(overloaded())
    dispatcher = dispatcher_of(registry_of, client, Settings(budget=BudgetSettings(run=0.5), llm=llm))
    with pytest.raises(BudgetError, match=r"\$0\.00 of \$0\.50 are spent, and it would cost about \$1\.00") as caught:
        dispatcher.dispatch("review", agent="reviewer")
    assert [request.model for request in client.requests] == ["cheap"]
    assert caught.value.spent == 0


def test_each_attempt_of_a_resilient_client_is_asked_for_at_its_own_price(ask: Ask) -> None:
    limit, inner = Limit("run", 1), ScriptedClient(overloaded())
    resilient = ResilientClient(
        BudgetedClient(inner, [limit], prices={"dear": price_of_answers(100_000)}),
        AttemptPolicy(fallbacks=("dear",), max_retries=0),
    )
    with pytest.raises(BudgetError, match=r"it would cost about \$10\.00"):
        ask(resilient)
    assert [request.model for request in inner.requests] == [REQUEST.model]
    limit.reserve(1)  # all of it is still there
