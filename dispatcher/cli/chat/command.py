"""dispatch chat: its options, and the session that it begins with."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console

if TYPE_CHECKING:
    from dispatcher.runtime import Dispatcher, Session

__all__ = ["chat"]

_PACKAGES = ("prompt_toolkit", "rich")


def chat(
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Go on with this conversation, or begin it.")
    ] = None,
    is_new: Annotated[bool, typer.Option("--new", help="Begin a conversation, and leave the last one.")] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep nothing of this conversation.")] = False,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Use this model.")] = None,
    var: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="NAME=VALUE", help="A value for {{NAME}} in the prompt; may be repeated."),
    ] = None,
    precision: options.PrecisionOption = None,
    escalate: options.EscalateOption = None,
    yes: options.YesOption = False,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Talk with the agents at the terminal; goes on with the last conversation."""
    _check(session, is_new=is_new, no_store=no_store)
    from dispatcher.cli.chat.conversation import Conversation
    from dispatcher.cli.chat.loop import talk
    from dispatcher.cli.chat.terminal import TerminalLines
    from dispatcher.cli.chat.view import View
    from dispatcher.cli.decision_log import open_log
    from dispatcher.cli.setting_up import load_dispatcher

    console = Console(verbose=verbose)
    dispatcher = load_dispatcher(
        console, agents=agents, config=config, variables=var, precision=precision, escalate=escalate, yes=yes
    )
    dispatcher.log = None if no_store else open_log(dispatcher.settings.log, console)
    opened = _session(console, dispatcher, session, is_new=is_new, no_store=no_store)
    try:
        conversation = Conversation(dispatcher, opened, View(console, dispatcher.registry), model=model)
        talk(conversation, TerminalLines(dispatcher.registry, dispatcher.store))
    finally:
        dispatcher.store.close()
        dispatcher.close()
    return 0


def _check(session: str | None, *, is_new: bool, no_store: bool) -> None:
    """Raises UsageError for options that go against each other, without a terminal, and without the extra."""
    from dispatcher.errors import UsageError
    from dispatcher.sessions import check_session_id

    if session is not None:
        check_session_id(session)
        if is_new or no_store:
            other = "--new" if is_new else "--no-store"
            raise UsageError(f"--session and {other} go against each other", hint="use one of them")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"for the chat a package is missing: {', '.join(missing)}",
            hint='install it: pip install "agent-dispatcher[chat]"',
        )
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("a chat needs a terminal", hint='elsewhere use: dispatch --continue "your task"')


def _session(
    console: Console, dispatcher: Dispatcher, session_id: str | None, *, is_new: bool, no_store: bool
) -> Session:
    """The session that was named, the last one, or a new one; in memory alone where nothing is to be kept."""
    from dispatcher.cli.session_store import last_session, open_session
    from dispatcher.errors import SessionStoreError

    settings = dispatcher.settings.sessions
    if session_id is None and not is_new and not no_store and settings.store:
        try:
            session_id = last_session(settings)
        except SessionStoreError as problem:
            console.notice(f"the last conversation can't be gone on with: {problem.message}")
    opened = open_session(console, dispatcher, session_id=session_id, goes_on=False, no_store=no_store, dry_run=False)
    return opened or dispatcher.session(busy="refuse")
