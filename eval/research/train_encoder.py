"""Trains the shipped encoder, and those that tell honestly what it is worth.

    pip install torch
    python eval/research/train_encoder.py BENCH WILD [--out FILE] [--folds DIR]

BENCH is the folder of routing benchmarks that `eval/bench/fit_weights.py` takes, WILD one of agent files from many
collections. Learned from: the benchmarks' example turns and enriched examples, the example turns in WILD, the tasks of
`tasks.jsonl` beside this script (written for agents of WILD), `agents/enriched.jsonl` with `eval/tasks/tune.jsonl`,
and the bullets of all files as if they were tasks. With --folds, each benchmark registry and the bundled agents also
get an encoder that was trained without them, and without the agents of WILD that bear their names.

A step either compares tasks with the texts of all agents of their registry, or with the means of some other tasks of
each agent, and makes the right agent likelier (a softmax over cosines). Vectors start from a singular value
decomposition of the agents' texts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from dispatcher import Agent, Registry
from dispatcher.agentfile import read_agent_file
from dispatcher.routing.dense import DENSE_PARTS
from dispatcher.routing.encoder import StemEncoder, stems_of
from dispatcher.routing.passages import passages
from dispatcher.routing.text import analyze

ROOT = Path(__file__).resolve().parents[2]
TASKS = Path(__file__).with_name("tasks.jsonl")
DIMENSIONS = 128
FEWEST_TEXTS = 3  # that have a stem, for it to get a vector
STEPS = 900
SHARE_OF_EXAMPLES = 0.4  # of the steps, that compare tasks with tasks
EXAMPLES = 6  # of an agent, that a task is compared with
MOST_AGENTS = 300
BATCH = 256
SEED = 20
LEARNING_RATE = 2e-3
KINDS = {"turns": 2.0, "written": 1.0, "bullets": 0.35}  # what a kind of task counts
WORDS_LEFT_OUT = 0.2  # of a task, by chance, at each step; of an agent 0.3
AGENT_WORDS_LEFT_OUT = 0.3
PASSAGE_WORDS = range(3, 41)

Stems = list[str]
Pairs = list[tuple[Stems, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The agents of a registry, the stems of their parts, and tasks with the row of their agent, by kind."""

    name: str
    slugs: tuple[str, ...]
    parts: tuple[tuple[Stems, ...], ...]
    tasks: Mapping[str, Pairs]

    def without(self, slugs: Collection[str]) -> Corpus:
        """The corpus less some agents."""
        rows = [row for row, slug in enumerate(self.slugs) if slug not in slugs]
        place = {row: number for number, row in enumerate(rows)}
        tasks = {
            kind: [(text, place[row]) for text, row in pairs if row in place] for kind, pairs in self.tasks.items()
        }
        names = tuple(self.slugs[row] for row in rows)
        return replace(self, slugs=names, parts=tuple(self.parts[row] for row in rows), tasks=tasks)


def read_corpora(bench: Path, wild: Path) -> list[Corpus]:
    corpora = [read_registry(folder) for folder in sorted((bench / "agents").iterdir())]
    return [*corpora, read_bundled(), read_wild(wild)]


def read_registry(folder: Path) -> Corpus:
    """A registry of the benchmarks: the files without their examples."""
    agents = Registry.from_paths(folder / "zero" / "agents", enriched=folder / "enriched.jsonl").routable
    return corpus_of(folder.name, agents, labelled(folder / "zero" / "tasks.jsonl"))


def read_bundled() -> Corpus:
    agents = Registry.from_paths(ROOT / "agents").routable
    return corpus_of("bundled", agents, labelled(ROOT / "eval" / "tasks" / "tune.jsonl"))


def read_wild(folder: Path) -> Corpus:
    agents: dict[str, Agent] = {}
    for path in sorted(folder.rglob("*.md")):
        for agent in read_agent_file(path).agents:
            agents.setdefault(agent.name, agent)
    written = [(task, entry["agent"]) for entry in lines(TASKS) for task in entry["tasks"]]
    return corpus_of("wild", tuple(agents.values()), [], written)


def labelled(path: Path) -> list[tuple[str, str]]:
    return [(entry["task"], entry["agent"]) for entry in lines(path) if entry["agent"]]


