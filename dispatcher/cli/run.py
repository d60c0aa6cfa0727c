"""dispatch run TASK, and dispatch TASK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console

if TYPE_CHECKING:
    from dispatcher.runtime import Approve, Dispatcher, Plan, Reply, RunOptions, Session

__all__ = ["run"]

_ABSTAINED = 4
_INCOMPLETE = 5
_LONGEST_ANSWER = 1_000  # characters of an answer that does not fit


def run(
    task: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="What is to be done; - for standard input.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Use this agent.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Use this model.")] = None,
    var: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="NAME=VALUE", help="A value for {{NAME}} in the prompt; may be repeated."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="PATH", help="A text, image or PDF to send along; may be repeated."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer, in tokens.")
    ] = None,
    allow_undefined: Annotated[
        bool, typer.Option("--allow-undefined", help="Send placeholders without a value as they stand.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say in full why this agent, and which model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print exactly what would be sent; send nothing.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is whole.")] = False,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="Print a JSON object that fits this JSON schema.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Go on with this conversation, or begin it.")
    ] = None,
    goes_on: Annotated[bool, typer.Option("--continue", help="Go on with the last conversation.")] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep nothing of this conversation.")] = False,
    precision: options.PrecisionOption = None,
    escalate: options.EscalateOption = None,
    executor: options.ExecutorOption = None,
    yes: options.YesOption = False,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Choose the right agent for a task and print its answer."""
    from dispatcher.cli.approval import Approval
    from dispatcher.cli.choosing import choose
    from dispatcher.cli.decision_log import open_log
    from dispatcher.cli.inputs import read_task
    from dispatcher.cli.schema_file import read_schema
    from dispatcher.cli.session_store import open_session
    from dispatcher.cli.setting_up import load_dispatcher
    from dispatcher.runtime import load_attachment

    console = Console(quiet=quiet or as_json, verbose=verbose)
    attachments = [load_attachment(path) for path in file or ()]
    shape = read_schema(schema) if schema is not None else None
    text, material = read_task(task or [], console, may_be_empty=bool(attachments))
    dispatcher = load_dispatcher(
        console,
        agents=agents,
        config=config,
        variables=var,
        precision=precision,
        escalate=escalate,
        executor=executor,
        yes=yes,
    )
    dispatcher.log = None if no_store else open_log(dispatcher.settings.log, console)
    run_options: RunOptions = {
        "agent": agent,
        "model": model,
        "max_tokens": max_tokens,
        "allow_undefined": allow_undefined,
        "attachments": attachments,
        "material": material,
        "schema": shape,
    }
    conversation = open_session(
        console, dispatcher, session_id=session, goes_on=goes_on, no_store=no_store, dry_run=dry_run
    )
    runner = conversation or dispatcher
    approve = Approval(console, dispatcher.settings.tools)
    try:
        plan = runner.plan(text, **run_options)
        if as_json:
            return _print_json(dispatcher, runner, plan, approve, explain=explain, dry_run=dry_run)
        if plan.request is None:
            decision = choose(plan.decision, console, explain=explain)
            if decision is None:
                return _ABSTAINED
            run_options["decision"] = decision
            plan = runner.plan(text, **run_options)
        return _carry_out(
            dispatcher, runner, plan, approve, console, explain=explain, dry_run=dry_run, no_stream=no_stream
        )
    finally:
        dispatcher.close()
        dispatcher.store.close()


def _carry_out(
    dispatcher: Dispatcher,
    runner: Dispatcher | Session,
    plan: Plan,
    approve: Approve,
    console: Console,
    *,
    explain: bool,
    dry_run: bool,
    no_stream: bool,
) -> int:
    from dispatcher.cli.views import show_plan, show_preview, show_reply
    from dispatcher.llm import request_body

    show_plan(plan, console, in_full=explain)
    if dry_run and plan.request is not None:
        console.result(json.dumps(request_body(plan.request), indent=2, ensure_ascii=False))
        return 0
    is_whole = no_stream or plan.shape is not None
    print_answer = _print_whole if is_whole else _print_stream
    reply = print_answer(runner, plan, approve, console)
    if not reply.was_sent:
        show_preview(plan, console, key=dispatcher.settings.llm.api_key_env or "ANTHROPIC_API_KEY")
        console.say("To see all of it, add --dry-run to the command.")
        return 0
    show_reply(reply, console)
    return _exit_code(reply, console)


def _print_stream(runner: Dispatcher | Session, plan: Plan, approve: Approve, console: Console) -> Reply:
    """Prints the answer as it comes; what came stays also where it breaks off."""
    from dispatcher.cli.views import show_event
    from dispatcher.llm import TextDelta
    from dispatcher.runtime import Stopped, ToolCalled

    last = ""
    try:
        for event in runner.stream(plan, approve=approve):
            show_event(event, console)
            if isinstance(event, Stopped):
                return event.reply
            if isinstance(event, TextDelta) and event.text:
                if not last:
                    console.say()
                last = event.text  # before it is printed, so that an interrupt right after that finds it
                console.result(last, end="")
            elif isinstance(event, ToolCalled) and last and not last.endswith("\n"):
                console.result("")  # what comes after a call is another paragraph, and may be a question
                last = "\n"
    finally:
        if last and not last.endswith("\n"):
            console.result("")
    raise RuntimeError("a turn's last event is its reply")


def _print_whole(runner: Dispatcher | Session, plan: Plan, approve: Approve, console: Console) -> Reply:
    """Prints the answer, or the object that it holds where one was asked for."""
    from dispatcher.cli.console import one_line
    from dispatcher.errors import AnswerError

    try:
        reply = runner.dispatch(plan, approve=approve)
    except AnswerError as problem:
        console.say(f"the answer was: {one_line(problem.text, _LONGEST_ANSWER)}")
        raise
    text = json.dumps(reply.value, indent=2, ensure_ascii=False) if reply.value is not None else reply.text
    if text:
        console.say()
        console.result(text, end="" if text.endswith("\n") else "\n")
    return reply


def _print_json(
    dispatcher: Dispatcher,
    runner: Dispatcher | Session,
    plan: Plan,
    approve: Approve,
    *,
    explain: bool,
    dry_run: bool,
) -> int:
    from dispatcher.cli.outputs import RunOutput, run_output, to_json

    reply = None if dry_run or plan.request is None else runner.dispatch(plan, approve=approve)
    output = run_output(
        plan,
        reply,
        dispatcher.notices,
        dispatcher.registry,
        explained=explain,
        session=getattr(runner, "id", None),
    )
    Console().result(to_json(RunOutput, output))
    if plan.request is None:
        return _ABSTAINED
    return _INCOMPLETE if reply is not None and reply.was_sent and not reply.is_complete else 0


def _exit_code(reply: Reply, console: Console) -> int:
    """An answer that is not whole is a failure, so that a script can tell."""
    from dispatcher.cli.views import shortfall

    problem = shortfall(reply)
    if problem is None:
        return 0
    console.problem(problem)
    return _INCOMPLETE
