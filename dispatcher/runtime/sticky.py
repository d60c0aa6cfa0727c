"""Who takes the next turn of a conversation: the agent that has it, or another.

A turn that goes on with the subject stays; a new subject is routed as any task is. What tells them apart are a few
signs, each a number: how well others fit the task compared with the agent that has the conversation (whose words count
besides, with less weight), how much it says by itself and anew, and words that point back or ask for something new.
Their weights were fitted on eval/conversations/tune.jsonl by eval/bench/fit_sticky.py. No I/O; needs nothing of the
router but its decisions.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dispatcher.errors import UsageError
from dispatcher.routing import Candidate, Decision, How, Outcome
from dispatcher.routing.decision import led_by, scores_of
from dispatcher.routing.text import analyze, content_stems

__all__ = ["SIGNS", "Spoken", "Stickiness", "route_turn", "said_in", "signs_of"]

Route = Callable[[str, str], tuple[Decision, Sequence[Candidate]]]
"""A task, and what was said before → who takes the task by itself, and the agents as they fit what was said."""


_AUTO = re.compile(r"\s*@auto\b[\s:,]*", re.IGNORECASE)
_DECIDED = (How.FORCED, How.MENTION, How.RULE, How.CHOSEN)  # what somebody has said goes before what seems likely
_MOST_TASKS = 4  # of the conversation, the last ones
_CONVERSATION_WEIGHT = 0.1  # of its words, where the task's count 1
_MOST_SUBJECT = 8  # words of its own subject that count
_RETURN_WEIGHT = 0.4  # what it adds to an earlier agent's score if all of the task's words were said to it

_POINTS_BACK = re.compile(
    r"\b(it|it's|its|that|that's|thats|this|these|those|them|they|they're|their|he|he's|him|his|she|she's|her|hers|one|"
    r"ones|both|each|there)\b",
    re.IGNORECASE,
)
_CHANGES_SOMETHING = re.compile(
    r"\b(more|less|shorter|longer|again|another|instead|else|still|too|also|same|add|drop|leave|rewrite|version|"
    r"second|third|first|last|part|now)\b",
    re.IGNORECASE,
)
_ANSWERS = re.compile(
    r"^\s*((about|only|from|for|by|into|in|on|of|at|with) )?(\d|(one|two|three|four|five|half|most|some|every|all) )|"
    r"\b(already|mostly|sometimes|usually|anyway|fine|enough|since|because|until|says?|said|or|didn'?t|meanwhile)\b",
    re.IGNORECASE,
)
_DEFINITE = re.compile(r"\bthe\b", re.IGNORECASE)
_OWN = re.compile(r"\b(our|my)\b", re.IGNORECASE)
_WANTS = re.compile(r"\b(need|want|help|(how do|should|can) (i|we))\b", re.IGNORECASE)
_ORDERS = re.compile(
    r"\s*((can|could) you |please |pls |help me )?(write|make|create|design|build|find|set up|draft|plan|predict|"
    r"define|rotate|check|explain|translate|compare|fix|redesign|prepare|review|restore|load|migrate)\b",
    re.IGNORECASE,
)
_OF_THE_ANSWER = re.compile(
    r"\b(you (say|said|list|wrote|mean|suggest\w*|gave|put|use|used)|your (answer|opinion|version|list|draft|example)|"
    r"(this|that|these|those) (version|one|part|list))\b",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(
    r"\s*((ok|so|and),?\s+)?(btw|by the way|back to|coming back to|something else|unrelated|moving on|on another note|"
    r"(a |one )?(different|another|new|separate|other|next) (question|topic|thing|subject|task))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A turn as routing sees it: what the user wrote, and who took it."""

    task: str
    agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stickiness:
    """What each sign counts, and the probability of a new subject from which on an agent lets go."""

    weights: Mapping[str, float]
    bias: float
    threshold: float

    def probability(self, signs: Mapping[str, float]) -> float:
        """How likely it is that a task is a new subject."""
        return 1.0 / (1.0 + math.exp(-self.bias - sum(self.weights[name] * signs[name] for name in self.weights)))


