"""What is done in a trial: a design is proposed or comes from below, is refused or trained, and is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from frenchpress.common import UserError, read_yaml
from frenchpress.common.progress import duration
from frenchpress.config import Config
from frenchpress.explore.costs import Found, before_training
from frenchpress.explore.experiment import Experiments
from frenchpress.explore.metrics import METRICS, broken
from frenchpress.explore.space import Space, Values, run_name
from frenchpress.explore.storage import Store, in_state, is_again
from frenchpress.explore.variables import Label
from frenchpress.nnet.given import is_trained

SEARCH, RANDOM = "search", "random"
RUN, FOUND, SECONDS, INTERVAL, LEFT_OUT, PROBLEM, BELOW_RUN = (
    "run", "found", "seconds", "interval", "left_out", "problem", "below",
)  # fmt: skip
"""What is noted of a trial: its experiment, what that came to and how long it took, or why there is none."""
UNDER_WAY = TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING
"""States of a trial that counts."""


@dataclass(frozen=True)
class Trials:
    """`known`: what experiments that are recorded have come to, by rung and name."""

    space: Space
    store: Store
    experiments: Experiments
    known: dict[tuple[str, str], Found] = field(default_factory=dict)

    def propose(self, study: optuna.Study, trial: optuna.Trial) -> Sequence[float]:
        """Train the design that the sampler proposes, if it is new and may be good enough."""
        # Two workers may both have seen that one is left; numbers are given out one by one.
        counted = {t.number: t for t in in_state(study, *UNDER_WAY)}
        earlier = sum(number < trial.number for number in counted)
        if earlier >= self.space.file.trials and not is_again(counted[trial.number]):
            raise optuna.TrialPruned("another worker took the last one")
        values: dict[str, Label] = {}
        for name, variable in self.space.active(values):
            values[name] = variable.suggest(name, trial)
        try:
            run, config = self.at(values, self.space.rungs[0])
        except UserError as error:
            raise _left_out(trial, str(error)) from None
        _take(study, trial, run)
        self._refuse_costly(trial, run, config)
        return self._measure(study, trial, self.space.rungs[0], run, config)

    def _refuse_costly(self, trial: optuna.Trial, run: str, config: Config) -> None:
        """Leave out a design that cannot be built or that breaks a constraint; none of it needs training."""
        self.experiments.train_given(run, config)
        place, found = self.experiments.place(run), Found()
        try:
            for more in before_training(self.space, config, place, self.experiments.task, self.store.task):
                found |= more
                if problem := broken(self.space.limits, found):
                    raise _left_out(trial, problem)
        except UserError as error:
            raise _left_out(trial, str(error)) from None

    def climb(self, study: optuna.Study, trial: optuna.Trial, rung: str) -> Sequence[float]:
        """Train a design that comes from the rung below."""
        run, config = self._from_below(study, trial, rung)
        return self._measure(study, trial, rung, run, config)

    def test(self, study: optuna.Study, trial: optuna.Trial) -> float:
        """Decode test with a design of the highest rung; its PER."""
        run, config = self._from_below(study, trial, self.space.rungs[-1])
        self.experiments.train(run, config)
        self.experiments.decode_test(run)
        place = self.experiments.place(run)
        dev, test = (read_yaml(place / f"decode_{split}/stats.yaml") for split in ("dev", "test"))
        trial.set_user_attr(FOUND, {"dev_per": dev["per"], "test_per": test["per"]})
        trial.set_user_attr(INTERVAL, test["interval"])
        say(study, f"{run}: PER test {test['per']:.2f}")
        return test["per"]

    def at(self, values: Values, rung: str) -> tuple[str, Config]:
        """Experiment and configuration of a design on a rung; UserError where it has none."""
        number = self.space.rungs.index(rung)
        below = self.at(values, self.space.rungs[number - 1])[0] if number else ""
        config = self.space.config(values, rung, below)
        return run_name(config, self.store.task), config

    def _from_below(self, study: optuna.Study, trial: optuna.Trial, rung: str) -> tuple[str, Config]:
        """Experiment and configuration of a design that waited. Models of the rungs below that another machine has are
        made here too.
        """
        if BELOW_RUN not in trial.user_attrs:
            raise optuna.TrialPruned("another worker took the last one that waited")
        for lower in self.space.rungs[: self.space.rungs.index(rung)]:
            run, config = self.at(trial.params, lower)
            if not is_trained(self.experiments.place(run)):
                self.experiments.train(run, config)
        run, config = self.at(trial.params, rung)
        _take(study, trial, run)
        return run, config

    def _measure(
        self, study: optuna.Study, trial: optuna.Trial, rung: str, run: str, config: Config
    ) -> Sequence[float]:
        """Train, decode dev and measure, unless it is known what comes of it."""
        begun = time.monotonic()
        found = self._known(rung, run)
        if found is None:
            found = self.experiments.finish(run, config, decode="dev_per" in self.space.asked)
        seconds = round(time.monotonic() - begun, 1)
        trial.set_user_attr(FOUND, found)
        trial.set_user_attr(SECONDS, seconds)
        for limit in self.space.limits:
            trial.set_constraint(limit.name, limit.over(found))
        number = len(in_state(study, TrialState.COMPLETE)) + 1
        costs = ", ".join(f"{METRICS[n].title} {METRICS[n].text(found[n])}" for n in self.space.file.minimise)
        chosen = " ".join(f"{name}={value}" for name, value in trial.params.items())
        say(study, f"{number}: {run}: {costs} ({duration(seconds)})  {chosen}")
        return [found[name] for name in self.space.file.minimise]

    def _known(self, rung: str, run: str) -> Found | None:
        """What an experiment came to that is recorded, or that the other search has made."""
        if (rung, run) in self.known or rung != self.space.rungs[0] or self.space.file.search.beside == "none":
            return self.known.get((rung, run))
        trials = [t for stage in (SEARCH, RANDOM) for t in in_state(self.store.study(stage), TrialState.COMPLETE)]
        return next((t.user_attrs[FOUND] for t in trials if t.user_attrs[RUN] == run), None)


def say(study: optuna.Study, text: str) -> None:
    """A line on how it goes."""
    print(f"{time.strftime('%H:%M:%S')}  {study.study_name}  {text}", flush=True)


def _take(study: optuna.Study, trial: optuna.Trial, run: str) -> None:
    """Note the experiment of a trial; it ends here where another trial has, or is at, the same one."""
    trial.set_user_attr(RUN, run)
    for other in in_state(study, TrialState.COMPLETE, TrialState.RUNNING):
        first = other.state == TrialState.COMPLETE or other.number < trial.number
        if first and other.number != trial.number and other.user_attrs.get(RUN) == run:
            raise optuna.TrialPruned(f"the same as trial {other.number}")


def _left_out(trial: optuna.Trial, reason: str) -> optuna.TrialPruned:
    trial.set_user_attr(LEFT_OUT, reason)
    return optuna.TrialPruned(reason)