def lines(path: Path) -> Iterator[dict[str, str]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def corpus_of(
    name: str, agents: Sequence[Agent], turns: list[tuple[str, str]], written: Sequence[tuple[str, str]] = ()
) -> Corpus:
    """A corpus of agents, tasks that people typed, and tasks that were written for the agents."""
    rows = {agent.name: row for row, agent in enumerate(agents)}
    turns = [*turns, *((example.user, agent.name) for agent in agents for example in agent.examples)]
    written = [*written, *((passage.text, agent.name) for agent in agents for passage in agent.enriched)]
    bullets = [
        (passage.text, agent.name)
        for agent in agents
        for passage in passages(agent)
        if passage.field in ("bullet", "trigger", "heading") and len(passage.text.split()) in PASSAGE_WORDS
    ]
    kinds = {"turns": turns, "written": written, "bullets": bullets}
    return Corpus(
        name=name,
        slugs=tuple(agent.slug for agent in agents),
        parts=tuple(parts_of(agent) for agent in agents),
        tasks={kind: [(stems(text), rows[agent]) for text, agent in found] for kind, found in kinds.items()},
    )


def parts_of(agent: Agent) -> tuple[Stems, ...]:
    """The stems of an agent's parts, as the index puts them together."""
    found = list(passages(agent))
    return tuple(
        [stem for passage in found if passage.field in fields for stem in stems(passage.text)] for fields in DENSE_PARTS
    )


def stems(text: str) -> Stems:
    return stems_of(analyze(text))


class Vocabulary:
    """The stems that get a vector, and texts as rows of their TF-IDF weights."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        texts = [[*itertools.chain(*parts)] for corpus in corpora for parts in corpus.parts]
        texts += [text for corpus in corpora for kind in ("turns", "written") for text, _ in corpus.tasks[kind]]
        frequency = Counter(stem for text in texts for stem in set(text))
        known = sorted(stem for stem, count in frequency.items() if count >= FEWEST_TEXTS)
        self.numbers = {stem: number for number, stem in enumerate(known)}
        self.idf = np.array([math.log((1 + len(texts)) / (1 + frequency[stem])) + 1 for stem in known], np.float32)

    def rows(self, texts: Sequence[Stems]) -> scipy.sparse.csr_matrix:
        """A row of length 1 a text; shape (texts, stems)."""
        counts = [Counter(self.numbers[stem] for stem in text if stem in self.numbers) for text in texts]
        columns = np.array([number for count in counts for number in count], np.int64)
        values = np.array([1 + math.log(times) for count in counts for times in count.values()], np.float32)
        starts = np.cumsum([0, *(len(count) for count in counts)])
        matrix = scipy.sparse.csr_matrix(
            (values * self.idf[columns], columns, starts), shape=(len(texts), len(self.numbers))
        )
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        return (scipy.sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix).tocsr().astype(np.float32)


class Batch(NamedTuple):
    """Tasks of one kind of one corpus: the corpus's number, the tasks as rows, and the row of each one's agent."""

    corpus: int
    tasks: scipy.sparse.csr_matrix
    agents: NDArray[np.int64]

    @property
    def by_agent(self) -> list[NDArray[np.int64]]:
        """The places of the tasks of each agent that has three at least."""
        order = np.argsort(self.agents, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.agents[order])) + 1)
        return [group for group in groups if len(group) >= 3]


class Encoding(torch.nn.Module):
    """What is learned: a vector a stem and what it counts, what an agent's parts count, and how sharp a choice is."""

    def __init__(self, texts: scipy.sparse.csr_matrix) -> None:
        super().__init__()
        self.vectors = torch.nn.Parameter(torch.tensor(first_vectors(texts)))
        self.gains = torch.nn.Parameter(torch.zeros(texts.shape[1]))
        self.parts = torch.nn.Parameter(torch.tensor([1.0, 0.5, 1.0]))
        self.sharpness = torch.nn.Parameter(torch.tensor([3.0, 2.5]))  # among texts, among examples

    def table(self) -> torch.Tensor:
        return self.vectors * torch.exp(self.gains)[:, None]

    def among_texts(self, tasks: scipy.sparse.csr_matrix, agents: Sequence[scipy.sparse.csr_matrix]) -> torch.Tensor:
        """How likely each agent is for each task, by the agents' parts; shape (tasks, agents)."""
        table = self.table()
        parts = [unit(torch.sparse.mm(thinned(part, AGENT_WORDS_LEFT_OUT), table)) for part in agents]
        of_agents = unit(sum(weight * part for weight, part in zip(self.parts, parts, strict=True)))
        return torch.exp(self.sharpness[0]) * unit(torch.sparse.mm(thinned(tasks, WORDS_LEFT_OUT), table)) @ of_agents.T

    def among_examples(self, tasks: scipy.sparse.csr_matrix, groups: Sequence[NDArray[np.int64]]) -> torch.Tensor:
        """How likely each group is for the first of each, by the others of it; shape (groups, groups)."""
        table = self.table()
        firsts = unit(torch.sparse.mm(thinned(tasks[[group[0] for group in groups]], WORDS_LEFT_OUT), table))
        others = np.concatenate([group[1:] for group in groups])
        owners = torch.tensor(np.repeat(np.arange(len(groups)), [len(group) - 1 for group in groups]))
        vectors = unit(torch.sparse.mm(thinned(tasks[others], WORDS_LEFT_OUT), table))
        means = unit(torch.zeros_like(firsts).index_add(0, owners, vectors))
        return torch.exp(self.sharpness[1]) * firsts @ means.T


def train(corpora: Sequence[Corpus], steps: int = STEPS) -> StemEncoder:
    """An encoder that has seen some corpora."""
    torch.manual_seed(SEED)
    chance = np.random.default_rng(SEED)
    vocabulary = Vocabulary(corpora)
    agents = [[vocabulary.rows(list(texts)) for texts in zip(*corpus.parts, strict=True)] for corpus in corpora]
    batches, shares = batches_of(corpora, vocabulary, KINDS)
    examples, example_shares = batches_of(corpora, vocabulary, {"turns+written": 1.0})
    encoding = Encoding(scipy.sparse.vstack([part for parts in agents for part in parts]))
    rates = {"vectors": LEARNING_RATE, "gains": 1e-2, "parts": 2e-2, "sharpness": 2e-2}
    optimizer = torch.optim.Adam([{"params": [getattr(encoding, name)], "lr": rate} for name, rate in rates.items()])
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates.values(), strict=True):
            group["lr"] = rate * min(1.0, max(0.05, (steps - step) / (0.4 * steps)))
        if chance.random() < SHARE_OF_EXAMPLES:
            batch = examples[chance.choice(len(examples), p=example_shares)]
            groups = [chance.permutation(group)[: EXAMPLES + 1] for group in some(batch.by_agent, MOST_AGENTS, chance)]
            logits, right = encoding.among_examples(batch.tasks, groups), torch.arange(len(groups))
        else:
            batch = batches[chance.choice(len(batches), p=shares)]
            chosen = chance.choice(len(batch.agents), min(BATCH, len(batch.agents)), replace=False)
            logits = encoding.among_texts(batch.tasks[chosen], agents[batch.corpus])
            right = torch.tensor(batch.agents[chosen])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, right).backward()
        optimizer.step()
    table = encoding.table().detach().numpy() * vocabulary.idf[:, None]
    first, second, third = (round(float(weight), 4) for weight in encoding.parts.detach())
    return StemEncoder.from_vectors(list(vocabulary.numbers), table, (first, second, third))