SIGNS = (
    "lead",
    "subject",
    "points_back",
    "of_the_answer",
    "answers",
    "definite",
    "own",
    "wants",
    "orders",
    "announces",
)
"""lead: how much better the best other agent fits the task, with a little of the conversation; subject: the logarithm
of the number of words that carry meaning, up to eight; and whether there are words that point back ("it"), speak of the
answer ("your list"), sound like an answer to a question ("about 40", "already"), name what is known ("the"), speak of
one's own things ("our"), say a want ("I need"), give an order at the beginning ("write"), or announce another subject
("by the way").
"""

FITTED = Stickiness(
    weights={
        "lead": 6.036,
        "subject": 5.160,
        "points_back": -1.742,
        "of_the_answer": -5.973,
        "answers": -1.466,
        "definite": -0.942,
        "own": 0.345,
        "wants": 1.231,
        "orders": 1.668,
        "announces": 4.698,
    },
    bias=-9.580,
    threshold=0.24,
)


def route_turn(task: str, spoken: Sequence[Spoken], route: Route, stickiness: Stickiness = FITTED) -> Decision:
    """Decides who takes a turn.

    Parameters
    ----------
    task: what the user wrote; "@name" at its beginning names an agent, "@auto" lets go of the one that has it.
    spoken: the turns before.
    route: decides who takes a task by itself, and ranks the agents for what was said before.

    Raises UsageError where nothing follows "@auto", and what `route` raises.
    """
    if (found := _AUTO.match(task)) is not None:
        return _let_go(task[found.end() :], route)
    fresh, before = route(task, said_in(spoken))
    current = _current(fresh, spoken)
    if current is None or fresh.how in _DECIDED:
        return fresh
    signs = signs_of(task, fresh, before, current)
    probability = stickiness.probability(signs)
    if probability < stickiness.threshold:
        return _sticky(fresh, current, 1.0 - probability, _why_it_stays(task, spoken, fresh, current))
    return _moved(task, spoken, fresh, current, probability)


def said_in(spoken: Sequence[Spoken]) -> str:
    """What of a conversation counts for its next turn; nothing before anybody has it."""
    has_agent = any(turn.agent is not None for turn in spoken)
    return "\n".join(turn.task for turn in spoken[-_MOST_TASKS:]) if has_agent else ""


def signs_of(task: str, fresh: Decision, before: Sequence[Candidate], current: Candidate) -> Mapping[str, float]:
    """The signs of a turn, by the names of SIGNS.

    Parameters
    ----------
    fresh: who takes the task by itself.
    before: the agents as they fit what was said before.
    current: the agent that has the conversation.
    """
    of_before = scores_of(before)
    fits = {
        name: score + _CONVERSATION_WEIGHT * of_before.get(name, 0.0)
        for name, score in scores_of(fresh.candidates).items()
    }
    return {
        "lead": _lead(fits, current.name),
        "subject": math.log(1 + min(len(content_stems(analyze(task))), _MOST_SUBJECT)),
        "points_back": float(_POINTS_BACK.search(task) is not None),
        "of_the_answer": float(_OF_THE_ANSWER.search(task) is not None),
        "answers": float(_ANSWERS.search(task) is not None),
        "definite": float(_DEFINITE.search(task) is not None),
        "own": float(_OWN.search(task) is not None),
        "wants": float(_WANTS.search(task) is not None),
        "orders": float(_ORDERS.match(task) is not None),
        "announces": float(_ANNOUNCES.match(task) is not None),
    }


def _lead(scores: Mapping[str, float], current: str) -> float:
    """How much better the best other agent is than the current one."""
    return max((score for name, score in scores.items() if name != current), default=0.0) - scores.get(current, 0.0)


