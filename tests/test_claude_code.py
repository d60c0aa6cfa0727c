"""The executor claude-code, against a stand-in for its program."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dispatcher import (
    Agent,
    Dispatcher,
    Event,
    McpServer,
    Registry,
    Reply,
    Settings,
    Source,
    Stopped,
    TextDelta,
    ToolCall,
    ToolCalled,
    ToolPolicy,
    ToolReturned,
    TurnState,
    Usage,
    UsageError,
    load_settings,
)
from dispatcher.decisionlog import DecisionLog
from dispatcher.errors import BudgetError, ConfigError, ServiceError
from dispatcher.runtime import MAX_ITERATIONS
from dispatcher.settings import BudgetSettings
from tests.cli_calls import TASK, call, write_team

PROGRAM = Path(__file__).with_name("claude_program.py")
ENDS: dict[str, Any] = {"result": {"result": "done"}}
Run = Callable[..., list[Event]]


class Program:
    """The stand-in: what it is to do, and what it was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "claude"
        self.path.write_text(f"#!{sys.executable}\n{PROGRAM.read_text(encoding='utf-8')}", encoding="utf-8")
        self.path.chmod(0o755)
        self._record = folder / "record.jsonl"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("STAND_IN_RECORD", str(self._record))

    def script(self, *steps: dict[str, Any]) -> None:
        self._monkeypatch.setenv("STAND_IN_SCRIPT", json.dumps(steps))

    @property
    def record(self) -> list[dict[str, Any]]:
        lines = self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []
        return [json.loads(line) for line in lines]

    def option(self, name: str) -> str | None:
        """The value of an option that it was called with last."""
        arguments: list[str] = [entry["arguments"] for entry in self.record if "arguments" in entry][-1]
        joined = next((each for each in arguments if each.startswith(f"--{name}=")), None)
        if joined is not None:
            return joined.partition("=")[2]
        return arguments[arguments.index(f"--{name}") + 1] if f"--{name}" in arguments else None


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(tmp_path, monkeypatch)


@pytest.fixture(params=["stream", "astream"])
def run(request: pytest.FixtureRequest) -> Run:
    async def collected(events: Any) -> list[Event]:
        return [event async for event in events]

    def run_task(runner: Any, task: str = "help", **options: Any) -> list[Event]:
        if request.param == "stream":
            return list(runner.stream(task, agent="helper", **options))
        return asyncio.run(collected(runner.astream(task, agent="helper", **options)))

    return run_task


def dispatcher_of(program: Program, *tools: Any, policy: ToolPolicy | None = None, **settings: Any) -> Dispatcher:
    agent = Agent(
        name="helper",
        description="Helps.",
        prompt="You help.\n",
        source=Source(path=Path("/shop/helper.md"), root=Path("/shop")),
        tools=policy or ToolPolicy(),
        max_turns=7,
        models=("opus",),
        effort="high",
    )
    chosen = Settings(executor="claude-code", claude_code_path=str(program.path), **settings)
    return Dispatcher(Registry.from_agents([agent]), settings=chosen, tools=tools, environment={})


def reply_of(events: list[Event]) -> Reply:
    assert isinstance(events[-1], Stopped)
    return events[-1].reply


def test_text_calls_results_usage_and_the_reply_are_events(run: Run, program: Program) -> None:
    program.script({"say": ["Let ", "me."]}, {"call": "Read", "input": {"file_path": "a"}}, {"say": ["Done."]}, ENDS)
    events = run(dispatcher_of(program))
    assert [type(event).__name__ for event in events] == [
        "DecisionMade",
        "TextDelta",
        "TextDelta",
        "ToolCalled",
        "ToolReturned",
        "TextDelta",
        "UsageReported",
        "Stopped",
    ]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Let ", "me.", "Done."]
    [called] = [event.call for event in events if isinstance(event, ToolCalled)]
    assert (called.name, called.arguments, called.agent) == ("Read", {"file_path": "a"}, "helper")
    [returned] = [event.result for event in events if isinstance(event, ToolReturned)]
    assert (returned.call, returned.text, returned.is_error) == (called, "done", False)
    reply = reply_of(events)
    assert (reply.text, reply.stop_reason, reply.is_complete) == ("done", "end_turn", True)
    assert reply.usage == Usage(input_tokens=10, output_tokens=2, cache_read_tokens=5)
    assert reply.cost is not None


