"""The records that everything shares: an agent as read from a file, and what the reader had to say about it.

Frozen values without behaviour beyond small look-ups. Knows of nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

__all__ = [
    "Agent",
    "Capability",
    "Collaborator",
    "Diagnostic",
    "Example",
    "Passage",
    "Placeholder",
    "ReadResult",
    "Severity",
    "Source",
    "ToolPolicy",
    "Trigger",
    "slugify",
]


class Severity(StrEnum):
    """How bad a diagnostic is: an error lost an agent, a warning recovered one, a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an agent came from: the file, the scope's root folder and the scope's name."""

    path: Path
    root: Path
    scope: str = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """What a reader found in a file. `line` counts from 1; `hint` says how to mend it."""

    severity: Severity
    code: str
    message: str
    path: Path
    line: int | None = None
    hint: str | None = None

    def location(self) -> str:
        return f"{self.path}:{self.line}" if self.line is not None else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example block: what was going on, what the user typed, how the assistant answered, and why."""

    user: str
    context: str = ""
    assistant: str = ""
    commentary: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A sentence, line or keyword that says when this agent is to be used.

    `topics` are the things a sentence lists ("Use PROACTIVELY for A, B or C"); `proactive` marks those written as
    orders (PROACTIVELY, MUST BE USED).
    """

    text: str
    topics: tuple[str, ...] = ()
    proactive: bool = False
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Something the agent can do, with the items its file lists under it."""

    name: str
    items: tuple[str, ...] = ()
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborator:
    """Another agent that this one works with, as its file names it; `is_variable` for a `{{PLACEHOLDER}}`."""

    name: str
    purpose: str = ""
    is_variable: bool = False
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """A use of `{{NAME}}` in a prompt or a front matter value."""

    name: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of text that says something of an agent, the field it stands in, and its line.

    `path` is the file, where that is another than the agent's own. `weight` is what it counts, from 0 to 1.
    """

    field: str
    text: str
    line: int | None = None
    path: Path | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """What the file allows: `allowed` is None where it sets no limit, and empty where it allows nothing."""

    allowed: tuple[str, ...] | None = None
    disallowed: tuple[str, ...] = ()


class _Deferred:
    """A record whose fields may be filled in when one of them is first asked for."""

    __slots__ = ("_known", "_rest")
    _known: tuple[str, ...]
    _rest: Callable[[], Mapping[str, Any]]

    if not TYPE_CHECKING:  # where every name would pass

        def __getattr__(self, name: str) -> Any:
            """A field that is not there yet."""
            if name in _Deferred.__slots__ or name not in type(self).__dataclass_fields__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            for field_name, value in self._rest().items():
                if field_name not in self._known:
                    object.__setattr__(self, field_name, value)
            return object.__getattribute__(self, name)

    @classmethod
    def deferred(cls, known: tuple[str, ...], values: Iterable[Any], rest: Callable[[], Mapping[str, Any]]) -> Self:
        """A record of which some fields are known, by name, and `rest` gives all."""
        made, put = object.__new__(cls), object.__setattr__
        for name, value in zip(known, values, strict=True):
            put(made, name, value)
        put(made, "_known", known)
        put(made, "_rest", rest)
        return made

    def but(self, **changes: Any) -> Self:
        """The record with other values in some fields; what is deferred stays so."""
        if hasattr(self, "_rest"):
            values = {name: getattr(self, name) for name in self._known} | changes
            return self.deferred(tuple(values), values.values(), self._rest)
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent(_Deferred):
    """One agent.

    `prompt` is the body as it stands in the file; `description` is for people, without example blocks.
    `metadata` holds every front matter key that has no field of its own, under the name the file gives it.
    `models` are the model names the file prefers, best first, as written. `enriched` are example tasks that
    stand beside the file, in enriched.jsonl. `digest` is the SHA-256 of the file's bytes, or of the
    entry's in a file of several agents.
    """

    name: str
    description: str
    prompt: str
    source: Source
    line: int = 1
    prompt_line: int = 1
    description_line: int | None = None
    models: tuple[str, ...] = ()
    color: str | None = None
    category: str | None = None
    team: str | None = None
    subcategory: str | None = None
    tags: tuple[str, ...] = ()
    tools: ToolPolicy = field(default_factory=ToolPolicy)
    enabled: bool = True
    disable_model_invocation: bool = False
    max_turns: int | None = None
    effort: str | None = None
    permission_mode: str | None = None
    mcp_servers: Mapping[str, Any] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    exclusions: tuple[Trigger, ...] = ()
    examples: tuple[Example, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    collaborators: tuple[Collaborator, ...] = ()
    placeholders: tuple[Placeholder, ...] = ()
    headings: tuple[Passage, ...] = ()
    bullets: tuple[Passage, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    enriched: tuple[Passage, ...] = ()
    digest: str = ""

    @property
    def slug(self) -> str:
        return slugify(self.name)

    @property
    def is_routable(self) -> bool:
        """Whether the router may choose it; it can be named in any case."""
        return self.enabled and not self.disable_model_invocation

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of its placeholders, each once, in the order of their first use."""
        return tuple(dict.fromkeys(placeholder.name for placeholder in self.placeholders))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)  # one for each file, at every start
class ReadResult:
    """What a file gave.

    `passed_over` says why it is no agent, where it is none and nothing is wrong with it. `digest` is the SHA-256 of the
    file's bytes, empty where they were not looked at or could not be had.
    """

    agents: tuple[Agent, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    passed_over: str | None = None
    digest: str = ""


def slugify(name: str) -> str:
    """A name as one lower-case word: `UX Researcher` becomes `ux-researcher`; letters of any script are kept."""
    composed = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[^\w]+", "-", composed.replace("_", "-")).strip("-")
