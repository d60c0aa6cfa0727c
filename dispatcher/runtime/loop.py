"""One turn as a generator without I/O: it yields what happens and what it needs, and is fed what came of that.

A driver (`drivers`) carries the steps out, waiting or not; all that a turn decides is decided here, once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.errors import (
    AnswerError,
    DispatcherError,
    LLMError,
    PromptTooLongError,
    SessionError,
    SessionStoreError,
)
from dispatcher.llm import COMPLETE_STOPS, NOT_SENT, Attempt, Completion, Message, Request, cost_of
from dispatcher.runtime.handoffs import Peers, ask_agent, handoff, is_of, refused, took_over
from dispatcher.runtime.reply import (
    ABSTAINED,
    MAX_ITERATIONS,
    AgentAnswered,
    AgentAsked,
    DecisionMade,
    HandedOver,
    HistoryTrimmed,
    Plan,
    Reply,
    Stopped,
    ToolCalled,
    ToolReturned,
    TornTurnFound,
    UsageReported,
)
from dispatcher.runtime.scene import Scene, Tab
from dispatcher.runtime.steps import Ask, GetApproval, Interruption, Keep, Step, Steps, UseTool
from dispatcher.runtime.tools import (
    Tool,
    ToolCall,
    ToolResult,
    call_result,
    checked_arguments,
    denied_result,
    unknown_result,
)
from dispatcher.runtime.window import without_calls
from dispatcher.sessions import Handoff, Turn, TurnState
from dispatcher.sessions.turn import new_turn_id, now

__all__ = ["turn_steps"]

_logger = logging.getLogger(__name__)


def turn_steps(plan: Plan, scene: Scene) -> Steps:
    """The steps of one turn: its decision first, its reply last."""
    yield DecisionMade(plan=plan)
    if scene.torn is not None:
        yield TornTurnFound(turn=scene.torn)
    turn = _begun(plan, scene)
    if scene.before is not None and turn.agent not in (None, scene.before):
        yield HandedOver(before=scene.before, after=str(turn.agent), reason=plan.decision.reason)
    if plan.request is None:
        turn = dataclasses.replace(turn, state=TurnState.DONE, stop_reason=ABSTAINED, ended=now())
        yield from _keep(turn, scene)
        yield Stopped(reply=_reply(plan, turn, scene))
        return
    tab = Tab()
    try:
        yield from _keep(turn, scene)
        for asked in itertools.count(1):
            completion, scene = yield from _asked(plan, turn.messages, scene, tab)
            tab.count(completion)
            turn = _heard(turn, completion, scene)
            yield from _reported(completion, scene)
            calls = _calls(completion, _name_of(plan))
            if not calls:
                break
            if tab.requests >= scene.limits.max_iterations or asked >= _most_iterations(plan, scene):
                turn = dataclasses.replace(_with_results(turn, ()), stop_reason=MAX_ITERATIONS)
                break
            done = yield from _results(calls, plan, scene, tab)
            turn = tab.settled(dataclasses.replace(turn, messages=(*turn.messages, _results_message(done.results))))
            if done.passed_on is not None:
                message = done.passed_on.decision.reason
                yield HandedOver(
                    before=_name_of(plan), after=_name_of(done.passed_on), reason=message, is_new_subject=False
                )
                plan = done.passed_on
                turn = dataclasses.replace(turn, agent=_name_of(plan))
            yield from _keep(turn, scene)
    except Interruption as stop:
        with contextlib.suppress(SessionError):  # what interrupted goes first; the turn will be found torn
            yield from _keep(_interrupted(turn, stop, scene, tab), scene)
        raise stop.cause from None
    yield from _ended(plan, turn, scene, completion, tuple(tab.attempts))


def _ended(plan: Plan, turn: Turn, scene: Scene, completion: Completion, attempts: tuple[Attempt, ...]) -> Steps:
    """The end of a turn whose last answer came: the reply, or the AnswerError that says why it is not what was asked
    for; either way the turn is kept before."""
    value = _value(plan, turn, completion)
    if isinstance(value, AnswerError):
        value.attempts = attempts
        turn = dataclasses.replace(turn, state=TurnState.FAILED, error=value.message, ended=now())
    else:
        turn = dataclasses.replace(turn, state=TurnState.DONE, ended=now())
    try:
        yield from _keep(turn, scene)
    except SessionStoreError as problem:
        raise SessionStoreError(problem.message, hint=problem.hint, text=completion.text) from problem
    if isinstance(value, AnswerError):
        raise value
    yield Stopped(reply=dataclasses.replace(_reply(plan, turn, scene, completion, attempts), value=value))


def _asked(
    plan: Plan, own: Sequence[Message], scene: Scene, tab: Tab, *, is_quiet: bool = False
) -> Generator[Step, Any, tuple[Completion, Scene]]:
    """The answer to the turn so far, after as much of the conversation before it as the model takes.

    The scene comes back without what was left out, so that it is told once and not tried again.
    """
    request, was_refused = _request_of(plan), False
    while True:
        fitted = scene.fitted(request, own)
        if fitted.dropped or (scene.unread and not scene.is_told):
            scene = scene.told(fitted.dropped)
            yield HistoryTrimmed(turns=scene.unread, was_refused=was_refused)
        try:
            messages = fitted.messages if request.tools else without_calls(fitted.messages)
            sent = dataclasses.replace(request, messages=messages)
            completion: Completion = yield Ask(request=sent, tools=plan.tools, is_quiet=is_quiet)
        except Interruption as stop:
            if stop.partial or not scene.history or not isinstance(stop.cause, PromptTooLongError):
                raise
            tab.attempts += stop.cause.attempts
            scene = scene.without_older_half()
            was_refused = True
        else:
            return completion, scene


def _request_of(plan: Plan) -> Request:
    if plan.request is None:
        raise DispatcherError("a plan without a request can't be carried out")
    return plan.request


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of the calls of one answer; `passed_on` is the plan of the agent that has the turn now."""

    results: tuple[ToolResult, ...]
    passed_on: Plan | None = None


