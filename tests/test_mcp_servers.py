"""Tools of MCP servers: real ones, started as processes and reached over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher import (
    Agent,
    Dispatcher,
    McpServer,
    McpServerError,
    Registry,
    Reply,
    Settings,
    Source,
    ToolPolicy,
    UsageError,
)
from dispatcher.settings import McpServerSettings, ToolSettings
from dispatcher.testing import calls, says, serve
from tests.cli_calls import TASK, call, write_team
from tests.scripted_turns import Scripted, ends, results_of, wants

PROGRAM = str(Path(__file__).with_name("mcp_program.py"))
TOOLS = ["mcp__shop__add", "mcp__shop__pid_of", "mcp__shop__secret", "mcp__shop__refuse", "mcp__shop__die"]
TOOLS += ["mcp__shop__hang"]
Run = Callable[..., Reply]


@pytest.fixture
def shop() -> Iterator[McpServer]:
    with McpServer("shop", command=sys.executable, args=[PROGRAM, "stdio"], env={"SHOP_KEY": "k1"}) as server:
        yield server


@pytest.fixture
def address() -> Iterator[str]:
    with subprocess.Popen([sys.executable, PROGRAM, "http"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        process.terminate()


@pytest.fixture(params=["dispatch", "adispatch"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_task(runner: Any, **options: Any) -> Reply:
        if request.param == "dispatch":
            replied: Reply = runner.dispatch("help", agent="helper", **options)
            return replied
        awaited: Reply = asyncio.run(runner.adispatch("help", agent="helper", **options))
        return awaited

    return run_task


def dispatcher_of(client: Any, *tools: Any, policy: ToolPolicy | None = None, **options: Any) -> Dispatcher:
    source = Source(path=Path("/shop/helper.md"), root=Path("/shop"))
    agent = Agent(name="helper", description="Helps.", prompt="Help.\n", source=source, tools=policy or ToolPolicy())
    return Dispatcher(Registry.from_agents([agent]), client=client, tools=tools, **options)


def names_of(dispatcher: Dispatcher) -> list[str]:
    return [tool.name for tool in dispatcher.plan("help", agent="helper").tools]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_tools_of_a_process_are_told_and_called(run: Run, shop: McpServer) -> None:
    client = Scripted(wants(("mcp__shop__add", {"a": 2, "b": 3})), ends("five"))
    assert run(dispatcher_of(client, shop)).text == "five"
    [definition, *_] = client.requests[0].tools
    assert (definition["name"], definition["description"]) == ("mcp__shop__add", "Adds two numbers.")
    assert definition["input_schema"]["required"] == ["a", "b"]
    assert [tool["name"] for tool in client.requests[0].tools] == TOOLS
    assert results_of(client.requests[1]) == [("5", False)]


def test_tools_over_http_are_told_and_called(run: Run, address: str) -> None:
    client = Scripted(wants(("mcp__far__add", {"a": 2, "b": 3})), ends())
    with McpServer("far", url=address, headers={"X-Shop-Key": "open sesame"}) as server:
        run(dispatcher_of(client, server))
    assert results_of(client.requests[1]) == [("5", False)]


def test_a_server_that_refuses_is_told_before_the_run(address: str) -> None:
    with McpServer("far", url=address) as server:
        plan = dispatcher_of(Scripted(ends()), server).plan("help", agent="helper")
    assert plan.tools == ()
    assert 'the MCP server "far" can\'t be reached' in plan.notices[0]


@pytest.mark.parametrize(
    ("policy", "offered"),
    [
        (ToolPolicy(allowed=("mcp__shop",)), TOOLS),
        (ToolPolicy(allowed=("mcp__shop__*",)), TOOLS),
        (ToolPolicy(allowed=("mcp__shop__add", "Read")), ["mcp__shop__add"]),
        (
            ToolPolicy(allowed=("mcp__shop",), disallowed=("mcp__shop__die",)),
            [name for name in TOOLS if name[-3:] != "die"],
        ),
        (ToolPolicy(allowed=("mcp__shop(add)",)), []),
        (ToolPolicy(disallowed=("mcp__shop__*",)), []),
    ],
)
def test_the_agents_file_limits_them(shop: McpServer, policy: ToolPolicy, offered: list[str]) -> None:
    assert names_of(dispatcher_of(Scripted(ends()), shop, policy=policy)) == offered


@pytest.mark.parametrize(
    "policy",
    [
        ToolPolicy(allowed=()),
        ToolPolicy(allowed=("Read", "mcp__shopping__add")),
        ToolPolicy(disallowed=("mcp__SHOP",)),
        ToolPolicy(disallowed=("mcp__shop(add)",)),
        ToolPolicy(disallowed=("*",)),
    ],
)
def test_nothing_is_started_for_an_agent_that_may_not_use_it(tmp_path: Path, policy: ToolPolicy) -> None:
    started = tmp_path / "started"
    server = McpServer("shop", command=sys.executable, args=["-c", f"open({str(started)!r}, 'w')"])
    assert dispatcher_of(Scripted(ends()), server, policy=policy).plan("help", agent="helper").tools == ()
    assert not started.exists()


def test_what_its_file_asks_for_is_there_when_a_server_offers_it(shop: McpServer) -> None:
    policy = ToolPolicy(allowed=("mcp__shop", "mcp__shop__add", "Bash"))
    [notice] = dispatcher_of(Scripted(ends()), shop, policy=policy).plan("help", agent="helper").notices
    assert "(Bash)" in notice


@pytest.mark.parametrize(
    ("command", "args", "told"),
    [
        ("no-such-command", [], 'there is no command "no-such-command"'),
        (sys.executable, ["-c", "import sys; sys.exit('the license is missing')"], "the license is missing"),
    ],
)
def test_a_server_that_can_not_be_started_is_told_and_the_run_goes_on(
    run: Run, command: str, args: list[str], told: str
) -> None:
    client = Scripted(ends("without"))
    reply = run(dispatcher_of(client, McpServer("shop", command=command, args=args)))
    assert (reply.text, client.requests[0].tools) == ("without", ())
    assert told in reply.plan.notices[0]


def test_a_server_that_says_nothing_is_waited_for_only_so_long() -> None:
    server = McpServer("shop", command=sys.executable, args=["-c", "import sys; sys.stdin.read()"], timeout=0.3)
    with pytest.raises(McpServerError, match=r"nothing came in 0\.3 seconds"):
        server.tools()


def test_errors_go_to_the_model_as_the_server_words_them(run: Run, shop: McpServer) -> None:
    client = Scripted(wants(("mcp__shop__refuse", {}), ("mcp__shop__add", {"a": "x"})), ends())
    run(dispatcher_of(client, shop))
    refused, misused = results_of(client.requests[1])
    assert refused == ("Error executing tool refuse: not today", True)
    assert misused[1] and "valid integer" in misused[0]


def test_a_server_that_dies_is_told_to_the_model_and_started_again_for_the_next_run(run: Run, shop: McpServer) -> None:
    client = Scripted(
        wants(("mcp__shop__die", {}), ("mcp__shop__add", {"a": 1, "b": 1})),
        ends(),
        wants(("mcp__shop__add", {"a": 1, "b": 1})),
        ends(),
    )
    dispatcher = dispatcher_of(client, shop)
    run(dispatcher)
    assert [is_error for _, is_error in results_of(client.requests[1])] == [True, True]
    assert 'the MCP server "shop" gave no answer' in results_of(client.requests[1])[0][0]
    run(dispatcher)
    assert results_of(client.requests[3]) == [("2", False)]


def test_results_are_limited_and_the_environment_is_the_servers_own(
    run: Run, shop: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-mine")
    client = Scripted(wants(("mcp__shop__secret", {})), ends())
    run(dispatcher_of(client, shop, settings=Settings(tools=ToolSettings(max_result_chars=4))))
    assert results_of(client.requests[1]) == [("k1 N\n[cut here: the first 4 of 7 characters]", False)]


def test_calls_are_approved_as_any_other(run: Run, shop: McpServer) -> None:
    client = Scripted(wants(("mcp__shop__add", {"a": 1, "b": 1})), ends())
    run(dispatcher_of(client, shop), approve=lambda call: f"no {call.name}")
    assert results_of(client.requests[1]) == [("the call was not approved: no mcp__shop__add", True)]


def test_many_sessions_at_once_use_one_process(shop: McpServer) -> None:
    clients = [
        Scripted(wants(("mcp__shop__add", {"a": n, "b": 0}), ("mcp__shop__pid_of", {})), ends()) for n in range(20)
    ]

    async def all_of_them() -> None:
        await asyncio.gather(
            *(dispatcher_of(client, shop).session().adispatch("help", agent="helper") for client in clients)
        )

    asyncio.run(all_of_them())
    results = [[text for text, _ in results_of(client.requests[1])] for client in clients]
    assert [first for first, _ in results] == [str(n) for n in range(20)]
    assert len({process for _, process in results}) == 1


def test_a_call_that_is_cancelled_stops_at_once(shop: McpServer) -> None:
    dispatcher = dispatcher_of(Scripted(wants(("mcp__shop__hang", {})), ends()), shop)
    called = asyncio.Event()

    async def stop() -> None:
        async def follow() -> None:
            async for event in dispatcher.astream("help", agent="helper"):
                if type(event).__name__ == "ToolCalled":
                    called.set()

        following = asyncio.create_task(follow())
        await called.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    before = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - before < 30


def test_a_call_has_its_limit_and_the_connection_stays() -> None:
    with McpServer("shop", command=sys.executable, args=[PROGRAM, "stdio"], timeout=8) as server:
        process = server.call("pid.of", {}).text if server.tools() else ""
        with pytest.raises(McpServerError, match="gave no answer"):
            server.call("hang", {})
        assert server.tools()
        assert is_running(int(process))


def test_closing_ends_the_process_and_it_can_be_used_again() -> None:
    server = McpServer("shop", command=sys.executable, args=[PROGRAM, "stdio"])
    with dispatcher_of(Scripted(ends()), server) as dispatcher:
        assert names_of(dispatcher) == TOOLS
        process = int(server.call("pid.of", {}).text)
        assert is_running(process)
    assert not is_running(process)
    with pytest.raises(McpServerError, match="the connection is closed"):
        server.call("add", {"a": 1, "b": 1})
    assert len(server.tools()) == len(TOOLS)
    server.close()


def test_servers_of_config_are_there_unless_the_program_has_one_of_the_name(shop: McpServer) -> None:
    described = {
        "shop": McpServerSettings(command="no-such-command"),
        "other": McpServerSettings(command=sys.executable, args=(PROGRAM, "stdio")),
    }
    settings = Settings(tools=ToolSettings(mcp_servers=described))
    with dispatcher_of(Scripted(ends()), shop, settings=settings) as dispatcher:
        plan = dispatcher.plan("help", agent="helper")
    assert plan.notices == ()
    assert {tool.name.split("__")[1] for tool in plan.tools} == {"shop", "other"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a__b", "command": "x"},
        {"name": "a b", "command": "x"},
        {"name": "a"},
        {"name": "a", "command": "x", "url": "y"},
    ],
)
def test_an_impossible_server_is_a_usage_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        McpServer(**wrong)


def test_two_servers_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match='two MCP servers of the name "a"'):
        dispatcher_of(Scripted(ends()), McpServer("a", command="x"), McpServer("a", command="y"))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(UsageError) as raised:
        names_of(dispatcher_of(Scripted(ends()), McpServer("a", command="x")))
    assert "agent-dispatcher[mcp]" in str(raised.value.hint)


def write_config(tools: dict[str, Any]) -> None:
    """The user's own config, with the shop's server."""
    described = {"shop": {"command": sys.executable, "args": [PROGRAM, "stdio"], "env": {"SHOP_KEY": "k2"}}}
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "agent-dispatcher" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"dispatcher": {"tools": {"mcp_servers": described, **tools}}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("tools", "words", "result", "is_told"),
    [
        ({"approval": "allow"}, [], "k2 None", False),
        ({}, ["--yes"], "k2 None", False),
        ({}, ["--yes", "--json"], "k2 None", False),
        ({}, [], "the call was not approved: nobody is there to allow it", True),
        ({}, ["--no-stream"], "the call was not approved: nobody is there to allow it", True),
        ({}, ["--json"], "the call was not approved: nobody is there to allow it", True),
    ],
)
def test_the_command_line_calls_tools_only_if_it_is_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tools: dict[str, Any],
    words: list[str],
    result: str,
    is_told: bool,
) -> None:
    monkeypatch.setenv("DISPATCH_AGENTS", str(write_team(tmp_path / "team")))
    write_config(tools)
    with serve() as server:
        server.script(calls(("mcp__shop__secret", {}), ("mcp__shop__secret", {})), says("done"))
        monkeypatch.setenv("DISPATCH_LLM_BASE_URL", server.base_url)
        outcome = call(capsys, [TASK, *words])
        assert outcome.code == 0, outcome.err
        results = server.requests[1].body["messages"][-1]["content"]
    assert [each["content"] for each in results] == [result, result]
    assert outcome.err.count("nobody can be asked") == is_told


def test_a_project_can_not_allow_tools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.yaml").write_text("dispatcher: {tools: {approval: allow}}", encoding="utf-8")
    outcome = call(capsys, ["config", "show"])
    assert "tools.approval is ignored in a project's config.yaml" in " ".join(outcome.err.split())


def test_the_command_line_shows_the_servers_without_their_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    write_config({})
    shown = call(capsys, ["config", "show"]).out
    assert "k2" not in shown
    assert "SHOP_KEY" in shown
