"""What must not get slower: ratios of processor time within one run, the best of several rounds in turns.

The tolerances are about a third above what was measured, so that a busy machine does not fail and a heavy import does.
`eval/bench/speed.py` prints the figures themselves.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from dispatcher import Cache, Registry, Router
from dispatcher.scopes import bundled_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the processor time of a child process")

NUMPY = [sys.executable, "-c", "import numpy"]
ROUTE = [sys.executable, "-m", "dispatcher", "route", "--agents", str(bundled_folder()), "the build is red"]
ROUNDS = 3


def processor_seconds(command: Sequence[str]) -> float:
    """What a whole process took of the processor."""
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=_as_installed()) as process:
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used.ru_utime + used.ru_stime


def _as_installed() -> dict[str, str]:
    """An environment in which modules are compiled once, as they are where a package is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def own_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def best_ratio(ours: Callable[[], float], base: Callable[[], float]) -> float:
    """The best of ours by the best of what it is compared with."""
    pairs = [(ours(), base()) for _ in range(ROUNDS)]
    return min(one for one, _ in pairs) / min(other for _, other in pairs)


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ([sys.executable, "-c", "import dispatcher"], 0.6),
        ([sys.executable, "-m", "dispatcher", "--help"], 1.4),
        (ROUTE, 3.0),
    ],
    ids=["import", "help", "route"],
)
def test_a_start_costs_little_more_than_numpy(command: list[str], most: float) -> None:
    processor_seconds(command)  # which fills the cache
    ratio = best_ratio(lambda: processor_seconds(command), lambda: processor_seconds(NUMPY))
    assert ratio <= most


def test_reading_costs_a_known_multiple_of_yaml() -> None:
    texts = [path.read_text(encoding="utf-8").partition("\n---\n")[0] for path in bundled_folder().glob("*.md")]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    ratio = best_ratio(
        lambda: own_seconds(lambda: Registry.from_paths(bundled_folder())),
        lambda: own_seconds(lambda: [yaml.load(text, Loader=loader) for text in texts if text.startswith("---")]),  # noqa: S506
    )
    assert ratio <= 60


def test_a_start_with_the_cache_costs_a_fraction_of_one_without(tmp_path: Path) -> None:
    def start(folder: str) -> float:
        environment = {**_as_installed(), "DISPATCH_CACHE": folder}
        begun = time.perf_counter()
        subprocess.run(ROUTE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return time.perf_counter() - begun

    start(str(tmp_path / "cache"))
    assert best_ratio(lambda: start(str(tmp_path / "cache")), lambda: start("off")) <= 0.8


def test_many_tasks_cost_less_each_than_one(tmp_path: Path) -> None:
    router = Router(Registry.from_paths(bundled_folder()).agents)
    tasks = [f"the build is red since we moved step {number} to the new runner" for number in range(100)]
    list(router.route_many(tasks[:1]))
    ratio = best_ratio(
        lambda: own_seconds(lambda: list(router.route_many(tasks, most=3))),
        lambda: own_seconds(lambda: [router.route(task) for task in tasks]),
    )
    assert ratio <= 1.3


def test_a_route_costs_a_few_queries_of_plain_tfidf() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    agents = Registry.from_paths(bundled_folder()).routable
    router, vectorizer = Router(agents), TfidfVectorizer()
    table = vectorizer.fit_transform([agent.description for agent in agents]).T.tocsr()
    tasks = [f"the build is red since we moved step {number} to the new runner" for number in range(100)]
    router.route(tasks[0])
    ratio = best_ratio(
        lambda: own_seconds(lambda: [router.route(task) for task in tasks]),
        lambda: own_seconds(lambda: [(vectorizer.transform([task]) @ table).toarray() for task in tasks]),
    )
    assert ratio <= 5


def test_one_changed_agent_costs_a_fraction_of_building_anew(tmp_path: Path) -> None:
    bundled = Registry.from_paths(bundled_folder()).routable
    agents = [
        dataclasses.replace(agent, name=f"{agent.name}-{number}", examples=(), enriched=(), digest=f"{number}")
        for number in range(8)
        for agent in bundled
    ]
    numbers = itertools.count()

    def indexed() -> float:
        """The time of an index after a change of one agent, which is the same to the cache as a changed file."""
        changed = dataclasses.replace(agents[0], digest=f"change {next(numbers)}")
        router = Router([changed, *agents[1:]], cache=Cache(tmp_path), digest=f"bundled-{next(numbers)}")
        return own_seconds(lambda: router.index)

    indexed()
    assert best_ratio(indexed, lambda: own_seconds(lambda: Router(agents).index)) <= 0.4
