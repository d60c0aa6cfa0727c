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

__all__ = ["ConfigFile", "default_config_text", "read_config_file", "user_config_path", "user_folder"]

FILE_NAME = "config.yaml"
TOP_KEY = "dispatcher"

KeyPath = tuple[str, ...]


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
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if required:
            raise ConfigError(f"{path}: there is no such config file", hint="check --config") from None
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: the config file can't be read: {problem}", hint="save it as UTF-8") from None
    if not required and re.search(rf"^[\"']?{TOP_KEY}[\"']?\s*:", text, re.MULTILINE) is None:
        return None
    root = _compose(path, text)
    section = next((value for key, value in _entries(root) if key.value == TOP_KEY), None)
    if section is None:
        raise ConfigError(
            f'{path}: the config file has no top-level key "{TOP_KEY}:"', hint=f"put all settings under {TOP_KEY}:"
        )
    lines = dict(_lines(section, (), path))
    values = yaml.SafeLoader(text).construct_document(section)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f'{path}:{section.start_mark.line + 1}: "{TOP_KEY}:" must hold settings by name')
    return ConfigFile(path=path, values=values, lines=lines)


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        reason = getattr(problem, "problem", None) or problem
        raise ConfigError(f"{where}: the config file is not valid YAML: {reason}", hint="mend that line") from None
    except RecursionError:
        raise ConfigError(f"{path}: the config file is nested too deeply") from None


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _lines(node: yaml.Node, keys: KeyPath, path: Path) -> Iterator[tuple[KeyPath, int]]:
    """The line of every key and list item below `node`."""
    yield keys, node.start_mark.line + 1
    seen: set[str] = set()
    for key_node, value_node in _entries(node):
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in seen:
            raise ConfigError(f'{path}:{line}: the key "{key}" stands twice', hint="keep one of them")
        seen.add(key)
        yield from _lines(value_node, (*keys, key), path)
        yield (*keys, key), line
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*keys, str(index)), path)