def test_prompt_model_tools_and_limits_are_the_agents(run: Run, program: Program) -> None:
    program.script(ENDS)
    policy = ToolPolicy(allowed=("Read", "Bash(git:*)", "Grep"), disallowed=("Grep",))
    run(dispatcher_of(program, policy=policy, budget=BudgetSettings(run=0.5)), max_tokens=99)
    options = ["system-prompt", "model", "max-turns", "effort", "tools", "disallowedTools", "permission-mode"]
    assert [program.option(name) for name in [*options, "setting-sources", "max-budget-usd"]] == [
        "You help.\n",
        "claude-opus-5-5",
        "7",
        "high",
        "Read",
        "Grep",
        "dontAsk",
        "user",
        "0.5",
    ]
    [called, told] = program.record
    assert (called["limit"], told["user"]) == ("99", [{"type": "text", "text": "help"}])


@pytest.mark.parametrize(
    ("policy", "tools"),
    [(ToolPolicy(), "default"), (ToolPolicy(allowed=()), ""), (ToolPolicy(disallowed=("*",)), "")],
)
def test_without_a_limit_there_are_all_tools_and_with_none_none(
    program: Program, policy: ToolPolicy, tools: str
) -> None:
    program.script(ENDS)
    dispatcher_of(program, policy=policy).dispatch("help", agent="helper")
    assert program.option("tools") == tools


def test_what_the_file_does_not_allow_is_refused_whatever_the_program_does(run: Run, program: Program) -> None:
    asked: list[str] = []
    program.script({"call": "Bash", "input": {"command": "rm"}}, {"call": "Read", "input": {}}, ENDS)

    def approve(call: ToolCall) -> bool:
        asked.append(call.name)
        return True

    events = run(dispatcher_of(program, policy=ToolPolicy(allowed=("Read",))), approve=approve)
    results = [event.result for event in events if isinstance(event, ToolReturned)]
    assert [(result.text, result.is_error) for result in results] == [
        ('the file of "helper" does not allow Bash', True),
        ("done", False),
    ]
    assert asked == ["Read"]


@pytest.mark.parametrize(
    ("answer", "told"), [(True, "done"), (False, "the call was not approved"), ("not now", "not now"), (1, "the call")]
)
def test_each_call_is_approved_or_not(run: Run, program: Program, answer: Any, told: str) -> None:
    program.script({"call": "Read", "input": {}}, ENDS)
    events = run(dispatcher_of(program), approve=lambda call: answer)
    [result] = [event.result for event in events if isinstance(event, ToolReturned)]
    assert result.text.startswith(told)


def test_servers_of_tools_are_given_on_as_far_as_the_file_allows(program: Program) -> None:
    program.script(ENDS)
    servers = [
        McpServer("shop", command="shop", args=["x"], env={"A": "b"}),
        McpServer("far", url="http://localhost/m"),
    ]
    dispatcher_of(program, *servers, policy=ToolPolicy(disallowed=("mcp__far",))).dispatch("help", agent="helper")
    described = json.loads(str(program.option("mcp-config")))["mcpServers"]
    assert described == {"shop": {"command": "shop", "args": ["x"], "env": {"A": "b"}}}


def test_functions_of_the_program_are_not_offered_and_that_is_told(program: Program) -> None:
    def stock(article: str) -> int:
        """How many."""
        return 1

    plan = dispatcher_of(program, stock).plan("help", agent="helper")
    assert plan.notices == ("Claude Code has its own tools; those of this program (stock) are not offered",)


def test_a_session_tells_what_was_said_before_and_keeps_the_turns(run: Run, program: Program) -> None:
    session = dispatcher_of(program).session("a")
    program.script({"say": ["Sow."]}, {"result": {"result": "Sow."}})
    run(session, "what now?")
    run(session, "and then?")
    told = program.record[-1]["user"]
    assert "<user>\nwhat now?\n</user>\n<assistant>\nSow.\n</assistant>" in told[0]["text"]
    assert told[1]["text"] == "and then?"
    assert [(turn.state, turn.answer) for turn in session.turns] == [(TurnState.DONE, "Sow.")] * 2


def test_an_object_comes_back_where_a_schema_is_given(run: Run, program: Program) -> None:
    class Bed(BaseModel):
        rows: int

    program.script({"result": {"result": None, "structured_output": {"rows": 3}}})
    assert reply_of(run(dispatcher_of(program), schema=Bed)).value == Bed(rows=3)
    assert json.loads(str(program.option("json-schema")))["required"] == ["rows"]


