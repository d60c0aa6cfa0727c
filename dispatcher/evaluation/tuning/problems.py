"""Labelled tasks and agents as numbers: what every feature says of every task and every agent."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dispatcher.agent import Agent
from dispatcher.errors import UsageError
from dispatcher.evaluation.tasks import LabelledTask, check_labels, read_tasks
from dispatcher.judge.replay import read_picks
from dispatcher.registry import Registry
from dispatcher.routing.encoder import Encoder, shipped_encoder
from dispatcher.routing.index import FEATURES, TaskScores, best_of
from dispatcher.routing.indexing import build_index
from dispatcher.routing.text import analyze, content_stems
from dispatcher.routing.weights import example_gate

__all__ = ["Problem", "TuningSet", "load_problem", "parse_set"]

_GENERIC_NAMES = frozenset({"agents", "zero", "held", "agents.json", "tasks"})
_ABSENT_SHARE = 0.2
_FEW_AGENTS = (2, 4, 8, 16)
_SMALL_REGISTRIES = 4  # of each of these sizes
_STRANGE_TASKS = 20
_SEED = 20
_CELLS_AT_A_TIME = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSet:
    """Agents and tasks labelled for them. Sets of one name are variants of one registry and are left out together."""

    name: str
    agents: Path
    tasks: Path
    enriched: Path | None = None
    picks: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A set in numbers.

    `agents` are the names of the agents, in the order of the rows. `raw` has the shape (tasks, agents, features) and
    `lengths` (tasks, features), as the index gives them; `expected` is the row of the right agent, or -1 where none
    fits; `gate` says how far the registry is known by examples; `word_counts` is the number of words that carry meaning
    in each task; `encoder` is the one that the features of meaning come from. `picks` are the rows that a judge picked,
    best first, -1 for none of the agents, in the shape (tasks, picks), and `sureness` how sure it was of the first, NaN
    if it didn't tell; both are None without a recording.
    """

    name: str
    agents: tuple[str, ...]
    raw: NDArray[np.float32]
    lengths: NDArray[np.float32]
    expected: NDArray[np.int64]
    gate: float
    word_counts: NDArray[np.int64]
    encoder: Encoder
    digest: str = ""
    picks: NDArray[np.int64] | None = None
    sureness: NDArray[np.float64] | None = None

    @property
    def relative(self) -> NDArray[np.float32]:
        """Each feature divided by the best of its task."""
        best = best_of(self.raw)[:, None, :].astype(np.float32)
        return np.asarray(self.raw / np.where(best > 0, best, np.float32(1)))

    def chunks(self) -> Iterator[tuple[slice, TaskScores]]:
        """What the index said of the tasks, so many at a time as have room in the memory."""
        size = max(1, _CELLS_AT_A_TIME // max(1, self.raw[:1].size))
        for begun in range(0, len(self.raw), size):
            several = slice(begun, min(begun + size, len(self.raw)))
            yield several, TaskScores.of(self.raw[several].astype(float), self.lengths[several].astype(float))

    def in_scope(self) -> Problem:
        """Only the tasks that have an agent."""
        return self._kept(self.expected >= 0)

    def without_some_agents(self) -> Problem | None:
        """The hard tasks that fit nobody: those of a fifth of the labelled agents, with these agents gone."""
        labelled = np.unique(self.expected[self.expected >= 0])
        if len(labelled) < 10:
            return None
        count = max(1, round(len(labelled) * _ABSENT_SHARE))
        gone = np.random.default_rng(_SEED).choice(labelled, size=count, replace=False)
        return self._among(np.setdiff1d(np.arange(self.raw.shape[1]), gone))

    def small_registries(self) -> Iterator[Problem]:
        """What the index says of a few agents alone, to whom most tasks are strange, several times each size."""
        chance = np.random.default_rng(_SEED)
        labelled = np.unique(self.expected[self.expected >= 0])
        for size in (size for size in _FEW_AGENTS if 2 * size <= len(labelled)):
            for _ in range(_SMALL_REGISTRIES):
                chosen = np.sort(chance.choice(labelled, size, replace=False))
                own = np.isin(self.expected, chosen)
                strange = np.flatnonzero(~own)
                own[chance.choice(strange, min(len(strange), max(_STRANGE_TASKS, int(own.sum()))), replace=False)] = (
                    True
                )
                yield self._kept(own)._among(chosen)

    def _among(self, rows: NDArray[np.int64]) -> Problem:
        """The problem of some agents alone; tasks of the others fit nobody."""
        places = np.full(self.raw.shape[1], -1)
        places[rows] = np.arange(len(rows))
        return dataclasses.replace(
            self,
            agents=tuple(self.agents[row] for row in rows),
            raw=self.raw[:, rows],
            expected=np.where(self.expected >= 0, places[self.expected], -1),
            picks=None,
            sureness=None,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the agents that have a task."""
        return tuple(self.agents[row] for row in np.unique(self.expected[self.expected >= 0]))

    def of_agents(self, names: Collection[str], *, inside: bool, part: int = 0, parts: int = 1) -> Problem:
        """The tasks whose agent is one of those, or is not; of tasks that fit nobody, one part of so many goes with
        the former."""
        rows = [row for row, name in enumerate(self.agents) if name in names]
        chosen = np.isin(self.expected, rows)
        chosen[np.flatnonzero(self.expected < 0)[part::parts]] = True
        return self._kept(chosen == inside)

    def _kept(self, keep: NDArray[np.bool_]) -> Problem:
        return dataclasses.replace(
            self,
            raw=self.raw[keep],
            lengths=self.lengths[keep],
            expected=self.expected[keep],
            word_counts=self.word_counts[keep],
            picks=None if self.picks is None else self.picks[keep],
            sureness=None if self.sureness is None else self.sureness[keep],
        )


def parse_set(text: str) -> TuningSet:
    """A set as it is written on the command line: `[NAME:]AGENTS[+ENRICHED.jsonl]=TASKS[+PICKS.jsonl]`.

    Without a name, it is that of the nearest folder of the agents that says something. Raises UsageError.
    """
    agents, equals, tasks = text.partition("=")
    name, colon, rest = agents.partition(":")
    named = bool(colon) and "/" not in name and "\\" not in name and len(name) > 1
    path = rest if named else agents
    before, plus, enriched = path.rpartition("+")
    if plus and enriched.endswith(".jsonl"):
        path = before
    else:  # a plus sign of the path itself
        enriched = ""
    before, plus, picks = tasks.rpartition("+")
    if plus and picks.endswith(".jsonl") and Path(before).suffix:
        tasks = before
    else:
        picks = ""
    if not equals or not path or not tasks:
        raise UsageError(
            f'--set "{text}" is not of the form AGENTS=TASKS', hint="for example --set agents=eval/tasks/tune.jsonl"
        )
    parts = ["agents", *(part for part in Path(path).absolute().parts[1:] if part not in _GENERIC_NAMES)]
    return TuningSet(
        name=name if named else parts[-1],
        agents=Path(path),
        tasks=Path(tasks),
        enriched=Path(enriched) if enriched else None,
        picks=Path(picks) if picks else None,
    )


def load_problem(
    tuning_set: TuningSet, *, encoder: Encoder | None = None, progress: Callable[[int], None] | None = None
) -> Problem:
    """Reads a set and lets the index score it, with the shipped encoder if none is given.

    Raises UsageError for labels that no agent has, and missing files.
    """
    if tuning_set.enriched is not None and not tuning_set.enriched.is_file():
        raise UsageError(f"{tuning_set.enriched}: there is no such file", hint="check what stands after + in --set")
    registry = Registry.from_paths(tuning_set.agents, enriched=tuning_set.enriched)
    agents = registry.routable
    tasks = read_tasks(tuning_set.tasks)
    check_labels(tasks, [agent.name for agent in agents], tuning_set.tasks)
    rows = {agent.name: row for row, agent in enumerate(agents)}
    encoder = encoder or shipped_encoder()
    index = build_index(agents, encoder)
    raw = np.zeros((len(tasks), len(agents), len(FEATURES)), np.float32)
    lengths = np.zeros((len(tasks), len(FEATURES)), np.float32)
    analyzed = [analyze(task.task) for task in tasks]
    done = 0
    for scores in index.score_many(analyzed):
        several = slice(done, done + len(scores.raw))
        raw[several], lengths[several] = scores.raw, scores.lengths
        done = several.stop
        if progress is not None:
            progress(done)
    word_counts = np.array([len(content_stems(words)) for words in analyzed], np.int64)
    picks, sureness = (None, None) if tuning_set.picks is None else _recorded(tuning_set.picks, tasks, rows)
    return Problem(
        name=tuning_set.name,
        agents=tuple(rows),
        raw=raw,
        lengths=lengths,
        expected=np.array([-1 if task.agent is None else rows[task.agent] for task in tasks], np.int64),
        gate=example_gate(index.example_share),
        word_counts=word_counts,
        encoder=encoder,
        digest=_digest(agents, tuning_set.tasks),
        picks=picks,
        sureness=sureness,
    )


def _recorded(
    path: Path, tasks: Sequence[LabelledTask], rows: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A judge's recorded picks for tasks: rows, best first, and how sure it was of the first."""
    known = read_picks(path)
    found = [known.get(task.task) for task in tasks]
    picks = np.full((len(tasks), max((len(one.names) for one in found if one), default=0)), -1, np.int64)
    sureness = np.full(len(tasks), np.nan)
    for number, one in enumerate(found):
        if one is not None:
            picks[number, : len(one.names)] = [rows.get(name, -1) for name in one.names]
            sureness[number] = np.nan if one.confidence is None else one.confidence
    return picks, sureness


def _digest(agents: Sequence[Agent], tasks: Path) -> str:
    """What this set is made of, so that a figure can be told to belong to it."""
    content = hashlib.sha256(tasks.read_bytes())
    for agent in agents:
        content.update(f"{agent.name}\0{agent.digest}\0{len(agent.enriched)}\n".encode())
    return content.hexdigest()[:16]
