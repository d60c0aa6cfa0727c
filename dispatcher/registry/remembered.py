"""What was read of files before, so that only those are read again that changed.

A file counts as unchanged if its times and size are. One that was changed just before its stamp was taken may change
again without showing it, so its content is compared as long as that is so.

There are two files in the cache: one of all that was read, and one of what has changed since, which is written in its
place as long as that is little. Each of them tells the truth by itself, so it does not matter which was written when.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatcher.agent import ReadResult
from dispatcher.cache import Cache, Container, code_stamp, digest_of
from dispatcher.cache.agents import Pieces, agent_from, diagnostic_from, head_of, joined, packed
from dispatcher.scopes import FoundFile, Scope

__all__ = ["FileReader", "RememberedFiles"]

_KIND = "agents"
_CHANGES = "-changes"
_MOST_CHANGES = 0.25  # of all files, from which on all is written anew
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
        self._all = self._memory(self._slot)
        self._changes = self._memory(self._slot + _CHANGES)
        self._known: dict[str, _Memory] = {}
        self._renewed: set[str] = set()
        self._contents: dict[str, bytes] = {}
        self._read = _Memory(self._began, {}, self._contents.__getitem__)

    def read(self, file: FoundFile, scope: Scope) -> ReadResult:
        key, stamp = f"{self._scopes.index(scope)} {file.path}", list(file.stamp)
        for memory in (self._changes, self._all):
            entry = memory.entries.get(key)
            if entry is not None and entry[0] == stamp and self._is_settled(file, key, memory):
                self._known[key] = memory
                return memory.result(key)
        result = super().read(file, scope)
        if result.digest:  # else its name said enough, or it could not be read, which may have passed by the next time
            heads = [head_of(agent) for agent in result.agents]
            self._read.entries[key] = [stamp, result.digest, heads, result.diagnostics, result.passed_over]
            self._contents[key] = packed(result.agents)
        return result

    def finish(self) -> None:
        """Keeps what was read, if that is not what is kept."""
        changed = {
            key: memory for key, memory in self._known.items() if memory is self._changes or key in self._renewed
        } | dict.fromkeys(self._read.entries, self._read)
        count = len(self._known) + len(self._read.entries)
        is_much = len(changed) > _MOST_CHANGES * count or len(self._all.entries) > (1 + _MOST_CHANGES) * count
        if is_much:
            if self._put(self._slot, self._known | changed):
                self._cache.drop(_KIND, self._slot + _CHANGES)
        elif self._read.entries or self._renewed:
            self._put(self._slot + _CHANGES, changed)

    def _put(self, slot: str, chosen: dict[str, _Memory]) -> bool:
        entries = {key: memory.entries[key] for key, memory in chosen.items()}
        agents, ends = joined(memory.content(key) for key, memory in chosen.items())
        sections = {"table": packed_table(entries), "agents": agents, "ends": ends}
        what = "changes among agents of " if slot.endswith(_CHANGES) else "agents of "
        use = what + ", ".join(root for _, _, root in self._roots)
        return self._cache.put(_KIND, slot, code_stamp(), {"written": self._began, "use": use}, sections)

    def _memory(self, slot: str) -> _Memory:
        found = self._cache.get(_KIND, slot, code_stamp())
        return _memory_of(found) if found is not None else _nothing(self._began)

    def _is_settled(self, file: FoundFile, key: str, memory: _Memory) -> bool:
        """Whether a file with the same stamp has the same content."""
        if file.stamp[0] < memory.written - _RESTLESS_NS:
            return True
        if file.stamp[0] < self._began - _RESTLESS_NS:  # it need not be read next time
            self._renewed.add(key)
        try:
            return bool(hashlib.sha256(Path(file.path).read_bytes()).hexdigest() == memory.entries[key][1])
        except OSError:
            return False


class _Memory:
    """What is known of files, and since when: of each its stamp, its digest, what is asked of its agents at once, and
    what was said of it; `content` gives all of its agents, as bytes.
    """

    def __init__(self, written: int, entries: dict[str, list[Any]], content: Callable[[str], bytes]) -> None:
        self.written = written
        self.entries = entries
        self.content = content

    def result(self, key: str) -> ReadResult:
        _, digest, heads, diagnostics, passed_over = self.entries[key]
        return ReadResult(
            agents=tuple([agent_from(head, self._values, key, number) for number, head in enumerate(heads)]),
            diagnostics=tuple(map(diagnostic_from, diagnostics)),
            passed_over=passed_over,
            digest=digest,
        )

    def _values(self, key: str, number: int) -> list[Any]:
        found: list[Any] = json.loads(self.content(key))[number]
        return found


def _nothing(written: int) -> _Memory:
    contents: dict[str, bytes] = {}
    return _Memory(written, {}, contents.__getitem__)


def _memory_of(container: Container) -> _Memory:
    entries = json.loads(bytes(container.sections["table"]))
    places = {key: place for place, key in enumerate(entries)}
    pieces = Pieces(container.sections["agents"], container.sections["ends"])
    return _Memory(int(container.meta["written"]), entries, lambda key: pieces[places[key]])


def packed_table(entries: Mapping[str, list[Any]]) -> bytes:
    """The entries by path."""
    pairs = (b"%s:%s" % (packed(path), packed(entry)) for path, entry in entries.items())
    return b"{%s}" % b",".join(pairs)