def _results(calls: Sequence[ToolCall], plan: Plan, scene: Scene, tab: Tab) -> Generator[Step, Any, Done]:
    """What becomes of the calls of one answer, in their order."""
    found: list[ToolResult] = []
    passed_on: Plan | None = None
    try:
        for call in calls:
            yield ToolCalled(call=call)
            result = yield from _result(call, plan, scene, tab)
            if isinstance(result, Plan):
                if passed_on is None:
                    passed_on = result
                    tab.handoffs.append(_record(call, result, is_question=False))
                    result = took_over(call, _name_of(result), result.decision.reason)
                else:
                    result = refused(call, f'the conversation is already passed on to "{_name_of(passed_on)}"')
            found.append(result)
            yield ToolReturned(result=result)
    except Interruption as stop:
        stop.results = tuple(found)
        raise
    return Done(results=tuple(found), passed_on=passed_on)


def _result(call: ToolCall, plan: Plan, scene: Scene, tab: Tab) -> Generator[Step, Any, ToolResult | Plan]:
    """What a call comes to: a result, or the plan of the agent that the conversation is passed on to."""
    tool = next((each for each in plan.tools if each.name == call.name), None)
    if tool is None:
        return unknown_result(call, plan.tools)
    if scene.approve is not None:
        answer = yield GetApproval(call=call, approve=scene.approve)
        if answer is not True:
            return denied_result(call, answer)
    if plan.peers is not None and (is_of(tool, handoff) or is_of(tool, ask_agent)):
        return (yield from _turned_to(tool, call, plan.peers, scene, tab))
    outcome = yield UseTool(tool=tool, call=call)
    return call_result(call, outcome, scene.limits.max_result_chars)


