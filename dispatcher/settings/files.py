"""config.yaml: which files count, and what stands in them on which line.

A config.yaml is ours only if it has the top-level key `dispatcher:`; other projects have files of that name too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dispatcher.errors import ConfigError

__all__ = [
    "ConfigFile",
    "default_config_text",
    "read_config_file",
    "user_config_path",
    "user_folder",
    "user_state_folder",
]

FILE_NAME = "config.yaml"
TOP_KEY = "dispatcher"

KeyPath = tuple[str, ...]

_OURS = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?" + TOP_KEY.encode() + rb"[\"']?\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The values under `dispatcher:` in a file, and the line of each by its path of keys."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def location(self, keys: KeyPath) -> str:
        """The file and the line of a key, or of the nearest one above it."""
        for length in range(len(keys), 0, -1):
            if (line := self.lines.get(keys[:length])) is not None:
                return f"{self.path}:{line}"
        return str(self.path)


def user_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the user's own configuration, by the platform's convention."""
    if sys.platform == "win32":
        return Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "agent-dispatcher"
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agent-dispatcher"


def user_state_folder(environment: Mapping[str, str]) -> Path:
    """The folder of what the program keeps for the user, by the platform's convention."""
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "agent-dispatcher"
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "agent-dispatcher"


def user_config_path(environment: Mapping[str, str]) -> Path:
    return user_folder(environment) / FILE_NAME


def default_config_text() -> str:
    """The commented config.yaml that comes with the package: inside it when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "bundled" / FILE_NAME
    return (inside if inside.is_file() else package.parent / FILE_NAME).read_text(encoding="utf-8")


def read_config_file(path: Path, *, required: bool = False) -> ConfigFile | None:
    """Reads a config file; None where there is none, or one that is not ours.

    Raises ConfigError if it can't be read or is no YAML, and, if `required`, also where it is missing or not ours.
    """
    try:
        content = path.read_bytes()
        if not required and _OURS.search(content) is None:
            return None
        text = content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if required:
            raise ConfigError(f"{path}: there is no such config file", hint="check --config") from None
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: the config file can't be read: {problem}", hint="save it as UTF-8") from None
    section = _section(path, text)
    lines = dict(_lines(section, (), path))
    values = _values(path, text, section)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f'{path}:{section.start_mark.line + 1}: "{TOP_KEY}:" must hold settings by name')
    return ConfigFile(path=path, values=values, lines=lines)


def _section(path: Path, text: str) -> yaml.Node:
    """What stands under our key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        raise _not_valid(path, problem) from None
    except RecursionError:
        raise ConfigError(f"{path}: the config file is nested too deeply") from None
    sections = [(key, value) for key, value in _entries(root) if key.value == TOP_KEY]
    if not sections:
        raise ConfigError(
            f'{path}: the config file has no top-level key "{TOP_KEY}:"', hint=f"put all settings under {TOP_KEY}:"
        )
    if len(sections) > 1:
        raise _twice(path, sections[1][0])
    return sections[0][1]


def _values(path: Path, text: str, section: yaml.Node) -> Any:
    try:
        return yaml.SafeLoader(text).construct_document(section)
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a date that does not exist
        raise _not_valid(path, problem, section) from None


def _not_valid(path: Path, problem: Exception, section: yaml.Node | None = None) -> ConfigError:
    mark = getattr(problem, "problem_mark", None) or (section.start_mark if section is not None else None)
    where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
    reason = getattr(problem, "problem", None) or problem
    return ConfigError(f"{where}: the config file is not valid YAML: {reason}", hint="mend that line")


def _twice(path: Path, key: yaml.Node) -> ConfigError:
    line = key.start_mark.line + 1
    return ConfigError(f'{path}:{line}: the key "{key.value}" stands twice', hint="keep one of them")


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _lines(
    node: yaml.Node, keys: KeyPath, path: Path, visited: set[int] | None = None
) -> Iterator[tuple[KeyPath, int]]:
    """The line of every key and list item below `node`; what an alias repeats is not gone through again."""
    visited = set() if visited is None else visited
    yield keys, node.start_mark.line + 1
    if id(node) in visited:
        return
    visited.add(id(node))
    seen: set[str] = set()
    for key_node, value_node in _entries(node):
        key = str(key_node.value)
        if key in seen:
            raise _twice(path, key_node)
        seen.add(key)
        yield from _lines(value_node, (*keys, key), path, visited)
        yield (*keys, key), key_node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*keys, str(index)), path, visited)
