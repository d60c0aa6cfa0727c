"""The body of an agent file as sections, bullets and paragraphs, each with its line in the file.

Reads lines, not Markdown's grammar: what is wanted are headings and lists, also where code fences don't balance.
A fence opens only if its partner is found: an opening one nested in another, as in a block that shows how to write a
block, is paired with its own end, and one that never ends hides nothing.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dispatcher.agentfile.prose import plain_text

__all__ = ["Document", "Item", "Section", "parse_document"]

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*)$")
_UNDERLINE = re.compile(r"={3,}\s*$")
_BULLET = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(.*)$")
_BULLETS = "-*+•"
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
_LABEL = re.compile(r"(?:\*\*|__)(?P<bold>.+?)(?:\*\*|__)\s*:?$|(?P<plain>[^-*+#>|<\s].{0,120}):$")
_ENDS_OF_LABELS = ":*_"
_BOLD_LABEL = re.compile(r"(?:\*\*|__)(.+?)(?:\*\*|__)\s*(?:\([^)]*\)\s*)?(.*)$")
_LONGEST_LABEL = 60
_MAX_NESTING = 30


class Item(NamedTuple):
    """A bullet: its text without markup and as it is written, and the line above the list."""

    text: str
    written: str
    indent: int
    line: int
    lead: str = ""

    @property
    def label(self) -> str | None:
        """What it begins with, in bold or before a colon."""
        label, _ = self._parts()
        return (plain_text(label).rstrip(": ") or None) if label else None

    @property
    def rest(self) -> str:
        """What follows the label; all of it where it has none."""
        _, rest = self._parts()
        return plain_text(rest).lstrip(":-–— ")

    def _parts(self) -> tuple[str, str]:
        bold = _BOLD_LABEL.match(self.written)
        if bold is not None:
            return bold[1], bold[2]
        head, colon, tail = self.written.partition(": ")
        return (head, tail) if colon and len(head) <= _LONGEST_LABEL else ("", self.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading (level 1 to 6; 0 for what stands before the first) with what stands under it, up to the next one."""

    title: str
    level: int
    line: int
    items: tuple[Item, ...]
    paragraphs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A body's sections in order."""

    sections: tuple[Section, ...]

    @property
    def headings(self) -> tuple[Section, ...]:
        return tuple(section for section in self.sections if section.level)

    def below(self, section: Section) -> tuple[Section, ...]:
        """The sections under the heading `section`, at any depth."""
        start = bisect.bisect_right(self.sections, section.line, key=lambda part: part.line)
        end = start
        while end < len(self.sections) and self.sections[end].level > section.level:
            end += 1
        return self.sections[start:end]


def parse_document(body: str, *, first_line: int = 1) -> Document:
    """Reads a body whose first line is line `first_line` of its file."""
    lines = [line.rstrip("\r") for line in body.split("\n")] if "\r" in body else body.split("\n")
    hidden = _fenced_lines(lines)
    has_underlines = "\n===" in body
    sections: list[Section] = []
    title, level, line, content = "", 0, first_line, []  # type: str, int, int, list[tuple[int, str]]
    for index, text in enumerate(lines):
        if index in hidden:
            continue
        heading = _heading(lines, index) if has_underlines or text.startswith("#") else None
        if heading is None:
            content.append((first_line + index, text))
            continue
        sections.append(_section(title, level, line, content))
        (level, title), line, content = heading, first_line + index, []
    sections.append(_section(title, level, line, content))
    return Document(sections=tuple(sections))


def _heading(lines: Sequence[str], index: int) -> tuple[int, str] | None:
    found = _HEADING.match(lines[index]) if lines[index].startswith("#") else None
    if found is not None and (title := _without_closing_marks(found[2])):
        return len(found[1]), plain_text(title)
    below = lines[index + 1] if index + 1 < len(lines) else ""
    if below.startswith("===") and _UNDERLINE.match(below) is not None and lines[index].strip():
        return 1, plain_text(lines[index])
    return None


def _without_closing_marks(title: str) -> str:
    """A heading's text without the #s that may close it; the one of "C#" is its own."""
    bare = title.rstrip().rstrip("#")
    return bare.strip() if not bare or bare[-1].isspace() else title.strip()


def _section(title: str, level: int, line: int, content: Sequence[tuple[int, str]]) -> Section:
    items: list[Item] = []
    paragraphs: list[tuple[str, int]] = []
    heads: list[tuple[int, str]] = []  # bullets that end in a colon lead those indented under them
    for kind, text, indent, lead, number in _blocks(content):
        if kind == "item":
            heads = [head for head in heads if head[0] < indent] if heads else heads
            items.append(Item(plain_text(text), text, indent, number, heads[-1][1] if heads else lead))
            if text.rstrip("*_ ").endswith(":"):
                heads.append((indent, items[-1].text.rstrip(":")))
        elif text:
            paragraphs.append((plain_text(text), number))
    return Section(title=title, level=level, line=line, items=tuple(items), paragraphs=tuple(paragraphs))


def _blocks(content: Sequence[tuple[int, str]]) -> Iterator[tuple[str, str, int, str, int]]:
    """Bullets and paragraphs, their continuation lines joined: kind, text, indentation, lead, line."""
    kind, held, indent, start, lead = "", [], 0, 0, ""  # type: str, list[str], int, int, str
    for number, text in content:
        stripped = text.strip()
        if not stripped:
            if held:
                yield kind, " ".join(held), indent, lead, start
            kind, held = "", []
            continue
        bullet = _BULLET.match(text) if stripped[0] in _BULLETS or stripped[0].isdecimal() else None
        label = _LABEL.match(stripped) if bullet is None and stripped[-1] in _ENDS_OF_LABELS else None
        if bullet is None and label is None and held and (kind == "paragraph" or text[0].isspace()):
            held.append(stripped)
            continue
        if held:
            yield kind, " ".join(held), indent, lead, start
        start = number
        if bullet is not None:
            kind, held, indent = "item", [bullet[2].strip()], len(bullet[1].expandtabs(4))
        else:
            lead = plain_text(label["bold"] or label["plain"]).rstrip(":") if label else ""
            kind, held = "paragraph", [stripped]
    if held:
        yield kind, " ".join(held), indent, lead, start


def _fenced_lines(lines: Sequence[str]) -> frozenset[int]:
    """The indices of the lines of code blocks, fences included."""
    opened: list[tuple[int, str]] = []
    hidden: set[int] = set()
    for index in [index for index, line in enumerate(lines) if "```" in line or "~~~" in line]:
        fence = _FENCE.match(lines[index])
        if fence is None:
            continue
        mark, info = fence[1], fence[2].strip()
        if not info and (partner := _partner(opened, mark)) is not None:
            start, _ = opened[partner]
            del opened[partner:]
            hidden.update(range(start, index + 1))
        else:
            opened = [*opened[-_MAX_NESTING:], (index, mark)]
    return frozenset(hidden)


def _partner(opened: Sequence[tuple[int, str]], mark: str) -> int | None:
    """The innermost open fence that `mark` closes: of the same character and at most as long."""
    for position in range(len(opened) - 1, -1, -1):
        if mark[0] == opened[position][1][0] and len(mark) >= len(opened[position][1]):
            return position
    return None
