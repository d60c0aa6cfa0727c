#!/usr/bin/env python3
"""Registries of any size, made of real agent files: their sections put together anew, each under a name of its own.

usage: python eval/bench/large_registries.py FOLDER [--agents 10000] [--from agents] [--seed 20]

An agent has the description of one file and half of another's, and as many sections as the first one has, drawn from
all of them, so that lengths and words are spread as they are in the files. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from dispatcher.agent import Agent
from dispatcher.registry import Registry

BUNDLED = Path(__file__).parents[2] / "agents"
SECTION = re.compile(r"^(?=## )", re.MULTILINE)
FILES_A_FOLDER = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where they are written")
    parser.add_argument("--agents", type=int, default=10_000, help="how many agents (%(default)s)")
    parser.add_argument("--from", dest="source", type=Path, default=BUNDLED, help="real agent files (%(default)s)")
    parser.add_argument("--seed", type=int, default=20, help="what decides the draw (%(default)s)")
    options = parser.parse_args()
    write_registry(options.folder, Registry.from_paths(options.source).agents, options.agents, seed=options.seed)


def write_registry(folder: Path, agents: Sequence[Agent], count: int, *, seed: int) -> None:
    """Writes so many agent files below a folder, made of those of real agents."""
    chance = random.Random(seed)  # noqa: S311  a benchmark's texts are no secret
    sections = [[part for part in SECTION.split(agent.prompt) if part.strip()] for agent in agents]
    every = [part for of_agent in sections for part in of_agent]
    for number in range(count):
        first, second = chance.randrange(len(agents)), chance.randrange(len(agents))
        name = f"{_word(agents[first], 0)}-{_word(agents[second], -1)}-{number}"
        half = agents[second].description.split()
        description = " ".join((agents[first].description, *half[: (len(half) + 1) // 2]))
        body = "\n".join(chance.choices(every, k=max(1, len(sections[first]))))
        path = folder / f"part-{number // FILES_A_FOLDER:03d}" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"---\nname: {name}\ndescription: {json.dumps(description, ensure_ascii=False)}\n---\n\n{body}"
        path.write_text(text, encoding="utf-8", newline="")


def make_tasks(agents: Sequence[Agent], count: int, *, seed: int) -> list[str]:
    """Tasks such as users type: some words of a sentence of an agent's description, or of one of its example tasks."""
    chance = random.Random(seed)  # noqa: S311
    texts = [agent.description for agent in agents]
    texts += [example.text for agent in agents for example in agent.enriched]
    tasks = []
    for _ in range(count):
        words = chance.choice(texts).split()
        start = chance.randrange(max(1, len(words) - 8))
        tasks.append(" ".join(words[start : start + chance.randint(5, 14)]))
    return tasks


def _word(agent: Agent, place: int) -> str:
    return agent.slug.split("-")[place] or "agent"


if __name__ == "__main__":
    main()
