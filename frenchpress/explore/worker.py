"""One worker: takes trials from the storage until the exploration is over. Any number of them share the work.

A stage is a study of Optuna: the search on the lowest rung, the random one beside it, each further rung with the better
designs of the one below, and test, with the front of the highest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from frenchpress.common import UserError
from frenchpress.explore.experiment import Failed
from frenchpress.explore.samplers import make_sampler
from frenchpress.explore.select import front, promoted
from frenchpress.explore.space import Space
from frenchpress.explore.storage import TEST, Store, in_state, requeue, revive
from frenchpress.explore.trials import BELOW_RUN, LEFT_OUT, PROBLEM, RANDOM, RUN, SEARCH, UNDER_WAY, Trials, say

_PATIENCE = 200
"""Proposals in a row that bring no new design, after which there is none left, or none that will do."""
_FAILURES = 3
_POLL = 1.0

Objective = Callable[[optuna.Study, optuna.Trial], float | Sequence[float]]


def work(space: Space, store: Store, trials: Trials) -> Iterator[str]:
    """Take part in all stages, one after the other; yields the name of each when it is over."""
    for stage, kind in searches(space).items():
        study = store.study(stage, make_sampler(space, kind))
        _drain(study, trials.propose, lambda study, kind=kind: wants_more(space, kind, study))
        yield stage
    for number, rung in enumerate(space.rungs[1:], 1):
        below = store.study(stage_of(space, number - 1))
        study = store.study(rung)
        line_up(study, promoted(in_state(below, TrialState.COMPLETE), float(space.file.rungs[rung].keep)))
        _drain(study, lambda study, trial, rung=rung: trials.climb(study, trial, rung))
        yield rung
    study = store.study(TEST)
    line_up(study, front(in_state(store.study(stage_of(space, -1)), TrialState.COMPLETE)))
    _drain(study, trials.test)
    yield TEST


def searches(space: Space) -> dict[str, str]:
    """The searches on the lowest rung, each with its sampler."""
    beside = space.file.search.beside
    return {SEARCH: space.file.search.sampler} | ({RANDOM: beside} if beside != "none" else {})


def stage_of(space: Space, number: int) -> str:
    """The stage in which designs come to rung `number`."""
    return SEARCH if space.rungs[number] == space.rungs[0] else space.rungs[number]


def _drain(study: optuna.Study, objective: Objective, more: Callable[[optuna.Study], bool] = lambda _: False) -> None:
    """Take trials that wait, and new ones while there are to be `more`; then wait for those of other workers."""
    requeue(study)
    while True:
        revive(study)
        if in_state(study, TrialState.WAITING) or more(study):
            study.optimize(lambda trial: _attempt(study, objective, trial), n_trials=1, catch=(Failed,))
            _stop_at_failures(study)
        elif in_state(study, TrialState.RUNNING):
            time.sleep(_POLL)
        else:
            return


def _attempt(study: optuna.Study, objective: Objective, trial: optuna.Trial) -> float | Sequence[float]:
    """The values of a trial; why there are none is noted."""
    try:
        return objective(study, trial)
    except Failed as error:
        trial.set_user_attr(PROBLEM, str(error))
        say(study, f"{trial.user_attrs.get(RUN, trial.number)}: failed: {error}")
        raise


def wants_more(space: Space, kind: str, study: optuna.Study) -> bool:
    """Whether the sampler `kind` is to propose another design; UserError where none of many would do."""
    trials = in_state(study)
    if sum(t.state in UNDER_WAY for t in trials) >= space.file.trials:
        return False
    idle, patience = _idle(trials), _PATIENCE
    if kind == "grid":
        patience = max(patience, math.prod(len(v.grid()) for v in space.file.vary.values()))
    if len(idle) >= patience and not any(t.state in UNDER_WAY for t in trials):
        reason = next((t.user_attrs[LEFT_OUT] for t in reversed(idle) if LEFT_OUT in t.user_attrs), "none is new")
        raise UserError(f"{space.path}: none of {len(idle)} designs that were tried will do; the last one: {reason}")
    return len(idle) < patience


def _idle(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The last proposals, which brought nothing new."""
    idle: list[FrozenTrial] = []
    for trial in reversed(trials):
        if trial.state != TrialState.PRUNED:
            break
        idle.insert(0, trial)
    return idle


def line_up(study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Let the designs of `trials` wait in `study`, where they do not yet."""
    there = {t.user_attrs.get(BELOW_RUN) for t in in_state(study)}
    for trial in trials:
        run = trial.user_attrs[RUN]
        if run not in there:
            said = {"params": trial.params, "distributions": trial.distributions, "user_attrs": {BELOW_RUN: run}}
            study.add_trial(optuna.create_trial(state=TrialState.WAITING, **said))


def _stop_at_failures(study: optuna.Study) -> None:
    """UserError after some failures in a row: what makes them fail is then no property of a design."""
    last = [t for t in in_state(study) if t.state.is_finished()][-_FAILURES:]
    if len(last) == _FAILURES and all(PROBLEM in t.user_attrs and t.state == TrialState.FAIL for t in last):
        said = last[-1].user_attrs[PROBLEM]
        raise UserError(f"{study.study_name}: {_FAILURES} trials in a row failed; the last one: {said}")
