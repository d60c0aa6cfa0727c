"""The lines that a model's answers become, and how they are put into an enriched.jsonl without a loss.

Each carries a `check`, a short digest of its own tasks: a line whose check still holds is as the model wrote it, and
may be replaced once it is stale. Every other line was written or edited by somebody, and is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.enriched import EnrichedLine, parse_line

__all__ = ["WrittenLine", "kept_lines", "lines_of", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLine:
    """What a model wrote for one version of an agent's file.

    `near_misses` are pairs of a task and the name of its agent; `created` is the time, in ISO 8601, UTC.
    """

    name: str
    digest: str
    examples: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...]
    model: str
    created: str

    @property
    def check(self) -> str:
        return _check(self.examples, self.near_misses)

    def to_record(self) -> dict[str, Any]:
        """The line as a JSON object, in the order in which its keys are written."""
        return {
            "name": self.name,
            "digest": self.digest,
            "examples": list(self.examples),
            "near_misses": [{"task": task, "agent": agent} for task, agent in self.near_misses],
            "model": self.model,
            "created": self.created,
            "check": self.check,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> WrittenLine:
        """Raises KeyError or TypeError for a record of another shape."""
        return cls(
            name=str(record["name"]),
            digest=str(record["digest"]),
            examples=tuple(map(str, record["examples"])),
            near_misses=tuple((str(one["task"]), str(one["agent"])) for one in record["near_misses"]),
            model=str(record["model"]),
            created=str(record["created"]),
        )

    def to_text(self) -> str:
        return json.dumps(self.to_record(), ensure_ascii=False)


def lines_of(text: str) -> list[EnrichedLine]:
    """The lines of a file that can be read."""
    found = []
    for content in _contents(text):
        try:
            found.append(parse_line(content))
        except ValueError:
            continue  # which the reader of the registry reports
    return found


def kept_lines(text: str, name: str, digest: str) -> list[EnrichedLine]:
    """The lines of an agent that stay in the file when a new one, for this version of its file, is put in."""
    contents = [content for content in _contents(text) if not _gives_way(content, {name: digest})]
    return [line for line in lines_of("\n".join(contents)) if line.name == name]


def merged(text: str, new: Sequence[WrittenLine]) -> str:
    """A file's text with new lines in it.

    A new line stands where a stale one of its agent stood that is as a model wrote it, or else at the end. A line that
    is there already, edited since or not, is not put in again.
    """
    entries = map(_entry, _contents(text))
    present = [(entry.get("name"), entry.get("digest"), entry.get("check")) for entry in entries]
    missing = {line.name: line for line in new if (line.name, line.digest, line.check) not in present}
    digests = {name: line.digest for name, line in missing.items()}
    contents: list[str] = []
    for content in text.removesuffix("\n").split("\n") if text else []:
        if not _gives_way(content, digests):
            contents.append(content)
        elif (line := missing.pop(_entry(content)["name"], None)) is not None:
            contents.append(line.to_text())
    contents += [missing[name].to_text() for name in sorted(missing, key=lambda name: (name.casefold(), name))]
    return "".join(f"{content}\n" for content in contents)


def _gives_way(content: str, digests: dict[str, str]) -> bool:
    """Whether a line makes room for a new one: it is its agent's, stale, and as a model wrote it."""
    entry = _entry(content)
    digest = digests.get(str(entry.get("name")))
    if digest is None or not isinstance(entry.get("check"), str):
        return False
    try:
        line = parse_line(content.lstrip("\ufeff"))
        near_misses = tuple((one["task"], one["agent"]) for one in entry.get("near_misses", ()))
        is_as_written = _check(entry["examples"], near_misses) == entry["check"]
    except (ValueError, KeyError, TypeError):
        return False
    return is_as_written and line.is_stale_for(digest)


def _contents(text: str) -> Iterable[str]:
    return (content for content in text.removeprefix("\ufeff").split("\n") if content.strip())


def _entry(content: str) -> dict[str, Any]:
    try:
        entry: Any = json.loads(content.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _check(examples: Sequence[str], near_misses: Sequence[tuple[str, str]]) -> str:
    content = json.dumps([list(examples), [list(pair) for pair in near_misses]])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
