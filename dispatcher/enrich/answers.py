"""What of a model's answer is used: each task is looked at by itself, and what is refused is told with its reason."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.agent import Agent
from dispatcher.characters import well_formed
from dispatcher.enrich.languages import is_in_another_language
from dispatcher.enrich.planning import Job

__all__ = ["Accepted", "Names", "Refused", "fold", "read_answer"]

_SHORTEST, _LONGEST = 3, 1_000  # characters
_NEARLY_THE_SAME = 92  # percent of likeness
_COPIED_WORDS = 6
_LONGEST_REFERENCE = 2_000  # characters, which tell the language of a file
_MARK = re.compile(r"(?<!\w)@(\w+)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A task that the model wrote for an agent and that is not used, and why."""

    agent: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is used of an answer; `near_misses` are pairs of a task and the name of its agent."""

    examples: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...]
    refused: tuple[Refused, ...]


def read_answer(
    value: Mapping[str, Any],
    job: Job,
    *,
    count: int,
    near_misses: int,
    names: Names,
    taken: Mapping[str, str],
) -> Accepted:
    """Sorts the tasks of an answer.

    Parameters
    ----------
    value: the answer, of the prompt's schema or nearly so.
    job: whom it was asked for.
    count, near_misses: how many of each are used at most.
    names: those of all agents, which a task may not hold.
    taken: the tasks that agents have already, folded, with the agent's name.
    """
    sorter = _Sorter(job, names, taken)
    examples = sorter.examples(_listed(value.get("examples")), count)
    pairs = sorter.near_misses(_listed(value.get("near_misses")), near_misses)
    return Accepted(examples=tuple(examples), near_misses=tuple(pairs), refused=tuple(sorter.refused))


def fold(text: str) -> str:
    """A text as its words alone, so that case and signs make no difference."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in text.casefold()).split())


class Names:
    """The names of all agents, to be found in tasks."""

    def __init__(self, agents: Iterable[Agent]) -> None:
        self._by_words = {tuple(fold(agent.name).split()): agent.name for agent in agents}
        self._longest = max(map(len, self._by_words), default=0)

    def in_text(self, text: str) -> Iterator[str]:
        """The names that a text holds. One of a single word, such as "debugger", is a word like others unless it is
        marked: "@debugger", "the debugger agent"."""
        words = fold(text).split()
        marked = {fold(mark) for mark in _MARK.findall(text)}
        marked |= {word for word, after in itertools.pairwise(words) if after == "agent"}
        runs: list[tuple[str, ...]] = [(word,) for word in marked]
        for size in range(2, self._longest + 1):
            runs += [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
        return (self._by_words[run] for run in runs if run in self._by_words)


class _Sorter:
    """Takes the tasks of one answer one by one; what was taken decides what is a duplicate."""

    def __init__(self, job: Job, names: Names, taken: Mapping[str, str]) -> None:
        self.refused: list[Refused] = []
        self._job = job
        self._taken = taken
        self._seen = [fold(text) for text in job.known]
        self._reference = f"{job.agent.description}\n{job.agent.prompt[:_LONGEST_REFERENCE]}"
        self._copied = frozenset(_runs(fold(job.agent.description)))
        self._names = names

    def examples(self, values: Sequence[Any], most: int) -> Iterator[str]:
        for text in map(_text, values):
            if most <= 0:
                return
            if self._accepts(text, self._fault(text)):
                most -= 1
                yield text

    def near_misses(self, values: Sequence[Any], most: int) -> Iterator[tuple[str, str]]:
        neighbours = {each.name for each in self._job.neighbours}
        for value in values:
            if most <= 0:
                return
            text, agent = (_text(value.get(key)) if isinstance(value, dict) else "" for key in ("task", "agent"))
            reason = self._fault(text) if agent in neighbours else f'"{agent}" is none of its neighbours'
            if self._accepts(text, reason):
                most -= 1
                yield text, agent

    def _accepts(self, text: str, reason: str | None) -> bool:
        if reason is None:
            self._seen.append(fold(text))
        else:
            self.refused.append(Refused(agent=self._job.agent.name, text=text, reason=reason))
        return reason is None

    def _fault(self, text: str) -> str | None:
        """Why a task can't be used; None where it can."""
        folded = fold(text)
        if len(text) < _SHORTEST or not any(sign.isalpha() for sign in text):
            return "it is too short"
        if len(text) > _LONGEST:
            return f"it has more than {_LONGEST:,} characters"
        named = next((name for name in self._names.in_text(text) if name != self._job.agent.name), None)
        if named is not None:
            return f'it names the agent "{named}"'
        if self._copied.intersection(_runs(folded)):
            return "it copies the agent's description"
        if is_in_another_language(text, self._reference):
            return "it is in another language than the agent's file"
        return self._duplicate(folded)

    def _duplicate(self, folded: str) -> str | None:
        from rapidfuzz import fuzz, process

        if process.extractOne(folded, self._seen, scorer=fuzz.ratio, score_cutoff=_NEARLY_THE_SAME) is not None:
            return "the agent has one like it"
        owner = self._taken.get(folded)
        return f'"{owner}" has it already' if owner not in (None, self._job.agent.name) else None


def _runs(folded: str) -> Iterator[str]:
    """Every run of so many words that it can't be chance."""
    words = folded.split()
    return (" ".join(words[at : at + _COPIED_WORDS]) for at in range(len(words) - _COPIED_WORDS + 1))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    """A value as text on one line; "" for what is none."""
    return well_formed(_CONTROLS.sub("", " ".join(value.split()))) if isinstance(value, str) else ""
