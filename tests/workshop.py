"""A small registry of craftspeople, made without files, for the tests of routing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dispatcher import Agent, Decision, Example, Source, Trigger
from dispatcher.routing.scorers import DENSE
from dispatcher.routing.weights import shipped_weights

__all__ = ["BAKER", "JOINER", "TAILOR", "TEAM", "UX", "WELDER", "WORDS_ALONE", "craft", "ranking"]


def craft(name: str, description: str = "", prompt: str = "", **fields: Any) -> Agent:
    """An agent that no file holds."""
    source = Source(path=Path("/shop") / f"{name}.md", root=Path("/shop"))
    return Agent(name=name, description=description, prompt=prompt, source=source, **fields)


def ranking(decision: Decision) -> list[str]:
    """The names of the candidates, best first."""
    return [candidate.name for candidate in decision.candidates]


BAKER = craft(
    "bread-baker",
    "Bakes bread, rolls and cakes from rye and wheat flour.",
    "You bake.\n\nKnead the dough, let it rise, and watch the oven.\n",
    category="kitchen",
    triggers=(Trigger(text="sourdough starter"),),
    examples=(Example(user="my loaf is flat and the crust is burnt"),),
)
TAILOR = craft(
    "tailor",
    "Sews and mends coats, trousers and curtains.",
    "You sew.\n\nMeasure the cloth, cut it, and stitch every seam twice.\n",
    category="clothes",
    team="soft goods",
)
JOINER = craft(
    "joiner",
    "Builds tables, shelves and window frames of oak and pine.",
    "You work wood.\n\nPlane the boards and glue every joint.\n",
    category="building",
    team="hard goods",
)
WELDER = craft(
    "welder",
    "Welds steel frames, gates and railings.",
    "You weld.\n\nGrind the edges, check the gas, wear a mask.\n",
    category="building",
    team="hard goods",
)
UX = craft("UX Researcher", "Interviews customers and tests prototypes with them.")
TEAM = (BAKER, TAILOR, JOINER, WELDER, UX)

_NO_MEANING = dict.fromkeys(DENSE, 0.0)
WORDS_ALONE = dataclasses.replace(
    shipped_weights(),
    prose={**shipped_weights().prose, **_NO_MEANING},
    mixed={**shipped_weights().mixed, **_NO_MEANING},
    examples={**shipped_weights().examples, **_NO_MEANING},
)
"""The shipped weights without the scorers of meaning, for what is to be told of words."""
