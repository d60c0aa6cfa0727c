"""Example blocks: what users were thought to type, wherever a file shows it.

Blocks in <example> tags, in the description or the body, labelled `user:` or tagged <user_request>, with real line
ends, literal ones or none left; turns without tags; a front matter list; bullets under "Example interactions".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dispatcher.agent import Example
from dispatcher.agentfile.lenient import unescape_line_ends
from dispatcher.agentfile.lines import LineIndex
from dispatcher.agentfile.prose import plain_text
from dispatcher.agentfile.sections import Document

__all__ = [
    "examples_from_body",
    "examples_from_document",
    "examples_from_text",
    "examples_from_value",
    "without_examples",
]

# A text up to a tag is all that is no "<", and each "<" that does not begin the tag: sooner found than by ".*?".
_BLOCK = re.compile(r"<example>([^<]*(?:<(?!/?example>)[^<]*)*)(?:</example>)?", re.IGNORECASE)
_BLOCKS_WRAPPER = re.compile(r"</?examples?>", re.IGNORECASE)
_TAGS = {
    "context": "context",
    "user": "user",
    "user_request": "user",
    "assistant": "assistant",
    "assistant_response": "assistant",
    "response": "assistant",
    "commentary": "commentary",
}
_TAGGED = re.compile(
    rf"<(?P<tag>{'|'.join(_TAGS)})>(?P<text>[^<]*(?:<(?!/(?P=tag)>)[^<]*)*)(?:</(?P=tag)>)?", re.IGNORECASE
)
_LABELS = {
    "context": "context",
    "situation": "context",
    "background": "context",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "agent": "assistant",
    "commentary": "commentary",
}
_LABEL = re.compile(
    r"(?:(?P<start>^|\n)[ \t>*_-]*(?P<speaker>[A-Za-z][\w ]{1,24}?)|(?<=[\s\"'”])\*{0,2}(?P<word>[A-Za-z]{4,10}))"
    r"\*{0,2}:\*{0,2}[ \t]*(?P<quote>[\"'“]?)"
)
_UNTAGGED_TURN = re.compile(r"\buser:\s*[\"'“]", re.IGNORECASE)
_UNTAGGED_START = re.compile(r"(?:^|\s)(?:[-*]\s*)?(?:\*{0,2}Context\*{0,2}:|user:\s*[\"'“])", re.IGNORECASE)
_QUOTED_TURN = re.compile(
    r"^[ \t>*_-]{0,20}(?:user|human)\*{0,2}:\*{0,2}[ \t]{0,9}[\"“]([^\"”\n]+)[\"”]", re.I | re.MULTILINE
)
_SPEAKERS = ("user:", "user*", "human:", "human*")  # one of which every such turn has
_TITLE = re.compile(r"\bexample (interaction|prompt|request|quer|use case|task|question|trigger)s?|\bcommon scenarios")


def examples_from_text(text: str, *, first_line: int | None = None, lines: Sequence[int] = ()) -> tuple[Example, ...]:
    """The example blocks of a text.

    `first_line` is the text's line in the file, if it stands there as it is; where it doesn't, `lines` are those of the
    tags that open the blocks.
    """
    text = unescape_line_ends(text)
    index = LineIndex(text, first_line=first_line) if first_line is not None else None
    found = _tagged_blocks(text, index, lines)
    if found or not _UNTAGGED_TURN.search(text):
        return found
    return tuple(example for part in _untagged_blocks(text) for example in _parse_block(part, first_line))


def examples_from_body(body: str, *, first_line: int) -> tuple[Example, ...]:
    """The example blocks of a prompt, or else the lines on which it quotes what a user says."""
    index = LineIndex(body, first_line=first_line)
    if found := _tagged_blocks(body, index):
        return found
    lowered = body.lower()
    if not any(speaker in lowered for speaker in _SPEAKERS):
        return ()
    return tuple(
        Example(user=_clean(found[1]), line=index.line_of(found.start()))
        for found in _QUOTED_TURN.finditer(body)
        if len(found[1].split()) > 1
    )


def examples_from_document(document: Document) -> tuple[Example, ...]:
    """Bullets of sections that list what users would ask for."""
    return tuple(
        Example(user=item.text.strip("\"'“”"), line=item.line)
        for section in document.headings
        if _TITLE.search(section.title.lower())
        for item in section.items
    )


def examples_from_value(value: Any, line: int | None) -> tuple[Example, ...]:
    """Examples of a front matter key or of a JSON file: a list of texts, or of mappings by role."""
    entries: Sequence[Any] = value if isinstance(value, list) else [value]
    found: list[Example] = []
    for entry in entries:
        if isinstance(entry, Mapping):
            found.extend(_from_mapping(entry, line))
        elif isinstance(entry, str) and entry.strip():
            blocks = examples_from_text(entry)
            found.extend(blocks or (Example(user=" ".join(entry.split()), line=line),))
    return tuple(found)


def without_examples(text: str) -> str:
    """A text without its example blocks and without the words that announce them."""
    text = _BLOCKS_WRAPPER.sub("", _BLOCK.sub("", unescape_line_ends(text)))
    if (turn := _UNTAGGED_TURN.search(text)) is not None:
        start = next(_UNTAGGED_START.finditer(text), turn).start()
        text = text[:start]
    return text.strip()


def _tagged_blocks(text: str, index: LineIndex | None, lines: Sequence[int] = ()) -> tuple[Example, ...]:
    found: list[Example] = []
    for number, block in enumerate(_BLOCK.finditer(text)):
        known = lines[number] if number < len(lines) else None
        found.extend(_parse_block(block[1], known or (index.line_of(block.start()) if index is not None else None)))
    return tuple(found)


def _parse_block(block: str, line: int | None) -> Iterator[Example]:
    fields: dict[str, list[str]] = {"context": [], "user": [], "assistant": [], "commentary": []}
    for tagged in _TAGGED.finditer(block):
        fields[_TAGS[tagged["tag"].lower()]].append(_clean(tagged["text"]))
    rest = _TAGGED.sub("\n", block)
    for role, text in _labelled(rest):
        fields[role].append(text)
    first, *others = fields["user"] or [""]
    context = " ".join(fields["context"])
    if not (first or context):
        return  # a sample of the agent's output, not of what users ask
    yield Example(
        user=first,
        context=context,
        assistant=" ".join(fields["assistant"]),
        commentary=" ".join(fields["commentary"]),
        line=line,
    )
    for other in others:
        yield Example(user=other, context=context, line=line)


def _labelled(text: str) -> Iterator[tuple[str, str]]:
    """The labelled turns of a block, in order; a name that speaks in quotes ("Daisy: '...'") is a user."""
    marks = []
    for found in _LABEL.finditer(text):
        role = _LABELS.get((found["speaker"] or found["word"]).lower())
        if role is None and found["quote"] and found["start"] is not None:
            role = "user"
        if role is not None:
            marks.append((found.start(), found.end() - len(found["quote"]), role))
    for (_, start, role), following in zip(marks, [*marks, None][1:], strict=True):
        content = _clean(text[start : following[0] if following else None])
        if content:
            yield role, content


def _untagged_blocks(text: str) -> Iterator[str]:
    starts = [found.start() for found in _UNTAGGED_START.finditer(text)]
    blocks = [text[start:end] for start, end in zip(starts, [*starts, None][1:], strict=True)]
    held = ""
    for block in blocks:  # a context belongs to the turn that follows it
        held += block
        if _UNTAGGED_TURN.search(block):
            yield held
            held = ""


def _from_mapping(entry: Mapping[Any, Any], line: int | None) -> Iterator[Example]:
    fields: dict[str, str] = {}
    for key, value in entry.items():
        name = str(key).lower()
        role = (
            _TAGS.get(name) or _LABELS.get(name) or ("user" if name in ("task", "input", "prompt", "query") else None)
        )
        if role is not None and isinstance(value, str):
            fields[role] = _clean(value)
    if fields.get("user") or fields.get("context"):
        yield Example(
            user=fields.get("user", ""),
            context=fields.get("context", ""),
            assistant=fields.get("assistant", ""),
            commentary=fields.get("commentary", ""),
            line=line,
        )


def _clean(text: str) -> str:
    """A turn's words: on one line, without markup and the quotes around it."""
    words = plain_text(_BLOCKS_WRAPPER.sub("", text)).strip(" -*")
    for opening, closing in (('"', '"'), ("'", "'"), ("“", "”")):
        if len(words) > 1 and words.startswith(opening) and words.endswith(closing):
            return words[1:-1].strip()
    return words
