"""Learning the weights file from labelled tasks.

problems     labelled tasks and agents → numbers: every task by every agent by every feature
fitting      the weights: a conditional logit over the agents of a registry
calibrating  the confidence: two logistic models and the thresholds
escalating   when to ask a judge, and how often its picks are right
tuning       all of it, leaving one set out at a time
"""

from dispatcher.evaluation.tuning.escalating import Aim, EscalationRow
from dispatcher.evaluation.tuning.problems import Problem, TuningSet, load_problem, parse_set
from dispatcher.evaluation.tuning.tuning import Fold, Tuned, tune

__all__ = ["Aim", "EscalationRow", "Fold", "Problem", "Tuned", "TuningSet", "load_problem", "parse_set", "tune"]
