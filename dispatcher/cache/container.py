"""One file of the cache: a header in JSON and named sections of bytes, mapped into memory.

No pickle: what is read here is text and numbers, and can't run anything. The header is checked by its sum, and the file
by its length and its seal: a time of modification, in whole seconds, that is set on the file and written in its header.
Whoever writes to the file afterwards breaks the seal, so nothing has to be read through to know that it is whole.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Container", "Section", "open_container", "write_container"]

Section = bytes | bytearray | memoryview
_MAGIC = b"\x89agents\n"
_HEAD = struct.Struct("<8sII")  # magic, length of the header, its sum
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Container:
    """A file as it was written: `meta` is what its writer noted, `sections` are its bytes by name."""

    key: str
    meta: Mapping[str, Any]
    sections: Mapping[str, memoryview]
    size: int


def write_container(
    descriptor: int, path: Path, key: str, meta: Mapping[str, Any], sections: Mapping[str, Section]
) -> None:
    """Writes a file and seals it. Raises OSError, and TypeError for notes that JSON can't write."""
    with os.fdopen(descriptor, "wb") as file:
        seal = int(os.fstat(descriptor).st_mtime) // 2 * 2  # there are disks that keep even seconds only
        places: dict[str, tuple[int, int]] = {}
        offset = 0
        for name, content in sections.items():
            places[name] = (offset, len(content))
            offset += len(content) + -len(content) % _ALIGNMENT
        header = json.dumps({"key": key, "seal": seal, "length": offset, "places": places, "meta": meta}).encode()
        header += b" " * (-(_HEAD.size + len(header)) % _ALIGNMENT)
        file.write(_HEAD.pack(_MAGIC, len(header), zlib.crc32(header)))
        file.write(header)
        for content in sections.values():
            file.write(content)
            file.write(b"\0" * (-len(content) % _ALIGNMENT))
        file.flush()
        os.utime(file.fileno() if os.utime in os.supports_fd else path, (seal, seal))
        os.fsync(file.fileno())


def open_container(path: Path) -> Container | None:
    """The file, or None if there is none, or one that is not whole or not ours."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            magic, length, checksum = _HEAD.unpack(file.read(_HEAD.size))
            header = file.read(length)
            if magic != _MAGIC or zlib.crc32(header) != checksum:
                return None
            noted = json.loads(header)
            start = _HEAD.size + length
            is_whole = status.st_size == start + noted["length"]
            if not is_whole or status.st_mtime_ns != noted["seal"] * 1_000_000_000:
                return None
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        sections = {name: content[start + at : start + at + size] for name, (at, size) in noted["places"].items()}
        return Container(noted["key"], noted["meta"], sections, status.st_size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
