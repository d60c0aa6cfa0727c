"""Which decisions a judge is asked about, what it is asked, and what becomes of its answer: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dispatcher.judge.prompt import MOST_TURNS
from dispatcher.judge.protocol import Option, Question, Said, Verdict
from dispatcher.routing import Candidate, Decision, How, Judgement, Outcome
from dispatcher.routing.decision import fallen_back
from dispatcher.routing.judged import judged_features
from dispatcher.routing.weights import Calibration, Weights, shipped_weights
from dispatcher.settings import Escalate, JudgeSettings, RoutingSettings

__all__ = ["Policy", "question_about", "settled", "stands"]

_JUDGEABLE = (How.SCORED, How.FALLBACK)
_MOST_MATERIAL = 1_000  # characters
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a judge is asked and how its answers count.

    `below` is the confidence under which the router is unsure; `top_k` how many agents are on the shortlist;
    `calibration` tells whether a judge's pick is right, None if nothing was there to learn that from.
    """

    escalate: Escalate
    below: float
    top_k: int
    calibration: Calibration | None = None

    @classmethod
    def of(cls, routing: RoutingSettings, judge: JudgeSettings, weights: Weights) -> Policy:
        """The policy of settings and weights; what weights of the user's own don't know comes from the shipped ones."""
        shipped = shipped_weights()
        known = (routing.escalate_below, weights.escalate_below, shipped.escalate_below, routing.min_confidence)
        return cls(
            escalate=routing.escalate,
            below=next(value for value in known if value is not None),
            top_k=judge.top_k,
            calibration=weights.judged or shipped.judged,
        )


def question_about(
    decision: Decision, policy: Policy, *, turns: Sequence[Said] = (), material: str = ""
) -> Question | None:
    """What to ask about a decision; None if there is nothing to ask.

    Only what the scores decided is asked about, not what the caller, a mention or a rule did. The shortlist is sorted
    by name, so that the order tells nothing of the ranking.
    """
    if policy.escalate == "never" or decision.how not in _JUDGEABLE or not decision.candidates:
        return None
    if policy.escalate == "unsure" and decision.confidence >= policy.below:
        return None
    best = sorted(decision.candidates[: policy.top_k], key=lambda candidate: candidate.name)
    text = f"{decision.task}\n\n{material[:_MOST_MATERIAL]}" if material.strip() else decision.task
    return Question(
        task=text,
        shortlist=tuple(Option(name=each.name, description=each.agent.description) for each in best),
        turns=tuple(turns[-MOST_TURNS:]),
    )


def settled(
    decision: Decision, policy: Policy, question: Question, verdict: Verdict, *, latency: float, is_cached: bool = False
) -> Decision:
    """The decision after a verdict. One that can't be used, or is outside the shortlist, leaves it as it was."""
    judgement = replace(
        _judgement(decision),
        reason=_one_line(verdict.reason),
        sureness=verdict.sureness,
        model=verdict.model,
        usage=verdict.usage,
        cost=verdict.cost,
        latency=latency,
        is_cached=is_cached,
        is_estimated=verdict.is_estimated,
    )
    if verdict.fault is not None:
        return replace(decision, judgement=replace(judgement, failure=verdict.fault))
    if verdict.pick is None:
        return _nobody(decision, judgement)
    name = next((option.name for option in question.shortlist if option.name == verdict.pick.strip()), None)
    if name is None:
        refused = f'the judge picked "{_one_line(verdict.pick)[:80]}", which is not on the shortlist'
        return replace(decision, judgement=replace(judgement, failure=refused))
    return _picked(decision, policy, name, replace(judgement, pick=name))


def stands(decision: Decision, failure: str, *, was_asked: bool = True, latency: float = 0.0) -> Decision:
    """The decision as it was, with why no judge had a say."""
    judgement = replace(_judgement(decision), failure=failure, was_asked=was_asked, latency=latency)
    return replace(decision, judgement=judgement)


def _judgement(decision: Decision) -> Judgement:
    return Judgement(offline_pick=decision.candidates[0].name, offline_confidence=decision.confidence)


def _picked(decision: Decision, policy: Policy, name: str, judgement: Judgement) -> Decision:
    """The judge's pick first, the others in their order; it takes the task if it is likely enough to be right."""
    place = next(number for number, one in enumerate(decision.candidates, start=1) if one.name == name)
    pick = decision.candidates[place - 1]
    others = tuple(one for one in decision.candidates if one.name != name)
    confidence = _confidence(decision, policy, place, pick, judgement.sureness)
    is_sure = confidence >= decision.threshold
    judged = replace(
        decision,
        how=How.JUDGED,
        outcome=Outcome.ROUTED if is_sure else Outcome.ABSTAINED,
        agent=pick.agent if is_sure else None,
        confidence=confidence,
        is_calibrated=policy.calibration is not None,
        margin=round(pick.score - others[0].score, 6) if others else pick.score,
        reason=judgement.reason or "the judge picked it"
        if is_sure
        else "no agent fits clearly enough, to the judge too",
        candidates=(pick, *others),
        judgement=judgement,
        smallest_change=lambda: None,
    )
    return judged if is_sure else fallen_back(judged)


def _nobody(decision: Decision, judgement: Judgement) -> Decision:
    """The decision when the judge says that none fits: the ranking stays, but its first is no likelier than the judge
    leaves it. Nothing was there to learn from how often that is so."""
    reason = f"the judge says that no agent fits: {judgement.reason}" if judgement.reason else "no agent fits"
    left = 1.0 if judgement.sureness is None else round(1 - judgement.sureness, 6)
    judged = replace(
        decision,
        how=How.JUDGED,
        outcome=Outcome.ABSTAINED,
        agent=None,
        confidence=min(decision.confidence, left),
        is_calibrated=False,
        reason=reason,
        judgement=judgement,
    )
    return fallen_back(judged)


def _confidence(decision: Decision, policy: Policy, place: int, pick: Candidate, sureness: float | None) -> float:
    """The probability that the judge's pick is right; without a calibration, what the judge or else the router said."""
    if policy.calibration is None:
        return sureness if sureness is not None else decision.confidence
    gap = decision.candidates[0].score - pick.score
    features = judged_features(confidence=decision.confidence, place=place, gap=gap, sureness=sureness)
    return round(policy.calibration.probability(features), 6)


def _one_line(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _LONGEST_REASON else folded[: _LONGEST_REASON - 1].rstrip() + "…"
