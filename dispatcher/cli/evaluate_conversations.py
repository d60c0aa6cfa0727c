"""dispatch eval --conversations: how well follow-ups stay and new subjects move."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.cli.console import Console, one_line

if TYPE_CHECKING:
    from dispatcher.evaluation.conversations import Conversation, ConversationMetrics, DecidedTurn
    from dispatcher.routing import Router

__all__ = ["evaluate_conversations"]

_GATE_MISSED = 1
_SHOWN = (
    "follow_ups_kept",
    "small_talk_kept",
    "changes_caught",
    "changes_right",
    "returns_right",
    "first_right",
)


def evaluate_conversations(
    path: Path, router: Router, console: Console, *, least: Sequence[str], json_file: Path | None, fingerprint: str
) -> int:
    """Prints the figures, for all and by tag; with --verbose every turn that went wrong."""
    from dispatcher.evaluation.conversations import (
        ConversationMetrics,
        check_speakers,
        decide_turns,
        measure_conversations,
        read_conversations,
    )
    from dispatcher.evaluation.gates import check_gates, parse_gates

    gates = parse_gates(least, tuple(name for name in _names(ConversationMetrics) if not name.startswith("n")))
    conversations = read_conversations(path)
    check_speakers(conversations, [agent.name for agent in router.routable], path)
    decided = [decide_turns(router, [conversation]) for conversation in conversations]
    everything = [turn for turns in decided for turn in turns]
    measured = {"all": measure_conversations(everything)}
    for tag in dict.fromkeys(tag for conversation in conversations for tag in conversation.tags):
        tagged = [
            turn for each, turns in zip(conversations, decided, strict=True) if tag in each.tags for turn in turns
        ]
        measured[tag] = measure_conversations(tagged)
    _print_figures(conversations, measured, console)
    if console.verbose:
        _print_misses(everything, console)
    if json_file is not None:
        _write_json(json_file, measured, fingerprint)
    missed = check_gates(measured["all"], gates)
    for miss in missed:
        console.result(f"missed: {miss.describe()}")
    return _GATE_MISSED if missed else 0


def _names(shape: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(shape))


def _print_figures(
    conversations: Sequence[Conversation], measured: dict[str, ConversationMetrics], console: Console
) -> None:
    whole = measured["all"]
    counts = f"{whole.n} turns: {whole.n_follow_ups} that stay, {whole.n_changes} that change"
    console.result(f"{len(conversations)} conversations, {counts}")
    console.result((f"{'':18}" + "".join(f"{one_line(tag, 14):>16}" for tag in measured)).rstrip())
    for name in _SHOWN:
        values = (getattr(metrics, name) for metrics in measured.values())
        cells = "".join(f"{'-' if value is None else f'{value:.3f}':>16}" for value in values)
        console.result(f"{name:18}{cells}")


def _print_misses(turns: Sequence[DecidedTurn], console: Console) -> None:
    for one in turns:
        if one.chosen != one.turn.agent:
            went = f"{one.turn.kind}: {one.turn.agent} expected, {one.chosen or 'nobody'} chosen: {one.turn.task}"
            console.result(one_line(went, console.width))


def _write_json(path: Path, measured: dict[str, ConversationMetrics], fingerprint: str) -> None:
    from dispatcher.cli.outputs import SCHEMA_VERSION, ConversationsOutput, to_json
    from dispatcher.errors import UsageError

    output: ConversationsOutput = {
        "schema_version": SCHEMA_VERSION,
        "weights": fingerprint,
        "metrics": measured["all"],
        "by_tag": {tag: metrics for tag, metrics in measured.items() if tag != "all"},
    }
    try:
        path.write_text(to_json(ConversationsOutput, output) + "\n", encoding="utf-8", newline="\n")
    except OSError as problem:
        raise UsageError(f"{path}: the figures can't be written: {problem.strerror}", hint="check --json") from None
