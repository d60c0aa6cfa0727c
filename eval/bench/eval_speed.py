#!/usr/bin/env python3
"""How fast `dispatch eval` routes, beside scikit-learn's plain TF-IDF over the same tasks and descriptions.

usage: python eval/bench/eval_speed.py [--agents 400] [--tasks 10000] [--seed 20] [--profile]

Makes agents and tasks out of the bundled ones (`large_registries.py`); a task is the beginning of one example and the
end of another. Times `predict` over all tasks, and TfidfVectorizer over them (one transform, one product, one argsort),
each with what is built beforehand and without, as medians of three.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from large_registries import BUNDLED, write_registry

from dispatcher.agent import Agent
from dispatcher.evaluation import LabelledTask, predict
from dispatcher.registry import Registry
from dispatcher.routing import Router

ROUNDS = 3


def main() -> None:
    """Prints the medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=400, help="how many agents (%(default)s)")
    parser.add_argument("--tasks", type=int, default=10_000, help="how many tasks (%(default)s)")
    parser.add_argument("--seed", type=int, default=20, help="what they are made from (%(default)s)")
    parser.add_argument("--profile", action="store_true", help="print what takes the time instead")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311  a benchmark's texts are no secret
    bundled = Registry.from_paths(BUNDLED).routable
    with tempfile.TemporaryDirectory() as folder:
        write_registry(Path(folder), bundled, options.agents, seed=options.seed)
        agents = Registry.from_paths(Path(folder)).routable
    tasks = make_tasks(bundled, options.tasks, chance)
    router = Router(agents)
    built = seconds(lambda: router.index)
    if options.profile:
        profile(router, tasks)
        return
    routing = statistics.median(seconds(lambda: predict(router, tasks)) for _ in range(ROUNDS))
    fitting, ranking = plain_tfidf(agents, tasks)
    print(f"{len(agents)} agents, {len(tasks):,} tasks, medians of {ROUNDS}")
    print(f"{'':28}{'seconds':>8}{'µs a task':>11}{'to build':>10}")
    for name, taken, before in (("predict", routing, built), ("scikit-learn's plain TF-IDF", ranking, fitting)):
        print(f"{name:28}{taken:8.2f}{taken / len(tasks) * 1e6:11.0f}{before:9.2f}s")
    print(f"ratio {routing / ranking:.2f}; with what is built {(routing + built) / (ranking + fitting):.2f}")


def make_tasks(bundled: tuple[Agent, ...], count: int, chance: random.Random) -> list[LabelledTask]:
    """Tasks without labels, each the beginning of one example and the end of another."""
    examples = [text.split() for agent in bundled for text in (one.text for one in agent.enriched)]
    made = []
    for _ in range(count):
        first, second = chance.sample(examples, 2)
        text = " ".join((*first[: (len(first) + 1) // 2], *second[len(second) // 2 :]))
        made.append(LabelledTask(task=text, agent=None))
    return made


def plain_tfidf(agents: tuple[Agent, ...], tasks: list[LabelledTask]) -> tuple[float, float]:
    """Seconds to fit the descriptions, and to rank all agents for all tasks."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer()
    fitted: list[Any] = []
    fitting = seconds(lambda: fitted.append(vectorizer.fit_transform([agent.description for agent in agents])))

    def rank() -> None:
        scores = vectorizer.transform([task.task for task in tasks]) @ fitted[0].T
        np.argsort(-scores.toarray(), axis=1)

    return fitting, statistics.median(seconds(rank) for _ in range(ROUNDS))


def profile(router: Router, tasks: list[LabelledTask]) -> None:
    """Prints where the time of `predict` goes."""
    profiler = cProfile.Profile()
    profiler.runcall(predict, router, tasks)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
