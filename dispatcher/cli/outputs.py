"""What `--json` prints: one shape a command, each with `schema_version`; text and schema are made from these types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from dispatcher.agent import Agent, Diagnostic
from dispatcher.cache import Entry
from dispatcher.cli.session_outputs import SessionsListOutput, SessionsShowOutput
from dispatcher.decisionlog import LogEntry
from dispatcher.evaluation.conversations import ConversationMetrics
from dispatcher.evaluation.escalation import EscalationFigures
from dispatcher.evaluation.metrics import AgentMetrics, Bin, Confusion, CoveragePoint, Metrics
from dispatcher.evaluation.report import Report
from dispatcher.evaluation.statistics import Comparison, Interval
from dispatcher.llm import Attempt, ModelChoice, Usage, request_body
from dispatcher.registry import PassedOver, Registry
from dispatcher.routing import Decision, Evidence, Explanation, How, Judgement, Outcome
from dispatcher.runtime import Plan, Reply
from dispatcher.sessions import Handoff

__all__ = [
    "OUTPUTS",
    "SCHEMA_VERSION",
    "AgentOutput",
    "CacheOutput",
    "CheckOutput",
    "ConfigOutput",
    "ConversationsOutput",
    "EvalOutput",
    "ListOutput",
    "LogOutput",
    "RouteOutput",
    "RunOutput",
    "SettingOutput",
    "ShowOutput",
    "VersionOutput",
    "agent_output",
    "cache_output",
    "check_output",
    "eval_output",
    "route_output",
    "run_output",
    "schema_of",
    "to_json",
]

SCHEMA_VERSION = 1
_MOST_CANDIDATES = 10


class CandidateOutput(TypedDict):
    agent: str
    score: float


class FieldOutput(TypedDict):
    field: str
    amount: float


class ExplanationOutput(TypedDict):
    agent: str
    score: float
    by_field: list[FieldOutput]
    evidence: list[Evidence]
    rules: list[str]


class DecisionOutput(TypedDict):
    outcome: Outcome
    how: How
    agent: str | None
    file: str | None
    confidence: float
    is_calibrated: bool
    threshold: float
    margin: float
    reason: str
    candidates: list[CandidateOutput]
    rules: list[str]
    """The keyword rules that held."""
    judgement: Judgement | None
    """What came of asking a judge, where that was to be done."""
    evidence: list[Evidence]
    explanations: list[ExplanationOutput]
    """Of the first candidate and the runner-up, with --explain."""
    smallest_change: str | None
    """What would let the runner-up win, with --explain."""


class RouteOutput(TypedDict):
    schema_version: int
    task: str
    decision: DecisionOutput
    errors: list[Diagnostic]
    """The agent files that were lost."""


class RunOutput(TypedDict):
    schema_version: int
    task: str
    decision: DecisionOutput
    model: ModelChoice | None
    request: dict[str, Any] | None
    """What would be sent, where nothing was."""
    was_sent: bool
    text: str
    value: dict[str, Any] | None
    """The answer as an object, with --schema."""
    stop_reason: str
    usage: Usage | None
    cost_usd: float | None
    request_id: str | None
    attempts: list[Attempt]
    """The requests that were made; the last one brought the answer."""
    session: str | None
    """The session that it is a turn of, if that is kept."""
    turn: int | None
    handoffs: list[Handoff]
    """Agents that turned to others: whom they passed the conversation on to, or asked."""
    notices: list[str]
    errors: list[Diagnostic]
    """The agent files that were lost."""


class AgentOutput(TypedDict):
    name: str
    slug: str
    description: str
    file: str
    line: int
    scope: str
    is_routable: bool
    shadowed_by: str | None


class ListOutput(TypedDict):
    schema_version: int
    agents: list[AgentOutput]
    errors: list[Diagnostic]
    """The agent files that were lost."""


class ShowOutput(TypedDict):
    schema_version: int
    agent: Agent
    slug: str
    is_routable: bool
    variables: list[str]
    model: ModelChoice


class CheckOutput(TypedDict):
    schema_version: int
    files: int
    agents: int
    diagnostics: list[Diagnostic]
    passed_over: list[PassedOver]


class SettingOutput(TypedDict):
    value: Any
    origin: str


class ConfigOutput(TypedDict):
    schema_version: int
    files: list[str]
    settings: dict[str, SettingOutput]


class CacheFileOutput(TypedDict):
    file: str
    kind: str
    use: str
    size: int
    """Bytes."""
    is_whole: bool


class CacheOutput(TypedDict):
    schema_version: int
    folder: str | None
    """None if the cache is off."""
    files: list[CacheFileOutput]


class VersionOutput(TypedDict):
    schema_version: int
    version: str
    python: str
    packages: dict[str, str]


class EvalOutput(TypedDict):
    schema_version: int
    provenance: dict[str, str]
    metrics: Metrics
    intervals: dict[str, Interval]
    baselines: dict[str, Metrics]
    by_tag: dict[str, Metrics]
    by_agent: list[AgentMetrics]
    confusions: list[Confusion]
    reliability: list[Bin]
    coverage_curve: list[CoveragePoint]
    comparison: Comparison | None
    escalation: EscalationFigures | None
    """What asking a judge gave, with --judge."""


class LogOutput(TypedDict):
    schema_version: int
    path: str
    """The folder of the log."""
    entries: list[LogEntry]
    """The last one first."""
    faults: list[str]
    """The lines that were passed over."""


class ConversationsOutput(TypedDict):
    schema_version: int
    weights: str
    """The fingerprint of the weights file."""
    metrics: ConversationMetrics
    by_tag: dict[str, ConversationMetrics]


OUTPUTS: dict[str, Any] = {
    "run": RunOutput,
    "route": RouteOutput,
    "agents-list": ListOutput,
    "agents-show": ShowOutput,
    "agents-check": CheckOutput,
    "config-show": ConfigOutput,
    "cache-show": CacheOutput,
    "eval": EvalOutput,
    "log": LogOutput,
    "eval-conversations": ConversationsOutput,
    "sessions-list": SessionsListOutput,
    "sessions-show": SessionsShowOutput,
    "version": VersionOutput,
}


def to_json(shape: Any, output: Any) -> str:
    """An output of one of the shapes as text."""
    from pydantic import TypeAdapter

    return TypeAdapter(shape).dump_json(output, indent=2).decode("utf-8")


def schema_of(shape: Any) -> dict[str, Any]:
    """The JSON schema of a shape, as it is printed."""
    from pydantic import TypeAdapter

    return TypeAdapter(shape).json_schema(mode="serialization")


def route_output(decision: Decision, registry: Registry, *, explained: bool = False) -> RouteOutput:
    return {
        "schema_version": SCHEMA_VERSION,
        "task": decision.task,
        "decision": _decision(decision, explained=explained),
        "errors": list(registry.errors),
    }


def run_output(
    plan: Plan,
    reply: Reply | None,
    notices: Sequence[str],
    registry: Registry,
    *,
    explained: bool = False,
    session: str | None = None,
) -> RunOutput:
    """A run; without a reply it is a dry one."""
    was_sent = reply is not None and reply.was_sent
    return {
        "schema_version": SCHEMA_VERSION,
        "task": plan.decision.task,
        "decision": _decision(plan.decision, explained=explained),
        "model": plan.model,
        "request": request_body(plan.request) if plan.request and not was_sent else None,
        "was_sent": was_sent,
        "text": reply.text if reply else "",
        "value": reply.value if reply else None,
        "stop_reason": reply.stop_reason if reply else "not_sent",
        "usage": reply.usage if reply and was_sent else None,
        "cost_usd": reply.cost if reply and was_sent else None,
        "request_id": reply.request_id if reply else None,
        "attempts": list(reply.attempts) if reply and was_sent else [],
        "session": session if reply and reply.turn else None,
        "turn": reply.turn.number if reply and reply.turn else None,
        "handoffs": list(reply.handoffs) if reply else [],
        "notices": [*notices, *plan.notices],
        "errors": list(registry.errors),
    }


def agent_output(agent: Agent, *, is_routable: bool, shadowed_by: Agent | None = None) -> AgentOutput:
    return {
        "name": agent.name,
        "slug": agent.slug,
        "description": agent.description,
        "file": str(agent.source.path),
        "line": agent.line,
        "scope": agent.source.scope,
        "is_routable": is_routable,
        "shadowed_by": str(shadowed_by.source.path) if shadowed_by else None,
    }


def cache_output(folder: Path | None, entries: Iterable[Entry]) -> CacheOutput:
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(folder) if folder is not None else None,
        "files": [
            {"file": str(one.path), "kind": one.kind, "use": one.use, "size": one.size, "is_whole": one.is_whole}
            for one in entries
        ],
    }


def check_output(registry: Registry, diagnostics: Sequence[Diagnostic]) -> CheckOutput:
    return {
        "schema_version": SCHEMA_VERSION,
        "files": registry.file_count,
        "agents": len(registry.agents),
        "diagnostics": list(diagnostics),
        "passed_over": list(registry.passed_over),
    }


def eval_output(report: Report) -> EvalOutput:
    return {
        "schema_version": SCHEMA_VERSION,
        "provenance": dict(report.provenance),
        "metrics": report.metrics,
        "intervals": dict(report.intervals),
        "baselines": dict(report.baselines),
        "by_tag": dict(report.by_tag),
        "by_agent": list(report.by_agent),
        "confusions": list(report.confusions),
        "reliability": list(report.reliability),
        "coverage_curve": list(report.coverage_curve),
        "comparison": report.comparison,
        "escalation": report.escalation,
    }


def _decision(decision: Decision, *, explained: bool) -> DecisionOutput:
    return {
        "outcome": decision.outcome,
        "how": decision.how,
        "agent": decision.agent.name if decision.agent else None,
        "file": str(decision.agent.source.path) if decision.agent else None,
        "confidence": decision.confidence,
        "is_calibrated": decision.is_calibrated,
        "threshold": decision.threshold,
        "margin": decision.margin,
        "reason": decision.reason,
        "candidates": [{"agent": each.name, "score": each.score} for each in decision.candidates[:_MOST_CANDIDATES]],
        "rules": list(decision.rules),
        "judgement": decision.judgement,
        "evidence": list(decision.evidence),
        "explanations": [_explanation(each) for each in decision.explanations] if explained else [],
        "smallest_change": decision.smallest_change() if explained else None,
    }


def _explanation(explanation: Explanation) -> ExplanationOutput:
    return {
        "agent": explanation.agent.name,
        "score": explanation.score,
        "by_field": [{"field": field, "amount": amount} for field, amount in explanation.by_field],
        "evidence": list(explanation.evidence),
        "rules": list(explanation.rules),
    }
