"""The front matter by field, whatever its keys are called, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatcher.agentfile.finding import Finding, note, warning
from dispatcher.agentfile.keys import KNOWN_SPELLINGS, SPELLINGS, folded_keys, intended_key, keys_of
from dispatcher.agentfile.strict import FrontMatter

__all__ = ["Fields", "flatten"]

_NOT_MISSPELT = frozenset({"disabled", "model", "mode", "skills", "tooling"})


class Fields:
    """The front matter by field, and the findings about it."""

    def __init__(self, front_matter: FrontMatter) -> None:
        self._front_matter = front_matter
        self._findings: list[Finding] = []
        self.values: dict[str, Any] = dict(front_matter.values)
        self.lines: Mapping[str, int] = front_matter.lines
        self._mend_misspelt_keys()
        self._keys = folded_keys(self.values)
        self._report_temperature()

    def report(self, *findings: Finding) -> None:
        self._findings.extend(findings)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings)

    def pick(self, field: str) -> list[tuple[str, Any]]:
        return [(key, self.values[key]) for key in keys_of(field, self._keys)]

    def line(self, field: str) -> int | None:
        return next((self.lines[key] for key, _ in self.pick(field) if key in self.lines), None)

    def text(self, field: str) -> tuple[str, int | None]:
        """A field that is one text, as it is written, with its line; empty where the file has none."""
        for key, value in self.pick(field):
            if value is None or value == "":
                continue
            line = self.lines.get(key)
            if isinstance(value, str):
                return value.strip(), line
            if isinstance(value, (list, dict)):
                return " ".join(flatten(value)), line
            return self._front_matter.raw.get(key, str(value)), line
        return "", None

    def each(self, field: str, extract: Any) -> tuple[Any, ...]:
        """What an extractor finds in each key of a field."""
        return tuple(found for key, value in self.pick(field) for found in extract(value, self.lines.get(key)))

    def metadata(self) -> dict[str, Any]:
        """The keys that no field of the agent holds, and those whose values are richer than the field made of them."""
        known = KNOWN_SPELLINGS - {spelling.lower() for spelling in SPELLINGS["temperature"]}
        kept = {
            key: value
            for key, value in self._front_matter.values.items()
            if key.lower() not in known or _has_mapping(value)
        }
        if self._front_matter.overridden:
            kept["duplicate_keys"] = {key: list(values) for key, values in self._front_matter.overridden.items()}
        return kept

    def _mend_misspelt_keys(self) -> None:
        for key, value in self._front_matter.values.items():
            meant = intended_key(key) if key.lower() not in KNOWN_SPELLINGS else None
            if meant is None or key.lower() in _NOT_MISSPELT:
                continue
            # Beside the right key, or another slip of it, both count: a list of both is read like one.
            self.values[meant] = [*_as_list(self.values[meant]), *_as_list(value)] if meant in self.values else value
            self.report(
                warning(
                    "misspelt-key",
                    f'the key "{key}" is no key of an agent file; it was read as "{meant}"',
                    line=self.lines.get(key),
                    hint=f'write "{meant}"',
                )
            )

    def _report_temperature(self) -> None:
        for key, _ in self.pick("temperature"):
            self.report(
                note(
                    "no-longer-accepted",
                    f'"{key}" is no longer accepted by current models and is not sent',
                    line=self.lines.get(key),
                    hint=f'remove "{key}"',
                )
            )


def flatten(value: Any) -> list[str]:
    """The texts in a value, at any depth."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in flatten(part)]
    if isinstance(value, list):
        return [text for part in value for text in flatten(part)]
    return [] if value is None else [str(value)]


def _as_list(value: Any) -> list[Any]:
    """A value that may be one text with commas, a list or a mapping, as a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, list) else [value]


def _has_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(part, Mapping) for part in value))
