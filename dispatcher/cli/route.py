"""dispatch route TASK: decide only."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console

__all__ = ["route"]

_ABSTAINED = 4


def route(
    task: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="The task to route; - for standard input.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Use this agent.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say in full why.")] = False,
    precision: options.PrecisionOption = None,
    escalate: options.EscalateOption = None,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Say which agent would take a task, and why; run nothing. Only the name goes to standard output."""
    from dispatcher.cli.inputs import read_task
    from dispatcher.cli.setting_up import load_dispatcher
    from dispatcher.cli.views import show_decision

    console = Console(quiet=quiet or as_json, verbose=verbose)
    text, material = read_task(task or [], console)
    dispatcher = load_dispatcher(console, agents=agents, config=config, precision=precision, escalate=escalate)
    decision = dispatcher.route(text, agent=agent, material=material)
    if as_json:
        from dispatcher.cli.outputs import RouteOutput, route_output, to_json

        console.result(to_json(RouteOutput, route_output(decision, dispatcher.registry, explained=explain)))
    else:
        show_decision(decision, console, in_full=explain or verbose)
        if decision.agent is not None:
            if explain:
                from dispatcher.cli.views import describe_model
                from dispatcher.llm import choose_model

                llm = dispatcher.settings.llm
                choice = choose_model(flag=None, agent_models=decision.agent.models, settings=llm)
                console.say(f"model {describe_model(choice)}", indent=2)
            console.result(decision.agent.name)
    return 0 if decision.agent is not None else _ABSTAINED
