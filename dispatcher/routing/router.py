"""Task → Decision.

Scores every agent by the similarity of its fields to the task, applies the rules, and abstains where it isn't sure.
Takes a sequence of agents and needs no registry; needs no LLM. The same result for the same agents and task, always:
scores are rounded to six places and ties are broken by name.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.agent import Agent, slugify
from dispatcher.errors import UnknownAgentError
from dispatcher.naming import find_agent, sort_by_name
from dispatcher.routing.decision import Candidate, Decision, Evidence, How, Outcome
from dispatcher.routing.index import FieldIndex, build_index
from dispatcher.routing.passages import passages
from dispatcher.routing.rules import CompiledRule, Phrase, compile_rules
from dispatcher.routing.text import pairs_of, words
from dispatcher.settings import RoutingSettings, Rule

__all__ = ["Router"]

# What each field counts; set by hand for this first version.
FIELD_WEIGHTS: Mapping[str, float] = {
    "name": 0.1,
    "description": 0.3,
    "trigger": 0.15,
    "example": 0.2,
    "capability": 0.1,
    "body": 0.8,
    "exclusion": -0.05,
}
KEYWORD_WEIGHT = 0.1
_LONGEST_KEYWORD = 4
_MENTION = re.compile(r"@([^\s,;:!?]+)")
_NEAR = 85
_MOST_EVIDENCE = 12


@dataclass(frozen=True, slots=True)
class _Keyword:
    """A short trigger of a file, which counts by itself when the task has all its words together."""

    phrase: Phrase
    row: int
    line: int | None


class Router:
    """Chooses among agents.

    Parameters
    ----------
    agents: all that can be named; those that are not routable are found by name only.
    settings: the threshold and the fallback.
    rules: the keyword rules of config.
    disabled: names of agents to keep out of routing, besides those whose file says so.

    Raises ConfigError for a rule that can't be used, and UnknownAgentError for a fallback that does not exist.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        *,
        settings: RoutingSettings | None = None,
        rules: Sequence[Rule] = (),
        disabled: Collection[str] = (),
    ) -> None:
        self.settings = settings or RoutingSettings()
        self.agents = sort_by_name(agents)
        off = {slugify(name) for name in disabled}
        self.routable = tuple(agent for agent in self.agents if agent.is_routable and agent.slug not in off)
        self._rules = compile_rules(rules, self.agents)
        self._rows = {agent.name: row for row, agent in enumerate(self.routable)}
        self._by_name = {agent.name: agent for agent in self.agents}
        self._fallback = find_agent(self.settings.fallback, self.agents) if self.settings.fallback else None

    def route(
        self,
        task: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> Decision:
        """Decides who takes a task.

        Parameters
        ----------
        task: what the user typed; "@name" or "@slug" at its beginning names an agent.
        agent: the name or slug of an agent to force.
        only: names of the agents that may be chosen; all if not given.
        exclude: names of agents that may not be chosen.

        Raises UnknownAgentError for a name that no agent has.
        """
        allowed = self._allowed(only, exclude)
        if agent is not None:
            return self._settled(
                task, find_agent(agent, self.agents), How.FORCED, "it was named by the caller", allowed
            )
        mentioned, rest = self._mention(task)
        if mentioned is not None:
            return self._settled(rest, mentioned, How.MENTION, f'the task begins with "@{mentioned.name}"', allowed)
        return self._scored(task, allowed)

    def _scored(self, task: str, allowed: frozenset[str]) -> Decision:
        stems = [word.stem for word in words(task)]
        holding = [rule for rule in self._rules if rule.holds(task, stems)]
        forcing = next((rule for rule in holding if rule.force in allowed), None)
        if forcing is not None:
            return self._settled(task, self._by_name[str(forcing.force)], How.RULE, forcing.describe(), allowed)
        candidates = self._ranked(stems, holding, allowed)
        best = candidates[0].score if candidates else 0.0
        margin = round(best - (candidates[1].score if len(candidates) > 1 else 0.0), 6)
        confidence = _confidence(best, margin)
        is_sure = best > 0 and confidence >= self.settings.min_confidence
        decision = Decision(
            task=task,
            outcome=Outcome.ROUTED if is_sure else Outcome.ABSTAINED,
            how=How.SCORED,
            agent=candidates[0].agent if is_sure else None,
            confidence=confidence,
            threshold=self.settings.min_confidence,
            margin=margin,
            reason=self._reason(best, is_sure),
            candidates=candidates,
            explain=functools.partial(self._explain, stems),
        )
        return decision if is_sure or self._fallback is None else self._fall_back(decision, self._fallback, allowed)

    def _settled(self, task: str, agent: Agent, how: How, reason: str, allowed: frozenset[str]) -> Decision:
        """A decision that needs no scores; an agent that may not be chosen is not chosen this way either."""
        is_allowed = agent.name in allowed
        if not is_allowed:
            reason = f'"{agent.name}" is not among the agents that may be chosen here'
        return Decision(
            task=task,
            outcome=Outcome.ROUTED if is_allowed else Outcome.ABSTAINED,
            how=how,
            agent=agent if is_allowed else None,
            confidence=1.0 if is_allowed else 0.0,
            is_calibrated=True,
            reason=reason,
            candidates=(Candidate(agent=agent, score=1.0),) if is_allowed else (),
        )

    def _fall_back(self, decision: Decision, fallback: Agent, allowed: frozenset[str]) -> Decision:
        if fallback.name not in allowed:
            return decision
        reason = f'{decision.reason}; "{fallback.name}" is the fallback'
        return dataclasses.replace(decision, outcome=Outcome.ROUTED, how=How.FALLBACK, agent=fallback, reason=reason)

    def _ranked(
        self, stems: Sequence[str], rules: Sequence[CompiledRule], allowed: frozenset[str]
    ) -> tuple[Candidate, ...]:
        """The agents that may be chosen, best first."""
        scores = self._scores(stems)
        vetoed: set[str] = set()
        for rule in rules:
            vetoed |= rule.veto
            for name in rule.boost & self._rows.keys():
                scores[self._rows[name]] += rule.by
        candidates = [
            Candidate(agent=agent, score=round(min(1.0, max(0.0, float(score))), 6))
            for agent, score in zip(self.routable, scores, strict=True)
            if agent.name in allowed and agent.name not in vetoed
        ]
        # The agents are sorted by name, and sorting keeps the order of equals.
        return tuple(sorted(candidates, key=lambda candidate: -candidate.score))

    def _scores(self, stems: Sequence[str]) -> NDArray[np.float64]:
        """The raw score of every routable agent, before rules; shape (agents,).

        Similarities are divided by the best one of their field, since a cosine with a name and one with a long body
        are not of one size; the score is their weighted mean.
        """
        task_terms = [*stems, *pairs_of(stems)]
        scores = np.zeros(len(self.routable))
        for field, index in self._index.items():
            similarities = index.similarities(task_terms)
            scores += self._share(field, similarities.max(initial=0.0)) * similarities
        for row in {keyword.row for keyword in self._keywords if keyword.phrase.stands_in(stems)}:
            scores[row] += KEYWORD_WEIGHT
        return scores

    def _share(self, field: str, best: float) -> float:
        """What a similarity in a field is multiplied by, when `best` is the largest that any agent has there."""
        total = sum(weight for name, weight in FIELD_WEIGHTS.items() if weight > 0 and name in self._index)
        return FIELD_WEIGHTS[field] / total / best if best > 0 else 0.0

    def _explain(self, stems: Sequence[str], agent: Agent) -> tuple[Evidence, ...]:
        """What each passage of an agent gave, the most telling first."""
        row = self._rows.get(agent.name)
        if row is None:
            return ()
        found = [
            Evidence(
                field="keyword",
                words=(keyword.phrase.text,),
                text=keyword.phrase.text,
                path=agent.source.path,
                line=keyword.line,
                contribution=KEYWORD_WEIGHT,
            )
            for keyword in self._keywords
            if keyword.row == row and keyword.phrase.stands_in(stems)
        ][:1]
        task_terms = [*stems, *pairs_of(stems)]
        for field, index in self._index.items():
            share = self._share(field, index.similarities(task_terms).max(initial=0.0))
            given = {term: share * value for term, value in index.contributions(task_terms, row).items()}
            found.extend(_evidence_of_field(field, given, agent))
        found.sort(key=lambda one: (-abs(one.contribution), one.field, one.line or 0))
        return tuple(found[:_MOST_EVIDENCE])

    def _reason(self, best: float, is_sure: bool) -> str:
        if best <= 0:
            return "no agent's file has a word of the task"
        if is_sure:
            return "its file fits the task best"
        return "no agent fits clearly enough"

    def _mention(self, task: str) -> tuple[Agent | None, str]:
        """The agent that a task names at its beginning, and the rest of the task."""
        text = task.lstrip()
        if not text.startswith("@"):
            return None, task
        names = sorted({*self._by_name, *(agent.slug for agent in self.agents)}, key=len, reverse=True)
        for name in names:
            end = len(name) + 1
            if text[1:end].casefold() == name.casefold() and not re.match(r"[\w/-]", text[end : end + 1]):
                return find_agent(name, self.agents), text[end:].lstrip(" \t:,\n")
        word = _MENTION.match(text)
        if word is not None and (near := _nearest(word[1], names)) is not None:
            raise UnknownAgentError(
                f'there is no agent "@{word[1]}"',
                hint=f'did you mean "@{near}"? (text that begins with @ and is no name goes after a space or a word)',
                suggestions=(near,),
            )
        return None, task

    def _allowed(self, only: Collection[str] | None, exclude: Collection[str] | None) -> frozenset[str]:
        names = {find_agent(name, self.agents).name for name in only} if only is not None else set(self._by_name)
        return frozenset(names - {find_agent(name, self.agents).name for name in exclude or ()})

    @functools.cached_property
    def _index(self) -> Mapping[str, FieldIndex]:
        return build_index(self.routable)

    @functools.cached_property
    def _keywords(self) -> tuple[_Keyword, ...]:
        found = []
        for row, agent in enumerate(self.routable):
            for trigger in agent.triggers:
                phrase = Phrase.of(trigger.text)
                if 0 < len(phrase.stems) <= _LONGEST_KEYWORD:
                    found.append(_Keyword(phrase, row, trigger.line))
        return tuple(found)


def _evidence_of_field(field: str, given: Mapping[str, float], agent: Agent) -> list[Evidence]:
    """Shares what a field gave among the passages that hold the words; each word counts where it first stands."""
    left = dict(given)
    found = []
    held = [(passage, words(passage.text)) for passage in passages(agent) if passage.field == field]
    held.sort(key=lambda entry: -sum(abs(left.get(stem, 0.0)) for stem in {word.stem for word in entry[1]}))
    for passage, written in held:
        stems = [word.stem for word in written]
        met = [term for term in dict.fromkeys([*stems, *pairs_of(stems)]) if term in left]
        if met:
            shared = {word.written for word in written if word.stem in met}
            found.append(
                Evidence(
                    field=field,
                    words=tuple(sorted(shared)),
                    text=" ".join(passage.text.split()),
                    path=agent.source.path,
                    line=passage.line,
                    contribution=round(sum(left.pop(term) for term in met), 6),
                )
            )
    return found


def _nearest(word: str, names: Sequence[str]) -> str | None:
    from rapidfuzz import fuzz, process

    found = process.extractOne(
        word.casefold(), [name.casefold() for name in names], scorer=fuzz.ratio, score_cutoff=_NEAR
    )
    return names[found[2]] if found else None


def _confidence(best: float, margin: float) -> float:
    """How sure a ranking is, from the best score and its lead; not yet calibrated, so only its order means something.

    A best score near 1 means that the fields agree on one agent, since each field's best similarity counts fully.
    """
    if best <= 0:
        return 0.0
    return round(0.6 * best + 0.4 * min(1.0, margin / best), 6)
