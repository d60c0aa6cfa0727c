"""Reports of an evaluation for people: one HTML page with plots, or Markdown."""

from __future__ import annotations

from pathlib import Path

from dispatcher.errors import DispatcherError, UsageError
from dispatcher.evaluation.report.data import Miss, Report

__all__ = ["Miss", "Report", "check_report_path", "write_report"]

_ENDINGS = (".html", ".md")


def check_report_path(path: Path) -> None:
    """Raises UsageError unless the name ends in .html or .md: to be asked before the work, not after it."""
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path}: a report is written as HTML or Markdown", hint="end its name in .html or .md")


def write_report(path: Path, report: Report) -> None:
    """Writes a report, as HTML or Markdown by the ending of the path.

    Raises UsageError for another ending, and DispatcherError if the file can't be written.
    """
    check_report_path(path)
    if path.suffix.lower() == ".html":
        from dispatcher.evaluation.report.html import to_html as render
    else:
        from dispatcher.evaluation.report.markdown import to_markdown as render
    try:
        # A text may hold half a surrogate pair, which UTF-8 can't.
        path.write_text(render(report), encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise DispatcherError(
            f"{path}: the report could not be written: {error.strerror or error}", hint="does its folder exist?"
        ) from error
