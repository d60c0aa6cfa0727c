"""Front matter that is not valid YAML, read line by line.

Most broken files have one fault: a description that goes on over example blocks, whose `user: "..."` lines YAML takes
for keys. So the header is cut at the lines that are keys of the file, each piece is tried as YAML by itself, and what
is still no YAML is taken as the text it is.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import yaml

from dispatcher.agentfile.keys import KNOWN_KEYS, RESTRICTING_KEYS, SPELLINGS
from dispatcher.agentfile.strict import FrontMatter, parse_strictly

__all__ = ["LEAKED_KEYS", "header_length", "parse_leniently", "unescape_line_ends"]

LEAKED_KEYS = frozenset({"user", "assistant", "context", "commentary", "human"})

_KEY_LINE = re.compile(r"""(?P<quote>["']?)(?P<key>[A-Za-z][\w.-]*)(?P=quote)[ \t]*:(?=\s|$)""")
_EXAMPLES_LABEL = re.compile(r"(?i)examples?$")
_KEY_AT_LINE_START = re.compile("^" + _KEY_LINE.pattern, re.MULTILINE)
_PLAIN_KEYS = frozenset(
    key for field in ("description", "model", "color", *RESTRICTING_KEYS) for key in SPELLINGS[field]
)
_PLAIN_VALUE = re.compile(r":[ \t]+[^\s|>\[{\"'&*!]")
_HEADING = re.compile(r"#{1,6}[ \t]+\S")
_MAX_KEYS = 1_000
_LITERAL_LINE_END = re.compile(r"\\(?<!\s[A-Za-z]:\\)(?:r\\)?n")  # but not the \n of a path such as C:\new


def parse_leniently(header: str, *, first_line: int) -> FrontMatter:
    """The front matter of a header that strict YAML can't read. Never raises; may find no keys at all."""
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    duplicates: dict[str, tuple[int, ...]] = {}
    overridden: dict[str, tuple[Any, ...]] = {}
    for key, piece, index in _pieces(header):
        value = _value_of(key, piece)
        line = first_line + index
        if key in values:
            duplicates[key] = (*duplicates.get(key, (lines[key],)), line)
            if value in (None, ""):
                continue
            overridden[key] = (*overridden.get(key, ()), values[key])
        values[key], lines[key] = value, line
    return FrontMatter(values=values, lines=lines, duplicates=duplicates, overridden=overridden)


def header_length(text: str, *, closed: bool) -> int:
    """How many characters of `text` are header, where the closing fence is missing or belongs to the body.

    The header ends at a blank line after which, outside an example block, a heading or unindented prose begins, or at
    a heading with prose below it. Where there is a closing fence, text up to the last key before it is the value of a
    key, paragraphs and all.
    """
    last_key = _position_of_last_key(text) if closed else -1
    position = 0
    previous_blank = inside_example = False
    for line, following in _with_following(text.splitlines(keepends=True)):
        if position > last_key and not inside_example and _begins_body(line):
            is_title = _HEADING.match(line) is not None and position > 0 and _begins_body(following)
            if previous_blank or is_title:
                return position
        inside_example = _example_open_after(line, inside_example)
        previous_blank = not line.strip()
        position += len(line)
    return len(text)


def unescape_line_ends(text: str) -> str:
    r"""A text in which `\n` was typed as two characters, with real line ends."""
    if text.count("\\n") < 2 and "\\n<" not in text:
        return text
    return _LITERAL_LINE_END.sub("\n", text).replace('\\"', '"')


def _pieces(header: str) -> Iterator[tuple[str, str, int]]:
    """The header cut at its keys: the key, its lines, and the index of its first line."""
    key: str | None = None
    start = 0
    seen: list[str] = []
    held: list[str] = []
    inside_example = False
    for index, line in enumerate(header.replace("\r\n", "\n").split("\n")):
        if len(held) == 1 and _is_misplaced_key(line, held[0], seen):
            line = line.lstrip()
        found = _key_of(line, seen, inside_example=inside_example) if len(seen) < _MAX_KEYS else None
        if found is not None:
            if key is not None:
                yield key, "\n".join(held), start
            key, start, held = found, index, [line]
            seen.append(found)
        elif key is not None:
            held.append(line)
        inside_example = _example_open_after(line, inside_example and found is None)
    if key is not None:
        yield key, "\n".join(held), start


def _key_of(line: str, seen: Collection[str], *, inside_example: bool) -> str | None:
    """The key that a line begins with; in an example block only one that is known and has not been seen."""
    found = _KEY_LINE.match(line)
    if found is None:
        return None
    key = found["key"]
    if key.lower() in LEAKED_KEYS or (seen and _EXAMPLES_LABEL.match(key) and "<example" in line):
        return None
    if inside_example and (key.lower() not in KNOWN_KEYS or key in seen):
        return None
    return key


def _is_misplaced_key(line: str, previous: str, seen: Collection[str]) -> bool:
    """Whether an indented line is a key of the file all the same: a known one, below a key with a plain value."""
    found = _KEY_LINE.match(line.lstrip())
    if found is None or not line[:1].isspace() or "<example" in previous:
        return False
    return found["key"] in _PLAIN_KEYS and found["key"] not in seen and _PLAIN_VALUE.search(previous) is not None


def _value_of(key: str, piece: str) -> Any:
    for attempt in (piece, piece.replace("\t", "  ")):
        try:
            parsed = parse_strictly(attempt, first_line=1)
        except yaml.YAMLError:
            continue
        if parsed is not None and list(parsed.values) == [key]:
            return parsed.values[key]
    return _text_of(piece)


def _text_of(piece: str) -> str:
    """The text of a piece that is no YAML, less its key, a block indicator, quotes around it and indentation."""
    first, _, rest = piece.partition("\n")
    first = first.split(":", 1)[1].strip()
    if re.fullmatch(r"[|>][+-]?\d*", first):
        first = ""
    text = "\n".join(part for part in (first, textwrap.dedent(rest)) if part).strip()
    for quote in ('"', "'"):
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            text = text[1:-1].replace(f"\\{quote}", quote)
            break
    return text


def _example_open_after(line: str, is_open: bool) -> bool:
    last_open, last_close = line.rfind("<example>"), line.rfind("</example>")
    if last_open == last_close == -1:
        return is_open
    return last_open > last_close


def _begins_body(line: str) -> bool:
    if not line.strip() or line[0].isspace() or line.startswith(("<", "-")):
        return False
    return _HEADING.match(line) is not None or _KEY_LINE.match(line) is None


def _with_following(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line with the next one that is not blank."""
    following, pairs = "", []
    for line in reversed(lines):
        pairs.append((line, following))
        following = line if line.strip() else following
    return reversed(pairs)


def _position_of_last_key(text: str) -> int:
    found = [match.start() for match in _KEY_AT_LINE_START.finditer(text) if match["key"].lower() in KNOWN_KEYS]
    return found[-1] if found else -1
