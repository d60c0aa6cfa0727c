"""The files of a cache, by kind and slot.

A slot is what a file is for, such as the agents of certain folders; its key is what decided the content. So a file
whose key is no longer right is replaced by the next one, and there are as many files as there are uses.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dispatcher.cache.container import Container, Section, open_container, write_container
from dispatcher.settings.files import user_cache_folder
from dispatcher.version import __version__

__all__ = ["Cache", "Entry", "code_stamp", "digest_of"]

_logger = logging.getLogger(__name__)

_OFF = ("off", "false", "no", "none", "0")
_ENDING = ".cache"
_UNFINISHED = ".unfinished"
_DAYS_KEPT = 30
_SECONDS_TO_FINISH = 3600
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of the cache; `use` is what its writer said that it is for."""

    path: Path
    kind: str
    use: str
    size: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of cached files, which need not exist."""

    folder: Path

    @classmethod
    def of(cls, setting: str | Literal[False] | None, environment: Mapping[str, str]) -> Cache | None:
        """The cache that the setting names: in a folder, off, or in the usual place."""
        if setting is None:
            return cls(user_cache_folder(environment))
        return None if not setting or str(setting).lower() in _OFF else cls(Path(str(setting)).expanduser())

    def get(self, kind: str, slot: str, key: str | None = None) -> Container | None:
        """The content of a slot, if it is whole and of that key, or of any."""
        found = open_container(self._path(kind, slot))
        return found if found is not None and (key is None or found.key == key) else None

    def put(self, kind: str, slot: str, key: str, meta: Mapping[str, Any], sections: Mapping[str, Section]) -> bool:
        """Replaces the content of a slot in one step; whether that could be done."""
        import tempfile  # which a start with nothing to keep does without

        path = self._path(kind, slot)
        unfinished: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(_UNFINISHED, f"{kind}-", self.folder)
            unfinished = Path(name)
            write_container(descriptor, unfinished, key, meta, sections)
            unfinished.replace(path)
        except (OSError, TypeError, ValueError) as problem:
            _logger.info("%s: not kept in the cache: %s", path, problem)
            if unfinished is not None:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
            return False
        self._tidy()
        return True

    def drop(self, kind: str, slot: str) -> None:
        """Removes the content of a slot, if that can be done."""
        with contextlib.suppress(OSError):
            self._path(kind, slot).unlink()

    def entries(self) -> Iterator[Entry]:
        """All files of the cache, by name."""
        for path in self._files():
            if path.name.endswith(_ENDING):
                found = open_container(path)
                yield Entry(
                    path=path,
                    kind=path.name.partition("-")[0],
                    use=str(found.meta.get("use", "")) if found is not None else "",
                    size=_size(path),
                    is_whole=found is not None,
                )

    def clear(self) -> int:
        """Removes all files of the cache, and nothing else; how many bytes they had. Raises OSError."""
        freed = 0
        for path in self._files():
            size = _size(path)
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def _path(self, kind: str, slot: str) -> Path:
        return self.folder / f"{kind}-{slot}{_ENDING}"

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if _is_ours(path.name) and path.is_file())
        except OSError:
            return []

    def _tidy(self) -> None:
        """Removes what nobody has renewed for long, and what a process left behind that was stopped."""
        now = time.time()
        for path in self._files():
            limit = _DAYS_KEPT * 86_400 if path.name.endswith(_ENDING) else _SECONDS_TO_FINISH
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > limit:
                    path.unlink()


def digest_of(*values: Any) -> str:
    """A short name of values that JSON can write."""
    return hashlib.sha256(json.dumps(values, default=str).encode("utf-8", "surrogatepass")).hexdigest()[:24]


@functools.cache
def code_stamp() -> str:
    """What changes with this package and with Python, so that nothing outlives the code that made it."""
    stamps: list[tuple[str, int, int]] = []
    for folder in (_PACKAGE, _PACKAGE / "agentfile", _PACKAGE / "registry", _PACKAGE / "routing", _PACKAGE / "cache"):
        with contextlib.suppress(OSError):  # in an archive there are no such files, and the version has to do
            modules = [entry for entry in os.scandir(folder) if entry.name.endswith(".py")]
            stamps += sorted((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in modules)
    return digest_of(__version__, sys.implementation.cache_tag, sys.byteorder, stamps)


def _is_ours(name: str) -> bool:
    return name.startswith(("agents-", "index-")) and name.endswith((_ENDING, _UNFINISHED))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
