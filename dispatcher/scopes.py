"""Where agents are looked for, and which files of a folder are read.

A scope is one root: a folder, or a single file. The nearest comes first: the project's folders, the user's, and the
agents that come with the package.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dispatcher.agent import Diagnostic, Severity
from dispatcher.errors import UsageError
from dispatcher.settings.files import user_folder

__all__ = ["FoundFile", "Scope", "agent_files", "bundled_folder", "given_scopes", "stamp_of", "usual_scopes"]

PROJECT_FOLDERS = (
    "agents",
    ".claude/agents",
    ".github/agents",
    ".github/chatmodes",
    ".opencode/agents",
    ".opencode/agent",
    ".gemini/agents",
    ".cursor/agents",
)
USER_FOLDERS = (
    ".claude/agents",
    ".copilot/agents",
    ".config/opencode/agents",
    ".config/opencode/agent",
    ".gemini/agents",
    ".cursor/agents",
)
_ENDINGS = (".md", ".markdown")
_JSON_NAME = "agents.json"
_SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A root to read agents from; `name` is project, user, bundled or given."""

    name: str
    root: Path


class FoundFile(NamedTuple):
    """A file that may be an agent, and its stamp."""

    path: str
    stamp: tuple[int, ...]


def usual_scopes(folder: Path, environment: Mapping[str, str]) -> tuple[Scope, ...]:
    """The scopes that exist, nearest first; a folder that is reached twice counts once."""
    home = Path.home()
    candidates = [
        *(Scope(name="project", root=folder / part) for part in PROJECT_FOLDERS),
        Scope(name="user", root=user_folder(environment) / "agents"),
        *(Scope(name="user", root=home / part) for part in USER_FOLDERS),
        Scope(name="bundled", root=bundled_folder()),
    ]
    found: dict[Path, Scope] = {}
    for scope in candidates:
        if scope.root.is_dir():
            found.setdefault(scope.root.resolve(), scope)
    return tuple(found.values())


def given_scopes(paths: Iterable[str | Path]) -> tuple[Scope, ...]:
    """The scopes of paths that the user named. Raises UsageError for one that does not exist."""
    scopes = []
    for path in (Path(path).expanduser() for path in paths):
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder of agents", hint="check --agents")
        scopes.append(Scope(name="given", root=path))
    return tuple(scopes)


def bundled_folder() -> Path:
    """The agents that come with the package: inside it when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "bundled" / "agents"
    return inside if inside.is_dir() else package.parent / "agents"


def agent_files(scope: Scope) -> tuple[tuple[FoundFile, ...], tuple[Diagnostic, ...]]:
    """The files of a scope that may be agents, in a fixed order, and what was odd about the others."""
    if not scope.root.is_dir():
        return (FoundFile(str(scope.root), stamp_of(scope.root)),), ()
    files: list[FoundFile] = []
    diagnostics: list[Diagnostic] = []
    root = scope.root.resolve()
    for entry in _walk(scope.root, diagnostics):
        path = entry.path
        if not path.isascii() and (readable := os.fsencode(path).decode("utf-8", "replace")) != path:
            message = "the name of the file or of its folder is not UTF-8, so it can't be shown"
            diagnostics.append(_diagnostic(Path(readable), "odd-name", message, "rename it"))
        elif entry.is_symlink() and (oddity := _odd_link(Path(path), root)) is not None:
            diagnostics.append(oddity)
        else:
            files.append(FoundFile(path, stamp_of(entry)))
    return tuple(files), tuple(diagnostics)


def stamp_of(file: os.DirEntry[str] | Path) -> tuple[int, ...]:
    """What changes when a file does: its times of modification, in nanoseconds, and its size; nothing if it is gone."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ctime_ns


def _walk(top: Path, diagnostics: list[Diagnostic]) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder that may be an agent, and every link, without following links to folders."""
    waiting = [str(top)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=_name_of)
        except OSError as problem:
            message = f"the folder can't be read: {problem.strerror}"
            diagnostics.append(_diagnostic(Path(folder), "unreadable", message, "check that you may read it"))
            continue
        folders: list[os.DirEntry[str]] = []
        files: list[os.DirEntry[str]] = []
        for entry in entries:
            if _is_folder(entry):
                folders.append(entry)
            elif _may_be_agent(entry.name):
                files.append(entry)
        folders = [entry for entry in folders if entry.name not in _SKIPPED_FOLDERS]
        links = [entry for entry in folders if entry.is_symlink()]
        inner = [entry for entry in folders if not entry.is_symlink()]
        diagnostics.extend(_named_like_a_file(Path(entry.path)) for entry in inner if _may_be_agent(entry.name))
        yield from links
        yield from files
        waiting.extend(entry.path for entry in reversed(inner))


_name_of = operator.attrgetter("name")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _named_like_a_file(folder: Path) -> Diagnostic:
    message = "it is a folder, though it is named like an agent file; what is in it was read"
    return _diagnostic(folder, "folder-not-file", message, "rename the folder", Severity.WARNING)


def _may_be_agent(name: str) -> bool:
    return name.lower().endswith(_ENDINGS) or name == _JSON_NAME


def _odd_link(link: Path, root: Path) -> Diagnostic | None:
    """What keeps a link from being read: a loop, a target out of the folder, or one that is read by itself."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return _diagnostic(link, "broken-link", "the link leads nowhere or in a circle", "remove it or mend its target")
    if not target.is_relative_to(root):
        return _diagnostic(
            link,
            "link-out-of-folder",
            f"the link leads out of the folder, to {target}, and is not followed",
            f"name that place itself: --agents {target}",
        )
    if target.is_dir() and link.parent.resolve().is_relative_to(target):
        return _diagnostic(link, "link-loop", "the link leads to a folder that it stands in", "remove it")
    if target.is_file() and not _may_be_agent(target.name):
        return None
    return _diagnostic(
        link, "link-inside-folder", f"the link's target {target} is read by itself", "remove it", Severity.NOTE
    )


def _diagnostic(path: Path, code: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(severity=severity, code=code, message=message, path=path, hint=hint)
