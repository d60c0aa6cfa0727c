"""Task → Decision.

Scores every agent with the index and the learned weights, applies the rules, and abstains where it isn't sure. Takes a
sequence of agents and needs no registry; needs no LLM. The same result for the same agents and task, always: scores
are rounded to six places and ties are broken by name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dispatcher.agent import Agent, slugify
from dispatcher.cache import Cache, code_stamp, digest_of
from dispatcher.cache.agents import packed
from dispatcher.characters import well_formed
from dispatcher.errors import UnknownAgentError
from dispatcher.naming import find_agent, sort_by_name
from dispatcher.progress import Progress
from dispatcher.routing.confidence import confidence_features, confidence_of
from dispatcher.routing.decision import (
    Candidate,
    Decision,
    Explanation,
    How,
    Outcome,
    Ranked,
    fallen_back,
)
from dispatcher.routing.index import Index, TaskScores
from dispatcher.routing.rules import CompiledRule, compile_rules
from dispatcher.routing.stored import kept_index
from dispatcher.routing.text import Word, analyze, content_stems, stemmer_version
from dispatcher.routing.weights import Weights, example_gate, shipped_weights
from dispatcher.settings import RoutingSettings, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Router"]

_WORD_OF_NAME = re.compile(r"[^\s,;:!?]+")
_GOES_ON = re.compile(r"[\w/@-]|\.\w")  # what follows a mention that is part of a longer word
_NEAR = 85  # percent of likeness from which on an unknown @word is taken for a slip
_MOST_WORDS = 2_000  # a task's first words decide; a pasted log of megabytes adds time and no sense
_MOST_MATERIAL = 4_000  # characters
_MOST_WORDS_TO_LEAVE_OUT = 40


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The agents that may be chosen, best first, with what is needed to say how sure that is and why."""

    candidates: Sequence[Candidate]
    confidence: float
    shares: NDArray[np.float64]
    raw: NDArray[np.float64]
    words: Sequence[Word]
    rules: Sequence[CompiledRule]


