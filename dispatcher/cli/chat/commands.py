"""The commands of the chat: "/name", and what may follow it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dispatcher.cli.chat.conversation import Conversation
from dispatcher.cli.console import one_line, short
from dispatcher.cli.views import show_decision
from dispatcher.errors import UsageError
from dispatcher.runtime import load_attachment
from dispatcher.sessions import Turn, export_session, total_cost, total_usage

__all__ = ["COMMANDS", "FREE", "Command", "carry_out", "is_command"]

_COMMAND = re.compile(r"/(\w*|\?)(?:\s+(.*))?", re.DOTALL)
FREE = "auto"  # in place of an agent's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command; `takes` says what may follow it, `argument` how help shows that."""

    do: Callable[[Conversation, str], None]
    about: str
    takes: Literal["agent", "file", "text"] | None = None
    argument: str = ""


def is_command(line: str) -> bool:
    """Whether a line is a command, rather than a task that begins with a path."""
    return _COMMAND.fullmatch(line) is not None


def carry_out(conversation: Conversation, line: str) -> None:
    """Does what a line says. Raises UsageError for a command that there is not, or what the command raises."""
    found = _COMMAND.fullmatch(line)
    name, argument = (found[1], (found[2] or "").strip()) if found is not None else ("", "")
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f'there is no command "/{name}"', hint=_nearest(name))
    if argument and command.takes is None:
        raise UsageError(f"nothing goes after /{name}", hint="/help shows the commands")
    command.do(conversation, argument)


def _help(conversation: Conversation, argument: str) -> None:
    rows = [(f"/{name} {command.argument}".rstrip(), command.about) for name, command in COMMANDS.items()]
    rows += [
        ("@NAME TASK", "give the conversation to an agent; @auto decides anew"),
        ("Alt-Enter", "begin another line of the same task"),
        ("Ctrl-C", "stop the answer; what came is kept"),
        ("Ctrl-D", "leave; the next chat goes on here" if conversation.is_kept else "leave; nothing is kept"),
    ]
    conversation.view.table(rows)


def _agents(conversation: Conversation, argument: str) -> None:
    agents = conversation.dispatcher.registry.routable
    wanted = argument.casefold()
    found = [agent for agent in agents if wanted in f"{agent.name} {agent.description}".casefold()]
    if not found:
        raise UsageError(f'no agent has "{argument}" in its name or description', hint="/agents lists them all")
    conversation.view.agents(found, current=conversation.session.agent)


def _agent(conversation: Conversation, argument: str) -> None:
    say = conversation.view.console.say
    if argument == FREE:
        conversation.agent = None
    elif argument:
        conversation.agent = conversation.dispatcher.registry.find(argument).name
    if conversation.agent is not None:
        say(f"All tasks go to {conversation.agent}; /agent {FREE} lets it go.")
    elif (current := conversation.session.agent) is not None:
        say(f"{current} has the conversation; follow-ups stay, new subjects go to whom they fit.")
    else:
        say("Nobody has the conversation yet; each task goes to whom it fits.")


def _why(conversation: Conversation, argument: str) -> None:
    if conversation.decision is not None:
        show_decision(conversation.decision, conversation.view.console, in_full=True)
        return
    turn = _last_turn(conversation, "there is no decision yet")
    sure = f", {turn.confidence:.0%} sure" if turn.confidence < 1 else ""
    conversation.view.console.say(f"{turn.agent or 'nobody'} ({turn.how}{sure}): {turn.reason}")


def _cost(conversation: Conversation, argument: str) -> None:
    turns = conversation.session.turns
    if not turns:
        raise UsageError("nothing was sent yet", hint="ask something first")
    by_agent: dict[str, list[Turn]] = {}
    for turn in turns:
        by_agent.setdefault(turn.agent or "nobody", []).append(turn)
    rows = [(name, _spent(own)) for name, own in by_agent.items()]
    conversation.view.table([("last turn", _spent(turns[-1:])), *rows, ("in all", _spent(turns))])
    limit = conversation.dispatcher.settings.budget.session
    if limit is not None:
        conversation.view.console.say(f"The budget of a session is ${limit:.2f}.")


