"""dispatch version."""

from __future__ import annotations

import platform

from dispatcher.cli import options
from dispatcher.cli.console import Console
from dispatcher.version import __version__

__all__ = ["version"]

_PACKAGES = ("anthropic", "scikit-learn", "numpy", "pydantic", "python-frontmatter", "pyyaml", "typer")


def version(as_json: options.JsonOption = False, debug: options.DebugOption = False) -> int:
    """Print the version. With --json also those of Python and of the packages that matter."""
    console = Console()
    if not as_json:
        console.result(f"agent-dispatcher {__version__}")
        return 0
    import importlib.metadata

    from dispatcher.cli.outputs import SCHEMA_VERSION, VersionOutput, to_json

    output: VersionOutput = {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    console.result(to_json(VersionOutput, output))
    return 0
