"""A function's signature and docstring → what a model is told of its arguments, and the check of what it sends."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.errors import UsageError

__all__ = ["Described", "arguments_model", "described", "schema_of"]

_SECTION = re.compile(
    r"^(?:(parameters|args|arguments)|returns?|raises|yields|examples?|notes?|see also)\s*:?\s*$", re.IGNORECASE
)
_UNDERLINE = re.compile(r"^[-=~]{3,}\s*$")
_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:(?:\s+(.*))?$")
_FIELD_LIST = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a docstring says: of the function, and of each parameter (in the manner of NumPy, Google or Sphinx)."""

    text: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def described(function: Callable[..., Any]) -> Described:
    """The docstring of a function, taken apart."""
    lines = (inspect.getdoc(function) or "").splitlines()
    text: list[str] = []
    parameters: dict[str, list[str]] = {}
    section: str | None = None
    for line in lines:
        if _UNDERLINE.match(line):
            continue
        if (heading := _SECTION.match(line.strip())) is not None:
            section = "parameters" if heading[1] else "other"
        elif (found := _FIELD_LIST.match(line.strip())) is not None:
            parameters[found[1]] = [found[2]]
            section = "parameters"
        elif section is None:
            text.append(line)
        elif section == "parameters":
            _note(line, parameters)
    return Described(
        text="\n".join(text).strip(),
        parameters={name: " ".join(parts).strip() for name, parts in parameters.items()},
    )


def arguments_model(function: Callable[..., Any], name: str) -> Any:
    """A pydantic model of a function's arguments, with nothing beside them.

    Raises UsageError for a parameter without a type, and for one that stands for many.
    """
    from pydantic import ConfigDict, create_model
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    fields = dict(_fields(function, name))
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as problem:
        raise _untellable(name, problem) from None


def schema_of(model: Any, name: str) -> dict[str, Any]:
    """The JSON schema of an `arguments_model`. Raises UsageError for a type that JSON knows nothing like."""
    from pydantic.errors import PydanticInvalidForJsonSchema
    from pydantic.json_schema import GenerateJsonSchema

    class Schema(GenerateJsonSchema):
        def emit_warning(self, kind: Any, detail: str) -> None:
            """Of no use to whoever gave the function: what its defaults are is its own affair."""

    try:
        schema: dict[str, Any] = model.model_json_schema(schema_generator=Schema)
    except PydanticInvalidForJsonSchema as problem:
        raise _untellable(name, problem) from None
    schema.pop("title", None)
    return schema


def _untellable(name: str, problem: Exception) -> UsageError:
    return UsageError(
        f'the tool "{name}" has a parameter whose type a model can\'t be told: {problem}'.partition("\n")[0],
        hint="use text, numbers, lists, mappings, Literal, dataclasses or pydantic models",
    )


def _note(line: str, parameters: dict[str, list[str]]) -> None:
    """A line of a docstring's part on parameters: a new one, or more of the last."""
    found = _PARAMETER.match(line.strip())
    if found is not None:
        parameters[found[1]] = [found[2] or ""]
    elif parameters and line.strip():
        parameters[next(reversed(parameters))].append(line.strip())


def _fields(function: Callable[..., Any], name: str) -> Iterator[tuple[str, Any]]:
    from pydantic import Field

    texts = described(function).parameters
    types = _types(function, name)
    for parameter in _parameters(function, name):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise UsageError(
                f'the tool "{name}" takes "{parameter}", which a model can\'t be told',
                hint="give each parameter a name and a type",
            )
        if parameter.name not in types or parameter.name.startswith("_"):
            raise UsageError(
                f'the parameter "{parameter.name}" of the tool "{name}" has no type or no public name',
                hint=f"write its type, as in def {name}({parameter.name.lstrip('_') or 'text'}: str)",
            )
        # By alias, since a model has names of its own ("json", "copy") that a parameter may have, too.
        info = Field(
            ... if parameter.default is parameter.empty else parameter.default,
            alias=parameter.name,
            description=texts.get(parameter.name) or None,
        )
        yield f"argument_{parameter.name}", (types[parameter.name], info)


def _parameters(function: Callable[..., Any], name: str) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        raise UsageError(
            f'the signature of the tool "{name}" can\'t be read', hint="give a function of Python with typed parameters"
        ) from None


def _types(function: Callable[..., Any], name: str) -> Mapping[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as problem:
        raise UsageError(
            f'the types of the tool "{name}" can\'t be read: {problem}', hint="import them where it is defined"
        ) from None
