"""The options that several commands share, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dispatcher.errors import UsageError

__all__ = [
    "AgentsOption",
    "ConfigOption",
    "DebugOption",
    "EscalateOption",
    "ExecutorOption",
    "JsonOption",
    "PrecisionOption",
    "QuietOption",
    "VerboseOption",
    "YesOption",
    "parse_variables",
    "settings_flags",
]

AgentsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--agents", metavar="PATH", help="A folder or file of agents, in place of the usual ones; may be repeated."
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A config file, in place of the project's config.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result and errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more of how it came about.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

PrecisionOption = Annotated[
    float | None,
    typer.Option(
        "--precision", min=0.0, max=1.0, metavar="SHARE", help="Choose nobody unless this share will be right."
    ),
]

EscalateOption = Annotated[
    str | None,
    typer.Option("--escalate", metavar="WHEN", help="Let a model pick among the best agents: never, unsure or always."),
]

ExecutorOption = Annotated[
    str | None,
    typer.Option("--executor", metavar="NAME", help="What runs the agent: api, or claude-code with its own tools."),
]

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Let tools be called without asking.")]

_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)


def parse_variables(given: Sequence[str] | None) -> dict[str, str]:
    """The values of `--var NAME=VALUE`. Raises UsageError for one of another shape."""
    values = {}
    for text in given or ():
        found = _VARIABLE.fullmatch(text)
        if found is None:
            raise UsageError(
                f'--var "{text}" is not of the form NAME=VALUE',
                hint="NAME is made of capitals, digits and underscores, as in --var PROJECT_TYPE=web",
            )
        values[found[1]] = found[2]
    return values


def settings_flags(
    agents: Sequence[str] | None,
    variables: Sequence[str] | None = None,
    enriched: Path | None = None,
    precision: float | None = None,
    escalate: str | None = None,
    executor: str | None = None,
    *,
    yes: bool = False,
) -> dict[str, Any]:
    """The settings that options override, by their path."""
    return {
        "agents": [str(Path(path).absolute()) for path in agents] if agents else None,
        "variables": parse_variables(variables) or None,
        "enriched": str(enriched.absolute()) if enriched is not None else None,
        "routing.precision": precision,
        "routing.escalate": escalate,
        "executor": executor,
        "tools.approval": "allow" if yes else None,
    }
