"""The layers put together: flags > environment > the project's config.yaml > the user's > defaults.

Every setting has an environment variable: its path in capitals after `DISPATCH_` (`routing.min_confidence` is
`DISPATCH_ROUTING_MIN_CONFIDENCE`). A project's config.yaml comes with somebody else's code, so it may not say where
the key is sent, which commands give tools to agents, what is kept of tasks and conversations, or what a day may cost.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.errors import ConfigError
from dispatcher.settings.files import FILE_NAME, ConfigFile, KeyPath, read_config_file, user_config_path
from dispatcher.settings.tree import (
    BudgetSettings,
    EnrichSettings,
    HandoffSettings,
    JudgeSettings,
    LLMSettings,
    LogSettings,
    McpServerSettings,
    Price,
    RoutingSettings,
    Rule,
    SessionSettings,
    Settings,
    ToolSettings,
)

__all__ = ["LISTS", "LoadedSettings", "load_settings"]

VARIABLE_PREFIX = "DISPATCH_VAR_"
_PREFIX = "DISPATCH_"
_CONFIG_VARIABLE = "DISPATCH_CONFIG"
_SECTIONS: tuple[KeyPath, ...] = (
    (),
    ("routing",),
    ("judge",),
    ("llm",),
    ("enrich",),
    ("budget",),
    ("log",),
    ("variables",),
    ("llm", "aliases"),
    ("llm", "prices"),
    ("sessions",),
    ("tools",),
    ("handoffs",),
)
LISTS: tuple[KeyPath, ...] = (
    ("agents",),
    ("disabled",),
    ("llm", "fallbacks"),
    ("log", "redact"),
)  # one entry may stand without brackets
_PATTERNS: KeyPath = ("log", "redact")  # which may have commas and brackets of their own
_TEXTS: tuple[KeyPath, ...] = (("enriched",), ("cache",))
_PATHS: tuple[KeyPath, ...] = (
    ("agents",),
    ("enriched",),
    ("cache",),
    ("claude_code_path",),
    ("routing", "weights"),
    ("sessions", "path"),
    ("log", "path"),
)
_NOT_FROM_A_PROJECT: Mapping[KeyPath, str] = {
    ("llm", "base_url"): "where your key is sent",
    ("llm", "api_key_env"): "where your key is sent",
    ("cache",): "from where what your own agents say is read",
    ("tools", "mcp_servers"): "which commands are run on your machine",
    ("tools", "approval"): "what may be done on your machine",
    ("executor",): "what may be done on your machine",
    ("claude_code_path",): "which commands are run on your machine",
    ("budget", "day"): "what you spend in all projects together",
    ("sessions", "store"): "whether your conversations are kept",
    ("sessions", "path"): "where your conversations are kept",
    ("sessions", "keep_days"): "how long your conversations are kept",
    ("log", "store"): "whether your tasks are kept",
    ("log", "path"): "where your tasks are kept",
    ("log", "keep_days"): "how long your tasks are kept",
    ("log", "max_bytes"): "how many of your tasks are kept",
    ("log", "redact"): "what of your tasks is kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """The settings, where each value came from (`"llm.model": "environment DISPATCH_LLM_MODEL"`), and notices."""

    settings: Settings
    origins: Mapping[str, str]
    notices: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One source of values; `file` is set where the values stand on lines."""

    name: str
    values: Mapping[KeyPath, Any]
    file: ConfigFile | None = None
    names: Mapping[KeyPath, str] = dataclasses.field(default_factory=dict)

    def origin(self, keys: KeyPath) -> str:
        if self.file is not None:
            return self.file.location(keys)
        return self.names.get(keys, self.name)


