"""Front matter that is valid YAML, read without surprises.

YAML's own habits hurt here: `no` as a key becomes False, a version 1.10 becomes 1.1, of two equal keys one vanishes,
and an alias can stand for a million nodes. So the C parser builds the node graph, and the values are made here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

__all__ = ["FrontMatter", "UnsafeYamlError", "parse_strictly"]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_TEXTS = frozenset({"description", "color"})
_PART_OF_TEXT = re.compile(r"\s*#\w")
_PLAIN_TAGS = "tag:yaml.org,2002:"


class UnsafeYamlError(yaml.YAMLError):
    """YAML that an agent file has no use for and that could do harm."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """The values by key, and where each key stands.

    `duplicates` maps a key that stands more than once to its lines, and `overridden` to the values that lost.
    `mistyped` are keys that YAML would not read as text, and `cut` those whose plain text YAML cuts at a `#`.
    `raw` is the source text of each plain or quoted scalar.
    `is_list` marks mappings that were the entries of a list.
    """

    values: dict[str, Any]
    lines: dict[str, int]
    raw: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, tuple[int, ...]] = field(default_factory=dict)
    overridden: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    mistyped: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    is_list: bool = False


def parse_strictly(header: str, *, first_line: int) -> FrontMatter | None:
    """The front matter of `header`, whose first line is line `first_line` of its file; None where it is no mapping.

    A list of mappings counts as one mapping, and its other entries as the value of a key `entries`.
    Raises yaml.YAMLError for text that is not YAML, and UnsafeYamlError for tags, exploding aliases or deep nesting.
    """
    try:
        _refuse_excess(header, first_line)
        root = yaml.compose(header, Loader=_Loader)
    except ValueError as problem:  # the C parser's word for characters that YAML forbids
        raise yaml.YAMLError(str(problem)) from None
    if root is None and not header.strip():
        return FrontMatter(values={}, lines={})
    entries = root.value if isinstance(root, yaml.SequenceNode) else [root]
    mappings = [entry for entry in entries if isinstance(entry, yaml.MappingNode)]
    if not mappings:
        return None
    builder = _Builder(first_line)
    seen: dict[str, list[tuple[int, Any]]] = {}
    raw, mistyped, cut = {}, [], []
    for key_node, value_node in (pair for mapping in mappings for pair in mapping.value):
        key = builder.key(key_node)
        if key_node.tag != f"{_PLAIN_TAGS}str":
            mistyped.append(key)
        if isinstance(value_node, yaml.ScalarNode):
            raw[key] = value_node.value
        value = builder.value(value_node)
        if key.lower() in _TEXTS and (rest := _cut_off(value_node, header)):
            value = f"{value or ''}{rest}".strip()
            cut.append(key)
        seen.setdefault(key, []).append((builder.line(key_node), value))
    if others := [entry for entry in entries if entry is not None and not isinstance(entry, yaml.MappingNode)]:
        seen.setdefault("entries", []).append((first_line, [builder.value(entry) for entry in others]))
    chosen = {key: _last_with_value(entries) for key, entries in seen.items()}
    repeated = {key: entries for key, entries in seen.items() if len(entries) > 1}
    return FrontMatter(
        values={key: value for key, (_, value) in chosen.items()},
        lines={key: line for key, (line, _) in chosen.items()},
        raw=raw,
        duplicates={key: tuple(line for line, _ in entries) for key, entries in repeated.items()},
        overridden={
            key: tuple(value for line, value in entries if line != chosen[key][0]) for key, entries in repeated.items()
        },
        mistyped=tuple(mistyped),
        cut=tuple(cut),
        is_list=isinstance(root, yaml.SequenceNode),
    )


def _cut_off(node: yaml.Node, header: str) -> str:
    """What follows a plain value on its line and looks like a part of it ("issue #42"), not like a remark."""
    if not isinstance(node, yaml.ScalarNode) or node.style:  # the C parser says "" of a plain one, the other None
        return ""
    rest = header[node.end_mark.index :].partition("\n")[0].rstrip()
    return rest if _PART_OF_TEXT.match(rest) else ""


def _refuse_excess(header: str, first_line: int) -> None:
    """Raises UnsafeYamlError before the C parser follows a nesting so deep that it would end the whole process.

    Also for so many values that making them would take long.
    """
    if sum(map(header.count, "[{-?:,")) <= _MAX_DEPTH:
        return
    depth = 0
    for count, event in enumerate(yaml.parse(header, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            line = event.start_mark.line if event.start_mark is not None else 0
            raise UnsafeYamlError("it is nested too deeply", first_line + int(line))
        if count > _MAX_NODES:
            raise UnsafeYamlError("it holds too many values", first_line)


def _last_with_value(entries: Iterable[tuple[int, Any]]) -> tuple[int, Any]:
    listed = list(entries)
    return next((entry for entry in reversed(listed) if entry[1] not in (None, "")), listed[-1])


class _Builder:
    """Makes plain values from YAML nodes, counting them, so that aliases can't explode."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._count = 0

    def line(self, node: yaml.Node) -> int:
        return self._first_line + int(node.start_mark.line)

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise UnsafeYamlError("a key is not plain text", self.line(node))
        return str(node.value)

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self._count += 1
        if self._count > _MAX_NODES:
            raise UnsafeYamlError("its aliases stand for too many values", self.line(node))
        if depth > _MAX_DEPTH:
            raise UnsafeYamlError("it is nested too deeply", self.line(node))
        if not node.tag.startswith(_PLAIN_TAGS) or node.tag.startswith(f"{_PLAIN_TAGS}python"):
            raise UnsafeYamlError(f"the tag {node.tag} is not allowed", self.line(node))
        if isinstance(node, yaml.MappingNode):
            return {self.key(key): self.value(value, depth + 1) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return _scalar(node.tag.removeprefix(_PLAIN_TAGS), str(node.value))


def _scalar(kind: str, text: str) -> Any:
    """A scalar as Python's own type where that loses nothing of what was written, and as text where it would."""
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind in ("int", "float"):
        number = _number(text)
        return number if number is not None and str(number) == text else text
    return text


def _number(text: str) -> int | float | None:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return None
