"""What was read of files before, so that only those are read again that changed.

A file counts as unchanged if its times and size are. One that was changed just before its stamp was taken may change
again without showing it, so its content is compared as long as that is so.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispatcher.agent import Agent, ReadResult
from dispatcher.cache import Cache, code_stamp, digest_of
from dispatcher.cache.agents import Pieces, agent_from, diagnostic_from, head_of, joined, packed
from dispatcher.scopes import FoundFile, Scope

__all__ = ["FileReader", "RememberedFiles"]

_KIND = "agents"
_RESTLESS_NS = 2_000_000_000  # a disk may keep no finer times than that


class FileReader:
    """Reads every file."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def read(self, file: FoundFile, scope: Scope) -> ReadResult:
        from dispatcher.agentfile import read_agent_file

        return read_agent_file(Path(file.path), root=scope.root, scope=scope.name, max_bytes=self._max_bytes)

    def finish(self) -> None:
        """Nothing is kept."""


class RememberedFiles(FileReader):
    """Reads the files that changed, and knows what the others hold."""

    def __init__(self, cache: Cache, scopes: Sequence[Scope], max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._cache = cache
        self._scopes = scopes
        self._roots = [(scope.name, str(scope.root), str(scope.root.absolute())) for scope in scopes]
        self._slot = digest_of(self._roots, max_bytes)
        self._began = time.time_ns()
        self._known: dict[str, list[Any]] = {}
        self._entries: dict[str, list[Any]] = {}
        self._contents: dict[str, bytes | int] = {}
        self._is_stale = False
        found = cache.get(_KIND, self._slot, code_stamp())
        if found is not None:
            self._written = int(found.meta["written"])
            self._known = json.loads(bytes(found.sections["table"]))
            self._places = {path: place for place, path in enumerate(self._known)}
            self._pieces = Pieces(found.sections["agents"], found.sections["ends"])

    def read(self, file: FoundFile, scope: Scope) -> ReadResult:
        key = f"{self._scopes.index(scope)} {file.path}"
        entry = self._known.get(key)
        if entry is not None and entry[0] == list(file.stamp) and self._is_settled(file, entry):
            self._entries[key] = entry
            self._contents[key] = place = self._places[key]
            return self._remembered(entry, place)
        result = super().read(file, scope)
        if result.digest:  # else its name said enough, or it could not be read, which may have passed by the next time
            self._is_stale = True
            self._entries[key] = [
                file.stamp,
                result.digest,
                [head_of(agent) for agent in result.agents],
                result.diagnostics,
                result.passed_over,
            ]
            self._contents[key] = packed(result.agents)
        return result

    def finish(self) -> None:
        """Keeps what was read, if that is not what is kept."""
        if not self._is_stale and self._entries.keys() == self._known.keys():
            return
        agents, ends = joined(
            self._pieces[content] if isinstance(content, int) else content for content in self._contents.values()
        )
        sections = {"table": packed_table(self._entries), "agents": agents, "ends": ends}
        use = "agents of " + ", ".join(root for _, _, root in self._roots)
        self._cache.put(_KIND, self._slot, code_stamp(), {"written": self._began, "use": use}, sections)

    def _is_settled(self, file: FoundFile, entry: list[Any]) -> bool:
        """Whether a file with the same stamp has the same content."""
        if file.stamp[0] < self._written - _RESTLESS_NS:
            return True
        self._is_stale = self._is_stale or file.stamp[0] < self._began - _RESTLESS_NS  # it need not be read next time
        try:
            return bool(hashlib.sha256(Path(file.path).read_bytes()).hexdigest() == entry[1])
        except OSError:
            return False

    def _remembered(self, entry: list[Any], place: int) -> ReadResult:
        _, digest, heads, diagnostics, passed_over = entry
        return ReadResult(
            agents=tuple(self._agent(head, place, number) for number, head in enumerate(heads)),
            diagnostics=tuple(map(diagnostic_from, diagnostics)),
            passed_over=passed_over,
            digest=digest,
        )

    def _agent(self, head: list[Any], place: int, number: int) -> Agent:
        return agent_from(head, functools.partial(self._content, place, number))

    def _content(self, place: int, number: int) -> list[Any]:
        found: list[Any] = json.loads(self._pieces[place])[number]
        return found


def packed_table(entries: dict[str, list[Any]]) -> bytes:
    """The entries by path."""
    pairs = (b"%s:%s" % (packed(path), packed(entry)) for path, entry in entries.items())
    return b"{%s}" % b",".join(pairs)
