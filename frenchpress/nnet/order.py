"""Which experiments a run of `run.sh` trains, and in what order.

A `.cfg` can name a model to start from or to learn from. One that is not trained yet is trained first, from the `.cfg`
of its name in the same directory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError
from frenchpress.config import Config, load_config
from frenchpress.nnet.given import given_names, given_places, is_trained


@dataclass(frozen=True)
class Training:
    """One experiment: its `.cfg`, and a seed in place of the one that it says."""

    path: Path
    seed: int | None = None

    @property
    def name(self) -> str:
        """Of its directory."""
        return self.path.stem if self.seed is None else f"{self.path.stem}_seed{self.seed}"

    def load(self) -> Config:
        """Its configuration."""
        return load_config(self.path, [] if self.seed is None else [f"seed={self.seed}"])


def training_order(paths: Sequence[Path], seeds: Sequence[int], exp: Path) -> list[Training]:
    """The trainings of `paths` in `exp`, each with all `seeds` (its own, where there are none); before each the models
    that it is given, where they are neither trained nor trained by then.

    UserError where such a model has no `.cfg`, or comes round to itself.
    """
    order: dict[Path, Training] = {}
    for path in paths:
        for seed in seeds or [None]:
            _add(Training(path, seed), exp, order, ())
    return list(order.values())


def _add(training: Training, exp: Path, order: dict[Path, Training], children: tuple[str, ...]) -> None:
    """Append `training` to `order`, what it is given before it. `children`: what waits for it."""
    out = exp / training.name
    if out in order:
        return
    if training.name in children:
        raise UserError(f"{training.path}: {' needs '.join([*children, training.name])}: a circle; one must come first")
    for key, place in given_places(training.load(), out).items():
        if place not in order and not is_trained(place):
            _add(maker(training, key, place, exp), exp, order, (*children, training.name))
    order[out] = training


def maker(child: Training, key: str, place: Path, exp: Path) -> Training:
    """What trains the model in `place`, which `child` in `exp` is given under `key`; UserError where no `.cfg` does."""
    if place.parent.resolve() != exp.resolve():
        raise UserError(f"{child.path}: {key}: {place}: no trained model there; names of models are seen from {exp}")
    named = child.path.with_name(f"{place.name}.cfg")
    if named.is_file():
        return Training(named)
    seeded = re.fullmatch(r"(.+)_seed(\d+)", place.name)
    if seeded and child.path.with_name(f"{seeded[1]}.cfg").is_file():
        return Training(child.path.with_name(f"{seeded[1]}.cfg"), int(seeded[2]))
    raise UserError(
        f"{child.path}: {key}: {place} is not trained, and there is no {named} to train it with; train it before"
    )


def shared_lines(paths: Sequence[Path], seeds: Sequence[int]) -> list[str]:
    """A line for each model that several `seeds` of a `.cfg` would start or learn from alike.

    The deviation over such seeds leaves out what the seed of that model would have changed.
    """
    numbers, lines = ", ".join(map(str, seeds)), []
    for path in paths if len(seeds) > 1 else ():
        for key, name in given_names(load_config(path)).items():
            if "{seed}" not in name:
                own = f"{name}_seed{{seed}}"
                lines.append(f"{path}: {key}: seeds {numbers} share one {name}; {own} names that of each seed")
    return lines
