"""The outside of an agent file: where its front matter begins and ends, and what stands in it.

Three steps, each tried when the one before it fails: strict YAML, then the lenient reader, then no front matter at all.
Strict YAML that passes and is wrong (example blocks leaked into keys) goes to the lenient reader too. The body is
never changed: everything after the closing fence is the prompt, to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler

from dispatcher.agent import Severity
from dispatcher.agentfile.finding import Finding, warning
from dispatcher.agentfile.lenient import LEAKED_KEYS, header_length, parse_leniently
from dispatcher.agentfile.strict import FrontMatter, UnsafeYamlError, parse_strictly

__all__ = ["Envelope", "open_envelope"]

_FENCE = YAMLHandler.FM_BOUNDARY
_WRAPPER = re.compile(r"(`{3,}|~{3,})[\w-]*[ \t]*\r?\n(?=-{3})")
_COMMENTS = re.compile(r"(?>(?:\s*<!--.*?-->)*)\s*", re.DOTALL)
_DOCUMENT_END = re.compile(r"^\.{3}[ \t]*\r?$", re.MULTILINE)
_WORDS_OF_PROSE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A file cut in two: the source text of the front matter with what it says, and the body.

    `front_matter` is None where there is none; `header_line` and `body_line` are the lines at which the two begin.
    """

    front_matter: FrontMatter | None
    body: str
    header: str = ""
    header_line: int = 1
    body_line: int = 1
    findings: tuple[Finding, ...] = field(default=())


def open_envelope(text: str) -> Envelope:
    """Cuts a file's text, decoded and without its byte order mark, into front matter and body."""
    start = _start_of_fence(text)
    opening = _FENCE.match(text, start)
    if opening is None:
        return Envelope(front_matter=None, body=text)
    header_start = _end_of_line(text, start)
    findings = _findings_before(text, start)
    closing = _closing_fence(text, header_start)
    line = _line_of(text, header_start)
    if closing is None:
        envelope = _unclosed(text, header_start, line)
    else:
        envelope = _closed(text, header_start, closing, line)
    return replace(envelope, findings=findings + envelope.findings)


def _closed(text: str, header_start: int, closing: tuple[int, int], line: int) -> Envelope:
    header, body = text[header_start : closing[0]], text[closing[1] :]
    body_line = _line_of(text, closing[1])
    try:
        front_matter = parse_strictly(header, first_line=line)
    except UnsafeYamlError as problem:
        return _leniently(text, header_start, closing, line, _unsafe_finding(problem))
    except yaml.YAMLError as problem:
        return _leniently(text, header_start, closing, line, _yaml_finding(problem, header, line))
    if front_matter is None:
        finding = _yaml_finding(yaml.YAMLError("it is no mapping"), header, line)
        return _leniently(text, header_start, closing, line, finding)
    if (length := _length_before_prose(header, front_matter)) is not None:
        return _unclosed(text, header_start, line, limit=header_start + length)
    leaked = [key for key in front_matter.values if key.lower() in LEAKED_KEYS]
    if len(leaked) > 1 or (leaked and "<example" in header.lower()):
        return _leniently(text, header_start, closing, line, _leak_finding(leaked, front_matter))
    return Envelope(
        front_matter=front_matter,
        body=body,
        header=header,
        header_line=line,
        body_line=body_line,
        findings=_oddities(front_matter, line),
    )


def _length_before_prose(header: str, front_matter: FrontMatter) -> int | None:
    """Where the header ends, if strict YAML took sentences of the body ("You are a judge: be fair") for keys."""
    if not any(len(key.split()) >= _WORDS_OF_PROSE for key in front_matter.values):
        return None
    length = header_length(header, closed=True)
    return length if length < len(header) else None


def _leniently(text: str, header_start: int, closing: tuple[int, int], line: int, finding: Finding) -> Envelope:
    """Reads a header that strict YAML could not, and notices when the closing fence belongs to the body."""
    header = text[header_start : closing[0]]
    length = header_length(header, closed=True)
    if length < len(header):
        return _unclosed(text, header_start, line, limit=header_start + length)
    front_matter = parse_leniently(header, first_line=line)
    if not front_matter.values:
        return Envelope(front_matter=None, body=text, findings=(replace(finding, severity=Severity.NOTE),))
    body_line = _line_of(text, closing[1])
    return Envelope(
        front_matter=front_matter,
        body=text[closing[1] :],
        header=header,
        header_line=line,
        body_line=body_line,
        findings=(finding, *_oddities(front_matter, line)),
    )


def _unclosed(text: str, header_start: int, line: int, limit: int | None = None) -> Envelope:
    """Recovers a header whose closing fence is missing: it ends where the keys end."""
    end = limit if limit is not None else header_start + header_length(text[header_start:], closed=False)
    header = text[header_start:end].rstrip() + "\n"
    end = min(end, header_start + len(header))
    try:
        front_matter = parse_strictly(header, first_line=line)
    except yaml.YAMLError:
        front_matter = None
    front_matter = front_matter or parse_leniently(header, first_line=line)
    if not front_matter.values:
        return Envelope(front_matter=None, body=text)
    last_line = line + len(header.rstrip().splitlines()) - 1
    finding = warning(
        "unclosed-front-matter",
        "the front matter that opens with --- is never closed; it was read up to the last key",
        line=line - 1,
        hint=f"add a line --- after line {last_line}",
    )
    return Envelope(
        front_matter=front_matter,
        body=text[end:],
        header=header,
        header_line=line,
        body_line=_line_of(text, end),
        findings=(finding, *_oddities(front_matter, line)),
    )


