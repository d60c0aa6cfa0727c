"""dispatch cache show | clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.cli import options
from dispatcher.cli.console import Console, short
from dispatcher.errors import DispatcherError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.cache import Cache

__all__ = ["clear", "show"]

_MEGABYTE = 1_000_000


def show(
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Show where the cache is, and what is in it."""
    console = Console(quiet=quiet or as_json)
    cache = _cache(config, console)
    entries = list(cache.entries()) if cache is not None else []
    if as_json:
        from dispatcher.cli.outputs import CacheOutput, cache_output, to_json

        console.result(to_json(CacheOutput, cache_output(cache.folder if cache else None, entries)))
        return 0
    if cache is None:
        console.result("the cache is off")
        return 0
    console.result(str(cache.folder))
    for entry in entries:
        use = entry.use if entry.is_whole else "not whole, or of another version; it will be replaced"
        console.result(f"{entry.path.name}  {entry.size / _MEGABYTE:.1f} MB  {use}")
    return 0


def clear(
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Remove what is in the cache; it is made again when it is needed."""
    console = Console(quiet=quiet)
    cache = _cache(config, console)
    if cache is None:
        console.say("the cache is off")
        return 0
    try:
        freed = cache.clear()
    except OSError as problem:
        raise DispatcherError(
            f"{problem.filename or cache.folder}: it can't be removed: {problem.strerror or problem}",
            hint="check that you may write there",
        ) from None
    console.say(f"{short(cache.folder)}: {freed / _MEGABYTE:.1f} MB freed")
    return 0


def _cache(config: Path | None, console: Console) -> Cache | None:
    import os

    from dispatcher.cache import Cache
    from dispatcher.settings import load_settings

    loaded = load_settings(config=config)
    for notice in loaded.notices:
        console.notice(notice)
    return Cache.of(loaded.settings.cache, os.environ)
