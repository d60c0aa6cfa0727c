"""dispatch agents list | show | check."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, one_line, short

if TYPE_CHECKING:
    from dispatcher.agent import Agent
    from dispatcher.registry import Registry

__all__ = ["check", "list_agents", "show"]

_AGENT_FILES = 3
_NAME_WIDTH = 30
_SCOPE_WIDTH = len("bundled")


def list_agents(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are shadowed by a nearer one, or kept out of routing.")
    ] = False,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """List the agents that can be used."""
    from dispatcher.cli.setting_up import load_registry
    from dispatcher.cli.views import show_registry_faults

    console = Console(quiet=quiet or as_json, verbose=verbose)
    registry, _ = load_registry(console, agents=agents, config=config)
    routable = set(map(id, registry.routable))
    if as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, ListOutput, agent_output, to_json

        listed = [agent_output(each, is_routable=id(each) in routable) for each in registry.agents]
        if everything:
            listed += [agent_output(each.agent, is_routable=False, shadowed_by=each.by) for each in registry.shadowed]
        output: ListOutput = {"schema_version": SCHEMA_VERSION, "agents": listed, "errors": list(registry.errors)}
        console.result(to_json(ListOutput, output))
    else:
        show_registry_faults(registry, console)
        _print_list(registry, console, routable, everything=everything)
    return 0 if registry.agents else _nothing_left(registry, console)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The agent's name or slug.")],
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the system prompt alone.")] = False,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="As if run with this model.")] = None,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Show what was read of an agent, and which model it would run on."""
    from dispatcher.cli.setting_up import load_registry
    from dispatcher.llm import choose_model

    console = Console(quiet=quiet or as_json)
    registry, loaded = load_registry(console, agents=agents, config=config)
    if not registry.agents:
        return _nothing_left(registry, console)
    agent = registry.find(name)
    choice = choose_model(flag=model, agent_models=agent.models, settings=loaded.settings.llm)
    if prompt:
        console.result(agent.prompt, end="")
    elif as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, ShowOutput, to_json

        output: ShowOutput = {
            "schema_version": SCHEMA_VERSION,
            "agent": agent,
            "slug": agent.slug,
            "is_routable": agent in registry.routable,
            "variables": list(agent.variables),
            "model": choice,
        }
        console.result(to_json(ShowOutput, output))
    else:
        from dispatcher.cli.agent_view import describe_agent

        console.result("\n".join(describe_agent(agent, registry, choice, width=console.width)))
    return 0


def check(
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also list the files that were passed over, and why.")
    ] = False,
    debug: options.DebugOption = False,
) -> int:
    """Report the faults of all agent files, and how to mend them."""
    from dispatcher.cli.setting_up import load_registry

    console = Console(quiet=quiet or as_json, verbose=verbose)
    registry, _ = load_registry(console, agents=agents, config=config)
    if as_json:
        from dispatcher.cli.outputs import CheckOutput, check_output, to_json

        console.result(to_json(CheckOutput, check_output(registry, registry.diagnostics)))
    else:
        _print_check(registry, console)
    if not registry.agents and not registry.errors:
        return _nothing_left(registry, console)
    return _AGENT_FILES if registry.errors else 0


def _print_list(registry: Registry, console: Console, routable: set[int], *, everything: bool) -> None:
    width = min(_NAME_WIDTH, max((len(agent.name) for agent in registry.agents), default=0))

    def line(agent: Agent, remark: str) -> str:
        name = one_line(agent.name, width) if sys.stdout.isatty() else agent.name
        text = f"{name:{width}}  {agent.source.scope:{_SCOPE_WIDTH}}  "
        description = remark + " ".join(agent.description.split())
        # A person wants a line an agent; a program that searches the list wants all of it.
        return text + (one_line(description, console.width - len(text)) if sys.stdout.isatty() else description)

    for agent in registry.agents:
        if id(agent) in routable:
            console.result(line(agent, ""))
        elif everything:
            console.result(line(agent, "(not routed to) "))
    if everything:
        for shadowed in registry.shadowed:
            places = f"{short(shadowed.agent.source.path)} is shadowed by {short(shadowed.by.source.path)}"
            console.result(f"{shadowed.agent.name:{width}}  {places}")
    counts = {"kept out of routing": len(registry.agents) - len(routable), "shadowed": len(registry.shadowed)}
    hidden = [f"{count} {what}" for what, count in counts.items() if count]
    if hidden and not everything:
        console.say(f"Not listed: {', '.join(hidden)}; --all shows them.", style="dim")


def _print_check(registry: Registry, console: Console) -> None:
    for found in registry.diagnostics:
        console.diagnostic(found, write=sys.stdout)
    if console.verbose:
        for passed in registry.passed_over:
            console.wrapped(f"{short(passed.path)}: passed over: {passed.reason}")
    counts = dict.fromkeys(("error", "warning", "note"), 0)
    for found in registry.diagnostics:
        counts[found.severity] += 1
    read = f"{_counted(registry.file_count, 'file')}, {_counted(len(registry.agents), 'agent')}"
    found_of_each = ", ".join(_counted(count, name) for name, count in counts.items())
    console.result(f"{read}, {len(registry.passed_over)} passed over; {found_of_each}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _nothing_left(registry: Registry, console: Console) -> int:
    from dispatcher.errors import AgentFileError

    where = ", ".join(str(scope.root) for scope in registry.scopes)
    console.problem(
        AgentFileError(f"there is no agent in {where}", hint="`dispatch agents check -v` says what was read")
    )
    return _AGENT_FILES
