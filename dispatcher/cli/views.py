"""How decisions, plans and replies look to a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dispatcher.cli.console import Console, one_line, short
from dispatcher.errors import LLMError
from dispatcher.registry import Registry
from dispatcher.routing import Candidate, Decision, Evidence, Explanation, How, Judgement

if TYPE_CHECKING:
    from dispatcher.llm import ModelChoice
    from dispatcher.runtime import Event, Plan, Reply

__all__ = [
    "certainty",
    "describe_model",
    "offered",
    "reason_line",
    "shortfall",
    "show_decision",
    "show_event",
    "show_plan",
    "show_preview",
    "show_registry_faults",
    "show_reply",
]

_LAYERS = {
    "command line": "from the command line",
    "agent file": "from the agent's file",
    "config": "from config",
    "default": "the default",
}
_STOPS = {
    "max_tokens": ("the answer was cut off at its longest", "allow more with --max-tokens"),
    "model_context_window_exceeded": ("the answer was cut off where the model's window ends", "shorten the task"),
    "refusal": ("the model declined to answer", "put the task differently, or name another agent or model"),
}
_CHARACTERS_A_TOKEN = 4
_BRIEF_EVIDENCE = 2
_MOST_FAULTS = 3


def show_decision(decision: Decision, console: Console, *, in_full: bool = False) -> None:
    """Who, how sure and why, or the three best to choose from; in full, all of the evidence and the runners-up."""
    if console.quiet:
        return
    if decision.agent is None:
        _show_offer(decision, console)
    else:
        console.say(f"→ {decision.agent.name}{certainty(decision)}", style="bold")
        if decision.how is not How.SCORED:
            console.say(f"{decision.how}: {decision.reason}", indent=2)
    if decision.judgement is not None and decision.how is not How.CHOSEN:  # which was shown before the choice
        _show_judgement(decision.judgement, console)
    if in_full:
        _show_in_full(decision, console)
        return
    if decision.agent is not None and decision.how is not How.STICKY:  # a follow-up's own words say little
        passages = {
            (each.path, each.line): each for each in reversed(decision.evidence) if each.contribution > 0
        }  # each with what gave most
        for each in list(reversed(passages.values()))[:_BRIEF_EVIDENCE]:
            _show_evidence(each, console)


def _show_in_full(decision: Decision, console: Console) -> None:
    """The first candidate and the runner-up taken apart, the ranking, and what would change it."""
    for rule in decision.rules:
        console.say(f"{rule} held", indent=2)
    for explanation in decision.explanations:
        console.say(f"{explanation.agent.name}: {explanation.score:.3f}", style="bold", indent=2)
        console.say(fields_line(explanation), indent=4)
        for each in explanation.evidence:
            _show_evidence(each, console, indent=4, with_amount=True)
    ranked = [candidate for candidate in decision.candidates[:5] if candidate.score != 0]
    if ranked:
        console.say("ranking", style="bold", indent=2)
        for place, candidate in enumerate(ranked, start=1):
            console.say(f"{place}. {candidate.score:.3f}  {candidate.name}", indent=4)
        certainty = f"confidence {decision.confidence:.2f}, threshold {decision.threshold:.2f}"
        console.say(f"margin {decision.margin:.3f}, {certainty}", indent=2)
    if (change := decision.smallest_change()) is not None:
        console.say(change, indent=2)


def fields_line(explanation: Explanation) -> str:
    """What each field gave to a score, on one line."""
    return ", ".join(f"{field} {amount:+.3f}" for field, amount in explanation.by_field)


def explanation_lines(decision: Decision, expected: str | None) -> Iterator[str]:
    """Why a task went where it went, and what spoke for the agent that was expected; for a report."""
    candidates = {candidate.name: candidate for candidate in decision.candidates}
    names = dict.fromkeys([*list(candidates)[:1], *([expected] if expected in candidates else [])])
    for name in names:
        explanation = decision.explain(candidates[str(name)].agent)
        if explanation is None:
            continue
        yield f"{name}: {explanation.score:.3f} = {fields_line(explanation)}"
        for each in explanation.evidence[: _BRIEF_EVIDENCE + 1]:
            place = f"{each.path.name}:{each.line}" if each.line else each.path.name
            yield f"  {each.contribution:+.3f} {each.field}: {_words(each)} ({place})"


def offered(decision: Decision) -> tuple[Candidate, ...]:
    """The three best candidates that have anything to do with the task."""
    return tuple(candidate for candidate in decision.candidates[:3] if candidate.score > 0)


def show_plan(plan: Plan, console: Console, *, in_full: bool = False) -> None:
    """The decision, the model and the notices, before anything is sent."""
    show_decision(plan.decision, console, in_full=in_full)
    if plan.model is not None and (in_full or console.verbose):
        console.say(f"model {describe_model(plan.model)}", indent=2)
    for notice in plan.notices:
        console.notice(notice)


def show_event(event: Event, console: Console) -> None:
    """What happened during a turn that a person should know of; its text is for standard output."""
    from dispatcher.runtime import AgentAnswered, AgentAsked, HandedOver, HistoryTrimmed, TornTurnFound

    if isinstance(event, TornTurnFound):
        task = one_line(event.turn.task, console.width // 2)
        console.notice(f'the last turn of this session was cut off ("{task}"); it is not sent again')
    elif (
        isinstance(event, HistoryTrimmed) and event.was_refused
    ):  # what was known before stands among the plan's notices
        turns = "turn was" if event.turns == 1 else f"{event.turns} turns were"
        console.notice(f"the service found the conversation too long; its first {turns} left out")

    elif isinstance(event, HandedOver) and not event.is_new_subject:
        console.say(f"→ {event.after} takes over from {event.before}", style="bold")
        console.say(one_line(event.reason, console.width - 2), indent=2)
    elif isinstance(event, AgentAsked):
        console.say(f"{event.before} asks {event.after}: {one_line(event.question, console.width)}", indent=2)
    elif isinstance(event, AgentAnswered) and event.is_error:
        console.say(f"{event.after}: {one_line(event.answer, console.width)}", indent=2)


def describe_model(choice: ModelChoice) -> str:
    written = f', where it says "{choice.written}"' if choice.written and choice.written != choice.name else ""
    return f"{choice.name} ({_LAYERS[choice.layer]}{written})"


def show_preview(plan: Plan, console: Console, *, key: str) -> None:
    """What would have been sent, where there is no credential; `key` is the variable that would hold it."""
    if plan.request is None or plan.model is None:
        return
    if console.quiet:
        console.insist(f"nothing was sent: there is no API key; set {key}")
        return
    system = plan.request.system
    console.say()
    console.say("Nothing was sent: there is no API key. This is what would have been:", style="yellow")
    console.say(f"model   {describe_model(plan.model)}", indent=2)
    console.say(
        f"prompt  {len(system):,} characters, about {len(system) // _CHARACTERS_A_TOKEN:,} tokens; it begins:", indent=2
    )
    console.say(one_line(system, 3 * (console.width - 12)), style="dim", indent=10)
    console.say(f"task    {one_line(plan.decision.task, console.width - 12)}", indent=2)
    console.say()
    console.say(f"To send it, set your key: export {key}=your-key")


def show_reply(reply: Reply, console: Console) -> None:
    """What the run took."""
    for attempt in reply.attempts:
        if attempt.error is not None:
            console.notice(f"{attempt.model}: {one_line(attempt.message, 3 * console.width)}")
    used = reply.usage
    cached = f" ({used.cache_read_tokens:,} of them cached)" if used.cache_read_tokens else ""
    cost = f"${reply.cost:.4f}" if reply.cost is not None else "cost unknown: add the model to llm.prices"
    console.say(
        f"{reply.model}: {used.prompt_tokens:,} tokens in{cached}, {used.output_tokens:,} out, {cost}", style="dim"
    )


def shortfall(reply: Reply) -> LLMError | None:
    """What is missing of an answer, as an error; None if it is whole."""
    if reply.is_complete:
        return None
    message, hint = _STOPS.get(reply.stop_reason, (f"the answer is not whole ({reply.stop_reason})", None))
    return LLMError(message, hint=hint, request_id=reply.request_id)


def show_registry_faults(registry: Registry, console: Console) -> None:
    """The agent files that were lost, briefly; all of it is what `agents check` is for."""
    for found in registry.errors[:_MOST_FAULTS]:
        console.say(f"{short(found.path)}: {found.message}", style="red")
    if registry.errors:
        console.say("`dispatch agents check` says more.", style="dim")
    elif console.verbose and registry.diagnostics:
        console.say(f"{len(registry.diagnostics)} findings in agent files; `dispatch agents check` lists them.")
    if console.verbose:
        for shadowed in registry.shadowed:
            console.notice(f"{short(shadowed.agent.source.path)} is shadowed by {short(shadowed.by.source.path)}")


def _show_offer(decision: Decision, console: Console) -> None:
    console.say(f"No agent was chosen: {decision.reason}.", style="bold")
    for number, candidate in enumerate(offered(decision), start=1):
        text = f"{number}. {candidate.name} (score {candidate.score:.2f}): {candidate.agent.description}"
        console.say(one_line(text, console.width - 2), indent=2)


def reason_line(decision: Decision) -> str:
    """Why an agent was chosen, on one line: what decided, or the words that spoke for it most."""
    found = [each for each in decision.evidence if each.contribution > 0]
    best = next((each for each in found if each.words), found[0] if found else None)
    if decision.how is not How.SCORED or best is None:
        return f"{decision.how}: {decision.reason}"
    said = ", ".join(best.words) or f'"{best.text}"'
    return f"{best.field}: {said} ({_place(best)})"


def certainty(decision: Decision) -> str:
    """How sure a decision is that was made by scores, with two spaces before it; nothing for others."""
    if decision.how not in (How.SCORED, How.JUDGED):
        return ""
    percent = (
        f"{decision.confidence:.0%} sure"
        if decision.is_calibrated
        else f"confidence {decision.confidence:.2f}, uncalibrated"
    )
    runner_up = f", before {decision.candidates[1].name}" if len(decision.candidates) > 1 else ""
    return f"  ({percent}{runner_up})"


def _place(evidence: Evidence) -> str:
    return f"{short(evidence.path)}:{evidence.line}" if evidence.line else short(evidence.path)


def _words(evidence: Evidence) -> str:
    return ", ".join(evidence.words) or "nearest"


def _show_judgement(judgement: Judgement, console: Console) -> None:
    """Who judged and what that took, or why nobody did."""
    if judgement.failure is not None:
        console.notice(f"not judged, so this is what the scores alone say: {judgement.failure}")
        return
    cost = f"${judgement.cost:.4f}" if judgement.cost is not None else "cost unknown"
    took = "known from before" if judgement.is_cached else f"{judgement.latency:.1f} s, {cost}"
    pick = judgement.pick or "none"
    said = "as the scores" if pick == judgement.offline_pick else f"the scores said {judgement.offline_pick}"
    console.say(f"judge {judgement.model or 'of your own'}: {pick} ({said}; {took})", style="dim", indent=2)


def _show_evidence(evidence: Evidence, console: Console, *, indent: int = 2, with_amount: bool = False) -> None:
    words = _words(evidence)
    amount = f"{evidence.contribution:+.3f} " if with_amount else ""
    console.say(f"{amount}{evidence.field}: {words}  {_place(evidence)}", indent=indent)
    if evidence.text != words:
        console.say(f'"{one_line(evidence.text, console.width - indent - 6)}"', style="dim", indent=indent + 4)