def load_settings(
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    config: Path | None = None,
) -> LoadedSettings:
    """Reads and validates all layers.

    Parameters
    ----------
    folder: the project's folder, whose config.yaml counts; the current one if not given.
    environment: the environment variables; the process's if not given.
    flags: values by dotted path that override all others (`{"llm.model": "opus"}`); those that are None don't count.
    config: a file to read in place of the project's; unlike that one it is the user's own choice and fully trusted.

    Raises ConfigError, naming the file and line or the variable, for values that are wrong.
    """
    environment = os.environ if environment is None else environment
    folder = folder or Path.cwd()
    if config is None and environment.get(_CONFIG_VARIABLE):
        config = Path(environment[_CONFIG_VARIABLE])
    user_path = user_config_path(environment)
    user = read_config_file(user_path, required=user_path.is_file())
    project = read_config_file(config or folder / FILE_NAME, required=config is not None)
    project_layer, notices = _file_layer(project, is_trusted=config is not None)
    layers = [
        layer
        for layer in (
            _file_layer(user, is_trusted=True)[0],
            project_layer,
            _environment_layer(environment),
            _flags_layer(flags or {}),
        )
        if layer is not None and layer.values
    ]
    merged: dict[KeyPath, tuple[Any, _Layer]] = {}
    for layer in layers:
        for keys, value in layer.values.items():
            _override(merged, keys, value, layer)
    settings = _of_text_alone(merged) or _validated(merged)
    return LoadedSettings(
        settings=settings,
        origins={".".join(keys): layer.origin(keys) for keys, (_, layer) in merged.items()},
        notices=(*notices, *_unknown_variables(environment)),
        files=tuple(file.path for file in (user, project) if file is not None),
    )


def variable_name(keys: KeyPath) -> str:
    """The environment variable of a setting."""
    return _PREFIX + "_".join(keys).upper()