def _turned_to(
    tool: Tool, call: ToolCall, peers: Peers, scene: Scene, tab: Tab
) -> Generator[Step, Any, ToolResult | Plan]:
    """One agent turns to another: the plan of the one that takes over, or the answer of the one that was asked."""
    is_question = is_of(tool, ask_agent)
    try:
        arguments = checked_arguments(tool, call)
    except ValueError as problem:  # pydantic's is one
        return call_result(call, problem, scene.limits.max_result_chars)
    peer = peers.named(arguments["agent"])
    text = arguments["question" if is_question else "message"]
    if peer is None:
        names = ", ".join(agent.name for agent in peers.agents)
        return refused(call, f'"{arguments["agent"]}" is none of those that may be turned to: {names}')
    try:
        plan = peers.plan(peer, text, text, is_question=is_question)
    except DispatcherError as problem:
        return refused(call, f'"{peer.name}" can\'t be run: {problem.message}')
    if not is_question:
        return plan
    yield AgentAsked(before=call.agent, after=peer.name, question=text)
    answer, is_error = yield from _consulted(plan, scene, tab)
    tab.handoffs.append(_record(call, plan, is_question=True, answer=None if is_error else answer))
    yield AgentAnswered(before=call.agent, after=peer.name, answer=answer, is_error=is_error)
    result = call_result(call, answer, scene.limits.max_result_chars)
    return dataclasses.replace(result, is_error=is_error)


def _consulted(plan: Plan, scene: Scene, tab: Tab) -> Generator[Step, Any, tuple[str, bool]]:
    """What an agent answers to another one, and whether it came to none: a conversation of its own."""
    scene = dataclasses.replace(scene, session_id=None, history=(), unread=0)
    messages = _request_of(plan).messages
    for asked in itertools.count(1):
        if tab.requests >= scene.limits.max_iterations - 1:  # the last one is for whoever asked
            return "it was not asked, since the model may not be asked more often in this turn", True
        try:
            completion, scene = yield from _asked(plan, messages, scene, tab, is_quiet=True)
        except Interruption as stop:
            if stop.is_wanted or not isinstance(stop.cause, LLMError):
                raise
            tab.attempts += stop.cause.attempts
            return f"it gave no answer: {stop.cause.message}", True
        tab.take(completion, scene)
        yield from _reported(completion, scene)
        calls = _calls(completion, _name_of(plan))
        if not calls:
            is_whole = completion.stop_reason in COMPLETE_STOPS
            return completion.text if is_whole else f"{completion.text}\n[{completion.stop_reason}]", not is_whole
        if asked >= _most_iterations(plan, scene):
            return f"it came to no answer in {asked} steps", True
        done = yield from _results(calls, plan, scene, tab)
        messages = (*messages, Message(role="assistant", content=_blocks(completion)), _results_message(done.results))
    raise DispatcherError("a count came to its end")


def _value(plan: Plan, turn: Turn, completion: Completion) -> Any:
    """The answer as an object, where one was asked for, or the AnswerError that says why it is none."""
    if plan.shape is None or turn.stop_reason == NOT_SENT:
        return None
    try:
        return plan.shape.value_of(dataclasses.replace(completion, stop_reason=str(turn.stop_reason)))
    except AnswerError as problem:
        return problem


def _record(call: ToolCall, plan: Plan, *, is_question: bool, answer: str | None = None) -> Handoff:
    return Handoff(
        before=call.agent,
        after=_name_of(plan),
        message=plan.decision.reason,
        is_question=is_question,
        answer=answer,
    )


def _reported(completion: Completion, scene: Scene) -> Steps:
    if completion.stop_reason != NOT_SENT:
        cost = cost_of(completion.usage, completion.model, scene.prices)
        yield UsageReported(model=completion.model, usage=completion.usage, cost=cost)


def _name_of(plan: Plan) -> str:
    return plan.decision.agent.name if plan.decision.agent is not None else ""


def _calls(completion: Completion, agent: str) -> tuple[ToolCall, ...]:
    """What an answer wants to be called; nothing where it ended for another reason."""
    if completion.stop_reason != "tool_use":
        return ()
    return _calls_of(completion.content, agent)


def _calls_of(content: Sequence[Mapping[str, Any]], agent: str) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=str(block["id"]), name=str(block["name"]), arguments=dict(block.get("input") or {}), agent=agent)
        for block in content
        if block.get("type") == "tool_use"
    )


def _results_message(results: Sequence[ToolResult]) -> Message:
    return Message(role="user", content=tuple(result.block for result in results))


def _with_results(turn: Turn, made: Sequence[ToolResult]) -> Turn:
    """The turn with a result for each call of its last message, so that the next turn can go on after it: those that
    came, and for the others that there is none."""
    last = turn.messages[-1]
    if last.role != "assistant" or isinstance(last.content, str):
        return turn
    results = {result.call.id: result for result in made}
    calls = _calls_of(last.content, str(turn.agent))
    told = [results.get(call.id) or refused(call, "there is no result: the turn ended first") for call in calls]
    return dataclasses.replace(turn, messages=(*turn.messages, _results_message(told)))


