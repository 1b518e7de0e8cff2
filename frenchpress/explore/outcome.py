"""What the stages of an exploration have come to so far, and how much of the space it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from frenchpress.explore.pareto import hypervolume
from frenchpress.explore.select import front, kept
from frenchpress.explore.space import Space
from frenchpress.explore.storage import TEST, Store, in_state
from frenchpress.explore.trials import PROBLEM, RUN
from frenchpress.explore.worker import searches, stage_of

_STEPS = 10
_BEYOND = 1.1


@dataclass(frozen=True)
class Outcome:
    """Finished trials of each stage, in the order of the stages."""

    space: Space
    stages: dict[str, list[FrozenTrial]]

    def measured(self, stage: str) -> list[FrozenTrial]:
        """Trials with values."""
        return [t for t in self.stages.get(stage, []) if t.state == TrialState.COMPLETE]

    @property
    def last(self) -> str:
        """The stage of the highest rung on which a design was measured."""
        stages = [stage_of(self.space, number) for number in range(len(self.space.rungs))]
        return next((stage for stage in reversed(stages) if self.measured(stage)), stages[0])


def read_outcome(space: Space, store: Store) -> Outcome:
    """From the storage as it stands."""
    names = [*searches(space), *space.rungs[1:], TEST]
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return Outcome(space, {name: in_state(store.study(name), *states) for name in names})


def volumes(outcome: Outcome, steps: Sequence[int]) -> dict[str, list[float]]:
    """Hypervolume of the first so many designs of each search, the box of both scaled to 1."""
    stages = {name: kept(outcome.measured(name)) for name in searches(outcome.space)}
    every = [t.values for trials in stages.values() for t in trials]
    low, high = ([f(column) for column in zip(*every)] for f in (min, max))

    def scaled(trial: FrozenTrial) -> list[float]:
        return [(x - a) / (b - a) if b > a else 0.0 for x, a, b in zip(trial.values, low, high)]

    corner = [_BEYOND] * len(low)
    return {
        name: [hypervolume([scaled(t) for t in front(trials[:n])], corner) for n in steps]
        for name, trials in stages.items()
    }


def counts(outcome: Outcome) -> list[int]:
    """Numbers of designs at which the searches are compared: as many as both have."""
    total = min(len(kept(outcome.measured(name))) for name in searches(outcome.space))
    return sorted({max(1, round(total * step / _STEPS)) for step in range(1, _STEPS + 1)}) if total else []


def failures(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """Experiments that failed and have no later trial that did not, with the reason."""
    last = {t.user_attrs.get(RUN, str(t.number)): t for t in trials if t.state != TrialState.PRUNED}
    failed = {run: t for run, t in last.items() if t.state == TrialState.FAIL}
    return {run: t.user_attrs[PROBLEM] for run, t in failed.items() if PROBLEM in t.user_attrs}
