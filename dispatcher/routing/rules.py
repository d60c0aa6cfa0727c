"""Keyword rules: those of config.yaml, and the keywords that agent files give.

Words match whole and stemmed, and several words of one keyword must stand together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dispatcher.agent import Agent, slugify
from dispatcher.errors import ConfigError
from dispatcher.routing.text import Word, analyze, content_stems, readings
from dispatcher.settings import Rule

__all__ = ["CompiledRule", "Phrase", "compile_rules"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must stand together."""

    text: str
    stems: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Phrase:
        return cls(text, tuple(content_stems(analyze(text))))

    def stands_in_any(self, texts: Iterable[Sequence[str]]) -> bool:
        """Whether the words stand together in one of several readings of a text."""
        return any(self._stands_in(stems) for stems in texts)

    def _stands_in(self, stems: Sequence[str]) -> bool:
        size = len(self.stems)
        return size > 0 and any(tuple(stems[at : at + size]) == self.stems for at in range(len(stems) - size + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """A rule of config.yaml ready to be tried; the targets are names of agents."""

    number: int
    any: tuple[Phrase, ...]
    all: tuple[Phrase, ...]
    none: tuple[Phrase, ...]
    regex: re.Pattern[str] | None
    force: frozenset[str]
    boost: frozenset[str]
    veto: frozenset[str]
    by: float

    def holds(self, task: str, words: Sequence[Word]) -> bool:
        """Whether the rule's conditions hold for a task with these words."""
        texts = readings(words)
        return (
            (not self.any or any(phrase.stands_in_any(texts) for phrase in self.any))
            and all(phrase.stands_in_any(texts) for phrase in self.all)
            and not any(phrase.stands_in_any(texts) for phrase in self.none)
            and (self.regex is None or self.regex.search(task) is not None)
        )

    def describe(self) -> str:
        """The rule's conditions in words."""
        parts = []
        for label, phrases in (("any of", self.any), ("all of", self.all), ("none of", self.none)):
            if phrases:
                parts.append(f"{label} {', '.join(phrase.text for phrase in phrases)}")
        if self.regex is not None:
            parts.append(f"/{self.regex.pattern}/")
        return f"rule {self.number} ({'; '.join(parts)})"


def compile_rules(rules: Iterable[Rule], agents: Sequence[Agent]) -> tuple[CompiledRule, ...]:
    """Raises ConfigError for a rule without a condition or an effect, words or a regex that can't be used, or a
    target that no agent has."""
    return tuple(_compile(number, rule, agents) for number, rule in enumerate(rules, start=1))


def _compile(number: int, rule: Rule, agents: Sequence[Agent]) -> CompiledRule:
    where = f"rules: rule {number}"
    if not (rule.any or rule.all or rule.none or rule.regex):
        raise ConfigError(f"{where} has no condition", hint="give it any, all, none or regex")
    if not (rule.force or rule.boost or rule.veto):
        raise ConfigError(f"{where} has no effect", hint="give it force, boost or veto")
    return CompiledRule(
        number=number,
        any=_phrases(rule.any, where),
        all=_phrases(rule.all, where),
        none=_phrases(rule.none, where),
        regex=_pattern(rule.regex, where) if rule.regex else None,
        force=_targets(rule.force, where, agents) if rule.force else frozenset(),
        boost=_targets(rule.boost, where, agents) if rule.boost else frozenset(),
        veto=_targets(rule.veto, where, agents) if rule.veto else frozenset(),
        by=rule.by,
    )


def _phrases(texts: Iterable[str], where: str) -> tuple[Phrase, ...]:
    phrases = tuple(map(Phrase.of, texts))
    for phrase in phrases:
        if not phrase.stems:
            raise ConfigError(
                f'{where}: "{phrase.text}" has no word that carries meaning, so no task could meet it',
                hint='use regex for signs and for words such as "how" and "the"',
            )
    return phrases


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ConfigError(f"{where}: {text!r} is no regular expression: {problem}") from None


def _targets(target: str, where: str, agents: Sequence[Agent]) -> frozenset[str]:
    """The names of the agents that a target stands for."""
    kind, colon, value = target.partition(":")
    if colon and kind in ("category", "team", "agent"):
        wanted = value.strip()
    else:
        kind, wanted = "agent", target
    slug = slugify(wanted)
    if kind == "agent":
        exact = [agent.name for agent in agents if agent.name == wanted]
        found = exact or [agent.name for agent in agents if slug and agent.slug == slug]
    else:
        found = [agent.name for agent in agents if slug and slugify(getattr(agent, kind) or "") == slug]
    if not found:
        raise ConfigError(
            f'{where} names the {kind} "{wanted}", which no agent has', hint=_nearest(kind, wanted, agents)
        )
    return frozenset(found)


def _nearest(kind: str, wanted: str, agents: Sequence[Agent]) -> str:
    from rapidfuzz import process, utils

    values = {agent.name if kind == "agent" else getattr(agent, kind) or "" for agent in agents} - {""}
    found = process.extractOne(wanted, sorted(values), processor=utils.default_process, score_cutoff=60)
    return f'did you mean "{found[0]}"?' if found else "`dispatch agents list` shows the agents"
