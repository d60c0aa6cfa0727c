"""What an agent can do, and whom it works with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dispatcher.agent import Capability, Collaborator
from dispatcher.agentfile.sections import Document, Item, Section

__all__ = [
    "capabilities_from_document",
    "capabilities_from_value",
    "collaborators_from_document",
    "collaborators_from_value",
]

# Sections that list what an agent can do, the most telling first: only the first kind that a file has is read.
_CAPABILITY_TITLES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\bcapabilities$|^capabilities\b",
        r"\bresponsibilit(y|ies)\b",
        r"\b(expertise|competenc(y|ies)|speciali[sz]ations?|specialties)\b",
        r"\bfocus areas\b|\bareas of focus\b|\bwhat (i|you) (can )?do\b|\bskills$",
    )
)
_COLLABORATION_TITLE = re.compile(
    r"^(\d+\. )?(collaborat(ion|ors?|es|e)( patterns?| protocol| with.*)?|team collaboration|works? (closely )?with"
    r"|working with (other agents|others)|integration with (other )?agents|related agents|hand-?offs?|delegates? to"
    r"|(cross-)?agent (collaboration|coordination)|coordinated agents)$"
)
_AGENT_NAME = re.compile(r"@?\b([a-z][a-z0-9]*(?:-[a-z0-9]+)+)\b")
_PLACEHOLDER = re.compile(r"\{\{\s*[A-Z][A-Z0-9_]*\s*\}\}")
_WITH = re.compile(r"(?i)^with\s+(?:the\s+)?")


def capabilities_from_value(value: Any, line: int | None) -> tuple[Capability, ...]:
    """The capabilities of a front matter key: a list of texts or mappings, a mapping by group, or a text."""
    if isinstance(value, Mapping):
        return tuple(Capability(name=str(name), items=_texts(items), line=line) for name, items in value.items())
    if isinstance(value, str):
        value = [part.strip() for part in re.split(r"[,\n]", value) if part.strip()]
    if not isinstance(value, list):
        return ()
    found: list[Capability] = []
    for entry in value:
        if isinstance(entry, Mapping):
            found.extend(capabilities_from_value(entry, line))
        elif entry not in (None, ""):
            found.append(Capability(name=str(entry), line=line))
    return tuple(found)


def capabilities_from_document(document: Document) -> tuple[Capability, ...]:
    """The capability groups that the body lists: subsections with their items, or labelled bullets."""
    for title in _CAPABILITY_TITLES:
        sections = _outermost(document, [part for part in document.headings if title.search(part.title.lower())])
        found = tuple(group for section in sections for group in _groups(document, section))
        if found:
            return found
    return ()


def collaborators_from_value(value: Any, line: int | None) -> tuple[Collaborator, ...]:
    """The collaborators of a front matter key: names, or Copilot's hand-offs (`agent`, `label`, `prompt`)."""
    entries: Sequence[Any] = value if isinstance(value, list) else str(value or "").split(",")
    found = []
    for entry in entries:
        if isinstance(entry, Mapping):
            name = str(entry.get("agent") or entry.get("name") or "")
            purpose = str(entry.get("label") or entry.get("prompt") or entry.get("description") or "")
        else:
            name, purpose = str(entry).strip(), ""
        if name and name != "*":
            found.append(Collaborator(name=name, purpose=purpose, line=line))
    return tuple(found)


def collaborators_from_document(document: Document) -> tuple[Collaborator, ...]:
    """The agents that sections such as "Collaboration" name, each once."""
    found: dict[str, Collaborator] = {}
    for section in document.headings:
        if _COLLABORATION_TITLE.search(section.title.lower()):
            for part in (section, *document.below(section)):
                for item in part.items:
                    if (collaborator := _collaborator(item)) is not None:
                        found.setdefault(collaborator.name, collaborator)
    return tuple(found.values())


def _collaborator(item: Item) -> Collaborator | None:
    label = _WITH.sub("", item.label or "").strip("`@ ")
    placeholder = _PLACEHOLDER.search(label or item.text)
    if placeholder is not None:
        return Collaborator(name=placeholder[0], purpose=item.rest, is_variable=True, line=item.line)
    named = _AGENT_NAME.search(label) or (None if label else _AGENT_NAME.search(item.text))
    if named is not None:
        return Collaborator(name=named[1], purpose=item.rest, line=item.line)
    if label and len(label.split()) <= 5:
        return Collaborator(name=label, purpose=item.rest, line=item.line)
    return None


def _outermost(document: Document, sections: list[Section]) -> list[Section]:
    """The sections that are not below another one of the list."""
    nested = {part.line for section in sections for part in document.below(section)}
    return [section for section in sections if section.line not in nested]


def _groups(document: Document, section: Section) -> Iterator[Capability]:
    below = document.below(section)
    if below:
        for part in below:
            if part.items or part.paragraphs:
                yield Capability(name=part.title, items=tuple(item.text for item in part.items), line=part.line)
    if not below or section.items:
        yield from _grouped_items(section.items)


def _grouped_items(items: Sequence[Item]) -> Iterator[Capability]:
    """Bullets with those indented under them; a label is a name, and what follows it its first item."""
    top = min((item.indent for item in items), default=0)
    head: Item | None = None
    held: list[str] = []
    for item in items:
        if item.indent > top and head is not None:
            held.append(item.text)
            continue
        if head is not None:
            yield Capability(name=head.label or head.text, items=tuple(held), line=head.line)
        head, held = item, [item.rest] if item.label and item.rest else []
    if head is not None:
        yield Capability(name=head.label or head.text, items=tuple(held), line=head.line)


def _texts(value: Any) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    return tuple(str(entry) for entry in entries if entry not in (None, ""))
