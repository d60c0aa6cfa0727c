"""Labelled conversations: what stands in a file of them, and how well a router keeps and changes agents in them.

Each turn is decided after the turns before it as they are labelled, so that one slip is counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dispatcher.errors import UsageError
from dispatcher.evaluation.tasks import nearest, read_json_lines
from dispatcher.routing import Router
from dispatcher.runtime.sticky import Spoken, route_turn

__all__ = [
    "Conversation",
    "ConversationMetrics",
    "DecidedTurn",
    "Kind",
    "LabelledTurn",
    "check_speakers",
    "decide_turns",
    "labelled_turns",
    "measure_conversations",
    "read_conversations",
]

_SHAPE = '{"turns": [{"task": "...", "agent": "...", "kind": "first"}, ...]}'


class Kind(StrEnum):
    """What a turn is to the one before it."""

    FIRST = "first"
    """It begins the conversation."""
    FOLLOW_UP = "follow_up"
    """It goes on with the subject."""
    SMALL_TALK = "small_talk"
    """It says nothing that anybody has to do, and so stays."""
    CHANGE = "change"
    """It is a new subject, for an agent that has not spoken yet."""
    RETURN = "return"
    """It goes back to the subject of an agent that has spoken before the current one."""


_STAYS = (Kind.FOLLOW_UP, Kind.SMALL_TALK)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTurn:
    """What the user wrote, who should take it, and what it is to the turn before."""

    task: str
    agent: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Turns in their order; `line` is where they stand in their file."""

    turns: tuple[LabelledTurn, ...]
    tags: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedTurn:
    """A turn, the agent that had the conversation, and the one that was chosen; None if nobody was."""

    turn: LabelledTurn
    before: str | None
    chosen: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationMetrics:
    """Shares between 0 and 1, None where there is no such turn.

    n, n_follow_ups, n_changes   turns in all; those that should stay (small talk included); those that should not
    follow_ups_kept              of those that should stay: they did
    small_talk_kept              the same for small talk alone
    changes_caught               of those that should not stay: they did not
    changes_right                of those: the right agent got them
    returns_right                the same for those that go back to an earlier agent
    first_right                  of the first turns: the right agent got them
    """

    n: int
    n_follow_ups: int
    n_changes: int
    follow_ups_kept: float | None
    small_talk_kept: float | None
    changes_caught: float | None
    changes_right: float | None
    returns_right: float | None
    first_right: float | None


def read_conversations(path: Path) -> tuple[Conversation, ...]:
    """The conversations of a file of JSON lines, in its order.

    Raises UsageError, with file and line, for a file that can't be read, a wrong value, and labels that go against
    each other.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise UsageError(
            f"{path}: the conversations can't be read: {problem.strerror or problem}",
            hint="check the path after --conversations",
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the conversations are not UTF-8 text", hint="save the file as UTF-8") from None
    found = tuple(_conversation(record, path, line) for line, record in read_json_lines(text, path))
    if not found:
        raise UsageError(f"{path}: there are no conversations in this file", hint=f"write one a line: {_SHAPE}")
    return found


def check_speakers(conversations: Sequence[Conversation], names: Collection[str], path: Path) -> None:
    """Raises UsageError, with file and line, for the first label that is no agent's name."""
    for conversation in conversations:
        for turn in conversation.turns:
            if turn.agent not in names:
                near = nearest(turn.agent, names)
                hint = f'did you mean "{near}"?' if near else "`dispatch agents list` shows the agents"
                raise UsageError(f'{path}:{conversation.line}: "{turn.agent}" is no agent\'s name', hint=hint)


def labelled_turns(conversation: Conversation) -> Iterator[tuple[LabelledTurn, tuple[Spoken, ...]]]:
    """Each turn with those before it, as routing sees them."""
    spoken: tuple[Spoken, ...] = ()
    for turn in conversation.turns:
        yield turn, spoken
        spoken = (*spoken, Spoken(task=turn.task, agent=turn.agent))


