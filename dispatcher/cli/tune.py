"""dispatch tune: learn weights, calibration and thresholds from labelled tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console

if TYPE_CHECKING:
    from dispatcher.evaluation.tuning import Tuned
    from dispatcher.routing.encoder import Encoder
    from dispatcher.routing.weights import Weights

__all__ = ["tune"]

_WORSE = 1


def tune(
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="AGENTS=TASKS",
            help="Agents and tasks labelled for them, as [NAME:]AGENTS[+ENRICHED.jsonl]=TASKS[+PICKS.jsonl], the picks "
            "being those of a judge; may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the weights file goes.")],
    folds: Annotated[
        Path | None,
        typer.Option("--folds", metavar="DIR", help="Also write, for each set, the weights that never saw it."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="The weights to improve on; else the shipped ones.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", metavar="FILE", help="The encoder that the weights are for.")
    ] = None,
    encoders: Annotated[
        Path | None,
        typer.Option(
            "--encoders", metavar="DIR", help="For each set NAME there, the encoder NAME.npz, if it is there."
        ),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from nothing, not from the weights to improve on.")
    ] = False,
    calls: Annotated[
        float | None,
        typer.Option("--calls", min=0.0, max=1.0, metavar="SHARE", help="Ask a judge for at most this share of tasks."),
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(
            "--accuracy",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Be right for this share, asking a judge as seldom as that takes.",
        ),
    ] = None,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Fit the scorers' weights to labelled tasks. One set, or a fifth of the agents, is left out at a time."""
    from dispatcher.cli.evaluate import progress_bar
    from dispatcher.errors import UsageError
    from dispatcher.evaluation.tasks import read_tasks
    from dispatcher.evaluation.tuning import Aim, load_problem, parse_set
    from dispatcher.evaluation.tuning import tune as fit
    from dispatcher.evaluation.tuning.escalating import check_aim
    from dispatcher.evaluation.tuning.tuning import FEW_TASKS, seen_by
    from dispatcher.routing.encoder import load_encoder
    from dispatcher.routing.weights import load_weights, shipped_weights

    console = Console(quiet=quiet)
    if calls is not None and accuracy is not None:
        raise UsageError("--calls and --accuracy are two ways to say the same", hint="give one of them")
    if encoders is not None and not encoders.is_dir():
        raise UsageError(f"{encoders}: there is no such folder", hint="check --encoders")
    before = load_weights(weights) if weights is not None else shipped_weights()
    replaced = load_weights(out) if out.exists() else None
    chosen = load_encoder(encoder) if encoder is not None else before.encoder
    problems = []
    for tuning_set in map(parse_set, sets):
        with progress_bar(console, len(read_tasks(tuning_set.tasks)), tuning_set.name) as advance:
            own = _encoder_of(tuning_set.name, encoders) or chosen
            problems.append(load_problem(tuning_set, encoder=own, progress=advance))
    aim = Aim(calls=calls, accuracy=accuracy)
    check_aim(aim, problems)
    tuned = fit(
        problems,
        before=before,
        encoder=chosen,
        replaced=replaced,
        from_scratch=from_scratch,
        aim=aim,
        progress=console.say,
    )
    _print_table(tuned, console)
    _print_escalation(tuned, console)
    if not from_scratch and (seen := dict.fromkeys(problem.name for problem in seen_by(before, problems))):
        console.notice(
            f"the weights that fitting starts from have seen {', '.join(seen)}, which flatters the figures; "
            "with --from-scratch they have seen nothing"
        )
    if tuned.task_count < FEW_TASKS:
        console.notice(
            f"{tuned.task_count} tasks are few (under {FEW_TASKS}), so the weights stay near where they start"
        )
    if folds is not None:
        for fold in tuned.folds:
            _write(folds / f"{fold.name}.json", fold.weights)
    if tuned.is_worse and (replaced is not None or not from_scratch):
        console.result(f"on tasks that they did not see, the new weights are worse; {out} was not written")
        return _WORSE
    _write(out, tuned.weights)
    console.result(f"{out}: weights {tuned.weights.fingerprint}")
    return 0


def _print_table(tuned: Tuned, console: Console) -> None:
    width = max(len(fold.name) for fold in tuned.folds)
    console.result(f"{'left out':{width}}  tasks    top1   top3   before: top1   top3")
    for fold in tuned.folds:
        now, then = f"{fold.top1:.3f}  {fold.top3:.3f}", f"{fold.before_top1:.3f}  {fold.before_top3:.3f}"
        console.result(f"{fold.name:{width}}  {fold.tasks:5}  {now}          {then}")


def _print_escalation(tuned: Tuned, console: Console) -> None:
    """What a judge adds on the sets left out, and the threshold that was chosen."""
    if not tuned.escalation:
        return
    console.result("judge asked for at most  came to    top1")
    for row in tuned.escalation:
        console.result(f"{row.wanted:23.0%}  {row.calls:7.1%}  {row.accuracy:.3f}")
    console.result(f"the judge is asked below a confidence of {tuned.weights.escalate_below:.4f}")


def _encoder_of(name: str, folder: Path | None) -> Encoder | None:
    """The encoder that was trained without a set, where there is one."""
    from dispatcher.routing.encoder import load_encoder

    path = folder / f"{name}.npz" if folder is not None else None
    return load_encoder(path) if path is not None and path.exists() else None


def _write(path: Path, weights: Weights) -> None:
    """Writes a file whole or not at all."""
    from dispatcher.errors import UsageError

    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(weights.to_json(path.parent), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as problem:
        raise UsageError(f"{path}: the weights can't be written: {problem.strerror}", hint="check the path") from None
