"""A task and what it is told with → a plan: who takes it, what is sent, and which tools and agents may be turned to."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from dispatcher.agent import Agent
from dispatcher.errors import ConfigError, UsageError
from dispatcher.judge import Said
from dispatcher.llm import choose_model
from dispatcher.routing import Candidate, Decision, How, Outcome
from dispatcher.runtime.attachments import Attachment
from dispatcher.runtime.deciding import observed_route_after
from dispatcher.runtime.handoffs import Peers, colleagues, peer_tools
from dispatcher.runtime.loading import Loaded
from dispatcher.runtime.prompt import EFFORTS, build_request
from dispatcher.runtime.reply import Plan
from dispatcher.runtime.shapes import Shape
from dispatcher.runtime.toolbox import Offered, Toolbox
from dispatcher.runtime.tools import Approve, Tool, unavailable_tools

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dispatcher.mcp_servers import McpServer
    from dispatcher.runtime.claude_code import ClaudeCode

__all__ = ["RunOptions", "aopened", "aplan_of", "plan_of", "planned", "routed", "routed_after"]

_logger = logging.getLogger(__name__)


class RunOptions(TypedDict, total=False):
    """What a run can be told besides its task."""

    agent: str | None
    """The agent to use, by name or slug."""
    only: Collection[str] | None
    """Names of the agents that may be chosen."""
    exclude: Collection[str] | None
    """Names of agents that may not."""
    model: str | None
    """The model, before the agent's own."""
    max_tokens: int | None
    """The longest answer, in tokens."""
    variables: Mapping[str, str]
    """Values for placeholders, before those of config."""
    allow_undefined: bool
    """Whether placeholders without a value are sent as they stand."""
    attachments: Sequence[Attachment]
    """Files that go with the task."""
    material: str
    """Text that goes with the task, such as a log: sent after it, and routed on only where the task leaves it open."""
    turns: Sequence[Said]
    """What was said before, oldest first; a judge sees the last of it."""
    decision: Decision | None
    """A decision already made, which is then carried out as it is."""
    tools: Sequence[Tool | Callable[..., Any] | McpServer]
    """Functions that the model may call, and servers of such, in place of the dispatcher's and of config's; each agent
    gets what its file allows. Servers are the caller's to close."""
    approve: Approve | None
    """Asked before each call of a tool: True lets it happen; False, or a reason, which the model is told, does not."""
    schema: type[BaseModel] | Mapping[str, Any] | None
    """What the answer has to look like: a pydantic model's class, or a JSON schema; it is then in `Reply.value`."""