def test_the_limit_of_turns_is_a_stop_reason(run: Run, program: Program) -> None:
    program.script({"say": ["Half."]}, {"result": {"subtype": "error_max_turns", "is_error": True}})
    reply = reply_of(run(dispatcher_of(program)))
    assert (reply.stop_reason, reply.is_complete, reply.text) == (MAX_ITERATIONS, False, "Half.")


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"result": {"is_error": True, "result": "API Error: 529"}}], "API Error: 529"),
        ([{"exit": 3}], "exit code: 3"),
        ([{"exit": 0}], "ended without an answer"),
    ],
)
def test_a_failure_is_an_error_of_ours(run: Run, program: Program, steps: list[dict[str, Any]], told: str) -> None:
    program.script(*steps)
    session = dispatcher_of(program).session("a")
    with pytest.raises(ServiceError, match=told):
        run(session)
    assert [turn.state for turn in session.turns] == [TurnState.FAILED]


def test_a_failure_tells_what_was_spent_and_that_is_kept(run: Run, program: Program, tmp_path: Path) -> None:
    program.script({"result": {"is_error": True, "result": "API Error: 529", "total_cost_usd": 0.25}})
    log = DecisionLog(tmp_path / "log")
    dispatcher = dispatcher_of(program)
    dispatcher.log = log
    session = dispatcher.session("a")
    with pytest.raises(ServiceError, match=r"API Error: 529 \(15 tokens in, 2 out, \$0\.25\)"):
        run(session)
    assert session.usage == Usage(input_tokens=10, output_tokens=2, cache_read_tokens=5)
    assert session.cost > 0
    [entry] = log.entries()[0]
    assert (entry.usage, entry.cost) == (session.usage, session.cost)


def test_the_end_of_the_budget_is_an_error_of_the_budget(run: Run, program: Program) -> None:
    program.script({"result": {"subtype": "error_max_budget_usd", "is_error": True, "total_cost_usd": 0.6}})
    dispatcher = dispatcher_of(program, budget=BudgetSettings(run=0.5))
    with pytest.raises(BudgetError, match=r"\$0\.60 of \$0\.50 are spent") as raised:
        run(dispatcher)
    assert (raised.value.budget, raised.value.limit, raised.value.spent) == ("run", 0.5, 0.6)


def test_a_missing_program_and_a_missing_extra_are_told(
    run: Run, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.path.unlink()
    with pytest.raises(UsageError, match="the program of Claude Code is not there"):
        run(dispatcher_of(program))
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    with pytest.raises(UsageError) as raised:
        run(dispatcher_of(program))
    assert "agent-dispatcher[claude-code]" in str(raised.value.hint)


def test_closing_the_events_ends_the_program(program: Program) -> None:
    program.script({"say": ["Wait"]})
    session = dispatcher_of(program).session("a")
    for event in (events := session.stream("help", agent="helper")):
        if isinstance(event, TextDelta):
            break
    events.close()
    [turn] = session.turns
    assert (turn.state, turn.answer) == (TurnState.CANCELLED, "Wait")
    with pytest.raises(ProcessLookupError):
        os.kill(program.record[0]["pid"], 0)


def test_cancelling_ends_the_program(program: Program) -> None:
    program.script({"say": ["Wait"]})
    dispatcher = dispatcher_of(program)

    async def stop() -> None:
        came = asyncio.Event()

        async def follow() -> None:
            async for event in dispatcher.astream("help", agent="helper"):
                if isinstance(event, TextDelta):
                    came.set()

        following = asyncio.create_task(follow())
        await came.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    asyncio.run(stop())
    with pytest.raises(ProcessLookupError):
        os.kill(program.record[0]["pid"], 0)


@pytest.mark.parametrize("budget", [BudgetSettings(session=1), BudgetSettings(day=1)])
def test_budgets_that_it_could_not_keep_are_refused(program: Program, budget: BudgetSettings) -> None:
    with pytest.raises(ConfigError, match=r"budget\.run alone"):
        dispatcher_of(program, budget=budget).dispatch("help", agent="helper")


def test_a_project_can_not_choose_it(tmp_path: Path) -> None:
    text = "dispatcher: {executor: claude-code, claude_code_path: ./evil}"
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    loaded = load_settings(folder=tmp_path, environment={})
    assert (loaded.settings.executor, loaded.settings.claude_code_path) == ("api", None)
    assert len(loaded.notices) == 2


def test_the_command_line_chooses_it(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program.script({"say": ["Dig, ", "then sow."]}, {"result": {"result": "Dig, then sow."}})
    monkeypatch.setenv("DISPATCH_AGENTS", str(write_team(tmp_path / "team")))
    monkeypatch.setenv("DISPATCH_CLAUDE_CODE_PATH", str(program.path))
    outcome = call(capsys, [TASK, "--executor", "claude-code"])
    assert (outcome.code, outcome.out) == (0, "Dig, then sow.\n"), outcome.err
    assert program.option("system-prompt") == "You tend a garden.\n"
    assert call(capsys, [TASK, "--executor", "other"]).code == 2
