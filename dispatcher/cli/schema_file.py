"""The file of `--schema`: a JSON schema that the answer has to fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dispatcher.errors import UsageError

__all__ = ["read_schema"]

_LARGEST_SCHEMA = 1_000_000


def read_schema(path: Path) -> dict[str, Any]:
    """The schema in a file. Raises UsageError for a file that can't be read, or a schema that can't be used."""
    from dispatcher.runtime.shapes import Shape

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SCHEMA + 1)
        schema = json.loads(content.decode("utf-8-sig"))
    except OSError as problem:
        raise UsageError(f"{path}: the schema can't be read: {problem.strerror or problem}") from None
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"{path}: the schema is not JSON: {problem}", hint="write a JSON schema into it") from None
    if not isinstance(schema, dict):
        raise UsageError(f"{path}: the schema is no object", hint='begin it with {"type": "object", "properties": ...')
    try:
        Shape.of(schema)
    except UsageError as problem:
        raise UsageError(f"{path}: {problem.message}", hint=problem.hint) from None
    return schema
