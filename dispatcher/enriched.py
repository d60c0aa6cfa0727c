"""enriched.jsonl: example tasks for agents, kept beside their files, which are never touched.

A line an agent: `{"name": "...", "digest": "...", "examples": ["...", ...], "near_misses": [{"task": "...", "agent":
"..."}, ...]}`; name and examples are enough, and further keys are for those who write the file. A near miss is a task
that looks like this agent's and is a neighbour's, so it is an example of the neighbour, which counts half. A line whose
digest is not that of the agent's file was written for another version of it: it counts less. A line without one is
never stale.
Readable, editable, and looked for in the agents' own folder only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.agent import Agent, Diagnostic, Passage, Severity
from dispatcher.characters import well_formed

__all__ = [
    "FILE_NAME",
    "NEAR_MISS_WEIGHT",
    "STALE_WEIGHT",
    "EnrichedLine",
    "NearMiss",
    "add_enriched",
    "add_near_misses",
    "parse_line",
]

FILE_NAME = "enriched.jsonl"
STALE_WEIGHT = 0.5
"""What an example counts that was written for another version of the agent's file."""
NEAR_MISS_WEIGHT = 0.5
"""What a near miss counts for the neighbour. As a whole example it put as many tasks wrong as right."""

_SHAPE = '{"name": "...", "examples": ["...", "..."]}'
_CODES = {Severity.ERROR: "unreadable", Severity.NOTE: "unknown-agent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A task that belongs to a neighbour; `passage` says where it stands."""

    agent: str
    passage: Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichedLine:
    """A line as it is read; `near_misses` are pairs of a task and the name of its agent, `faults` what was left out."""

    name: str
    examples: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...] = ()
    digest: str | None = None
    faults: tuple[str, ...] = ()

    def is_stale_for(self, digest: str) -> bool:
        """Whether it was written for another version of the file than the one with this digest."""
        return self.digest is not None and self.digest.lower() != digest.lower()


def add_enriched(
    agents: Sequence[Agent], path: Path, text: str | None = None
) -> tuple[list[Agent], tuple[NearMiss, ...], tuple[Diagnostic, ...]]:
    """The agents with the example tasks that a file has for them, its near misses, and what is wrong with its lines.

    A bad line is reported and loses itself alone; so is a stale one, which counts less. A line for an agent that is not
    there is noted. `text` is what the file holds, if that is known.
    """
    if text is None:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as problem:
            return list(agents), (), (_diagnostic(path, None, Severity.ERROR, f"the file can't be read: {problem}"),)
    examples: dict[str, list[Passage]] = {}
    near_misses: list[NearMiss] = []
    diagnostics: list[Diagnostic] = []
    digests = {agent.name: agent.digest for agent in agents}
    for number, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            line = parse_line(content)
        except ValueError as problem:
            diagnostics.append(_bad_line(path, number, str(problem)))
            continue
        diagnostics.extend(_bad_line(path, number, fault) for fault in line.faults)
        if line.name not in digests:
            diagnostics.append(_diagnostic(path, number, Severity.NOTE, f'there is no agent "{line.name}" here'))
            continue
        is_stale = line.is_stale_for(digests[line.name])
        if is_stale:
            diagnostics.append(_stale(path, number, line.name))
        weight = STALE_WEIGHT if is_stale else 1.0
        passages = _passages(line.examples, path, number, weight)
        examples.setdefault(line.name, []).extend(passages)
        tasks = _passages([task for task, _ in line.near_misses], path, number, weight * NEAR_MISS_WEIGHT)
        near_misses.extend(
            NearMiss(agent=agent, passage=passage) for (_, agent), passage in zip(line.near_misses, tasks, strict=True)
        )
    added = [agent.but(enriched=tuple(examples.get(agent.name, ()))) for agent in agents]
    return added, tuple(near_misses), tuple(diagnostics)


