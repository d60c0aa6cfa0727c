"""The JSON schema of config.yaml, with what stands under each setting in the tree as its description.

Pydantic could find those descriptions by itself; but it would read the tree's source whenever settings are validated,
which takes longer than all of the rest.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from dispatcher.settings import tree
from dispatcher.settings.load import LISTS
from dispatcher.settings.tree import Settings

__all__ = ["settings_schema"]


def settings_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Settings).json_schema()
    definitions = schema.pop("$defs", {})
    for kind, name, text in _descriptions():
        (schema if kind == Settings.__name__ else definitions[kind])["properties"][name]["description"] = text
    schema["type"] = ["object", "null"]  # a section that holds nothing counts as not given
    for name, setting in schema["properties"].items():
        if "$ref" in setting:
            setting["anyOf"] = [{"$ref": setting.pop("$ref")}, {"type": "null"}]
        elif setting.get("type") in ("object", "array"):
            setting["type"] = [setting["type"], "null", *(["string"] if (name,) in LISTS else [])]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of agent-dispatcher",
        "type": "object",
        "properties": {"dispatcher": schema},
        "$defs": definitions,
    }


def _descriptions() -> Iterator[tuple[str, str, str]]:
    """The name of each class of the tree, of its field, and the text that stands under the field."""
    kinds = (node for node in ast.parse(inspect.getsource(tree)).body if isinstance(node, ast.ClassDef))
    for kind in kinds:
        for line, after in pairwise(kind.body):
            match line, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield kind.name, name, inspect.cleandoc(text)
