"""Optuna's samplers, seeded trial by trial so that a search that goes on proposes what it would have proposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from frenchpress.explore.space import Space
from frenchpress.explore.trials import PROBLEM


def make_sampler(space: Space, kind: str) -> BaseSampler:
    """The sampler `kind` of a space."""
    search = space.file.search
    if kind == "grid":
        grid = {name: variable.grid() for name, variable in space.file.vary.items()}
        return Seeded(lambda seed: optuna.samplers.GridSampler(grid, seed=seed), search.seed)
    makers: dict[str, Callable[[int], BaseSampler]] = {
        "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
        "nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=search.population, seed=seed),
        "tpe": lambda seed: optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed),
    }
    return Seeded(makers[kind], search.seed)


def place_of(study: optuna.Study, trial: FrozenTrial) -> int:
    """How many trials there are before this one, those that were stopped, and are made again, left out."""
    before = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
    return sum(t.state != TrialState.FAIL or PROBLEM in t.user_attrs for t in before)


class Seeded(BaseSampler):
    """A new sampler for each trial, with a seed that follows from that of the search and the place of the trial.

    All that a sampler has to remember is in the storage; with one worker a search is the same however often it is
    interrupted. The first generation of nsga2 is that of a random search with the same seed.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._inner = make(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Seed for this trial."""
        state = np.random.SeedSequence([self._seed, place_of(study, trial)]).generate_state(1)
        self._inner = self._make(int(state[0]))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the sampler says."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler says."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the sampler says."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the sampler says."""
        self._inner.after_trial(study, trial, state, values)
