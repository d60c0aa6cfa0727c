"""The shape that an answer is to have: what the model's service is told of it, and the check of what comes back.

The service holds a model to the names and types of a schema; what it can't be held to (limits, patterns) is told to the
model in words, and checked here.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.errors import AnswerError, UsageError
from dispatcher.llm import Completion, parse_json

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Made by `Shape.of`. `schema` is what the service is told; `check` makes a value of an object.

    `check` raises ValueError for one that doesn't fit.
    """

    schema: Mapping[str, Any]
    check: Callable[[dict[str, Any]], Any] = dataclasses.field(repr=False, compare=False)

    @classmethod
    def of(cls, given: type[BaseModel] | Mapping[str, Any]) -> Shape:
        """The shape of a pydantic model, or of a JSON schema; values are then models, or dicts.

        Raises UsageError for what is neither, and for a schema that a model can't be held to.
        """
        if isinstance(given, Mapping):
            check = _check_of_schema(given)
            return cls(schema=_told(given), check=check)
        if not inspect.isclass(given) or not hasattr(given, "model_validate_json"):
            raise UsageError(
                f"{given!r} is no schema for answers", hint="give a pydantic model's class, or a JSON schema as a dict"
            )
        model = given
        return cls(schema=_told(model.model_json_schema()), check=lambda value: _as_model(model, value))

    def value_of(self, completion: Completion) -> Any:
        """What an answer holds. Raises AnswerError, with the answer as its `text`, where it is not whole or unfit."""
        value = parse_json(completion, self.schema)
        try:
            return self.check(value)
        except ValueError as problem:
            raise AnswerError(
                f"the answer does not fit the schema: {problem}",
                hint="ask again, say in the task what is meant, or loosen the schema",
                request_id=completion.request_id,
                stop_reason=completion.stop_reason,
                text=completion.text,
            ) from None


def _told(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema as the Messages API takes it."""
    from anthropic import transform_schema

    if schema.get("type") != "object":
        raise _unusable('its type is not "object"', "put what you want into an object, as in {answer: [...]}")
    for part in _parts(schema):
        if not str(part.get("$ref", "#")).startswith("#"):
            raise _unusable(f'it refers to "{part["$ref"]}"', "put all definitions into its own $defs")
        if isinstance(part.get("additionalProperties"), Mapping):
            raise _unusable("it has an object of any keys", "use a list of objects with a key and a value")
    try:
        return transform_schema(dict(schema))
    except (ValueError, TypeError, AttributeError) as problem:
        raise _unusable(str(problem)) from None


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Each object in a schema, with itself."""
    if isinstance(schema, Mapping):
        yield schema
    for inner in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _parts(inner)


def _as_model(model: type[BaseModel], value: dict[str, Any]) -> BaseModel:
    from pydantic import ValidationError

    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
    raise ValueError("; ".join(_placed(fault["loc"], fault["msg"]) for fault in faults))


def _check_of_schema(schema: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        raise _unusable(_placed(problem.path, problem.message)) from None
    validator = Draft202012Validator(schema)

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if faults := [_placed(fault.path, fault.message) for fault in validator.iter_errors(value)]:
            raise ValueError("; ".join(faults))
        return value

    return check


def _placed(path: Any, message: str) -> str:
    place = ".".join(map(str, path))
    return f"{place}: {message}" if place else message


def _unusable(reason: str, hint: str | None = None) -> UsageError:
    return UsageError(f"the schema can't be used for answers: {reason}", hint=hint)
