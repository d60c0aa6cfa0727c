"""The house: a module imports only from lower layers, and rooms of one layer don't know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dispatcher

PACKAGE = Path(dispatcher.__file__).parent

# Lowest first; rooms that stand together don't import each other.
LAYERS = (
    ("characters", "errors", "version", "on_demand", "progress"),
    ("agent",),
    ("naming", "private"),
    ("settings",),
    ("scopes", "enriched", "cache"),
    ("agentfile", "llm"),
    ("registry", "routing", "sessions", "budgets", "tracing", "mcp_servers"),
    ("judge", "enrich", "decisionlog"),
    ("runtime",),
    ("evaluation",),
    ("cli", "testing"),
    ("__main__",),
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> Iterator[str]:
    """The rooms of the package that a module imports from, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "dispatcher":
            names = [f"dispatcher.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}"]
        for name in names:
            assert not name.startswith("."), "imports are written in full"
            if name.startswith("dispatcher."):
                yield name.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    room = room_of(path)
    others = {other for other in imported_rooms(path.read_text(encoding="utf-8")) if other != room}
    assert {other for other in others if LAYER_OF[other] >= LAYER_OF[room]} == set()


def test_every_room_has_its_layer() -> None:
    assert {room_of(path) for path in MODULES} <= set(LAYER_OF)


@pytest.mark.parametrize(
    "source",
    ["import dispatcher.cli.app", "from dispatcher.cli import app", "def f():\n    from dispatcher import cli"],
)
def test_imports_are_found_wherever_they_stand(source: str) -> None:
    assert list(imported_rooms(source)) == ["cli"]