def _undo(conversation: Conversation, argument: str) -> None:
    turn = conversation.undo()
    left = len(conversation.session.turns)
    task = one_line(turn.task, conversation.view.console.width // 2)
    conversation.view.console.say(f'Taken back: "{task}". {left} {"turn" if left == 1 else "turns"} left.')


def _retry(conversation: Conversation, argument: str) -> None:
    conversation.retry(argument or None)


def _file(conversation: Conversation, argument: str) -> None:
    if not argument:
        raise UsageError("which file?", hint="/file PATH sends a text, image or PDF with the next task")
    attachment = load_attachment(argument)
    conversation.attachments.append(attachment)
    conversation.view.console.say(f"{attachment.name} goes with the next task ({attachment.size:,} bytes).")


def _save(conversation: Conversation, argument: str) -> None:
    if not argument:
        raise UsageError("into which file?", hint="/save FILE writes Markdown; JSON lines if it ends in .jsonl")
    _last_turn(conversation, "there is nothing to save yet")
    path = Path(argument).expanduser()
    session = conversation.session
    _write_new(path, export_session(session.id, session.turns, "jsonl" if path.suffix == ".jsonl" else "markdown"))
    conversation.view.console.say(f"Saved in {short(path)}, readable by you alone.")


def _new(conversation: Conversation, argument: str) -> None:
    conversation.begin()
    conversation.view.console.say("A new conversation.")


def _quit(conversation: Conversation, argument: str) -> None:
    conversation.is_over = True


COMMANDS: Mapping[str, Command] = {
    "agents": Command(do=_agents, about="list the agents, all or those with a word", takes="text", argument="[WORD]"),
    "agent": Command(
        do=_agent, about=f"give all tasks to one agent; {FREE} lets it go", takes="agent", argument="[NAME]"
    ),
    "why": Command(do=_why, about="say in full why the last agent was chosen"),
    "cost": Command(do=_cost, about="show tokens and dollars, by agent"),
    "undo": Command(do=_undo, about="take the last turn back, also from what is kept"),
    "retry": Command(do=_retry, about="ask the last task again, or another agent", takes="agent", argument="[NAME]"),
    "file": Command(do=_file, about="send a file along with the next task", takes="file", argument="PATH"),
    "save": Command(do=_save, about="write the conversation to a new file", takes="file", argument="FILE"),
    "new": Command(do=_new, about="begin another conversation"),
    "help": Command(do=_help, about="show this"),
    "quit": Command(do=_quit, about="leave"),
}


def _last_turn(conversation: Conversation, message: str) -> Turn:
    turns = conversation.session.turns
    if not turns:
        raise UsageError(message, hint="ask something first; without a key nothing is kept")
    return turns[-1]


def _spent(turns: Iterable[Turn]) -> str:
    turns = list(turns)
    used = total_usage(turns)
    unknown = sum(turn.cost is None and turn.usage.output_tokens > 0 for turn in turns)
    missing = f" and {unknown} of unknown price" if unknown else ""
    count = f"{len(turns)} {'turn' if len(turns) == 1 else 'turns'}"
    return f"{count}, {used.prompt_tokens:,} tokens in, {used.output_tokens:,} out, ${total_cost(turns):.4f}{missing}"


def _write_new(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: the file is there already", hint="name another; nothing is written over") from None
    except OSError as problem:
        raise UsageError(f"{path}: the file can't be written: {problem.strerror}", hint="name another") from None


def _nearest(name: str) -> str:
    from rapidfuzz import process

    found = process.extractOne(name, list(COMMANDS), score_cutoff=60)
    return f"did you mean /{found[0]}? /help shows them all" if found else "/help shows them all"
