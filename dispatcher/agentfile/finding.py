"""A finding: what a reading step has to report, before it is known of which file."""

from __future__ import annotations

from dataclasses import dataclass

from dispatcher.agent import Severity

__all__ = ["Finding", "error", "note", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to report of a file; the reader turns it into a diagnostic by adding the path."""

    severity: Severity
    code: str
    message: str
    line: int | None = None
    hint: str | None = None


def error(code: str, message: str, *, line: int | None = None, hint: str | None = None) -> Finding:
    """An agent is lost."""
    return Finding(severity=Severity.ERROR, code=code, message=message, line=line, hint=hint)


def warning(code: str, message: str, *, line: int | None = None, hint: str | None = None) -> Finding:
    """Something was recovered, or is not as its author may think."""
    return Finding(severity=Severity.WARNING, code=code, message=message, line=line, hint=hint)


def note(code: str, message: str, *, line: int | None = None, hint: str | None = None) -> Finding:
    """For information."""
    return Finding(severity=Severity.NOTE, code=code, message=message, line=line, hint=hint)
