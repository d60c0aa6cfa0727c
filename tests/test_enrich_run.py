"""The calls of a run against a service on loopback: one by one and in a batch, and everything that goes wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Agent, LLMError, OfflineClient
from dispatcher.enrich import AskOptions, Enriching, Journals, Plan, ask, collect, make_plan, submit
from dispatcher.errors import (
    AnswerError,
    NetworkError,
    OfflineError,
    OverloadedError,
    RateLimitError,
    RequestError,
    ServiceError,
    UnknownModelError,
)
from dispatcher.llm import AnthropicBatches, AnthropicClient
from dispatcher.settings import Price
from dispatcher.testing import Answer, Recorded, ScriptedServer, fails, rate_limited, says, serve
from tests.asking import client_for
from tests.task_writer import BATCH, TaskWriter, tasks_for
from tests.workshop import craft

MODEL = "claude-sonnet-5-5"
PRICE = Price(input=1.0, output=1.0, cache_write=0, cache_read=0)
NAMES = ("baker", "joiner", "potter", "tailor", "welder", "weaver")
TEAM = tuple(craft(name, f"Works as a {name} in town.", digest=f"digest of {name}") for name in NAMES)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as running:
        yield running


@pytest.fixture
def writer(server: ScriptedServer) -> TaskWriter:
    return TaskWriter(server)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "enriched.jsonl"


@pytest.fixture
def journals(path: Path) -> Iterator[Journals]:
    with Journals([path]) as opened:
        yield opened


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[AnthropicClient]:
    made = client_for(server.base_url)
    yield made
    made.close()


def run_over(journals: Journals, **fields: Any) -> Enriching:
    options = AskOptions(**{"model": MODEL, "count": 4, "max_tokens": 1000, **fields})
    return Enriching(journals, TEAM, options)


def plan_over(path: Path, agents: Sequence[Agent] = TEAM) -> Plan:
    return make_plan({path: agents}, TEAM, texts={})


def names_of(run: Enriching) -> set[str]:
    return {line.name for line in run.lines}


# --- one by one


def test_every_agent_gets_its_tasks(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    run, done = run_over(journals), list[int]()
    left_out = ask(run, plan_over(path).jobs, client, concurrency=3, progress=done.append)
    assert (left_out, sorted(writer.asked), done) == (0, sorted(NAMES), [1, 2, 3, 4, 5, 6])
    assert {line.name: list(line.examples) for line in run.lines} == {name: tasks_for(name, 4) for name in NAMES}
    assert all(line.digest == f"digest of {line.name}" and line.model == MODEL for line in run.lines)
    assert all(len(line.near_misses) == 1 for line in run.lines)
    assert (run.failures, run.refused) == ([], [])


def test_the_request_has_the_schema_and_the_system_is_marked_for_the_cache(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    ask(run_over(journals), plan_over(path, TEAM[:1]).jobs, client, concurrency=1)
    [sent] = writer.server.requests
    assert sent.body["output_config"]["format"]["type"] == "json_schema"
    assert sent.body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert sent.body["max_tokens"] == 1000


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_calls_are_made_at_a_time_and_no_more(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path, concurrency: int
) -> None:
    """No call is answered before as many are there as may be, and how many that are is looked at with each answer."""
    lock, is_full, most = threading.Lock(), threading.Event(), 0
    answered = 0

    def answer(request: Recorded) -> Answer:
        nonlocal most
        with lock:
            most = max(most, len(writer.asked) - answered)
            if most >= concurrency:
                is_full.set()
        return says(json.dumps({"examples": [told.pop()], "near_misses": []}), waits_for=is_full)

    def count(done: int) -> None:
        nonlocal answered
        answered = done

    told = ["a cup fell", "the loom jams", "gate sags", "torn coat", "loaf is flat", "roof leaks"]
    writer.special = dict.fromkeys(NAMES, answer)
    ask(run_over(journals), plan_over(path).jobs, client, concurrency=concurrency, progress=count)
    assert most == concurrency


def test_what_is_paid_is_counted_also_where_it_can_not_be_used(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.special = {"baker": says("no", usage={"input_tokens": 990, "output_tokens": 5})}
    run = run_over(journals, prices={MODEL: PRICE})
    ask(run, plan_over(path, TEAM[:2]).jobs, client, concurrency=1)
    assert (run.usage.input_tokens, run.usage.output_tokens) == (1000, 10)
    assert run.spent == pytest.approx(1010 / 1_000_000)


UNUSABLE: dict[str, tuple[Answer, str]] = {
    "refusal": (says("I", stop_reason="refusal"), "declined"),
    "cut off": (says('{"examples": ["a', stop_reason="max_tokens"), "cut off"),
    "prose": (says("Here are some tasks."), "is not JSON"),
    "list": (says('["a task of some words"]'), "is not a JSON object"),
    "no key": (says('{"near_misses": []}'), 'has no "examples"'),
    "nothing of use": (says('{"examples": ["?"], "near_misses": []}'), "it is too short"),
    "empty": (says('{"examples": [], "near_misses": []}'), "no task of the answer can be used"),
    "400": (fails(400, "invalid_request_error", "bad text"), "bad text"),
    "413": (fails(413, "request_too_large"), "too long"),
}


@pytest.mark.parametrize("kind", list(UNUSABLE))
def test_what_fails_for_one_agent_is_noted_and_the_others_go_on(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path, kind: str
) -> None:
    answer, message = UNUSABLE[kind]
    writer.special = {"joiner": answer}
    run = run_over(journals)
    ask(run, plan_over(path).jobs, client, concurrency=2)
    [failure] = run.failures
    assert failure.agent == "joiner"
    assert message in failure.error.message
    assert names_of(run) == set(NAMES) - {"joiner"}


def test_where_nothing_comes_three_in_vain_are_enough(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.special = dict.fromkeys(NAMES, says("I can't do JSON."))
    with pytest.raises(AnswerError, match="is not JSON"):
        ask(run_over(journals), plan_over(path).jobs, client, concurrency=1)
    assert len(writer.asked) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fails(500, "api_error"), ServiceError),
        (fails(404, "not_found_error"), UnknownModelError),
        (rate_limited(0.01), RateLimitError),
        (fails(529, "overloaded_error"), OverloadedError),
    ],
    ids=["500", "404", "429", "529"],
)
def test_what_would_meet_every_call_stops_the_run_and_what_came_is_kept(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path, answer: Answer, kind: type[LLMError]
) -> None:
    writer.special = {"potter": answer}
    run = run_over(journals)
    with pytest.raises(kind):
        ask(run, plan_over(path).jobs, client, concurrency=1, patience=())
    assert writer.asked == ["baker", "joiner", "potter"]
    assert names_of(run) == {line.name for line in journals[path].content.lines} == {"baker", "joiner"}


@pytest.mark.parametrize("answer", [rate_limited(0.01), fails(529, "overloaded_error")], ids=["429", "529"])
def test_without_capacity_it_is_waited_for(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path, answer: Answer
) -> None:
    left = [answer, answer]

    def busy(request: Recorded) -> Answer:
        return left.pop() if left else says('{"examples": ["a pot with a crack"], "near_misses": []}')

    writer.special = {"potter": busy}
    run = run_over(journals)
    ask(run, plan_over(path).jobs, client, concurrency=2, patience=(0.01, 0.01))
    assert names_of(run) == set(NAMES)
    assert writer.asked.count("potter") == 3


def test_a_service_that_is_gone_is_told(server: ScriptedServer, journals: Journals, path: Path) -> None:
    client = client_for("http://127.0.0.1:9")
    with pytest.raises(NetworkError):
        ask(run_over(journals), plan_over(path).jobs, client, concurrency=2)


def test_without_a_credential_nothing_is_written(journals: Journals, path: Path) -> None:
    with pytest.raises(OfflineError):
        ask(run_over(journals), plan_over(path).jobs, OfflineClient(), concurrency=2)
    assert journals[path].content.lines == ()


def test_the_cost_is_kept_to_in_the_middle(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    """Answers that cost far more than was estimated: the limit holds all the same."""
    usage = {"input_tokens": 600_000, "output_tokens": 0}
    told = iter(("a cup", "a loom", "a gate", "a coat", "a loaf", "a roof"))
    writer.special = dict.fromkeys(
        NAMES, lambda _: says(json.dumps({"examples": [f"{next(told)} broke"], "near_misses": []}), usage=usage)
    )
    run = run_over(journals, prices={MODEL: PRICE}, max_cost=1.0)
    left_out = ask(run, plan_over(path).jobs, client, concurrency=1)
    assert (len(writer.asked), left_out) == (2, 4)
    assert len(journals[path].content.lines) == 2


def test_an_agents_tasks_are_not_given_to_another(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.special = dict.fromkeys(NAMES[:2], says('{"examples": ["it is broken"], "near_misses": []}'))
    run = run_over(journals)
    ask(run, plan_over(path, TEAM[:2]).jobs, client, concurrency=1)
    assert names_of(run) == {"baker"}
    assert [(one.agent, one.reason) for one in run.refused] == [("joiner", '"baker" has it already')]


# --- in a batch


def in_batch(run: Enriching, path: Path, client: AnthropicClient, **options: Any) -> list[float]:
    """Submits and collects a batch, and returns the pauses that were made."""
    pauses: list[float] = []
    service = AnthropicBatches(client)
    [batch] = submit(run, plan_over(path).jobs, service)
    assert collect(run, run.journals[path], batch, service, pause=pauses.append, **options)
    return pauses


def test_a_batch_is_submitted_waited_for_and_collected(
    server: ScriptedServer, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    TaskWriter(server, looks=3)
    run = run_over(journals, prices={MODEL: PRICE})
    assert in_batch(run, path, client) == [1.0, 1.5, 2.25]
    assert {line.name: list(line.examples) for line in run.lines} == {name: tasks_for(name, 4) for name in NAMES}
    assert run.spent == pytest.approx(6 * 0.5)
    assert journals[path].content.batches == ()


def test_the_id_is_on_the_disk_before_it_is_waited_for(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    submit(run_over(journals), plan_over(path).jobs, AnthropicBatches(client))
    [record] = journals[path].content.batches
    assert (record.id, record.count, len(record.requests)) == (BATCH, 4, 6)
    assert record.requests["agent-0"][:2] == ("baker", "digest of baker")
    assert "baker" not in record.requests["agent-0"][2]


def test_another_run_collects_what_one_has_submitted(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.looks = 0
    service = AnthropicBatches(client)
    [batch] = submit(run_over(journals), plan_over(path).jobs, service)
    later = run_over(journals, count=1)
    assert collect(later, journals[path], batch, service)
    assert all(len(line.examples) == 4 for line in later.lines)
    assert names_of(later) == set(NAMES)


def test_a_batch_that_has_not_ended_can_be_left(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    run, service = run_over(journals), AnthropicBatches(client)
    [batch] = submit(run, plan_over(path).jobs, service)
    assert not collect(run, journals[path], batch, service, waits=False)
    assert journals[path].content.batches == (batch,)


@pytest.mark.parametrize("answer", [fails(500), rate_limited(0.01), fails(529)], ids=["500", "429", "529"])
def test_a_service_that_is_away_for_a_while_does_not_end_the_waiting(
    server: ScriptedServer, writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path, answer: Answer
) -> None:
    away, usual = [answer] * 4, writer.answer
    server.script(lambda request: away.pop() if away and request.path.endswith(BATCH) else usual(request))
    run = run_over(journals)
    assert len(in_batch(run, path, client)) == 5
    assert names_of(run) == set(NAMES)


def test_a_service_that_stays_away_does(
    server: ScriptedServer, writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    usual = writer.answer
    server.script(lambda request: fails(500) if request.path.endswith(BATCH) else usual(request))
    with pytest.raises(ServiceError):
        in_batch(run_over(journals), path, client)
    assert len(journals[path].content.batches) == 1


ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "too odd"}, "request_id": "req_1"}


def test_what_has_no_result_is_noted_and_the_rest_is_kept(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.batch_results = {
        "baker": {"type": "errored", "error": ERROR},
        "joiner": {"type": "expired"},
        "potter": {"type": "canceled"},
    }
    run = run_over(journals)
    in_batch(run, path, client)
    failures = {failure.agent: failure.error.message for failure in run.failures}
    assert failures == {
        "baker": "the service failed in the batch: too odd",
        "joiner": "the batch expired before it was its turn",
        "potter": "the request was not answered (canceled)",
    }
    assert names_of(run) == {"tailor", "welder", "weaver"}
    assert journals[path].content.batches == ()


def test_killed_while_collecting_nothing_is_taken_twice(
    writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.looks = 0
    service = AnthropicBatches(client)
    run = run_over(journals)
    [batch] = submit(run, plan_over(path).jobs, service)
    collect(run, journals[path], batch, service)
    journals[path].remember(batch)  # as if the process had been killed before it was forgotten
    again = run_over(journals)
    collect(again, journals[path], batch, service)
    assert (again.lines, again.failures, again.spent) == ([], [], 0.0)


def test_a_batch_that_the_service_does_not_have_is_told_and_remembered(
    server: ScriptedServer, writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    run, service = run_over(journals), AnthropicBatches(client)
    [batch] = submit(run, plan_over(path).jobs, service)
    server.script(fails(404, "not_found_error"))
    with pytest.raises(RequestError, match=f'does not have the batch "{BATCH}"') as caught:
        collect(run, journals[path], batch, service)
    assert "enriched.jsonl.partial" in str(caught.value.hint)
    assert journals[path].content.batches == (batch,)


SUBMIT_FAILURES: dict[str, tuple[Answer, type[LLMError]]] = {
    "429": (rate_limited(0.01), RateLimitError),
    "529": (fails(529, "overloaded_error"), OverloadedError),
    "not the API": (Answer(body=b'{"object": "list"}'), ServiceError),
    "html": (Answer(body=b"<html>", headers={"content-type": "text/html"}), ServiceError),
}


@pytest.mark.parametrize("kind", list(SUBMIT_FAILURES))
def test_a_batch_that_is_not_taken_is_not_remembered(
    server: ScriptedServer, client: AnthropicClient, journals: Journals, path: Path, kind: str
) -> None:
    answer, error = SUBMIT_FAILURES[kind]
    server.script(answer)
    with pytest.raises(error):
        submit(run_over(journals), plan_over(path).jobs, AnthropicBatches(client))
    assert journals[path].content.batches == ()


def test_results_that_are_cut_off_are_an_error_and_can_be_fetched_again(
    server: ScriptedServer, writer: TaskWriter, client: AnthropicClient, journals: Journals, path: Path
) -> None:
    writer.looks = 0
    run, service = run_over(journals), AnthropicBatches(client)
    [batch] = submit(run, plan_over(path).jobs, service)

    def cut(request: Recorded) -> Answer:
        if request.path.endswith("/results"):
            return Answer(body=b'{"custom_id": "agent-0", "result": {"type": "succ')
        return usual(request)

    usual: Callable[[Recorded], Answer] = writer.answer
    server.script(cut)
    with pytest.raises(LLMError):
        collect(run, journals[path], batch, service)
    server.script(usual)
    assert collect(run, journals[path], batch, service)
    assert names_of(run) == set(NAMES)