def decide_turns(router: Router, conversations: Sequence[Conversation]) -> tuple[DecidedTurn, ...]:
    """What a router decides for each turn; @mentions are off."""
    return tuple(_decided(router, turn, spoken) for each in conversations for turn, spoken in labelled_turns(each))


def measure_conversations(turns: Sequence[DecidedTurn]) -> ConversationMetrics:
    stays = [one for one in turns if one.turn.kind in _STAYS]
    changes = [one for one in turns if one.turn.kind in (Kind.CHANGE, Kind.RETURN)]

    def is_right(one: DecidedTurn) -> bool:
        return one.chosen == one.turn.agent

    return ConversationMetrics(
        n=len(turns),
        n_follow_ups=len(stays),
        n_changes=len(changes),
        follow_ups_kept=_share(stays, is_right),
        small_talk_kept=_share([one for one in stays if one.turn.kind is Kind.SMALL_TALK], is_right),
        changes_caught=_share(changes, lambda one: one.chosen != one.before),
        changes_right=_share(changes, is_right),
        returns_right=_share([one for one in changes if one.turn.kind is Kind.RETURN], is_right),
        first_right=_share([one for one in turns if one.turn.kind is Kind.FIRST], is_right),
    )


def _decided(router: Router, turn: LabelledTurn, spoken: Sequence[Spoken]) -> DecidedTurn:
    decision = route_turn(turn.task, spoken, lambda task, said: router.route_after(task, said, mentions=False))
    return DecidedTurn(
        turn=turn,
        before=spoken[-1].agent if spoken else None,
        chosen=decision.agent.name if decision.agent is not None else None,
        reason=decision.reason,
    )


def _share(turns: Sequence[DecidedTurn], holds: Callable[[DecidedTurn], bool]) -> float | None:
    return sum(map(holds, turns)) / len(turns) if turns else None


def _conversation(record: Any, path: Path, line: int) -> Conversation:
    turns = record.get("turns") if isinstance(record, dict) else None
    tags = record.get("tags", []) if isinstance(record, dict) else []
    is_list_of_texts = isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    if not isinstance(turns, list) or not turns or not is_list_of_texts:
        raise UsageError(f"{path}:{line}: this is no conversation", hint=f"write it as {_SHAPE}")
    conversation = Conversation(turns=tuple(_turn(each, path, line) for each in turns), tags=tuple(tags), line=line)
    _check_kinds(conversation, path)
    return conversation


def _turn(record: Any, path: Path, line: int) -> LabelledTurn:
    values: list[Any] = [record.get(key) for key in ("task", "agent", "kind")] if isinstance(record, dict) else []
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        raise UsageError(f"{path}:{line}: a turn needs task, agent and kind, each a text", hint=f"write it as {_SHAPE}")
    task, agent, kind = values
    if kind not in list(Kind):
        raise UsageError(f'{path}:{line}: there is no kind "{kind}"', hint=f"use one of {', '.join(Kind)}")
    return LabelledTurn(task=task, agent=agent, kind=Kind(kind))


def _check_kinds(conversation: Conversation, path: Path) -> None:
    """Raises UsageError for a turn whose kind says otherwise than its agent."""
    for place, (turn, spoken) in enumerate(labelled_turns(conversation), start=1):
        before = spoken[-1].agent if spoken else None
        has_spoken = turn.agent in {one.agent for one in spoken}
        expected = {
            Kind.FIRST: not spoken,
            Kind.FOLLOW_UP: turn.agent == before,
            Kind.SMALL_TALK: turn.agent == before,
            Kind.CHANGE: bool(spoken) and not has_spoken,
            Kind.RETURN: has_spoken and turn.agent != before,
        }
        if not expected[turn.kind]:
            raise UsageError(
                f'{path}:{conversation.line}: turn {place} can\'t be "{turn.kind}" with the agent "{turn.agent}"',
                hint="follow_up and small_talk stay, change goes to a new agent, return to an earlier one",
            )