def _let_go(task: str, route: Route) -> Decision:
    if not task.strip():
        raise UsageError("there is no task after @auto", hint='write it after the name: "@auto design a user API"')
    decision, _ = route(task, "")
    return dataclasses.replace(decision, reason=f"@auto lets go of the conversation's agent; {decision.reason}")


def _current(fresh: Decision, spoken: Sequence[Spoken]) -> Candidate | None:
    """The agent that has the conversation, if it is still there and may be chosen."""
    name = next((turn.agent for turn in reversed(spoken) if turn.agent is not None), None)
    return next((candidate for candidate in fresh.candidates if candidate.name == name), None)


def _sticky(fresh: Decision, current: Candidate, confidence: float, reason: str) -> Decision:
    candidates = led_by(fresh.candidates, current.name)
    return dataclasses.replace(
        fresh,
        outcome=Outcome.ROUTED,
        how=How.STICKY,
        agent=current.agent,
        confidence=round(confidence, 6),
        is_calibrated=False,
        margin=round(current.score - candidates[1].score, 6) if len(candidates) > 1 else current.score,
        reason=reason,
        candidates=candidates,
        smallest_change=lambda: None,
    )


def _moved(task: str, spoken: Sequence[Spoken], fresh: Decision, current: Candidate, probability: float) -> Decision:
    """The decision for a new subject: as any task is decided, but an earlier agent's own subject goes back to it.

    Where the agent that lets go would be the first again, the next one gets it.
    """
    earlier = _returned_to(task, spoken, fresh, current)
    if earlier is not None and (fresh.agent is None or earlier.name != fresh.agent.name):
        return _sticky(fresh, earlier, probability, f'it takes up what "{earlier.name}" was asked before')
    others = [candidate for candidate in fresh.candidates if candidate.name != current.name]
    if not others:
        return _sticky(fresh, current, 1.0 - probability, "it may be a new subject, but there is no other agent")
    if fresh.candidates[0].name == current.name:
        reason = f'it seems to be a new subject, and "{others[0].name}" fits it best after "{current.name}"'
        return dataclasses.replace(_sticky(fresh, others[0], probability, reason), how=How.SCORED)
    return dataclasses.replace(fresh, reason=f"it is a new subject; {fresh.reason}")


def _returned_to(task: str, spoken: Sequence[Spoken], fresh: Decision, current: Candidate) -> Candidate | None:
    """The earlier agent whose subject a task takes up, if that makes it the best of all but the current one."""
    stems = content_stems(analyze(task))
    own = {turn.agent for turn in spoken} - {None, current.name}

    def fit(candidate: Candidate) -> float:
        if candidate.name not in own:
            return candidate.score
        known = _stems_of([turn for turn in spoken if turn.agent == candidate.name])
        return candidate.score + _RETURN_WEIGHT * sum(stem in known for stem in stems) / max(1, len(stems))

    best = max((each for each in fresh.candidates if each.name != current.name), key=fit, default=None)
    return best if best is not None and best.name in own and fit(best) > best.score else None


def _why_it_stays(task: str, spoken: Sequence[Spoken], fresh: Decision, current: Candidate) -> str:
    stems = content_stems(analyze(task))
    known = _stems_of(spoken)
    taken_up = [word.written for word in analyze(task) if word.carries_meaning and word.stem in known]
    if not stems:
        return "a follow-up: it has no subject of its own"
    if fresh.candidates[0].name == current.name:
        return "a follow-up: the same agent fits it best"
    if taken_up:
        return f'a follow-up: it takes up "{taken_up[0]}"'
    pointing = _POINTS_BACK.search(task) or _CHANGES_SOMETHING.search(task)
    if pointing is not None:
        return f'a follow-up: it goes on with "{pointing[0].strip().lower()}"'
    return "a follow-up: no other agent fits it clearly better"


def _stems_of(spoken: Sequence[Spoken]) -> frozenset[str]:
    return frozenset(stem for turn in spoken for stem in content_stems(analyze(turn.task)))