def plan_of(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """A plan for a task; one already made stays as it is."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = loaded.judged(routed(loaded, task, options), **_asides(options))
    return planned(loaded, decision, options)


async def aplan_of(loaded: Loaded, task: str | Plan, options: RunOptions) -> Plan:
    """`plan_of` for coroutines."""
    if isinstance(task, Plan):
        return task
    decision = options.get("decision")
    if decision is None:
        decision = await loaded.ajudged(routed(loaded, task, options), **_asides(options))
    await aopened(loaded, decision, options)
    return planned(loaded, decision, options)


async def aopened(loaded: Loaded, decision: Decision, options: RunOptions) -> None:
    """Starts the servers of tools that a run may need, so that nothing else has to wait for them."""
    if decision.agent is not None and loaded.settings.executor == "api":
        may_turn = loaded.settings.handoffs.offer != "never"
        await _toolbox(loaded, options).aopen(loaded.registry.agents if may_turn else [decision.agent])


def routed(loaded: Loaded, task: str, options: RunOptions) -> Decision:
    return routed_after(loaded, task, "", options)[0]


def routed_after(loaded: Loaded, task: str, said: str, options: RunOptions) -> tuple[Decision, Sequence[Candidate]]:
    """Who takes a task, and the agents as they fit what was said before it."""
    return observed_route_after(
        loaded.router,
        task,
        said,
        agent=options.get("agent"),
        only=options.get("only"),
        exclude=options.get("exclude"),
        material=options.get("material", ""),
    )


def _asides(options: RunOptions) -> dict[str, Any]:
    """What a judge sees besides the task."""
    return {"turns": options.get("turns", ()), "material": options.get("material", "")}


def planned(
    loaded: Loaded, decision: Decision, options: RunOptions, *, line: tuple[str, ...] = (), may_pass_on: bool = True
) -> Plan:
    """What a decision comes to.

    Parameters
    ----------
    line: the agents that had the turn before, or wait for an answer.
    may_pass_on: whether the conversation may be given to another agent; who is only asked may not.
    """
    material = options.get("material", "")
    _logger.info(
        "%s %s: %s, confidence %.3f, %s",
        decision.outcome,
        decision.agent.name if decision.agent else "nobody",
        decision.how,
        decision.confidence,
        decision.reason,
    )
    if decision.agent is None:
        return Plan(decision=decision)
    text = "\n\n".join(part for part in (decision.task, material) if part.strip())
    if not text and not options.get("attachments"):
        raise UsageError("there is no task for the agent", hint='write it after the name: "@name design a user API"')
    agent = decision.agent
    model = choose_model(flag=options.get("model"), agent_models=agent.models, settings=loaded.settings.llm)
    request = build_request(
        agent,
        text,
        model=model.name,
        max_tokens=options.get("max_tokens") or loaded.settings.llm.max_tokens,
        variables={**loaded.settings.variables, **options.get("variables", {})},
        attachments=options.get("attachments", ()),
        allow_undefined=options.get("allow_undefined", False),
    )
    executor = _executor(loaded, agent, options)
    offered = _toolbox(loaded, options).offered(agent) if executor is None else _unoffered(loaded, options)
    own_tools = offered.tools
    peers = _peers(loaded, decision, options, (*line, agent.name)) if executor is None else None
    tools = (*own_tools, *peer_tools(agent, peers, own_tools, may_pass_on=may_pass_on))
    shape = _shape(options)
    request = dataclasses.replace(
        request,
        tools=tuple(tool.definition for tool in tools),
        schema=shape.schema if shape is not None else None,
    )
    notices = tuple(
        notice
        for notice in (model.notice, *offered.notices, *_notices(agent, own_tools, executor))
        if notice is not None
    )
    return Plan(
        decision=decision,
        model=model,
        request=request,
        notices=notices,
        tools=tools,
        peers=peers,
        shape=shape,
        executor=executor,
    )


def _unoffered(loaded: Loaded, options: RunOptions) -> Offered:
    """Nothing of what a program gives, where an executor has tools of its own."""
    names = ", ".join(tool.name for tool in _toolbox(loaded, options).tools)
    told = f"Claude Code has its own tools; those of this program ({names}) are not offered"
    return Offered(tools=(), notices=(told,) if names else ())


def _executor(loaded: Loaded, agent: Agent, options: RunOptions) -> ClaudeCode | None:
    """What runs the agent in place of the turn loop, where settings say so."""
    settings = loaded.settings
    if settings.executor != "claude-code":
        return None
    from dispatcher.runtime.claude_code import ClaudeCode

    if settings.budget.session is not None or settings.budget.day is not None:
        raise ConfigError(
            "the executor claude-code keeps to budget.run alone, not to budget.session or budget.day",
            hint="use executor: api, or leave those two out",
        )
    most = settings.tools.max_iterations
    return ClaudeCode(
        agent=agent,
        max_turns=min(most, agent.max_turns or most),
        max_result_chars=settings.tools.max_result_chars,
        path=str(Path(settings.claude_code_path).expanduser()) if settings.claude_code_path else None,
        servers=_toolbox(loaded, options).servers,
        approve=options.get("approve"),
        budget=settings.budget.run,
    )


def _toolbox(loaded: Loaded, options: RunOptions) -> Toolbox:
    return Toolbox.of(options["tools"]) if "tools" in options else loaded.toolbox


def _shape(options: RunOptions) -> Shape | None:
    schema = options.get("schema")
    return Shape.of(schema) if schema is not None else None


def _peers(loaded: Loaded, decision: Decision, options: RunOptions, line: tuple[str, ...]) -> Peers | None:
    """Whom the agent may turn to; None where nobody is there, or the line is as long as it may get."""
    settings = loaded.settings.handoffs
    if settings.offer == "never" or decision.agent is None or len(line) > settings.max_depth:
        return None
    # A decision that somebody made has one candidate alone, so the others are looked for anew.
    fresh = loaded.router.route(decision.task, only=options.get("only"), exclude=options.get("exclude"), mentions=False)
    fitting = [candidate for candidate in fresh.candidates if candidate.score > 0 and candidate.name not in line]
    agents = colleagues(
        decision.agent,
        [candidate.agent for candidate in fresh.candidates],
        found=[candidate.agent for candidate in fitting[: settings.top_k]] if settings.offer == "found" else [],
        without=line,
    )
    if not agents:
        return None

    def plan(agent: Agent, text: str, reason: str, *, is_question: bool) -> Plan:
        given = dataclasses.replace(
            decision,
            task=text,
            agent=agent,
            outcome=Outcome.ROUTED,
            how=How.HANDOFF,
            confidence=1.0,
            is_calibrated=False,
            reason=reason,
            judgement=None,
            smallest_change=lambda: None,
        )
        own: RunOptions = {**options, "material": "", "attachments": ()}
        if is_question:
            own["schema"] = None  # what one agent answers to another is prose
        return planned(loaded, given, own, line=line, may_pass_on=not is_question)

    return Peers(agents=agents, plan=plan)


def _notices(agent: Agent, tools: Sequence[Tool], executor: ClaudeCode | None) -> Iterator[str]:
    """What an agent's file asks for and does not get."""
    missing = unavailable_tools(agent, tools) if executor is None else ()
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        instead = f"with {', '.join(tool.name for tool in tools)} alone" if tools else "without any"
        yield f"its file names tools{' that are not here' if tools else ''} ({shown}); it is run {instead}"
    if agent.effort and agent.effort.lower() not in EFFORTS:
        yield f'the effort "{agent.effort}" is none of {", ".join(EFFORTS)}; it is not sent'