def _oddities(front_matter: FrontMatter, line: int) -> tuple[Finding, ...]:
    """What is odd about front matter that could be read."""
    findings = []
    if front_matter.is_list:
        findings.append(
            warning(
                "front-matter-is-a-list",
                "the front matter is a list; its entries were read as one mapping",
                line=line,
                hint='write "name: ..." instead of "- name: ..."',
            )
        )
    for key, lines in front_matter.duplicates.items():
        where = ", ".join(str(line) for line in lines)
        findings.append(
            warning(
                "duplicate-key",
                f'the key "{key}" stands on lines {where}; the last value that is not empty is used',
                line=lines[-1],
                hint=f'keep one "{key}" and remove the others',
            )
        )
    for key in front_matter.cut:
        findings.append(
            warning(
                "cut-by-comment",
                f'YAML takes the value of "{key}" from " #" on for a comment; it was read whole',
                line=front_matter.lines.get(key),
                hint="put the value in quotes",
            )
        )
    for key in front_matter.mistyped:
        findings.append(
            warning(
                "mistyped-key",
                f'YAML reads the key "{key}" as something else than text; it was kept as "{key}"',
                line=front_matter.lines.get(key),
                hint=f'put it in quotes: "{key}":',
            )
        )
    return tuple(findings)


def _yaml_finding(problem: yaml.YAMLError, header: str, line: int) -> Finding:
    mark = getattr(problem, "problem_mark", None)
    where = line + mark.line if mark is not None else line
    key = _key_at(header, where - line)
    reason = getattr(problem, "problem", None) or str(problem).splitlines()[0]
    return warning(
        "broken-yaml",
        f"the front matter is not valid YAML ({reason}); it was read line by line",
        line=where,
        hint=_how_to_mend(f"{getattr(problem, 'context', '')} {reason}", key),
    )


def _how_to_mend(said: str, key: str) -> str:
    """What to do about a parser's complaint; nearly always it is a colon in plain text."""
    if "flow" in said:
        return f'close the bracket of "{key}"'
    if "quoted scalar" in said:
        return "close the quote"
    if "\\t" in said or "tab" in said:
        return "write spaces in place of the tab"
    return f'write "{key}: |" and indent the text under it, or put the value in quotes'


def _unsafe_finding(problem: UnsafeYamlError) -> Finding:
    return warning(
        "unsafe-yaml",
        f"the front matter was read line by line: {problem}",
        line=problem.line,
        hint="write plain values: no tags, no aliases, little nesting, and in quotes what begins with a brace",
    )


def _leak_finding(leaked: list[str], front_matter: FrontMatter) -> Finding:
    names = ", ".join(f'"{key}"' for key in leaked)
    return warning(
        "leaked-example",
        f"lines of an example block were read by YAML as the keys {names}; they were put back into the text",
        line=front_matter.lines.get(leaked[0]),
        hint='write "description: |" and indent the text and its example blocks under it',
    )


def _findings_before(text: str, start: int) -> tuple[Finding, ...]:
    """What stands before the opening fence, other than blank lines, and hides the front matter from other tools."""
    before = text[:start].rstrip()
    line = _line_of(text, start)
    if not before:
        return ()
    if before.endswith("-->"):
        return (
            warning(
                "comment-before-front-matter",
                "a comment stands before the front matter, which was read all the same",
                line=1,
                hint="move the comment below the front matter",
            ),
        )
    return (
        warning(
            "fenced-file",
            "the whole file stands inside a code fence; its front matter was read all the same",
            line=line - 1,
            hint="remove the fence around the file",
        ),
    )


def _start_of_fence(text: str) -> int:
    """Where the opening --- would have to stand: after blank lines, comments, or a code fence around the whole file."""
    comments = _COMMENTS.match(text)
    start = comments.end() if comments else 0
    wrapper = _WRAPPER.match(text, start)
    return wrapper.end() if wrapper else start


def _closing_fence(text: str, start: int) -> tuple[int, int] | None:
    found = _FENCE.search(text, start) or _DOCUMENT_END.search(text, start)
    return (found.start(), _end_of_line(text, found.start())) if found else None


def _end_of_line(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _key_at(header: str, index: int) -> str:
    """The key in whose value line `index` of the header stands."""
    lines = header.splitlines()[: index + 1]
    is_key: Callable[[str], re.Match[str] | None] = re.compile(r"([A-Za-z][\w-]*)\s*:").match
    keys: list[Any] = [match[1] for match in map(is_key, lines) if match]
    return str(keys[-1]) if keys else "description"
