"""Makes the shipped weights file again, from labelled tasks.

    python eval/bench/fit_weights.py BENCH [--out FILE] [--folds DIR] [--encoders DIR]

BENCH is a folder of routing benchmarks: `agents/NAME/{zero,held}/{agents,tasks.jsonl}` with
`agents/NAME/enriched.jsonl` and a judge's picks in `agents/NAME/judge.jsonl`, and `intents/NAME/{agents.json,
tasks.jsonl}`. To these comes the half of the bundled agents' tasks that is meant for it, `eval/tasks/tune.jsonl`; the
other half, `held.jsonl`, is never looked at. With --folds, each set also gets a file that never saw it, by the set's
name, for `dispatch eval --weights`; --encoders is the folder of encoders that never saw it either, as
`eval/research/train_encoder.py --folds` makes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from dispatcher.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
CALLS = "0.59"
"""The share of tasks for which a judge is asked. Registries that were not seen are less sure than those that were, so
this comes to about a half."""


def sets(bench: Path) -> Iterator[str]:
    """Every set, as `dispatch tune --set` takes it; the variants of a registry bear its name."""
    for registry in sorted((bench / "agents").iterdir()):
        for variant in ("zero", "held"):
            folder = registry / variant
            yield f"{registry.name}:{folder / 'agents'}={folder / 'tasks.jsonl'}"
        zero = registry / "zero"
        picks = f"+{registry / 'judge.jsonl'}"
        yield f"{registry.name}:{zero / 'agents'}+{registry / 'enriched.jsonl'}={zero / 'tasks.jsonl'}{picks}"
    for intents in sorted((bench / "intents").iterdir()):
        yield f"{intents.name}:{intents / 'agents.json'}={intents / 'tasks.jsonl'}"
    yield f"bundled:{ROOT / 'agents'}={ROOT / 'eval' / 'tasks' / 'tune.jsonl'}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "dispatcher" / "routing" / "weights.json")
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--encoders", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    words = ["tune", "--from-scratch", "--calls", CALLS, "--out", str(given.out)]
    words += [word for one in sets(given.bench) for word in ("--set", one)]
    words += ["--folds", str(given.folds)] if given.folds else []
    words += ["--encoders", str(given.encoders)] if given.encoders else []
    main(words)
