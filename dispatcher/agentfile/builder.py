"""From what stands in a file to an Agent: every extractor over every file, whatever its dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dispatcher.agent import Agent, Example, Passage, Source, ToolPolicy
from dispatcher.agentfile.abilities import (
    capabilities_from_document,
    capabilities_from_value,
    collaborators_from_document,
    collaborators_from_value,
)
from dispatcher.agentfile.envelope import Envelope
from dispatcher.agentfile.examples import (
    examples_from_body,
    examples_from_document,
    examples_from_text,
    examples_from_value,
    without_examples,
)
from dispatcher.agentfile.fields import Fields, flatten
from dispatcher.agentfile.finding import Finding, warning
from dispatcher.agentfile.lines import LineIndex
from dispatcher.agentfile.placeholders import find_placeholders
from dispatcher.agentfile.prose import sentences
from dispatcher.agentfile.recognition import name_from_heading, name_from_path
from dispatcher.agentfile.sections import Document
from dispatcher.agentfile.strict import FrontMatter
from dispatcher.agentfile.tool_policy import read_tool_policy
from dispatcher.agentfile.triggers import (
    triggers_from_document,
    triggers_from_text,
    triggers_from_value,
)

__all__ = ["build_agent"]

_ROLE_TITLE = re.compile(r"\b(role|mission|purpose|overview|identity|description|summary)\b")
_ANNOUNCEMENT = re.compile(r"(?i)\b(including|such as|for example|examples?( include)?|e\.g\.) ?[:.]*$")
_LONGEST_ANNOUNCEMENT = 40
_TURNS = re.compile(r"[0-9]{1,9}")
_OFF = ("false", "no", "off", "0")
_LONGEST_DERIVED_DESCRIPTION = 300


def build_agent(
    envelope: Envelope, document: Document, *, source: Source, digest: str, default_name: str | None = None
) -> tuple[Agent, tuple[Finding, ...]]:
    """The agent of a file that was recognised as one, and the findings about its fields."""
    fields = Fields(envelope.front_matter or FrontMatter(values={}, lines={}))
    raw_description, description_line = fields.text("description")
    own_description = without_examples(raw_description)
    described_triggers, described_exclusions = triggers_from_text(own_description, line=description_line)
    announced_triggers, announced_exclusions = triggers_from_document(document)
    examples = _examples(fields, envelope, document, raw_description)
    is_blank = not envelope.body.strip()
    if is_blank:
        fields.report(
            warning(
                "empty-prompt",
                "the file has no text below its front matter, so the agent has no system prompt",
                line=envelope.body_line,
                hint="write the agent's instructions there",
            )
        )
    description, shown_line = _description(fields, own_description, document)
    agent = Agent(
        name=_name(fields, document, source, default_name),
        description=description,
        description_line=shown_line,
        prompt=envelope.body,
        prompt_line=envelope.body_line,
        source=source,
        line=fields.line("name") or envelope.header_line,
        models=_models(fields),
        color=fields.text("color")[0] or None,
        category=fields.text("category")[0] or None,
        team=fields.text("team")[0] or None,
        subcategory=fields.text("subcategory")[0] or None,
        tags=_listed(fields, "tags"),
        tools=_tools(fields),
        enabled=_is_enabled(fields),
        disable_model_invocation=_is_hidden_from_routing(fields),
        max_turns=_max_turns(fields),
        effort=fields.text("effort")[0] or None,
        permission_mode=fields.text("permission_mode")[0] or None,
        mcp_servers=_mcp_servers(fields),
        triggers=(
            *fields.each("triggers", triggers_from_value),
            *described_triggers,
            *announced_triggers,
        ),
        exclusions=(
            *fields.each("exclusions", triggers_from_value),
            *described_exclusions,
            *announced_exclusions,
        ),
        examples=examples,
        capabilities=fields.each("capabilities", capabilities_from_value) or capabilities_from_document(document),
        collaborators=(
            *fields.each("collaborators", collaborators_from_value),
            *collaborators_from_document(document),
        ),
        placeholders=(
            *find_placeholders(envelope.header, first_line=envelope.header_line),
            *find_placeholders(envelope.body, first_line=envelope.body_line),
        ),
        headings=tuple(Passage(field="heading", text=part.title, line=part.line) for part in document.headings),
        bullets=tuple(
            Passage(field="bullet", text=item.text, line=item.line) for part in document.sections for item in part.items
        ),
        metadata=fields.metadata(),
        digest=digest,
    )
    return agent, fields.findings()


def _name(fields: Fields, document: Document, source: Source, default: str | None) -> str:
    written = " ".join(fields.text("name")[0].split())
    if written:
        return written
    if default is not None:
        return default
    if fields.values:
        return name_from_path(source.path)
    return name_from_heading(document) or name_from_path(source.path)


def _description(fields: Fields, text: str, document: Document) -> tuple[str, int | None]:
    """The description for people, of one without example blocks: without the words that announce them, too."""
    announcement = _ANNOUNCEMENT.search(text, max(0, len(text) - _LONGEST_ANNOUNCEMENT))
    if announcement is not None and (shortened := text[: announcement.start()].rstrip(" \n,;:")):
        text = shortened if shortened.endswith((".", "!", "?")) else f"{shortened}."
    if text:
        return text, fields.line("description")
    derived, line = _description_from_body(document)
    if fields.values or not derived:
        fields.report(
            warning(
                "no-description",
                "the file has no description" + ("; its first words were taken" if derived else ""),
                line=fields.line("description") or fields.line("name"),
                hint='add "description: ..." that says when to use the agent',
            )
        )
    return derived, line


def _description_from_body(document: Document) -> tuple[str, int | None]:
    """The first words of a section such as Role or Mission, or else of the body, and their line."""
    telling = [part for part in document.headings if _ROLE_TITLE.search(part.title.lower())]
    for section in (*telling, *document.sections):
        texts = [*section.paragraphs] or [(item.text, item.line) for item in section.items]
        if texts:
            text, line = texts[0]
            return _first_sentences(text), line
    first = next(iter(document.headings), None)
    return (first.title, first.line) if first is not None else ("", None)


def _first_sentences(text: str) -> str:
    held = ""
    for sentence in sentences(text):
        if held and len(held) + len(sentence) > _LONGEST_DERIVED_DESCRIPTION:
            break
        held = f"{held} {sentence}".strip()
    return held


def _examples(fields: Fields, envelope: Envelope, document: Document, description: str) -> tuple[Example, ...]:
    """All example blocks; those of the front matter get the lines at which their tags stand in the file."""
    index = LineIndex(envelope.header, first_line=envelope.header_line)
    tags = [index.line_of(found.start()) for found in re.finditer(r"(?i)<example>", envelope.header)]
    first_line = fields.line("description")
    described = examples_from_text(description, lines=tags, first_line=first_line)
    return (
        *described,
        *fields.each("examples", examples_from_value),
        *examples_from_body(envelope.body, first_line=envelope.body_line),
        *examples_from_document(document),
    )


def _models(fields: Fields) -> tuple[str, ...]:
    """The model names that the file prefers, as written: from a name, a list, or alternatives on one line."""
    names = [
        part.strip().strip("\"'")
        for _, value in fields.pick("model")
        for text in flatten(value)
        for part in re.split(r"[|,]", text)
    ]
    return tuple(dict.fromkeys(name for name in names if name))


def _tools(fields: Fields) -> ToolPolicy:
    policy, findings = read_tool_policy(fields.pick("tools"), fields.pick("disallowed_tools"), fields.lines)
    fields.report(*findings)
    return policy


def _is_enabled(fields: Fields) -> bool:
    switched_off = [value for key, value in fields.values.items() if key.lower() in ("disable", "disabled")]
    if any(_is_on(value) for value in switched_off):
        return False
    return all(_is_on(value) for _, value in fields.pick("enabled"))


def _is_hidden_from_routing(fields: Fields) -> bool:
    if any(_is_on(value) for _, value in fields.pick("disable_model_invocation")):
        return True
    return any(key.lower() == "infer" and not _is_on(value) for key, value in fields.values.items())


def _is_on(value: Any) -> bool:
    return value is not None and str(value).strip().lower() not in _OFF


def _max_turns(fields: Fields) -> int | None:
    for key, value in fields.pick("max_turns"):
        text = str(value).strip()
        if _TURNS.fullmatch(text) and int(text) > 0:
            return int(text)
        fields.report(
            warning(
                "bad-turn-limit",
                f'"{key}" is {text!r}, which is no number of turns; no limit was taken from it',
                line=fields.lines.get(key),
                hint=f'write a whole number above zero, for example "{key}: 20"',
            )
        )
    return None


def _mcp_servers(fields: Fields) -> dict[str, Any]:
    servers: dict[str, Any] = {}
    for _, value in fields.pick("mcp_servers"):
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Mapping):
                servers.update(entry)
            else:
                servers.update({name.strip(): {} for name in str(entry or "").split(",") if name.strip()})
    return servers


def _listed(fields: Fields, field: str) -> tuple[str, ...]:
    texts = [text for _, value in fields.pick(field) for text in flatten(value)]
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())
