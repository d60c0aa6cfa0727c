"""What the tests of the command line share: a team of three agents, and a call of the program in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.app import main

__all__ = ["GARDENER", "MEANT", "TASK", "Outcome", "call", "write_developers", "write_team"]

GARDENER = """---
name: gardener
description: Plans vegetable beds, sows seedlings and keeps snails away from salad.
model: opus
---
You tend a garden.
"""
COOK = """---
name: Soup Cook
description: Writes recipes for soup, bread and stews.
---
You cook for guests. Salt: {{SALT}}.
"""
BUTLER = """---
name: butler
description: Answers what nobody else does.
disable-model-invocation: true
---
You serve.
"""
TASK = "sow vegetable seedlings"
"""A task for the gardener."""
MEANT = "our k8s pods crash"
"""A task for the operator of `write_developers`, who has no word of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of the program came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def write_team(folder: Path) -> Path:
    """Puts the team's files into a new folder."""
    folder.mkdir()
    for name, text in {"gardener": GARDENER, "cook": COOK, "butler": BUTLER}.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder


def write_developers(folder: Path) -> Path:
    """Puts the files of agents whose trades the shipped encoder knows into a new folder."""
    folder.mkdir()
    told = {"operator": "Keeps Kubernetes clusters and deployments running", "author": "Writes copy for newsletters"}
    for name, description in told.items():
        text = f"---\nname: {name}\ndescription: {description}.\n---\nBe quick.\n"
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder


def call(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> Outcome:
    """Calls the program as its console script does."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, captured.out, captured.err)
