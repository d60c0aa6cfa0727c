"""Which files are agents, and what to call one whose file does not say.

A file with front matter is an agent if it has a name or a description, or an ending of a dialect. One without is an
agent if its first heading names a role and it has sections such as Role, Mission, Capabilities or Responsibilities.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from dispatcher.agent import slugify
from dispatcher.agentfile.sections import Document

__all__ = [
    "AGENT_ENDINGS",
    "describes_a_role",
    "has_agent_ending",
    "is_never_an_agent",
    "is_seldom_an_agent",
    "name_from_heading",
    "name_from_path",
]

AGENT_ENDINGS = (".agent.md", ".chatmode.md")
_OTHER_ENDINGS = (".instructions.md", ".prompt.md")
_LANGUAGE_AND_ENDING = r"([._-][a-z]{2}([_-][a-z]{2,4})?)?\.(md|markdown)"
_NEVER = re.compile(
    r"(?i)(readme|changelog|licen[cs]e|contributing|contributors|code[_-]of[_-]conduct|notice|authors|agents|claude"
    rf"|copilot-instructions|skill){_LANGUAGE_AND_ENDING}"
)
_SELDOM = re.compile(
    rf"(?i)(changes|history|security|support|gemini|todo|roadmap|installation|faq){_LANGUAGE_AND_ENDING}"
)
_ROLE_SECTION = re.compile(
    r"\b(role|mission|capabilities|responsibilit(y|ies)|identity|expertise|purpose|persona|specialties|speciali[sz]ations?"
    r"|competenc(y|ies)|core skills|instructions)\b"
)
_ROLE_NOUN = re.compile(
    r"(?:er|or|ist|yst|ian|ant|ect|agent|lead|chief|head|expert|guru|coach|guide|officer|assistant|bot|specialist"
    r"|scribe|critic|steward|ops|sre|qa|dba)$"
)
_SUBTITLE = re.compile(r"\s+[-–—|]\s+.*$|:\s.*$|\s?\([^()]*\)$")
_LABEL = re.compile(r"(?:agent|subagent|role|persona|name|agent (?:name|profile|role))\s*[:|–—-]\s+", re.IGNORECASE)
_TRAILING_AGENT = re.compile(r"[\s-]+(sub-?)?agent$", re.IGNORECASE)


def is_never_an_agent(path: PurePath) -> bool:
    """Whether a file's name alone rules it out: README, CHANGELOG, LICENSE, AGENTS.md and their like."""
    return _NEVER.fullmatch(path.name) is not None or path.name.lower().endswith(_OTHER_ENDINGS)


def is_seldom_an_agent(path: PurePath) -> bool:
    """Whether a file's name is one of documentation that an agent may have too: SECURITY, SUPPORT, TODO."""
    return _SELDOM.fullmatch(path.name) is not None


def has_agent_ending(path: PurePath) -> bool:
    return path.name.lower().endswith(AGENT_ENDINGS)


def describes_a_role(document: Document) -> bool:
    """Whether a body without front matter reads like an agent's."""
    if not document.headings:
        return False
    first, *others = document.headings
    words = role_words(first.title)
    names_a_role = bool(words) and _ROLE_NOUN.search(words.split()[-1].lower()) is not None
    is_said_agent = _TRAILING_AGENT.search(_SUBTITLE.sub("", first.title)) is not None
    return (names_a_role or is_said_agent) and any(_ROLE_SECTION.search(part.title.lower()) for part in others)


def role_words(title: str) -> str:
    """A heading less a label such as "Role:", its subtitle and a trailing "Agent"."""
    label = _LABEL.match(title)
    return _TRAILING_AGENT.sub("", _SUBTITLE.sub("", title[label.end() :] if label else title)).strip()


def name_from_heading(document: Document) -> str | None:
    """The first heading as a slug, less a trailing "Agent"."""
    for section in document.headings:
        if name := slugify(role_words(section.title)):
            return name
    return None


def name_from_path(path: PurePath) -> str:
    """The file's stem, less `.agent` or `.chatmode`."""
    lowered = path.name.lower()
    for ending in AGENT_ENDINGS:
        if lowered.endswith(ending):
            return path.name[: -len(ending)]
    return path.stem
