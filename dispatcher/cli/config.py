"""dispatch config show | init | schema."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console
from dispatcher.errors import UsageError
from dispatcher.settings import McpServerSettings

__all__ = ["init", "schema", "show"]


def show(
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Show every setting, its value and where that came from."""
    from dispatcher.settings import load_settings

    console = Console(quiet=quiet or as_json)
    loaded = load_settings(config=config)
    for notice in loaded.notices:
        console.notice(notice)
    values = dict(_values(loaded.settings))
    origins = {path: loaded.origins.get(path, "default") for path in values}
    if as_json:
        from dispatcher.cli.outputs import SCHEMA_VERSION, ConfigOutput, SettingOutput, to_json

        settings: dict[str, SettingOutput] = {
            path: {"value": value, "origin": origins[path]} for path, value in values.items()
        }
        files = [str(path) for path in loaded.files]
        output: ConfigOutput = {"schema_version": SCHEMA_VERSION, "files": files, "settings": settings}
        console.result(to_json(ConfigOutput, output))
        return 0
    for path, value in values.items():
        console.result(f"{path}: {json.dumps(value, ensure_ascii=False, default=str)}  # {origins[path]}")
    return 0


def init(
    user: Annotated[bool, typer.Option("--user", help="Write your own config instead of the project's.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: options.DebugOption = False,
) -> int:
    """Write a config.yaml that says what every setting means."""
    import os

    from dispatcher.settings.files import FILE_NAME, default_config_text, user_config_path

    console = Console()
    path = user_config_path(os.environ) if user else Path(FILE_NAME)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(default_config_text())
    except FileExistsError:
        raise UsageError(
            f"{path} is already there", hint="add the key dispatcher: to it, or replace it with --force"
        ) from None
    except OSError as problem:
        raise UsageError(f"{path} can't be written: {problem.strerror or problem}") from None
    console.result(str(path))
    return 0


def schema(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="config, or a command whose --json output is meant: run, route, ...")
    ] = "config",
    debug: options.DebugOption = False,
) -> int:
    """Print the JSON schema of config.yaml, or of a command's --json."""
    from dispatcher.cli.outputs import OUTPUTS, schema_of
    from dispatcher.settings.schema import settings_schema

    if name != "config" and name not in OUTPUTS:
        raise UsageError(f'there is no schema "{name}"', hint=f"there are: config, {', '.join(OUTPUTS)}")
    found = settings_schema() if name == "config" else schema_of(OUTPUTS[name])
    Console().result(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


def _values(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting's value by its dotted path."""
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        path = f"{prefix}{field.name}"
        if field.name in ("variables", "aliases", "prices") and value:
            yield from ((f"{path}.{name}", _plain(one)) for name, one in value.items())
        elif field.name == "mcp_servers":
            yield path, {name: _without_secrets(one) for name, one in value.items()}
        elif dataclasses.is_dataclass(value):
            yield from _values(value, f"{path}.")
        else:
            yield path, _plain(value)


def _without_secrets(server: McpServerSettings) -> dict[str, Any]:
    """A server of tools as it may be shown: the values in its environment and headers are often keys."""
    shown: dict[str, Any] = _plain(server)
    return shown | {name: dict.fromkeys(shown[name], "***") for name in ("env", "headers")}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value
