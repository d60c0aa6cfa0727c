"""Fits the weights by which a conversation stays with its agent, and prints what dispatcher/runtime/sticky.py holds.

    python eval/bench/fit_sticky.py agents eval/conversations/tune.jsonl

The threshold is where the two targets (of the follow-ups, 90 of 100 kept; of the changes, 85 caught) are reached by the
largest margin, on folds of conversations that the weights were not fitted on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

from dispatcher import Registry, Router
from dispatcher.evaluation.conversations import labelled_turns, read_conversations
from dispatcher.runtime.sticky import SIGNS, said_in, signs_of

KEPT, CAUGHT = 0.90, 0.85
SPEAK_FOR_CHANGE = ("lead", "subject", "own", "wants", "orders", "announces")


def main(agents: str, conversations: str) -> None:
    router = Router(Registry.from_paths(agents).agents)
    rows, labels, groups = [], [], []
    for group, conversation in enumerate(read_conversations(Path(conversations))):
        for turn, spoken in labelled_turns(conversation):
            if not spoken:
                continue
            fresh, before = router.route_after(turn.task, said_in(spoken), mentions=False)
            current = next(each for each in fresh.candidates if each.name == spoken[-1].agent)
            signs = signs_of(turn.task, fresh, before, current)
            rows.append([signs[name] for name in SIGNS])
            labels.append(turn.agent != spoken[-1].agent)
            groups.append(group)
    signs, changed, groups = map(np.array, (rows, labels, groups))
    held_out = np.zeros(len(changed))
    for train, test in GroupKFold(10).split(signs, changed, groups):
        held_out[test] = probabilities(fitted(signs[train], changed[train]), signs[test])

    def shares(threshold):
        moved = held_out >= threshold
        return (~moved[~changed]).mean(), moved[changed].mean()

    def margin(threshold):
        kept, caught = shares(threshold)
        return min(kept - KEPT, caught - CAUGHT)

    threshold = max(np.arange(0.02, 1.0, 0.02), key=margin)
    kept, caught = shares(threshold)
    print(f"# {len(changed)} turns; on folds not fitted on: {kept:.3f} kept, {caught:.3f} caught")
    weights, bias = fitted(signs, changed)
    print("FITTED = Stickiness(\n    weights={")
    print("".join(f'        "{name}": {weight:.3f},\n' for name, weight in zip(SIGNS, weights, strict=True)), end="")
    print(f"    }},\n    bias={bias:.3f},\n    threshold={threshold:.2f},\n)")


def fitted(signs, changed):
    """Weights and bias by logistic regression on standardized signs; each weight as its meaning wants it.

    What speaks for a new subject can't speak against one, whatever a few hundred turns happen to say.
    """
    mean, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-9
    standard = np.column_stack([(signs - mean) / scale, np.ones(len(signs))])
    target = np.where(changed, 1.0, -1.0)

    def loss(parameters):
        margin = target * (standard @ parameters)
        slope = -target / (1 + np.exp(margin))
        penalty = np.append(parameters[:-1], 0.0)
        return np.logaddexp(0, -margin).sum() + penalty @ penalty / 2, standard.T @ slope + penalty

    bounds = [(0, None) if name in SPEAK_FOR_CHANGE else (None, 0) for name in SIGNS] + [(None, None)]
    found = minimize(loss, np.zeros(standard.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = found[:-1] / scale
    return weights, float(found[-1] - weights @ mean)


def probabilities(model, signs):
    weights, bias = model
    return 1 / (1 + np.exp(-(signs @ weights + bias)))


if __name__ == "__main__":
    main(*sys.argv[1:])
