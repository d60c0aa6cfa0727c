"""The front matter keys of the dialects in use, each with its spellings, and what a misspelt one was meant to be.

Claude Code, Copilot (`.agent.md`, `.chatmode.md`), OpenCode, Gemini CLI, Cursor and the collections around them name
the same things differently. A key that is not here is kept in the agent's metadata as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rapidfuzz.distance import DamerauLevenshtein

__all__ = [
    "KNOWN_KEYS",
    "KNOWN_SPELLINGS",
    "RESTRICTING_KEYS",
    "SPELLINGS",
    "folded_keys",
    "intended_key",
    "keys_of",
    "pick",
]

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "description": ("description",),
    "model": ("model", "models"),
    "color": ("color", "colour"),
    "category": ("category",),
    "team": ("team",),
    "subcategory": ("subcategory",),
    "tags": ("tags",),
    "enabled": ("enabled",),
    "tools": ("tools", "allowed-tools", "allowedTools", "allowed_tools"),
    "disallowed_tools": ("disallowedTools", "disallowed-tools", "disallowed_tools"),
    "permission_mode": ("permissionMode",),
    "max_turns": (
        "maxTurns",
        "max_turns",
        "max-turns",
        "max_iterations",
        "maxIterations",
        "max-iterations",
        "steps",
        "maxSteps",
        "max_steps",
        "max-steps",
    ),
    "effort": ("effort",),
    "mcp_servers": ("mcpServers", "mcp-servers", "mcp_servers"),
    "disable_model_invocation": ("disable-model-invocation", "disableModelInvocation", "disable_model_invocation"),
    "temperature": ("temperature", "top_p", "top_k"),
    "triggers": (
        "triggers",
        "delegation_triggers",
        "activation_triggers",
        "auto_activate",
        "trigger_phrases",
        "keywords",
        "when_to_use",
        "whenToUse",
        "when-to-use",
    ),
    "exclusions": ("not_for", "when_not_to_use", "do_not_use_for"),
    "examples": ("examples",),
    "capabilities": ("capabilities", "expertise", "specializations"),
    "collaborators": ("collaborators", "collaborates_with", "works_with", "handoffs", "agents"),
}

# These say what an agent may not do: misspelt, they would be lost without a word.
RESTRICTING_KEYS = ("tools", "disallowed_tools", "permission_mode", "max_turns", "disable_model_invocation", "enabled")

_OTHER_KEYS = (
    "argument-hint",
    "author",
    "background",
    "hidden",
    "hooks",
    "initialPrompt",
    "isolation",
    "license",
    "memory",
    "metadata",
    "mode",
    "skills",
    "target",
    "type",
    "user-invocable",
    "version",
)

# Lower-case names that, at the start of a line, are surely a key and not the text of an example.
KNOWN_KEYS = frozenset(spelling.lower() for group in (*SPELLINGS.values(), _OTHER_KEYS) for spelling in group) - {
    "expertise",
    "agents",
    "steps",
    "memory",
    "type",
    "target",
    "mode",
    "background",
    "models",
}


_FOLDED = {field: tuple(dict.fromkeys(spelling.lower() for spelling in group)) for field, group in SPELLINGS.items()}

KNOWN_SPELLINGS = frozenset(spelling for group in _FOLDED.values() for spelling in group)
"""Every spelling that means a field of an agent, lower-case."""


def pick(values: Mapping[str, Any], field: str) -> list[tuple[str, Any]]:
    """The keys of `values` that mean `field`, in any case, with their values, in the order of the table."""
    return [(key, values[key]) for key in keys_of(field, folded_keys(values))]


def folded_keys(values: Mapping[str, Any]) -> Mapping[str, str]:
    """The keys of `values` by how they are spelt in lower case."""
    return {key.lower(): key for key in values}


def keys_of(field: str, folded: Mapping[str, str]) -> list[str]:
    """Those of `folded_keys` that mean `field`, in the order of the table."""
    return [folded[spelling] for spelling in _FOLDED[field] if spelling in folded]


def intended_key(key: str) -> str | None:
    """The right spelling of a restricting key that `key` was meant to be, or None where it is something else."""
    folded = _fold(key)
    for field in RESTRICTING_KEYS:
        for spelling in SPELLINGS[field]:
            if _is_near(folded, _fold(spelling)):
                return spelling
    return None


def _fold(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _is_near(key: str, spelling: str) -> bool:
    allowed = 1 if len(spelling) < 8 else 2
    return DamerauLevenshtein.distance(key, spelling, score_cutoff=allowed) <= allowed
