"""What all tests share: no network beyond loopback, nothing of the machine's own settings, agents to work with."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore2
import httpx
import pytest
import respx
from respx.mocks import HTTPCoreMocker

from dispatcher import Agent, Registry
from dispatcher.agentfile import read_agent_file


class HTTPCore2Mocker(HTTPCoreMocker):
    """respx for the HTTP library that the SDK is built on; respx itself patches only its predecessor."""

    name = "httpcore2"
    targets = [target.replace("httpcore.", "httpcore2.") for target in HTTPCoreMocker.targets]  # noqa: RUF012

    @classmethod
    def from_sync_httpx_response(cls, httpx_response: httpx.Response, target: Any, **kwargs: Any) -> Any:
        return httpcore2.Response(
            status=httpx_response.status_code,
            headers=httpx_response.headers.raw,
            content=httpx_response.stream,
            extensions=httpx_response.extensions,
        )

    @classmethod
    async def from_async_httpx_response(cls, httpx_response: httpx.Response, target: Any, **kwargs: Any) -> Any:
        return cls.from_sync_httpx_response(httpx_response, target, **kwargs)


@pytest.fixture
def respx_mock() -> Iterator[respx.MockRouter]:
    """The model's service as a mock: every request that no route expects is an error."""
    with respx.mock(using="httpcore2", assert_all_called=False) as router:
        yield router


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """Refuses every connection that leaves this machine, so that a missed mock fails loudly."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home, an empty current folder, and no settings or keys of the machine."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "DISPATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local" / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(here)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Agent]:
    """Reads a text as an agent file and returns its one agent."""

    def read_text(text: str, name: str = "sample.md") -> Agent:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        result = read_agent_file(path)
        assert len(result.agents) == 1, (result.diagnostics, result.passed_over)
        return result.agents[0]

    return read_text


@pytest.fixture
def registry_of(tmp_path: Path) -> Callable[..., Registry]:
    """A registry of agent files given as texts by their path below one folder."""

    def write(files: dict[str, str], **options: Any) -> Registry:
        root = tmp_path / "files"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Registry.from_paths(root, **options)

    return write


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
