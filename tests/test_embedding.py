"""The README's chat server, run as it stands there: streaming, conversations and a tool, over real sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatcher.testing import Answer, ScriptedServer, breaks_off, calls, rate_limited, says, serve

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(CHAT,) = re.findall(r"^<!-- example: chat -->\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ASKED = "@customer-support where is my order A-17?"


class Person:
    """Somebody at the other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def says(self, line: str) -> None:
        self._writer.write(f"{line}\n".encode())

    async def hears(self) -> str:
        return (await asyncio.wait_for(self._reader.readline(), 20)).decode()

    async def leaves(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Chat:
    """The README's program while it runs."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def person(self, session: str) -> Person:
        person = Person(*await asyncio.open_connection("127.0.0.1", self._port))
        person.says(session)
        return person


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> AsyncIterator[Chat]:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-key")
    start, started = asyncio.start_server, asyncio.get_running_loop().create_future()

    async def start_and_tell(*arguments: Any) -> asyncio.Server:
        started.set_result(await start(*arguments))
        found: asyncio.Server = started.result()
        return found

    monkeypatch.setattr(asyncio, "start_server", start_and_tell)
    namespace: dict[str, Any] = {"__name__": "chat"}
    exec(compile(CHAT, "README.md", "exec"), namespace)
    program = asyncio.create_task(namespace["main"](port=0))
    await asyncio.wait({program, started}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield Chat(started.result().sockets[0].getsockname()[1])
    finally:
        program.cancel()
        await asyncio.wait({program})


def test_the_readmes_chat_streams_calls_a_tool_and_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = calls(("order_status", {"number": "A-17"}))

    async def talk(server: ScriptedServer) -> None:
        async with running(monkeypatch, server) as chat:
            person = await chat.person("customer-1")
            person.says(ASKED)
            assert await person.hears() == "[customer-support looks up order_status]\n"
            assert await person.hears() == "It leaves tomorrow.\n"
            await person.leaves()
            person = await chat.person("customer-1")
            person.says("and why so late?")
            assert await person.hears() == "Sorry.\n"
            await person.leaves()

    with serve(wanted, says("It leaves ", "tomorrow."), rate_limited(), says("Sorry.")) as server:
        asyncio.run(talk(server))
        results = [block["content"] for block in server.requests[1].body["messages"][-1]["content"]]
        last = server.requests[-1].body["messages"]
    assert results == ["packed, leaves tomorrow"]
    assert [message["role"] for message in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[-1]["content"] == "and why so late?"


def test_the_readmes_chat_goes_on_after_an_answer_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(server: ScriptedServer) -> None:
        async with running(monkeypatch, server) as chat:
            person = await chat.person("customer-2")
            person.says(ASKED)
            assert (await person.hears()).startswith("It lea[the answer broke off after 6 characters")
            person.says("again, please")
            assert await person.hears() == "It leaves tomorrow.\n"
            await person.leaves()

    with serve(breaks_off("It lea"), says("It leaves tomorrow.")) as server:
        asyncio.run(talk(server))


def test_in_the_readmes_chat_conversations_at_once_do_not_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(request: Any) -> Answer:
        return says(*request.body["messages"][-1]["content"].split())

    async def one(chat: Chat, number: int) -> str:
        person = await chat.person(f"customer-{number}")
        person.says(f"@customer-support order {number}")
        heard = await person.hears()
        await person.leaves()
        return heard

    async def talk(server: ScriptedServer) -> list[str]:
        async with running(monkeypatch, server) as chat:
            return await asyncio.gather(*(one(chat, number) for number in range(20)))

    with serve(echo) as server:
        assert asyncio.run(talk(server)) == [f"order{number}\n" for number in range(20)]