class Router:
    """Chooses among agents.

    Parameters
    ----------
    agents: all that can be named; those that are not routable are found by name only.
    settings: the threshold, the fallback, and the share of tasks that fit nobody.
    rules: the keyword rules of config.
    disabled: names of agents to keep out of routing, besides those whose file says so.
    weights: what each scorer counts; the shipped ones if not given.
    cache: where the index is kept once it is built; nowhere if not given.
    digest: what stands for the agents there, such as the digest of their Registry; worked out from all of their content
        if not given, which takes longer. An index kept under the same text before its dash is brought up to date: by
        it, agents of one name and one `digest` of their own are the same, so one that was changed by hand needs another
        digest, or none.
    progress: told of the building of the index.

    Raises ConfigError for a rule that can't be used or a precision that can't be had, and UnknownAgentError for a
    fallback that does not exist.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        *,
        settings: RoutingSettings | None = None,
        rules: Sequence[Rule] = (),
        disabled: Collection[str] = (),
        weights: Weights | None = None,
        cache: Cache | None = None,
        digest: str = "",
        progress: Progress | None = None,
    ) -> None:
        self._progress = progress
        self._cache = cache
        self._digest = digest
        self.settings = settings or RoutingSettings()
        self.weights = weights or shipped_weights()
        self.agents = sort_by_name(agents)
        off = {slugify(name) for name in disabled}
        self.routable = tuple(agent for agent in self.agents if agent.is_routable and not (off and agent.slug in off))
        self._rules = compile_rules(rules, self.agents)
        self._rows = {agent.name: row for row, agent in enumerate(self.routable)}
        self._by_name = {agent.name: agent for agent in self.agents}
        self._names = frozenset(self._by_name)
        wanted = self.settings.precision
        self.threshold = self.weights.threshold_for(wanted) if wanted is not None else self.settings.min_confidence
        """The confidence below which nobody is chosen."""
        fallback = self.settings.fallback
        self._fallback = find_agent(fallback, self.agents) if fallback else None

    @functools.cached_property
    def index(self) -> Index:
        """The index of the routable agents, in the order of `routable`."""
        if self._cache is None:
            from dispatcher.routing.indexing import build_index

            return build_index(self.routable, self.weights.encoder, self._progress)
        digest = self._digest or digest_of(hashlib.sha256(packed(self.agents)).hexdigest())
        names = [agent.name for agent in self.routable]
        slot = digest_of(digest.partition("-")[0], str(self.weights.encoder_path))
        maker = digest_of(code_stamp(), stemmer_version(), self.weights.encoder_stamp)
        key = digest_of(maker, digest, names)
        return kept_index(self._cache, slot, key, maker, lambda: self.weights.encoder, self.routable, self._progress)

    def route(
        self,
        task: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        mentions: bool = True,
        material: str = "",
    ) -> Decision:
        """Decides who takes a task.

        Parameters
        ----------
        task: what the user typed.
        agent: the name or slug of an agent to force.
        only: names of the agents that may be chosen; all if not given.
        exclude: names of agents that may not be chosen.
        mentions: whether "@name" or "@slug" at the beginning names an agent.
        material: text that comes with the task, such as a diff or a log. Its many words would drown those of the task,
            so it is only looked at where the task by itself leaves nobody sure.

        Raises UnknownAgentError for a name that no agent has.
        """
        decision, _ = self.route_after(
            task, "", agent=agent, only=only, exclude=exclude, mentions=mentions, material=material
        )
        return decision

    def route_after(
        self,
        task: str,
        said: str,
        *,
        agent: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        mentions: bool = True,
        material: str = "",
    ) -> tuple[Decision, Sequence[Candidate]]:
        """What `route` decides, and the agents as they fit what was said before; none where nothing was, or where
        somebody is named. Both are scored together, which takes less time than one after the other."""
        task, said, allowed = well_formed(task), well_formed(said), self._allowed(only, exclude)
        if agent is not None:
            named = find_agent(agent, self.agents)
            return self._settled(task, named, How.FORCED, "it was named by the caller", allowed), ()
        if mentions:
            mentioned, rest = self._mention(task)
            if mentioned is not None:
                reason = f'the task begins with "@{mentioned.name}"'
                return self._settled(rest, mentioned, How.MENTION, reason, allowed), ()
        ranking, *before = self._rankings([task, said] if said else [task], allowed)
        decision = self._with_material(self._decided(task, ranking, allowed), material, allowed)
        return decision, before[0].candidates if before else ()

    def route_many(self, tasks: Sequence[str], *, most: int | None = None) -> Iterator[Decision]:
        """What `route` decides for each task without regard to mentions, sooner; with the best `most` candidates."""
        allowed = self._allowed(None, None)
        for task, ranking in zip(tasks, self._rankings(tasks, allowed, most), strict=True):
            yield self._decided(task, ranking, allowed)

    def _with_material(self, decision: Decision, material: str, allowed: frozenset[str]) -> Decision:
        """The decision after a look at the material, where the task by itself leaves nobody sure."""
        if not material.strip() or not (decision.agent is None or decision.how is How.FALLBACK):
            return decision
        text = f"{decision.task}\n{material[:_MOST_MATERIAL]}"
        (ranking,) = self._rankings([text], allowed)
        wider = self._decided(text, ranking, allowed)
        is_sure = wider.how is How.SCORED and wider.agent is not None
        return dataclasses.replace(wider, task=decision.task) if is_sure else decision

    def _rankings(self, texts: Sequence[str], allowed: frozenset[str], most: int | None = None) -> Iterator[_Ranking]:
        """The agents that may be chosen for each of some texts, best first: the best `most`."""
        analyzed = [analyze(text)[:_MOST_WORDS] for text in texts]
        begun = 0
        for scores in self.index.score_many(analyzed):
            several = slice(begun, begun + len(scores.raw))
            holding = [self._holding(*each) for each in zip(texts[several], analyzed[several], strict=True)]
            yield from self._rank(scores, analyzed[several], holding, allowed, most)
            begun = several.stop

    def _holding(self, task: str, words: Sequence[Word]) -> list[CompiledRule]:
        return [rule for rule in self._rules if rule.holds(task, words)]

    def _decided(self, task: str, ranking: _Ranking, allowed: frozenset[str]) -> Decision:
        holding = ranking.rules
        vetoed = frozenset[str]().union(*(rule.veto for rule in holding))
        forcing = next((rule for rule in holding if rule.force & allowed - vetoed), None)
        candidates = ranking.candidates
        best = candidates[0].score if candidates else 0.0
        is_sure = best > 0 and ranking.confidence >= self.threshold
        decision = Decision(
            task=task,
            outcome=Outcome.ROUTED if is_sure else Outcome.ABSTAINED,
            how=How.SCORED,
            agent=candidates[0].agent if is_sure else None,
            confidence=ranking.confidence,
            is_calibrated=True,
            threshold=self.threshold,
            margin=round(best - (candidates[1].score if len(candidates) > 1 else 0.0), 6),
            reason=_reason(candidates, is_sure),
            candidates=candidates,
            explain=functools.partial(self._explain, ranking),
            smallest_change=functools.partial(self._smallest_change, ranking, task, allowed),
            rules=tuple(rule.describe() for rule in holding),
            fallback=self._fallback if self._fallback is not None and self._fallback.name in allowed else None,
        )
        if forcing is not None:
            return self._forced_by(forcing, forcing.force & allowed - vetoed, decision)
        return decision if is_sure else fallen_back(decision)

    def _forced_by(self, rule: CompiledRule, forced: frozenset[str], decision: Decision) -> Decision:
        """The decision of a rule: the best of its agents comes first, and the others keep their order."""
        unscored = Candidate(agent=self._by_name[min(forced)], score=0.0)
        own = next((one for one in decision.candidates if one.name in forced), unscored)
        agent = own.agent
        others = tuple(one for one in decision.candidates if one.name != agent.name)
        return dataclasses.replace(
            decision,
            outcome=Outcome.ROUTED,
            how=How.RULE,
            agent=agent,
            confidence=1.0,
            is_calibrated=False,
            margin=round(own.score - others[0].score, 6) if others else own.score,
            reason=rule.describe(),
            candidates=(own, *others),
            smallest_change=lambda: None,
        )

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

    def _rank_one(self, words: Sequence[Word], rules: Sequence[CompiledRule], allowed: frozenset[str]) -> _Ranking:
        (ranking,) = self._rank(self.index.score(words), [words], [rules], allowed)
        return ranking

    def _rank(
        self,
        scores: TaskScores,
        tasks: Sequence[Sequence[Word]],
        rules: Sequence[Sequence[CompiledRule]],
        allowed: frozenset[str],
        most: int | None = None,
    ) -> Iterator[_Ranking]:
        """For each task the agents that may be chosen, best first: the best `most`. `rules` are those that hold."""
        if any(rule.veto for holding in rules for rule in holding) and len(tasks) > 1:
            for number, each in enumerate(zip(tasks, rules, strict=True)):
                yield from self._rank(scores.one(number), [each[0]], [each[1]], allowed, most)
            return
        if any(rule.force for holding in rules for rule in holding):
            most = None  # the best of those that a rule forces may be far down
        vetoes = [rule.veto for holding in rules for rule in holding if rule.veto]
        eligible = allowed.difference(*vetoes) if vetoes else allowed
        is_open = len(eligible) == len(self._by_name)
        rows = self._rows.values() if is_open else [row for name, row in self._rows.items() if name in eligible]
        if not rows:
            yield from (
                _Ranking((), 0.0, np.zeros(0), np.zeros((0, 0)), *each) for each in zip(tasks, rules, strict=True)
            )
            return
        among = scores if len(rows) == len(self._rows) else scores.among(list(rows))
        weights = self.weights.for_share(self.index.example_share)
        total = max(float(np.maximum(weights, 0.0).sum()), 1e-9)
        logits = among.weighted(weights)
        for number, holding in enumerate(rules):
            for rule in holding:
                logits[number] += total * rule.by * np.array([self.routable[row].name in rule.boost for row in rows])
        confidence = self._confidence(among, logits, weights, tasks)
        shares = weights / total / np.where(among.best > 0, among.best, np.inf)
        found = np.round(logits / total, 6) + 0.0  # no -0.0
        # The agents are sorted by name, and a stable sort keeps the order of equals.
        order = np.argsort(-found, axis=1, kind="stable")[:, :most]
        best = np.take_along_axis(found, order, axis=1)
        ranked = np.fromiter(rows, np.int64, len(rows))[order]
        for number in range(len(tasks)):
            candidates = Ranked(self.routable, ranked[number], best[number])
            sure = round(float(confidence[number]), 6) if best[number, 0] > 0 else 0.0
            yield _Ranking(candidates, sure, shares[number], scores.raw[number], tasks[number], rules[number])

    def _confidence(
        self,
        scores: TaskScores,
        logits: NDArray[np.float64],
        weights: NDArray[np.float64],
        tasks: Sequence[Sequence[Word]],
    ) -> NDArray[np.float64]:
        """How sure the first of each ranking is; shape (tasks,)."""
        word_counts = np.array([len(content_stems(words)) for words in tasks])
        gate = example_gate(self.index.example_share)
        features = confidence_features(scores, logits, weights, gate, word_counts)
        return confidence_of(features, self.weights, self.settings.out_of_scope_share)

    def _explain(self, ranking: _Ranking, agent: Agent) -> Explanation | None:
        """What each field and each passage gave to a candidate."""
        from dispatcher.routing.explanation import amounts_by_field, evidence_of

        row = self._rows.get(agent.name)
        if row is None or not ranking.candidates:
            return None
        rules = [rule for rule in ranking.rules if agent.name in rule.boost | rule.veto]
        by_field = amounts_by_field(ranking.raw[row] * ranking.shares)
        boosts = tuple(("rule", rule.by) for rule in rules if agent.name in rule.boost)
        score = next((one.score for one in ranking.candidates if one.name == agent.name), 0.0)
        return Explanation(
            agent=agent,
            score=score,
            by_field=(*boosts, *by_field),
            evidence=evidence_of(self.index, agent, row, ranking.words, ranking.shares),
            rules=tuple(rule.describe() for rule in rules),
        )

    def _smallest_change(self, ranking: _Ranking, task: str, allowed: frozenset[str]) -> str | None:
        """What would let the runner-up win: fewer words in the task, or else a boost by a rule."""
        if len(ranking.candidates) < 2 or ranking.candidates[1].score <= 0:
            return None
        first, second = ranking.candidates[:2]
        written = list(dict.fromkeys(word.written for word in ranking.words if word.carries_meaning))
        for size in (1, 2):
            for left_out in itertools.combinations(written[: _MOST_WORDS_TO_LEAVE_OUT // size], size):
                words = [word for word in ranking.words if word.written not in left_out]
                text = _without(task, left_out)
                rules = [rule for rule in self._rules if rule.holds(text, words)]
                if any(rule.force & allowed for rule in rules):
                    continue
                changed = self._rank_one(words, rules, allowed).candidates
                if changed and changed[0].name == second.name and changed[0].score > 0:
                    listed = '" and "'.join(left_out)
                    return f'without "{listed}" in the task, {second.name} would come first'
        gap = first.score - second.score + 0.001
        if gap > 1:  # more than a rule may give
            return None
        return (
            f"a rule with boost: {second.name} and by: {gap:.3f} would put it first; "
            "leaving out one or two of the task's first words would not"
        )

    def _mention(self, task: str) -> tuple[Agent | None, str]:
        """The agent that a task names at its beginning, and the rest of the task."""
        text = task.lstrip()
        if not text.startswith("@"):
            return None, task
        known = {name for agent in self.agents for name in (agent.name, agent.slug) if name}
        # The longest first; of names that differ in case alone, the one that is written so.
        names = sorted(known, key=lambda name: (-len(name), not text.startswith(name, 1), name))
        for name in names:
            end = len(name) + 1
            if text[1:end].casefold() == name.casefold() and not _GOES_ON.match(text, end):
                return find_agent(name, self.agents), text[end:].lstrip(" \t:,\r\n")
        if (found := _nearest(text, names)) is not None:
            written, near = found
            raise UnknownAgentError(
                f'there is no agent "@{written}"',
                hint=f'did you mean "@{near}"? (text that begins with @ and is no name goes after a space or a word)',
                suggestions=(near,),
            )
        return None, task

    def _allowed(self, only: Collection[str] | None, exclude: Collection[str] | None) -> frozenset[str]:
        if only is None and not exclude:
            return self._names
        names = {find_agent(name, self.agents).name for name in only} if only is not None else self._names
        return frozenset(names - {find_agent(name, self.agents).name for name in exclude or ()})


def _reason(candidates: Sequence[Candidate], is_sure: bool) -> str:
    if not candidates:
        return "there is no agent that may be chosen"
    if candidates[0].score <= 0:
        return "no agent's file has a word of the task"
    return "its file fits the task best" if is_sure else "no agent fits clearly enough"


def _without(task: str, words: Sequence[str]) -> str:
    """A task without some words, as rules that are regular expressions see it."""
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", "", task, flags=re.IGNORECASE)


def _nearest(text: str, names: Sequence[str]) -> tuple[str, str] | None:
    """What is written after an @ and the name that it is nearly; a name is compared with as many words as it has."""
    from rapidfuzz import fuzz

    if not names or not _WORD_OF_NAME.match(text, 1):
        return None
    words = _WORD_OF_NAME.findall(text, 1, 2 * len(names[0]) + 1)
    written = {name: " ".join(words[: len(name.split())]) for name in names}
    likeness = {name: fuzz.ratio(written[name].casefold(), name.casefold()) for name in names}
    nearest = max(names, key=lambda name: likeness[name])
    return (written[nearest], nearest) if likeness[nearest] >= _NEAR else None
