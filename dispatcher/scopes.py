"""Where agents are looked for, and which files of a folder are read.

A scope is one root: a folder, or a single file. The nearest comes first: the project's folders, the user's, and the
agents that come with the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dispatcher.agent import Diagnostic, Severity
from dispatcher.errors import UsageError
from dispatcher.settings.files import user_folder

__all__ = ["Scope", "agent_files", "bundled_folder", "given_scopes", "usual_scopes"]

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


def agent_files(scope: Scope) -> tuple[tuple[Path, ...], tuple[Diagnostic, ...]]:
    """The files of a scope that may be agents, in a fixed order, and what was odd about the others."""
    if not scope.root.is_dir():
        return (scope.root,), ()
    files: list[Path] = []
    diagnostics: list[Diagnostic] = []
    root = scope.root.resolve()
    for entry in _walk(scope.root, diagnostics):
        readable = Path(os.fsencode(entry).decode("utf-8", "replace"))
        if readable != entry:
            message = "the name of the file or of its folder is not UTF-8, so it can't be shown"
            diagnostics.append(_diagnostic(readable, "odd-name", message, "rename it"))
        elif entry.is_symlink() and (oddity := _odd_link(entry, root)) is not None:
            diagnostics.append(oddity)
        else:
            files.append(entry)
    return tuple(files), tuple(diagnostics)


def _walk(folder: Path, diagnostics: list[Diagnostic]) -> Iterator[Path]:
    """Every file below `folder` that may be an agent, and every link, without following links to folders."""

    def report(problem: OSError) -> None:
        diagnostics.append(
            _diagnostic(
                Path(problem.filename or folder),
                "unreadable",
                f"the folder can't be read: {problem.strerror}",
                "check that you may read it",
            )
        )

    for parent, folders, names in os.walk(folder, onerror=report):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS and name not in links)
        diagnostics.extend(_named_like_a_file(here / name) for name in folders if _may_be_agent(name))
        yield from (here / name for name in sorted(links) if name not in _SKIPPED_FOLDERS)
        yield from (here / name for name in sorted(names) if _may_be_agent(name))


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
