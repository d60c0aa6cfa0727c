"""Labelled tasks: what stands in a file of them, as JSON lines, CSV or YAML, and whether its labels are agents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.errors import UsageError

__all__ = ["LabelledTask", "check_labels", "nearest", "read_json_lines", "read_tasks"]

_KEYS = ("task", "agent", "context", "tags")
_NEAR = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTask:
    """A task and the name of the agent that should take it; None where no agent fits.

    `context` is for readers of a report and is never routed on. `line` is where the task begins in its file.
    """

    task: str
    agent: str | None
    context: str = ""
    tags: tuple[str, ...] = ()
    line: int = 0


def read_tasks(path: Path) -> tuple[LabelledTask, ...]:
    """The tasks of a file, in its order.

    `.csv` has a header with `task` and `agent` and, if wanted, `context` and `tags` (separated by semicolons); a row
    without an agent is a task that none fits. `.yaml` and `.yml` hold a list of mappings. Any other file has a JSON
    object a line. Keys other than these four are passed over.

    Raises UsageError, with file and line, for a file that can't be read, a wrong value, and a file without tasks.
    """
    read = _READERS.get(path.suffix.lower(), read_json_lines)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise UsageError(
            f"{path}: the tasks can't be read: {problem.strerror or problem}", hint="check the path after --tasks"
        ) from None
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: the tasks are not UTF-8 text", hint="save the file as UTF-8") from None
    tasks = tuple(_task(record, path, line) for line, record in read(text, path))
    if not tasks:
        raise UsageError(f"{path}: there are no tasks in this file", hint='write one a line: {"task": …, "agent": …}')
    return tasks


def check_labels(tasks: Sequence[LabelledTask], names: Collection[str], path: Path) -> None:
    """Raises UsageError, with file and line, for the first label that is not among `names`."""
    wrong = [task for task in tasks if task.agent is not None and task.agent not in names]
    if not wrong:
        return
    first = wrong[0]
    others = len({task.agent for task in wrong}) - 1
    more = f" (nor are {others} other labels)" if others > 1 else " (nor is another label)" if others else ""
    near = nearest(str(first.agent), names)
    hint = f'did you mean "{near}"?' if near else "`dispatch agents list` shows the agents"
    raise UsageError(f'{path}:{first.line}: "{first.agent}" is no agent\'s name{more}', hint=hint)


def nearest(word: str, names: Collection[str]) -> str | None:
    """The name that is most like a word that was typed, if one is like it at all."""
    from rapidfuzz import fuzz, process, utils

    # Sorted, so that of two that are equally near always the same one is named.
    found = process.extractOne(
        word, sorted(names), scorer=fuzz.WRatio, processor=utils.default_process, score_cutoff=_NEAR
    )
    return found[0] if found else None


def read_json_lines(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """The value of each line and its number. Raises UsageError, with file and line, for one that is not JSON."""
    # Not splitlines(): a JSON string may hold other characters that Python takes for the end of a line.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            yield line, json.loads(content)
        except (ValueError, RecursionError) as problem:
            reason = getattr(problem, "msg", None) or problem
            raise UsageError(
                f"{path}:{line}: this line is not JSON: {reason}", hint="each line holds one JSON object"
            ) from None


def _read_csv(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    header: list[str] | None = None
    for line, row in _rows(text, path):
        if header is None:
            header = [name.strip().lower() for name in row]
            _check_header(header, path, line)
        elif len(row) > len(header):
            raise UsageError(
                f"{path}:{line}: {len(row)} cells where the header has {len(header)}",
                hint="put a cell that holds a comma in double quotes",
            )
        else:
            cells = dict(zip(header, row, strict=False))
            yield line, {**cells, "task": cells["task"], "agent": cells.get("agent", "").strip() or None}


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that hold anything, each with the line on which it begins."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield line, row
            line = rows.line_num + 1
    except csv.Error as problem:
        raise UsageError(f"{path}:{line}: this row is not CSV: {problem}", hint="mend the quotes of that row") from None


def _check_header(header: Sequence[str], path: Path, line: int) -> None:
    missing = [name for name in ("task", "agent") if name not in header]
    if missing:
        raise UsageError(
            f'{path}:{line}: the header has no column "{missing[0]}"',
            hint="the first row is task,agent,context,tags, separated by commas; the last two can be left out",
        )


def _read_yaml(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return
        if not isinstance(root, yaml.SequenceNode):
            raise UsageError(
                f"{path}:{root.start_mark.line + 1}: this is not a list of tasks",
                hint='begin each task with "- task: …"',
            )
        records = yaml.SafeLoader("").construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: a date that does not exist
        mark = getattr(problem, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        reason = getattr(problem, "problem", None) or problem
        raise UsageError(f"{where}: the tasks are not valid YAML: {reason}", hint="mend that line") from None
    for node, record in zip(root.value, records, strict=True):
        yield node.start_mark.line + 1, record


_READERS: Mapping[str, Callable[[str, Path], Iterator[tuple[int, Any]]]] = {
    ".csv": _read_csv,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}


def _task(record: Any, path: Path, line: int) -> LabelledTask:
    if not isinstance(record, dict):
        raise UsageError(
            f"{path}:{line}: this is not a task",
            hint='a task is {"task": "…", "agent": "name"}, agent null if none fits',
        )
    for key in ("task", "agent"):
        if key not in record:
            raise _missing(key, record, path, line)
    return LabelledTask(
        task=_text(record["task"], "task", path, line),
        agent=_label(record["agent"], path, line),
        context=_text(record.get("context") or "", "context", path, line),
        tags=_tags(record.get("tags") or (), path, line),
        line=line,
    )


def _missing(key: str, record: Mapping[Any, Any], path: Path, line: int) -> UsageError:
    near = nearest(key, [str(other) for other in record if other not in _KEYS])
    explained = "write null where no agent fits" if key == "agent" else "it is what the user typed"
    hint = f'is "{near}" meant to be "{key}"?' if near else explained
    return UsageError(f'{path}:{line}: "{key}" is missing', hint=hint)


def _text(value: Any, key: str, path: Path, line: int) -> str:
    if not isinstance(value, str):
        raise UsageError(f'{path}:{line}: "{key}" is not text but {value!r:.40}', hint="put it in double quotes")
    return value


def _label(value: Any, path: Path, line: int) -> str | None:
    if value is None:
        return None
    if not _text(value, "agent", path, line).strip():
        raise UsageError(f'{path}:{line}: "agent" is empty', hint="write null where no agent fits")
    return str(value)


def _tags(value: Any, path: Path, line: int) -> tuple[str, ...]:
    """Tags as a list, or as one text with semicolons between them; each once."""
    listed = value.split(";") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        raise UsageError(f'{path}:{line}: "tags" is not a list but {value!r:.40}', hint='write ["one", "other"]')
    tags = (_text(tag, "tags", path, line).strip() for tag in listed)
    return tuple(dict.fromkeys(tag for tag in tags if tag))