def _most_iterations(plan: Plan, scene: Scene) -> int:
    """How often the model may be asked: the agent's file may want less than config, and not more."""
    own = plan.decision.agent.max_turns if plan.decision.agent is not None else None
    return min(scene.limits.max_iterations, own or scene.limits.max_iterations)


def _keep(turn: Turn, scene: Scene) -> Steps:
    if scene.session_id is not None:
        yield Keep(session_id=scene.session_id, turn=turn)


def _begun(plan: Plan, scene: Scene) -> Turn:
    """The turn before anything was sent; of the messages sent, the last is its own."""
    decision = plan.decision
    user = plan.request.messages[-1] if plan.request is not None else Message(role="user", content=decision.task)
    return Turn(
        id=new_turn_id(),
        number=scene.number,
        task=decision.task,
        started=now(),
        agent=decision.agent.name if decision.agent is not None else None,
        how=str(decision.how),
        reason=decision.reason,
        confidence=decision.confidence,
        messages=(user,),
        model=plan.request.model if plan.request is not None else None,
    )


def _heard(turn: Turn, completion: Completion, scene: Scene) -> Turn:
    """The turn with an answer of the model's: its text, or all of its blocks where it calls tools."""
    content = _blocks(completion) if _calls(completion, "") else completion.text
    cost = cost_of(completion.usage, completion.model, scene.prices)
    return dataclasses.replace(
        turn,
        messages=(*turn.messages, *([Message(role="assistant", content=content)] if content else [])),
        stop_reason=completion.stop_reason,
        model=completion.model,
        usage=turn.usage + completion.usage,
        cost=_summed(turn, cost),
    )


def _summed(turn: Turn, cost: float | None) -> float | None:
    """What a turn cost with another answer; None where a price is not known."""
    is_first = turn.stop_reason is None
    return cost if is_first else None if cost is None or turn.cost is None else turn.cost + cost


def _blocks(completion: Completion) -> tuple[Mapping[str, Any], ...]:
    """The blocks of an answer, less empty texts, which the service does not take back."""
    return tuple(block for block in completion.content if block.get("type") != "text" or block.get("text"))


def _interrupted(turn: Turn, stop: Interruption, scene: Scene, tab: Tab) -> Turn:
    if isinstance(stop.cause, LLMError):  # it knows of the attempts of its own request alone
        stop.cause.attempts = (*tab.attempts, *stop.cause.attempts)
        if stop.cause.usage is not None:
            cost = cost_of(stop.cause.usage, turn.model or "", scene.prices)
            turn = dataclasses.replace(turn, usage=turn.usage + stop.cause.usage, cost=_summed(turn, cost))
    turn = _with_results(tab.settled(turn), stop.results)
    said = (Message(role="assistant", content=stop.partial),) if stop.partial.strip() else ()
    error = stop.cause.message if isinstance(stop.cause, DispatcherError) else type(stop.cause).__name__
    return dataclasses.replace(
        turn,
        state=TurnState.CANCELLED if stop.is_wanted else TurnState.FAILED,
        messages=(*turn.messages, *said),
        stop_reason=None,
        error=None if stop.is_wanted else error,
        ended=now(),
    )


def _reply(
    plan: Plan,
    turn: Turn,
    scene: Scene,
    completion: Completion | None = None,
    attempts: tuple[Attempt, ...] = (),
) -> Reply:
    if completion is not None:
        _logger.info(
            "%s stopped: %s, %d tokens in, %d out, request %s",
            turn.model,
            turn.stop_reason,
            turn.usage.prompt_tokens,
            turn.usage.output_tokens,
            completion.request_id,
        )
    return Reply(
        plan=plan,
        text=completion.text if completion is not None else "",
        stop_reason=str(turn.stop_reason),
        usage=turn.usage,
        cost=turn.cost,
        model=turn.model,
        request_id=completion.request_id if completion is not None else None,
        attempts=attempts,
        turn=turn if scene.session_id is not None else None,
        handoffs=turn.handoffs,
    )
