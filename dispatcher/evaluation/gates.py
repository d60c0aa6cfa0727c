"""Gates: the least that a metric must reach, as `--min top1=0.9` says, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from dispatcher.errors import UsageError
from dispatcher.evaluation.metrics import Metrics
from dispatcher.evaluation.tasks import nearest

__all__ = ["GATED", "Gate", "MissedGate", "check_gates", "parse_gates"]

# Of these two less is better, and of the counts nothing is.
_LESS_IS_BETTER = ("ece", "brier")
GATED = tuple(field.name for field in fields(Metrics) if field.name not in ("n", "n_out_of_scope", *_LESS_IS_BETTER))
# What summing may lose: a mean of 0.9 that comes out a hair lower is still 0.9.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The least that a metric must be."""

    metric: str
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedGate:
    """A gate and the lower value that the metric has; None where the tasks leave it undefined."""

    gate: Gate
    value: float | None

    def describe(self) -> str:
        """One line that says what was wanted and what there is."""
        if self.value is None:
            return f"{self.gate.metric} is not defined for these tasks, and must be at least {self.gate.least:g}"
        # Enough digits to show that it is less, four at least.
        digits = next((count for count in range(4, 9) if round(self.value, count) < self.gate.least), 9)
        return f"{self.gate.metric} is {self.value:.{digits}f}, and must be at least {self.gate.least:g}"


def parse_gates(texts: Iterable[str], metrics: Sequence[str] = GATED) -> tuple[Gate, ...]:
    """The gates that `--min` was given, such as "top1=0.9". Raises UsageError for one that can't be checked."""
    return tuple(_gate(text, metrics) for text in texts)


def check_gates(metrics: object, gates: Sequence[Gate]) -> tuple[MissedGate, ...]:
    """The gates that were missed, in their order; one whose metric is undefined is missed."""
    missed = []
    for gate in gates:
        value: float | None = getattr(metrics, gate.metric)
        if value is None or value < gate.least - _ROUNDING:
            missed.append(MissedGate(gate=gate, value=value))
    return tuple(missed)


def _gate(text: str, metrics: Sequence[str]) -> Gate:
    name, equals, number = (part.strip() for part in text.partition("="))
    metric = name.lower().replace("-", "_")
    if not equals:
        raise UsageError(f'--min {text}: there is no "=" in it', hint="write --min top1=0.9")
    if metric in _LESS_IS_BETTER:
        raise UsageError(f"--min {text}: {metric} is better when it is less", hint=_choices(metrics))
    if metric not in metrics:
        near = nearest(metric, metrics)
        raise UsageError(
            f'--min {text}: there is no metric "{name}"', hint=f'did you mean "{near}"?' if near else _choices(metrics)
        )
    return Gate(metric=metric, least=_least(text, number))


def _least(text: str, number: str) -> float:
    try:
        least = float(number)
    except ValueError:
        raise UsageError(f'--min {text}: "{number}" is not a number', hint="write --min top1=0.9") from None
    if not 0 <= least <= 1:
        raise UsageError(f"--min {text}: {number} is not between 0 and 1", hint="90 % is written 0.9")
    return least


def _choices(metrics: Sequence[str]) -> str:
    return f"a minimum can be set for {', '.join(metrics)}"