def setting_paths(tree: type[Any] = Settings, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every setting that holds a value of its own."""
    for field in dataclasses.fields(tree):
        nested = field.default_factory if isinstance(field.default_factory, type) else None
        if nested is not None and dataclasses.is_dataclass(nested):
            yield from setting_paths(nested, (*prefix, field.name))
        else:
            yield (*prefix, field.name)


def _file_layer(file: ConfigFile | None, *, is_trusted: bool) -> tuple[_Layer | None, tuple[str, ...]]:
    if file is None:
        return None, ()
    values, notices = dict(_leaves((), file.values)), []
    for keys in _PATHS:
        if keys in values:
            values[keys] = _beside(file.path, values[keys])
    for keys, decided in _NOT_FROM_A_PROJECT.items():
        if not is_trusted and keys in values:
            del values[keys]
            notices.append(
                f"{file.location(keys)}: {'.'.join(keys)} is ignored in a project's config.yaml, since it decides "
                f"{decided}; set it in your own config, in {variable_name(keys)}, or with --config"
            )
    return _Layer(name=str(file.path), values=values, file=file), tuple(notices)


def _beside(file: Path, value: Any) -> Any:
    """Paths that stand in a config file, which mean what lies beside it; what is no path is for validation to tell."""
    folder = file.absolute().parent

    def absolute(path: Any) -> Any:
        return str(folder / Path(path).expanduser()) if isinstance(path, str) and path else path

    return [absolute(path) for path in value] if isinstance(value, list) else absolute(value)


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    values: dict[KeyPath, Any] = {}
    names: dict[KeyPath, str] = {}
    for keys in setting_paths():
        name = variable_name(keys)
        if environment.get(name):
            given = dict(_leaves(keys, _from_text(environment[name], keys, name)))
            values |= given
            names |= dict.fromkeys(given, f"environment {name}")
    for name, value in environment.items():
        if name.startswith(VARIABLE_PREFIX):
            keys = ("variables", name.removeprefix(VARIABLE_PREFIX))
            values[keys], names[keys] = value, f"environment {name}"
    return _Layer(name="environment", values=values, names=names)


def _from_text(text: str, keys: KeyPath, name: str) -> Any:
    """An environment variable's value: lists and mappings as YAML, paths also with the path separator between them."""
    if keys in LISTS and not text.lstrip().startswith("["):
        if keys == _PATTERNS:
            return [text]
        separator = os.pathsep if keys[-1] == "agents" else ","
        return [part.strip() for part in text.split(separator) if part.strip()]
    if keys in LISTS or keys[-1] in ("variables", "rules", "aliases", "prices", "mcp_servers"):
        import yaml

        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            if keys == _PATTERNS:
                return [text]
            raise ConfigError(f"environment {name}: the value is not valid YAML") from None
    return text


def _flags_layer(flags: Mapping[str, Any]) -> _Layer:
    values: dict[KeyPath, Any] = {}
    for path, value in flags.items():
        values |= dict(_leaves(tuple(path.split(".", 1)), value)) if value is not None else {}
    return _Layer(name="command line", values=values)


def _leaves(keys: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Values by path, opened up where layers are merged; a section or list that holds nothing is as if not there."""
    if keys in _SECTIONS and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves((*keys, str(key)), inner)
    elif value is None and keys in (*_SECTIONS, *LISTS, ("rules",), ("tools", "mcp_servers")):
        return
    else:
        yield keys, [value] if keys in LISTS and isinstance(value, str) else value


def _override(merged: dict[KeyPath, tuple[Any, _Layer]], keys: KeyPath, value: Any, layer: _Layer) -> None:
    """Puts a value in place, in place of what lies below it, too."""
    for other in [other for other in merged if other[: len(keys)] == keys]:
        del merged[other]
    merged[keys] = (value, layer)


def _of_text_alone(merged: Mapping[KeyPath, tuple[Any, _Layer]]) -> Settings | None:
    """The settings where all that is set are names and paths, which nothing can be wrong with: the usual case, for
    which pydantic need not be loaded."""
    values: dict[str, Any] = {}
    for keys, (value, _) in merged.items():
        if len(keys) > 1:
            return None
        if keys in LISTS and isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            values[keys[0]] = tuple(value)
        elif keys in _TEXTS and isinstance(value, str):
            values[keys[0]] = value
        else:
            return None
    return Settings(**values)


def _validated(merged: Mapping[KeyPath, tuple[Any, _Layer]]) -> Settings:
    from pydantic import TypeAdapter, ValidationError

    tree: dict[str, Any] = {}
    for keys, (value, _) in merged.items():
        if any(keys[:length] in merged for length in range(1, len(keys))):
            continue  # a layer has no section there but some other value, which is about to be reported
        place = tree
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
    try:
        return TypeAdapter(Settings).validate_python(tree)
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False)
    messages = [_fault(fault["type"], tuple(map(str, fault["loc"])), fault["msg"], merged) for fault in faults]
    raise ConfigError("\n".join(messages), hint="`dispatch config schema` prints every setting") from None


def _fault(kind: str, keys: KeyPath, message: str, merged: Mapping[KeyPath, tuple[Any, _Layer]]) -> str:
    origin = next(
        (layer.origin(keys) for at, (_, layer) in merged.items() if at == keys[: len(at)] or keys == at[: len(keys)]),
        "settings",
    )
    dotted = ".".join(keys)
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f'{origin}: there is no setting "{dotted}"{_did_you_mean(keys)}'
    if kind in ("missing", "missing_argument"):
        return f"{origin}: {dotted} is missing"
    said = message.removeprefix("Input ").replace("a valid tuple", "a list").replace("dictionary", "mapping")
    said = re.sub(r" or an instance of \w+", "", said)
    return f"{origin}: {dotted} {said}"


def _did_you_mean(keys: KeyPath) -> str:
    """The nearest setting: beside the one that was written, or else anywhere."""
    from rapidfuzz import fuzz, process

    *parents, written = keys
    beside = {field.name: (*parents, field.name) for field in dataclasses.fields(_tree_at(tuple(parents)))}
    # Of several of a name, that of the model which answers goes before those of its helpers.
    anywhere = {path[-1]: path for path in sorted(setting_paths(), key=lambda path: path[0] == "llm")}
    for places in (beside, anywhere):
        found = process.extractOne(written, sorted(places), scorer=fuzz.ratio, score_cutoff=60)
        if found is not None:
            return f'; did you mean "{".".join(places[found[0]])}"?'
    return ""


def _tree_at(keys: KeyPath) -> type[Any]:
    if keys[:1] == ("rules",):
        return Rule
    if keys[:2] == ("llm", "prices"):
        return Price
    if keys[:2] == ("tools", "mcp_servers"):
        return McpServerSettings
    sections: dict[KeyPath, type[Any]] = {
        ("routing",): RoutingSettings,
        ("judge",): JudgeSettings,
        ("llm",): LLMSettings,
        ("enrich",): EnrichSettings,
        ("budget",): BudgetSettings,
        ("log",): LogSettings,
        ("sessions",): SessionSettings,
        ("tools",): ToolSettings,
        ("handoffs",): HandoffSettings,
    }
    return sections.get(keys, Settings)


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Notices for variables that are nearly, but not quite, the name of a setting."""
    names = [name for name in environment if name.startswith(_PREFIX) and not name.startswith(VARIABLE_PREFIX)]
    known = {variable_name(keys) for keys in setting_paths()} | {_CONFIG_VARIABLE}
    unknown = sorted(set(names) - known)
    if not unknown:
        return
    from rapidfuzz import process

    for name in unknown:
        if found := process.extractOne(name, sorted(known), score_cutoff=85):
            yield f"the environment variable {name} is no setting; did you mean {found[0]}?"
