"""dispatch eval: how good routing is, on labelled tasks."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import options
from dispatcher.cli.console import Console, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatcher.evaluation import Comparison, EscalationFigures, EscalationPoint, Interval, Metrics, Prediction
    from dispatcher.evaluation.report import Report
    from dispatcher.registry import Registry
    from dispatcher.routing import Router
    from dispatcher.routing.weights import Weights

__all__ = ["evaluate", "progress_bar"]

_GATE_MISSED = 1
_MOST_SHOWN = 10
_MANY_TASKS = 500
_FEW_ASKED = 5
_MANY_EXPLAINED = 50  # which takes longer
_SHOWN = (
    "top1",
    "top3",
    "mrr",
    "macro_f1",
    "coverage",
    "selective_accuracy",
    "coverage_at_90",
    "auroc",
    "oos_auroc",
    "ece",
    "brier",
)


def evaluate(
    tasks: Annotated[
        Path | None, typer.Option("--tasks", metavar="FILE", help="Labelled tasks: .jsonl, .csv or .yaml.")
    ] = None,
    conversations: Annotated[
        Path | None,
        typer.Option("--conversations", metavar="FILE", help="Labelled conversations (.jsonl), in place of tasks."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="A weights file, in place of the shipped one.")
    ] = None,
    enriched: Annotated[
        Path | None, typer.Option("--enriched", metavar="FILE", help="Example tasks for the agents.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FILE", help="Write what was decided, a line a task.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a report: .html or .md.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="Earlier predictions: say which tasks moved, up and down."),
    ] = None,
    least: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="METRIC=VALUE", help="Exit with 1 if missed, as top1=0.9; may be repeated."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Score naive TF-IDF and BM25 beside it, on the same tasks.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="JUDGE", help="Who picks where the router is unsure: anthropic, or replay:FILE."
        ),
    ] = None,
    escalate: Annotated[
        str | None, typer.Option("--escalate", metavar="WHEN", help="With --judge: unsure (if not given) or always.")
    ] = None,
    escalate_below: Annotated[
        float | None,
        typer.Option(
            "--escalate-below", metavar="CONFIDENCE", help="With --judge: what unsure means; else as shipped."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="N", help="With --judge: how many agents are on its shortlist.")
    ] = None,
    precision: options.PrecisionOption = None,
    agents: options.AgentsOption = None,
    config: options.ConfigOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> int:
    """Route labelled tasks and measure how good that was. @mentions and the fallback are off."""
    from dispatcher.cli.judging import AT_ONCE, check_judge, load_escalator
    from dispatcher.cli.setting_up import load_router
    from dispatcher.errors import UsageError
    from dispatcher.evaluation import check_gates, check_labels, parse_gates, predict, read_predictions, read_tasks
    from dispatcher.evaluation.predictions import MOST_NAMES, write_predictions
    from dispatcher.evaluation.report import check_report_path

    console = Console(quiet=quiet, verbose=verbose)
    if conversations is not None:
        from dispatcher.cli.evaluate_conversations import evaluate_conversations

        only_tasks = {"--tasks": tasks, "--predictions": predictions, "--report": report, "--compare": compare}
        _check_no_tasks({**only_tasks, "--baselines": baselines or None})
        _check_files(enriched, written=(json_file,))
        router, _, loaded_weights, _ = load_router(
            console, agents=agents, config=config, weights=weights, enriched=enriched, precision=precision
        )
        return evaluate_conversations(
            conversations,
            router,
            console,
            least=least or (),
            json_file=json_file,
            fingerprint=loaded_weights.fingerprint,
        )
    if tasks is None:
        raise UsageError("there is nothing to measure", hint="name labelled tasks with --tasks, or --conversations")
    gates = parse_gates(least or ())
    if report is not None:
        check_report_path(report)
    check_judge(judge, escalate=escalate, below=escalate_below, top_k=top_k)
    _check_files(enriched, written=(predictions, json_file, report))
    earlier = read_predictions(compare) if compare is not None else None
    labelled = read_tasks(tasks)
    router, registry, loaded_weights, settings = load_router(
        console,
        agents=agents,
        config=config,
        weights=weights,
        enriched=enriched,
        precision=precision,
        flags={"routing.escalate": escalate, "routing.escalate_below": escalate_below, "judge.top_k": top_k},
    )
    escalator = load_escalator(judge, settings, loaded_weights, escalate) if judge is not None else None
    if escalator is None and settings.routing.escalate != "never":
        console.notice("routing.escalate is not heeded here without --judge")
    check_labels(labelled, [agent.name for agent in router.routable], tasks)
    is_asking = judge == "anthropic"
    with progress_bar(console, len(labelled), "routing", least=_FEW_ASKED if is_asking else _MANY_TASKS) as advance:
        found = predict(
            router,
            labelled,
            progress=advance,
            most=max(MOST_NAMES, settings.judge.top_k),
            decide=escalator.decide if escalator is not None else None,
            at_once=AT_ONCE if is_asking else 1,
        )
    if escalator is not None:
        escalator.close()
    if predictions is not None:
        write_predictions(predictions, found)
    gathered = _gather(found, router, registry, loaded_weights, tasks, with_baselines=baselines, earlier=earlier)
    _print_figures(gathered, console)
    if json_file is not None:
        _write_json(json_file, gathered)
    if report is not None:
        from dispatcher.evaluation.report import write_report

        with progress_bar(console, len(found), "explaining", least=_MANY_EXPLAINED) as advance:
            explained = _with_misses(gathered, found, router, progress=advance)
        write_report(report, explained)
        console.say(f"report: {report}")
    missed = check_gates(gathered.metrics, gates)
    for miss in missed:
        console.result(f"missed: {miss.describe()}")
    return _GATE_MISSED if missed else 0


@contextmanager
def progress_bar(
    console: Console, length: int, label: str, *, least: int = _MANY_TASKS
) -> Iterator[Callable[[int], None] | None]:
    """Counts up to `length` on a terminal, where it is long work that somebody watches; else there is none."""
    if not console.is_watched or length < least:
        yield None
        return
    import sys

    with typer.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _check_no_tasks(given: dict[str, object]) -> None:
    """Raises UsageError for an option that means nothing for conversations."""
    from dispatcher.errors import UsageError

    if wrong := [name for name, value in given.items() if value is not None]:
        raise UsageError(f"{wrong[0]} means nothing with --conversations", hint=f"leave out {', '.join(wrong)}")


def _check_files(enriched: Path | None, *, written: Sequence[Path | None]) -> None:
    """Raises UsageError for what would otherwise be noticed after the work, or not at all."""
    from dispatcher.errors import UsageError

    if enriched is not None and not enriched.is_file():
        raise UsageError(f"{enriched}: there is no such file", hint="check the path after --enriched")
    for path in written:
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}", hint="make the folder first")


def _gather(
    found: Sequence[Prediction],
    router: Router,
    registry: Registry,
    weights: Weights,
    tasks: Path,
    *,
    with_baselines: bool,
    earlier: Sequence[Prediction] | None,
) -> Report:
    """Everything that is printed and written, but for the explanations of the misses."""
    from dispatcher import evaluation
    from dispatcher.evaluation.report import Report
    from dispatcher.version import __version__

    baselines: dict[str, Metrics] = {}
    if with_baselines:
        labelled = [
            evaluation.LabelledTask(task=one.task, agent=one.expected, context=one.context, tags=one.tags)
            for one in found
        ]
        for name, predict in (
            ("TF-IDF of descriptions", evaluation.tfidf_baseline),
            ("BM25", evaluation.bm25_baseline),
        ):
            baselines[name] = evaluation.measure(predict(router.routable, labelled))
    return Report(
        title=f"Routing on {tasks.name}",
        metrics=evaluation.measure(found),
        provenance=(
            ("agents", f"{len(router.routable)} of {', '.join(str(scope.root) for scope in registry.scopes)}"),
            ("tasks", f"{len(found)} of {tasks}"),
            ("weights", weights.fingerprint),
            ("version", __version__),
            ("date", datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")),
        ),
        intervals=evaluation.bootstrap(found),
        baselines=baselines,
        by_tag=evaluation.by_tag(found),
        by_agent=evaluation.by_agent(found),
        confusions=evaluation.confusions(found),
        reliability=evaluation.reliability(found),
        coverage_curve=evaluation.coverage_curve(found),
        comparison=evaluation.compare(earlier, found) if earlier is not None else None,
        escalation=evaluation.measure_escalation(found),
    )


def _with_misses(
    gathered: Report, found: Sequence[Prediction], router: Router, *, progress: Callable[[int], None] | None
) -> Report:
    """The report with every miss and its explanation; a task that fits nobody is missed if somebody took it."""
    import dataclasses

    from dispatcher.cli.views import explanation_lines
    from dispatcher.evaluation.report import Miss

    misses = []
    for done, one in enumerate(found, start=1):
        if progress is not None:
            progress(done)
        if one.is_right or (one.expected is None and one.agent is None):
            continue
        decision = router.route(one.task, mentions=False)
        miss = Miss(
            task=one.task,
            expected=one.expected,
            predicted=one.first,
            confidence=one.confidence,
            rank=one.rank,
            context=one.context,
            explanation=(*_judged_line(one), *explanation_lines(decision, one.expected)),
        )
        misses.append(miss)
    return dataclasses.replace(gathered, misses=tuple(misses))


def _judged_line(one: Prediction) -> Iterator[str]:
    """What a judge made of a task, for its explanation."""
    if one.judged is not None:
        said = f"not judged: {one.judged.failure}" if one.judged.failure else f"judged: {one.judged.reason}"
        yield f"{said} (the scores alone: {one.judged.offline or 'nobody'}, {one.judged.offline_confidence:.2f})"


def _print_figures(gathered: Report, console: Console) -> None:
    metrics = gathered.metrics
    console.result(f"{metrics.n} tasks with an agent, {metrics.n_out_of_scope} that fit none")
    names = list(gathered.baselines)
    head = f"{'':20}{'':8}{'95 % interval':>16}" + "".join(f"{name:>{len(name) + 2}}" for name in names)
    console.result(head.rstrip())
    for metric in _SHOWN:
        row = f"{metric:20}{_figure(metrics, metric):>8}{_interval(gathered.intervals.get(metric)):>16}"
        row += "".join(f"{_figure(gathered.baselines[name], metric):>{len(name) + 2}}" for name in names)
        console.result(row.rstrip())
    if gathered.escalation is not None:
        _print_escalation(gathered.escalation, console)
    if gathered.confusions:
        console.say("most often confused (expected, chosen first):")
        for pair in gathered.confusions[:5]:
            console.say(f"{len(pair.tasks):4}  {pair.expected or 'nobody'}, {pair.predicted or 'nobody'}", indent=2)
    if gathered.comparison is not None:
        _print_comparison(gathered.comparison, console)


def _print_escalation(figures: EscalationFigures, console: Console) -> None:
    from dispatcher.evaluation.report.labels import escalated

    for sentence in escalated(figures):
        console.wrapped(sentence)
    if len(figures.curve) > 1:
        for point in _rounded(figures.curve):
            below = f"  below {point.threshold:.3f}" if point.calls else ""
            console.result(f"{point.calls:6.0%} judged  top1 {point.accuracy:.3f}{below}")


def _rounded(curve: Sequence[EscalationPoint]) -> Iterator[EscalationPoint]:
    """The points nearest below each tenth of the tasks, and the last."""
    wanted = {max(place for place, one in enumerate(curve) if one.calls <= step / 10) for step in range(11)}
    yield from (curve[place] for place in sorted(wanted | {len(curve) - 1}))


def _print_comparison(comparison: Comparison, console: Console) -> None:
    moved = f"tasks that moved: {len(comparison.up)} up, {len(comparison.down)} down"
    chance = f"p = {comparison.p_value:.3f}" if comparison.p_value >= 0.001 else "p < 0.001"
    console.result(f"{moved}; exact McNemar test {chance}")
    if comparison.only_old or comparison.only_new:
        console.result(f"tasks that only one run has: {comparison.only_old} before, {comparison.only_new} now")
    for label, moves in (("up", comparison.up), ("down", comparison.down)):
        for move in moves[:_MOST_SHOWN]:
            console.result(
                one_line(f"{label}: {move.old or 'nobody'} -> {move.new or 'nobody'}: {move.task}", console.width)
            )
        if len(moves) > _MOST_SHOWN:
            console.result(f"{label}: and {len(moves) - _MOST_SHOWN} more")


def _write_json(path: Path, gathered: Report) -> None:
    from dispatcher.cli.outputs import EvalOutput, eval_output, to_json
    from dispatcher.errors import UsageError

    try:
        path.write_text(to_json(EvalOutput, eval_output(gathered)) + "\n", encoding="utf-8", newline="\n")
    except OSError as problem:
        raise UsageError(f"{path}: the figures can't be written: {problem.strerror}", hint="check --json") from None


def _figure(metrics: Metrics, name: str) -> str:
    value = getattr(metrics, name)
    return "-" if value is None else f"{value:.3f}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.3f} - {interval.high:.3f}"
