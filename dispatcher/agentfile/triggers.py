"""When an agent is to be used, and when not, in whatever way its file says so.

Front matter keys, sections such as "Delegation Triggers" or "When to Use", and sentences of the description: "Use
PROACTIVELY for ...", "MUST BE USED ...", "Use when ...", "Triggers on: ...". The things that a sentence lists are its
topics. "Not for ..." and "use X instead" are exclusions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from dispatcher.agent import Trigger
from dispatcher.agentfile.prose import sentences
from dispatcher.agentfile.sections import Document, Item

__all__ = [
    "triggers_from_document",
    "triggers_from_text",
    "triggers_from_value",
]

_TITLE = re.compile(
    r"\b(delegation triggers?|activation triggers?|triggers?( phrases?| lexicon| keywords| words)?$"
    r"|when (to|you should|should you|the main agent should) (use|activate|invoke|delegate|call|engage)"
    r"|(should )?use (this agent|it|me) (when|for|if|to)|activates? when|when to use|use cases?$|best used for)"
)
_EXCLUSION_TITLE = re.compile(
    r"\b(not for|when not to|(do not|don't) (use|activate|invoke)|not (suitable|intended|meant) for|out of scope"
    r"|avoid (using|when)|what .{0,20}not for)\b"
)
_PROACTIVE = re.compile(r"\b(proactively|must be used)\b", re.IGNORECASE)
_EXCLUSION = re.compile(
    r"\b(do not|don't|never) (use|invoke|call|activate|delegate)\b|\bnot (meant |intended |suitable )?for\b"
    r"|\buse (the )?`?[\w/-]+`?( agent)? instead\b|\bavoid using\b",
    re.IGNORECASE,
)
_PLAIN_EXCLUSION = re.compile(r"(not for|(do not|don't|never) use (this agent|me|it)) ", re.IGNORECASE)
_CUE = re.compile(
    r"""(?ix)
    (?:^|\b(?:this\ (?:agent|one)|it|agent)\ (?:should|must|can|is\ to)\ be\ )
    (?:\*\*)?
    (?:
        (?:proactively\ )?(?:must\ be\ )?
        (?:used?|invoked?|activate[ds]?|called|call|delegate|choose|select|engage|spawn)
        (?:\ (?:this|it|me|him|her|them))?(?:\ (?:agent|expert|subagent))?(?:\*\*)?
        (?:\ proactively|\ immediately|\ automatically)?(?:\*\*)?\ ?
        (?:when(?:ever)?|for|if|to|after|before|on|as|during|while|:)\b
      | (?:auto-?)?(?:triggers?|activates?)\ (?:on|when|for|with|by)\b
      | (?:trigger|activation)\ (?:phrases?|keywords?|words?)\ ?:
      | keywords?\ ?:
      | (?:ideal|perfect|best|great|good|suited|suitable|designed)\ (?:used\ )?for\b
    )
    [:\ ]*"""
)
_LIST_START = re.compile(r"\s[-–—]\s|:\s|\b(?:including|such as|e\.g\.,?|like)\b:?\s", re.IGNORECASE)
_NEED = re.compile(
    r"(?:(?:you|(?:the |a )?users?) (?:needs?|wants?|asks?|have|has)(?: help with| to| for)?|there (?:is|are)) ",
    re.IGNORECASE,
)
_COMMA = re.compile(r"[,;]\s*(?:(?:or|and)\s+)?")
_CONJUNCTION = re.compile(r"\s(?:or|and)\s")
_ANNOUNCEMENT = re.compile(r"[\s,;]*\b(?:including|such as|for example)\W*$", re.IGNORECASE)
_MAX_TOPIC_WORDS = 12


def triggers_from_text(description: str, *, line: int | None) -> tuple[tuple[Trigger, ...], tuple[Trigger, ...]]:
    """The triggers and the exclusions among the sentences of a description."""
    triggers, exclusions = [], []
    for sentence in sentences(description):
        if _EXCLUSION.search(sentence):
            exclusions.append(Trigger(text=sentence, line=line))
            continue
        cue = _CUE.search(sentence)
        is_proactive = _PROACTIVE.search(sentence) is not None
        if cue is None and not is_proactive:
            continue
        subject = sentence[cue.end() :] if cue else _PROACTIVE.split(sentence)[-1]
        triggers.append(Trigger(text=sentence, topics=_topics(subject), proactive=is_proactive, line=line))
    return tuple(triggers), tuple(exclusions)


def triggers_from_value(value: Any, line: int | None) -> tuple[Trigger, ...]:
    """The triggers of a front matter key: a text, a list, or a mapping of lists (`keywords`, `conditions`)."""
    if isinstance(value, str):
        parts = [part.strip() for part in re.split(r"[,\n]", value)] if "," in value or "\n" in value else [value]
    elif isinstance(value, Mapping):
        return tuple(trigger for part in value.values() for trigger in triggers_from_value(part, line))
    elif isinstance(value, list):
        parts = [text for item in value for text in _texts(item)]
    else:
        return ()
    return tuple(Trigger(text=part.lstrip("-* ").strip("\"'"), line=line) for part in parts if part.strip("-* "))


def triggers_from_document(document: Document) -> tuple[tuple[Trigger, ...], tuple[Trigger, ...]]:
    """The bullets of sections, and under lines, that announce when to use the agent; and those that say when not."""
    found: dict[str | None, list[Trigger]] = {"trigger": [], "exclusion": []}
    for section in document.sections:
        of_section = _announces(section.title)
        of_lead = {lead: _announces(lead) for lead in {item.lead for item in section.items}}
        for item in section.items:
            kind = _kind(item, of_lead[item.lead] or of_section)
            if kind is not None and not item.text.endswith(":"):
                found[kind].append(Trigger(text=item.text, line=item.line))
    return tuple(found["trigger"]), tuple(found["exclusion"])


def _kind(item: Item, announced: str | None) -> str | None:
    """What a bullet is, by the line above its list or else by its section; its own words can turn it around."""
    turns_around = _EXCLUSION if announced else _PLAIN_EXCLUSION
    return "exclusion" if turns_around.match(item.text) else announced


@functools.lru_cache(maxsize=10_000)  # files share their titles
def _announces(text: str) -> str | None:
    folded = text.lower()
    if _EXCLUSION_TITLE.search(folded):
        return "exclusion"
    return "trigger" if _TITLE.search(folded) else None


def _topics(subject: str) -> tuple[str, ...]:
    """What a sentence lists: after a dash, a colon or "such as" if it has one, else all of it."""
    start = _LIST_START.search(subject)
    listed = subject[start.end() :] if start else _NEED.sub("", subject, count=1)
    listed = _ANNOUNCEMENT.sub("", listed)
    *firsts, last = _COMMA.split(listed)
    pieces = [piece for first in firsts for piece in first.split(" or ")] + _CONJUNCTION.split(last)
    parts = (piece.strip(" .:!\"'“”*`()") for piece in pieces)
    topics = [part for part in parts if part and len(part.split()) <= _MAX_TOPIC_WORDS]
    return tuple(dict.fromkeys(topics))


def _texts(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    if isinstance(item, Mapping):
        return [text for value in item.values() for text in _texts(value)]
    return [] if item is None else [str(item)]
