"""One file → its agents and what there is to say of it.

`read_agent_file` is the only way in for files, `read_agent_text` for text that is already at hand. Neither raises for
what stands in a file: a fault is a diagnostic, and the agent is read as well as it can be.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

from dispatcher.agent import Diagnostic, ReadResult, Source
from dispatcher.agentfile.builder import build_agent
from dispatcher.agentfile.envelope import Envelope, open_envelope
from dispatcher.agentfile.finding import Finding, error, warning
from dispatcher.agentfile.json_agents import read_json_agents
from dispatcher.agentfile.keys import pick
from dispatcher.agentfile.recognition import describes_a_role, has_agent_ending, is_never_an_agent, is_seldom_an_agent
from dispatcher.agentfile.sections import Document, parse_document
from dispatcher.settings.tree import MAX_FILE_BYTES

__all__ = ["MAX_FILE_BYTES", "ReadResult", "read_agent_file", "read_agent_text"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ALLOWED_CONTROLS = frozenset("\t\n\r\f\v\x1b")


class _UnreadableError(Exception):
    """A file whose text can't be had; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_agent_file(
    path: Path, *, root: Path | None = None, scope: str = "given", max_bytes: int = MAX_FILE_BYTES
) -> ReadResult:
    """Reads one agent file, Markdown or JSON.

    Parameters
    ----------
    path: the file.
    root: the folder that was searched; the file's own folder if not given.
    scope: the name of the scope that the file belongs to.
    max_bytes: the size above which a file is refused.
    """
    source = Source(path=path, root=root or path.parent, scope=scope)
    if is_never_an_agent(path):
        return ReadResult(passed_over="a file of this name is documentation, not an agent")
    try:
        content = _load(path, max_bytes)
        text, findings = _decode(content)
    except _UnreadableError as problem:
        return ReadResult(diagnostics=(_diagnostic(problem.finding, path),))
    digest = hashlib.sha256(content).hexdigest()
    result = replace(read_agent_text(text, source=source, digest=digest), digest=digest)
    if not result.agents:
        remarks = "".join(f"; {one.message}" for one in findings)
        return replace(result, passed_over=result.passed_over + remarks) if result.passed_over else result
    return replace(result, diagnostics=(*(_diagnostic(one, path) for one in findings), *result.diagnostics))


def read_agent_text(text: str, *, source: Source, digest: str | None = None) -> ReadResult:
    """Reads an agent from a text without byte order mark; `digest` is the SHA-256 of its bytes, if it is known."""
    digest = digest or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    path = source.path
    if path.suffix.lower() == ".json":
        agents, findings = read_json_agents(text, source=source)
        return ReadResult(agents=agents, diagnostics=tuple(_diagnostic(one, path) for one in findings))
    if not text.strip():
        finding = error("empty-file", "the file is empty", hint="write the agent or remove it")
        return ReadResult(diagnostics=(_diagnostic(finding, path),))
    envelope = open_envelope(text)
    document = parse_document(envelope.body, first_line=envelope.body_line)
    if (reason := _why_no_agent(envelope, document, path)) is not None:
        return ReadResult(passed_over=reason)
    agent, findings = build_agent(envelope, document, source=source, digest=digest)
    found = tuple(_diagnostic(one, path) for one in (*envelope.findings, *findings))
    return ReadResult(agents=(agent,), diagnostics=found)


def _why_no_agent(envelope: Envelope, document: Document, path: Path) -> str | None:
    """Why a file is no agent, or None if it is one."""
    if has_agent_ending(path):
        return None
    if envelope.front_matter is None:
        return None if describes_a_role(document) else "it has no front matter, and its headings describe no role"
    values = envelope.front_matter.values
    if is_seldom_an_agent(path) and not pick(values, "name"):
        return "a file of this name is documentation, unless its front matter names an agent"
    if any(value not in (None, "") for field in ("name", "description") for _, value in pick(values, field)):
        return None
    return "its front matter has neither a name nor a description"


def _load(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            raise _UnreadableError(error("unreadable", "it is no regular file", hint="remove it"))
        if status.st_size > max_bytes:
            raise _UnreadableError(_too_large(status.st_size, max_bytes))
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise _UnreadableError(
            error(
                "unreadable",
                f"the file can't be read: {reason}",
                hint="check that it exists and that you may read it",
            )
        ) from None
    if len(content) > max_bytes:
        raise _UnreadableError(_too_large(len(content), max_bytes))
    return content


def _decode(content: bytes) -> tuple[str, tuple[Finding, ...]]:
    """The text of a file's bytes, and what was odd about them."""
    findings: list[Finding] = []
    if content.startswith(_BYTE_ORDER_MARK):
        content = content.removeprefix(_BYTE_ORDER_MARK)
        findings.append(
            warning(
                "byte-order-mark",
                "the file begins with a byte order mark, which hides its front matter from other tools",
                line=1,
                hint='save it as "UTF-8" without BOM',
            )
        )
    if (position := content.find(b"\0")) >= 0:
        raise _UnreadableError(
            error(
                "binary",
                "the file has NUL bytes: it is binary, or text in UTF-16",
                line=content.count(b"\n", 0, position) + 1,
                hint="save it as UTF-8 text",
            )
        )
    try:
        return content.decode("utf-8"), tuple(findings)
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        text = _decode_legacy(content, line)
    findings.append(
        warning(
            "not-utf-8",
            "the file is not UTF-8; it was read as Windows-1252, so accented letters may be wrong",
            line=line,
            hint="save it as UTF-8",
        )
    )
    return text, tuple(findings)


def _decode_legacy(content: bytes, line: int) -> str:
    """Text in the code page of older Windows editors, which is what a file that is not UTF-8 nearly always is."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    if any(character < " " and character not in _ALLOWED_CONTROLS for character in text):
        raise _UnreadableError(
            error(
                "not-utf-8",
                "the file is neither UTF-8 nor any other text that can be told",
                line=line,
                hint="save it as UTF-8 text",
            )
        )
    return text


def _too_large(size: int, max_bytes: int) -> Finding:
    return error(
        "too-large",
        f"the file has {size:,} bytes, more than the {max_bytes:,} that are allowed",
        hint="shorten it, or raise max_file_bytes in config.yaml",
    )


def _diagnostic(finding: Finding, path: Path) -> Diagnostic:
    return Diagnostic(
        severity=finding.severity,
        code=finding.code,
        message=finding.message,
        path=path,
        line=finding.line,
        hint=finding.hint,
    )
