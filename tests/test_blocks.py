"""Content blocks of a streamed answer."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.llm.blocks import BlockAssembler


def assembled(start: dict[str, Any], *deltas: dict[str, Any]) -> dict[str, Any]:
    assembler = BlockAssembler(start)
    for delta in deltas:
        assembler.feed(delta)
    return assembler.block()


def test_text_and_thought_are_put_together() -> None:
    pieces = [{"type": "text_delta", "text": text} for text in ("a", "b")]
    assert assembled({"type": "text", "text": ""}, *pieces) == {"type": "text", "text": "ab"}
    thought = assembled(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
    )
    assert thought == {"type": "thinking", "thinking": "hm", "signature": "s"}


def test_citations_are_kept() -> None:
    block = assembled({"type": "text", "text": ""}, {"type": "citations_delta", "citation": {"cited_text": "x"}})
    assert block["citations"] == [{"cited_text": "x"}]


def test_a_call_has_the_arguments_of_its_pieces() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": text} for text in ("", '{"a"', ": [1]}")]
    assert assembled(start, *pieces)["input"] == {"a": [1]}
    assert assembled(start)["input"] == {}


@pytest.mark.parametrize("text", ['{"a": ', "[1]"])
def test_arguments_that_are_no_object_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        assembled({"type": "tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": text})


def test_pieces_of_unknown_kinds_are_passed_over() -> None:
    assert assembled({"type": "new"}, {"type": "new_delta", "new": 1}) == {"type": "new"}
