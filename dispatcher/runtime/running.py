"""A run by itself: the one turn of a task or a plan, carried out in one of the four ways, which only differ in how they
wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, closing

from dispatcher.decisionlog import DecisionLog
from dispatcher.llm import LLMClient
from dispatcher.runtime.drivers import Asking, AsyncAsking, adrive, alast_reply, awhole, drive, last_reply, whole
from dispatcher.runtime.loading import Loaded
from dispatcher.runtime.loop import turn_steps
from dispatcher.runtime.observing import ObservedRun
from dispatcher.runtime.planning import RunOptions, aplan_of, plan_of
from dispatcher.runtime.reply import Event, Plan, Reply
from dispatcher.runtime.scene import scene_of
from dispatcher.runtime.steps import Steps

__all__ = ["aevents_of", "areply_of", "events_of", "reply_of"]


def reply_of(loaded: Loaded, task: str | Plan, options: RunOptions, log: DecisionLog | None) -> Reply:
    """The reply, waited for."""
    return last_reply(_run(loaded, plan_of(loaded, task, options), options, log, whole))


def events_of(loaded: Loaded, task: str | Plan, options: RunOptions, log: DecisionLog | None) -> Iterator[Event]:
    """What happens, as it comes."""
    return _run(loaded, plan_of(loaded, task, options), options, log, lambda client: client.stream)


async def areply_of(loaded: Loaded, task: str | Plan, options: RunOptions, log: DecisionLog | None) -> Reply:
    """`reply_of` for coroutines."""
    plan = await aplan_of(loaded, task, options)
    return await alast_reply(_arun(loaded, plan, options, log, awhole))


async def aevents_of(
    loaded: Loaded, task: str | Plan, options: RunOptions, log: DecisionLog | None
) -> AsyncGenerator[Event, None]:
    """`events_of` for coroutines."""
    plan = await aplan_of(loaded, task, options)
    async with aclosing(_arun(loaded, plan, options, log, lambda client: client.astream)) as events:
        async for event in events:
            yield event


def _run(
    loaded: Loaded,
    plan: Plan,
    options: RunOptions,
    log: DecisionLog | None,
    asking: Callable[[LLMClient], Asking],
) -> Iterator[Event]:
    with ObservedRun(loaded, plan, log) as run:
        steps = _steps(loaded, plan, options)
        with closing(drive(steps, run.asking(asking), span=run.span)) as events:
            for event in events:
                yield run.seen(event)


async def _arun(
    loaded: Loaded,
    plan: Plan,
    options: RunOptions,
    log: DecisionLog | None,
    asking: Callable[[LLMClient], AsyncAsking],
) -> AsyncGenerator[Event, None]:
    with ObservedRun(loaded, plan, log) as run:
        steps = _steps(loaded, plan, options)
        async with aclosing(adrive(steps, run.aasking(asking), span=run.span)) as events:
            async for event in events:
                yield run.seen(event)


def _steps(loaded: Loaded, plan: Plan, options: RunOptions) -> Steps:
    """The one turn of a run without a session."""
    return turn_steps(plan, scene_of(loaded.settings, options.get("approve")))
