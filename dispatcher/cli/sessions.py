"""dispatch sessions list | show | export | delete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, one_line, short

if TYPE_CHECKING:
    from dispatcher.sessions import SessionInfo, SQLiteSessionStore, Turn
    from dispatcher.settings import SessionSettings

__all__ = ["delete", "export", "list_sessions", "show"]

SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's name.")]


def list_sessions(
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """List the conversations that are kept, the last one first."""
    from dispatcher.cli.session_store import store_path

    console = Console(quiet=quiet or as_json)
    with _opened(console, config) as (settings, store):
        sessions = store.sessions() if store is not None else ()
    if as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, to_json
        from dispatcher.cli.session_outputs import SessionsListOutput, session_output

        output: SessionsListOutput = {
            "schema_version": SCHEMA_VERSION,
            "path": str(store_path(settings)),
            "sessions": [session_output(info) for info in sessions],
        }
        console.result(to_json(SessionsListOutput, output))
        return 0
    for info in sessions:
        console.result(one_line(_summary(info), console.width))
    console.say(f"{_counted(len(sessions), 'session')} in {short(store_path(settings))}", style="dim")
    return 0


def show(
    session: SessionArgument,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Show a conversation: its turns, who took each, and what it cost."""
    from dispatcher.cli.session_store import find_session

    console = Console(quiet=quiet or as_json)
    with _opened(console, config) as (_, store):
        info = find_session(store, session)
        turns = store.turns(session) if store is not None else ()
    if as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, to_json
        from dispatcher.cli.session_outputs import SessionsShowOutput, show_output

        console.result(to_json(SessionsShowOutput, show_output(info, turns, schema_version=SCHEMA_VERSION)))
        return 0
    _print_turns(turns, console)
    used = f"{info.usage.prompt_tokens:,} tokens in, {info.usage.output_tokens:,} out, ${info.cost:.4f}"
    console.say(f"{_counted(info.turns, 'turn')}, {used}", style="dim")
    return 0


def export(
    session: SessionArgument,
    export_format: Annotated[
        Literal["jsonl", "markdown"],
        typer.Option("--format", help="jsonl loses nothing; markdown is for reading."),
    ] = "jsonl",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to a file.")] = None,
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Print a conversation as JSON lines, or as Markdown."""
    from dispatcher.cli.session_store import find_session
    from dispatcher.sessions import export_session

    console = Console(quiet=quiet)
    with _opened(console, config) as (_, store):
        find_session(store, session)
        turns = store.turns(session) if store is not None else ()
    text = export_session(session, turns, export_format)
    if out is None:
        console.result(text, end="")
    else:
        _write(out, text)
        console.say(f"{_counted(len(turns), 'turn')} written to {short(out)}")
    return 0


def delete(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The sessions' names.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all that are kept.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before deleting all.")] = False,
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Delete conversations."""
    from dispatcher.errors import UsageError

    console = Console(quiet=quiet)
    if bool(sessions) == everything:
        raise UsageError("which sessions are to be deleted?", hint="name them, or use --all; not both")
    names = list(sessions or ())
    with _opened(console, config) as (_, store):
        if everything:
            names = [info.id for info in store.sessions()] if store is not None else []
            if names and not yes:
                _confirm(console, len(names))
        _delete_all(store, names)
    console.say(f"{_counted(len(names), 'session')} deleted")
    return 0


@contextmanager
def _opened(console: Console, config: Path | None) -> Iterator[tuple[SessionSettings, SQLiteSessionStore | None]]:
    from dispatcher.cli.session_store import open_store
    from dispatcher.settings import load_settings

    loaded = load_settings(config=config)
    for notice in loaded.notices:
        console.notice(notice)
    store = open_store(loaded.settings.sessions)
    try:
        yield loaded.settings.sessions, store
    finally:
        if store is not None:
            store.close()


def _summary(info: SessionInfo) -> str:
    when = f"{info.updated.astimezone():%Y-%m-%d %H:%M}"
    agents = ", ".join(info.agents) or "nobody"
    return f"{info.id}  {when}  {_counted(info.turns, 'turn')}  {agents}  {info.title}"


def _print_turns(turns: tuple[Turn, ...], console: Console) -> None:
    from dispatcher.sessions import TurnState

    for turn in turns:
        state = "" if turn.state is TurnState.DONE else f", {turn.state}"
        who = turn.agent or "nobody"
        console.result(f"{turn.number}. {turn.started.astimezone():%Y-%m-%d %H:%M}  {who} ({turn.how}{state})")
        for label, text in (("you", turn.task), (who, turn.answer)):
            if text.strip():
                console.result(f"   {one_line(f'{label}: {text}', console.width - 3)}")


def _confirm(console: Console, count: int) -> None:
    from dispatcher.errors import UsageError

    if not console.is_interactive:
        raise UsageError("nobody can be asked whether to delete all", hint="add --yes")
    if console.ask(f"Delete {_counted(count, 'session')}? [y/N]").lower() not in ("y", "yes"):
        raise UsageError("nothing was deleted")


def _delete_all(store: SQLiteSessionStore | None, names: list[str]) -> None:
    """Raises UnknownSessionError, before anything is deleted, and SessionBusyError for a turn under way."""
    from dispatcher.cli.session_store import find_session
    from dispatcher.errors import SessionBusyError

    for name in names:
        find_session(store, name)
    for name in names:
        if store is None or not store.try_hold(name):
            raise SessionBusyError(f'a turn of the session "{name}" is under way', hint="wait for its end")
        try:
            store.delete(name)
        finally:
            store.release(name)


def _write(path: Path, text: str) -> None:
    import os

    from dispatcher.errors import UsageError

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise UsageError(f"{path}: the file can't be written: {problem.strerror}", hint="check --out") from None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