def add_near_misses(
    agents: Sequence[Agent], near_misses: Sequence[NearMiss]
) -> tuple[list[Agent], tuple[Diagnostic, ...]]:
    """The agents with the near misses that are theirs as further examples; one that is nobody's is noted.

    One that an agent has already counts once: the file of a project and the same one of the package both tell it.
    """
    if not near_misses:
        return list(agents), ()
    tasks: dict[str, list[Passage]] = {}
    diagnostics = []
    known = {agent.name: {passage.text for passage in agent.enriched} for agent in agents}
    for near_miss in near_misses:
        if near_miss.agent in known:
            if near_miss.passage.text not in known[near_miss.agent]:
                known[near_miss.agent].add(near_miss.passage.text)
                tasks.setdefault(near_miss.agent, []).append(near_miss.passage)
        else:
            path, line = near_miss.passage.path or Path(FILE_NAME), near_miss.passage.line
            message = f'a near miss names the agent "{near_miss.agent}", which is not there'
            diagnostics.append(_diagnostic(path, line, Severity.NOTE, message))
    added = [
        agent.but(enriched=(*agent.enriched, *tasks[agent.name])) if agent.name in tasks else agent for agent in agents
    ]
    return added, tuple(diagnostics)


def parse_line(content: str) -> EnrichedLine:
    """A line's content. Raises ValueError, with the reason, for one that holds no example tasks for an agent."""
    try:
        entry: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("the line is not JSON") from None
    if not isinstance(entry, dict):
        raise ValueError("the line is not a JSON object")
    for key, kind, wanted in (("name", str, "text"), ("examples", list, "a list of texts")):
        if not isinstance(entry.get(key), kind):
            raise ValueError(f'"{key}" is not {wanted}' if key in entry else f'"{key}" is missing')
    if not all(isinstance(text, str) for text in entry["examples"]):
        raise ValueError('"examples" is not a list of texts')
    faults = tuple(_faults(entry))
    near_misses = () if any("near" in fault for fault in faults) else entry.get("near_misses") or ()
    digest = entry.get("digest")
    return EnrichedLine(
        name=_clean(entry["name"]),
        examples=tuple(text for each in entry["examples"] if (text := _clean(each))),
        near_misses=tuple((_clean(one["task"]), _clean(one["agent"])) for one in near_misses if one["task"].strip()),
        digest=digest if isinstance(digest, str) and digest else None,
        faults=faults,
    )


def _faults(entry: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the keys that a line can do without."""
    if not isinstance(entry.get("digest"), str | None):
        yield '"digest" is not text, so nobody can tell whether the line is stale'
    near_misses = entry.get("near_misses")
    if near_misses is not None and not (isinstance(near_misses, list) and all(map(_is_near_miss, near_misses))):
        yield '"near_misses" is not a list of {"task": "...", "agent": "..."}, and was left out'


def _is_near_miss(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("task", "agent"))


def _passages(texts: Iterable[str], path: Path, number: int, weight: float) -> list[Passage]:
    return [Passage(field="example", text=text, line=number, path=path, weight=weight) for text in texts]


def _clean(text: str) -> str:
    return well_formed(text.strip())


def _bad_line(path: Path, line: int, reason: str) -> Diagnostic:
    return _diagnostic(path, line, Severity.WARNING, reason, code="bad-enriched-line", hint=f"write {_SHAPE}")


def _stale(path: Path, line: int, name: str) -> Diagnostic:
    return _diagnostic(
        path,
        line,
        Severity.WARNING,
        f'the example tasks were written for another version of the agent "{name}", so they count half',
        code="stale-examples",
        hint='`dispatch enrich` writes new ones; where they still hold, take "digest" out of the line',
    )


def _diagnostic(
    path: Path, line: int | None, severity: Severity, message: str, *, code: str | None = None, hint: str | None = None
) -> Diagnostic:
    return Diagnostic(
        severity=severity, code=code or _CODES[severity], message=message, path=path, line=line, hint=hint
    )