def batches_of(
    corpora: Sequence[Corpus], vocabulary: Vocabulary, kinds: Mapping[str, float]
) -> tuple[list[Batch], NDArray[np.float64]]:
    """The tasks of all corpora by kind, and how often each batch is to be drawn."""
    batches, shares = [], []
    for number, corpus in enumerate(corpora):
        for kind, weight in kinds.items():
            pairs = [pair for each in kind.split("+") for pair in corpus.tasks[each]]
            if len(pairs) >= 3:
                rows = vocabulary.rows([text for text, _ in pairs])
                batches.append(Batch(number, rows, np.array([row for _, row in pairs])))
                shares.append(weight * math.sqrt(len(pairs)))
    return batches, np.array(shares) / sum(shares)


def some(groups: list[NDArray[np.int64]], most: int, chance: np.random.Generator) -> list[NDArray[np.int64]]:
    """So many groups at most, drawn by chance."""
    return groups if len(groups) <= most else [groups[place] for place in chance.choice(len(groups), most, False)]


def first_vectors(texts: scipy.sparse.csr_matrix) -> NDArray[np.float32]:
    """Vectors of stems to start from, of length 1 in the mean; shape (stems, dimensions)."""
    from sklearn.utils.extmath import randomized_svd

    _, sizes, directions = randomized_svd(texts, DIMENSIONS, n_iter=7, random_state=SEED)
    found = directions.T * np.sqrt(sizes)
    return np.asarray(found / np.linalg.norm(found, axis=1).mean(), np.float32)


def thinned(rows: scipy.sparse.csr_matrix, share: float) -> torch.Tensor:
    """Rows with some of their words left out by chance."""
    found = rows.tocoo()
    values = torch.tensor(found.data) * (torch.rand(len(found.data)) >= share)
    places = torch.tensor(np.vstack([found.row, found.col]), dtype=torch.int64)
    return torch.sparse_coo_tensor(places, values, found.shape, is_coalesced=True, check_invariants=False)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors + 1e-9, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("wild", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "dispatcher" / "routing" / "encoder.npz")
    parser.add_argument("--folds", type=Path)
    given = parser.parse_args()
    corpora = read_corpora(given.bench, given.wild)
    if given.folds:
        given.folds.mkdir(parents=True, exist_ok=True)
        for left_out in corpora[:-1]:
            kept = [corpus.without(left_out.slugs) if corpus.name == "wild" else corpus for corpus in corpora]
            write(train([corpus for corpus in kept if corpus is not left_out]), given.folds / f"{left_out.name}.npz")
    write(train(corpora), given.out)


def write(encoder: StemEncoder, path: Path) -> None:
    content = encoder.to_bytes()
    path.write_bytes(content)
    print(f"{path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
