"""The commands, and what becomes of an error: one clear line and an exit code.

0 done; 1 a check or gate was missed, or the output could not be written; 2 usage and config; 3 agent files;
4 abstained; 5 the model's service gave no whole answer; 6 the conversation could not be kept or gone on with;
7 a budget is spent; 130 interrupted; 141 nobody reads the output any more.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from dispatcher.cli.console import Console
from dispatcher.cli.group import OUTPUT_CLOSED, TaskGroup
from dispatcher.errors import DispatcherError, UsageError
from dispatcher.version import __version__

__all__ = ["app", "main"]

_INTERRUPTED = 130
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD|CUSTOM_HEADERS")
_SHORTEST_SECRET = 8
_MANY_RECORDS = 500_000
_EPILOG = """\b
Examples:
  dispatch "design a user API"
  dispatch @test-engineer "cover the parser"
  git diff | dispatch "review this"
  dispatch route "the build is red"       who would take it, and why
  dispatch -- eval scores dropped         a task that begins with a command
"""

app = typer.Typer(
    cls=TaskGroup,
    name="dispatch",
    help="Route a task to the right one of your Markdown agents, and print its answer.",
    subcommand_metavar="TASK... | COMMAND [ARGS]...",
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        Console().result(f"agent-dispatcher {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_print_version, is_eager=True),
) -> None:
    """Nothing to do before a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Never shows a traceback, unless asked to with --debug."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Threads for products of matrices take numpy longer to start than a command has use for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The records of thousands of agents and the SDK's classes all stay: going through them for what can be freed would
    # find nothing, and take a twelfth of the time to the first request.
    gc.set_threshold(_MANY_RECORDS)
    _prepare_streams()
    code = _guarded(words)
    # Standard output is flushed here, where a failure can still be told; the interpreter would only grumble.
    code = _flushed(code)
    if arguments is None:
        # The process ends here and its memory with it: it need not be gone through for what could be freed.
        gc.freeze()
    sys.exit(code)


def _prepare_streams() -> None:
    """Output is UTF-8 everywhere; a stream that the caller has closed is one that holds, or takes, nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _guarded(words: list[str]) -> int:
    console = Console()
    options = words[: words.index("--")] if "--" in words else words
    wants_traceback = "--debug" in options
    try:
        returned = app(args=words, prog_name="dispatch", standalone_mode=False)
        if returned == _INTERRUPTED:  # what typer makes of Ctrl-C
            console.say("interrupted")
        return returned if isinstance(returned, int) else 0
    except DispatcherError as error:
        if wants_traceback:
            _print_traceback()
        console.problem(error)
        return error.exit_code
    except TyperException as error:
        return _show_usage_error(error)
    except (typer.Abort, KeyboardInterrupt):
        console.say("interrupted")
        return _INTERRUPTED
    except OSError as error:
        if wants_traceback:
            _print_traceback()
        console.problem(DispatcherError(f"the system refused: {error.strerror or error}", hint="--debug says where"))
        return 1
    except Exception as error:  # noqa: BLE001  a fault of ours: the user gets a line, and --debug the rest
        if wants_traceback:
            _print_traceback()
        console.problem(
            DispatcherError(
                f"this should not have happened: {type(error).__name__}: {error}",
                hint="please report it, with what --debug prints",
            )
        )
        return 1


def _show_usage_error(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "dispatch"
    names = getattr(context.command, "commands", ()) if context else ()
    hint = f"`{path}` has the commands {', '.join(names)}" if names else f"`{path} --help` shows what there is"
    if path in ("dispatch", "dispatch run"):
        hint += "; a task that begins with a dash goes after --"
    else:
        hint += "; a task that begins with a command's name goes after --"
    Console().problem(UsageError(error.format_message(), hint=hint))
    return UsageError.exit_code


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or OUTPUT_CLOSED
    except OSError as error:
        if code == 0:
            Console().problem(DispatcherError(f"the output could not be written: {error.strerror or error}"))
        code = code or 1
    else:
        return code
    # What is left in the buffer would be tried again, and complained of, at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _print_traceback() -> None:
    """The traceback on stderr, without the keys that an exception of somebody else's may quote."""
    import traceback

    from dispatcher.llm.failures import redact

    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    secrets = [word for value in values for word in value.split() if len(word) >= _SHORTEST_SECRET]
    sys.stderr.write(redact(traceback.format_exc(), secrets))
