"""A session to take away: JSON lines, which lose nothing, or Markdown for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from dispatcher.characters import well_formed
from dispatcher.sessions.encoding import as_json, turn_to_dict
from dispatcher.sessions.turn import Turn, TurnState

__all__ = ["EXPORT_FORMATS", "export_session"]


def _jsonl(session_id: str, turns: Sequence[Turn]) -> str:
    return "".join(as_json({"session": session_id, **turn_to_dict(turn)}) + "\n" for turn in turns)


def _markdown(session_id: str, turns: Sequence[Turn]) -> str:
    sections = [section for turn in turns for section in _sections(turn)]
    return well_formed("\n\n".join([f"# Session {session_id}", *sections]) + "\n")


_WRITERS: Mapping[str, Callable[[str, Sequence[Turn]], str]] = {"jsonl": _jsonl, "markdown": _markdown}
EXPORT_FORMATS = tuple(_WRITERS)


def export_session(session_id: str, turns: Sequence[Turn], export_format: str) -> str:
    """A session as text, in one of EXPORT_FORMATS."""
    return _WRITERS[export_format](session_id, turns)


def _sections(turn: Turn) -> Iterator[str]:
    yield f"## {turn.number}. {turn.started:%Y-%m-%d %H:%M} UTC"
    yield f"**You:**\n\n{_quoted(turn.task)}"
    for name, count in _tools_used(turn).items():
        yield f"*{turn.agent} used {name}{f' {count} times' if count > 1 else ''}.*"
    for each in turn.handoffs:
        done = "asked" if each.is_question else "passed the conversation on to"
        yield f"*{each.before} {done} {each.after}:*\n\n{_quoted(each.message)}"
        if each.answer:
            yield f"*{each.after} answered:*\n\n{_quoted(each.answer.strip())}"
    if turn.answer:
        yield f"**{turn.agent}:**\n\n{turn.answer.strip()}"
    if (ending := _ending(turn)) is not None:
        yield f"*{ending}*"


def _ending(turn: Turn) -> str | None:
    """What there is to say of how a turn ended, if not as it should."""
    endings = {
        TurnState.OPEN: "This turn is under way, or its process ended in the middle of it.",
        TurnState.TORN: "The process ended in the middle of this turn.",
        TurnState.CANCELLED: "This turn was stopped.",
        TurnState.FAILED: f"This turn failed: {turn.error}",
    }
    if turn.state in endings:
        return endings[turn.state]
    return "Nobody was sure enough to take this." if turn.agent is None else None


def _tools_used(turn: Turn) -> dict[str, int]:
    counts: dict[str, int] = {}
    for message in turn.messages:
        if not isinstance(message.content, str):
            for block in message.content:
                if block.get("type") == "tool_use":
                    counts[str(block.get("name"))] = counts.get(str(block.get("name")), 0) + 1
    return counts


def _quoted(text: str) -> str:
    return re.sub(r"(?m)^", "> ", text.strip())
