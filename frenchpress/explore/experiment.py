"""The experiment of a design: trained and decoded by the commands that anybody can give, in a directory of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, locked_dir, nearest, write_if_changed
from frenchpress.config import Config, config_to_yaml, load_config
from frenchpress.explore.command import run_command
from frenchpress.explore.costs import Found, after_training
from frenchpress.explore.space import Space
from frenchpress.nnet.given import given_places, is_trained
from frenchpress.nnet.task import Task
from frenchpress.report.study_known import borrow_run


class Failed(Exception):
    """Why an experiment came to nothing, in one line."""


@dataclass(frozen=True)
class Experiments:
    """Experiments of a space, beside each other in `exp`. `identity`: digest of the task. `nj`: processes to decode."""

    space: Space
    task: Task
    identity: str
    exp: Path
    nj: int = 1

    def place(self, run: str) -> Path:
        """Directory of an experiment."""
        return self.exp / run

    def cfg(self, run: str) -> Path:
        """Its configuration, complete."""
        return self.exp / "conf" / f"{run}.cfg"

    def train(self, run: str, config: Config) -> None:
        """Train it, and before it the models that it is given; what has been trained is left as it is."""
        self.train_given(run, config)
        write_if_changed(self.cfg(run), f"# {run} of {self.space.path}, complete\n{config_to_yaml(config)}")
        self._attend(run, "nnet.train", "--config", self.cfg(run), "--task", self.task.path, self.place(run))

    def train_given(self, run: str, config: Config) -> None:
        """Train the models that an experiment starts or learns from, where they are not yet."""
        for key, place in given_places(config, self.place(run)).items():
            if is_trained(place):
                continue
            cfg = self.cfg_of_given(key, place)
            parent = load_config(cfg)
            if not place.exists() and borrow_run(place, parent, self.identity):
                continue
            self.train(place.name, parent)

    def cfg_of_given(self, key: str, place: Path) -> Path:
        """What trains the model in `place`, which is given under `key`; UserError where nothing does."""
        own = self.cfg(place.name)
        tried = [self.space.path.with_name(f"{place.name}.cfg"), self.space.base.with_name(f"{place.name}.cfg")]
        for path in [*tried, own]:
            if place.parent == self.exp and path.is_file():
                return path
        near = nearest(place.name, [path.stem for path in tried[1].parent.glob("*.cfg")])
        raise UserError(f"{self.space.path}: {key}: {place} is not trained, and there is no {tried[0]}{near}")

    def finish(self, run: str, config: Config, decode: bool) -> Found:
        """Train an experiment, decode dev where that is asked for, and measure it. Failed, with the reason."""
        self.train(run, config)
        if decode:
            self._attend(run, "nnet.decode", "--only-dev", "--nj", self.nj, "--task", self.task.path, self.place(run))
        try:
            return after_training(self.space, self.place(run), self.task)
        except UserError as error:
            raise Failed(str(error)) from None

    def decode_test(self, run: str) -> None:
        """Decode and score test, at the weights that dev chose; where that is done, nothing."""
        self._attend(run, "nnet.decode", "--nj", self.nj, "--task", self.task.path, self.place(run))

    def _attend(self, run: str, module: str, *arguments: object) -> None:
        """Run a command to its end, its output in log/. Workers that want the same take turns, and what a killed one
        left at work is waited for.
        """
        log = self.exp / "log" / run / "log"
        with locked_dir(log.parent, math.inf):
            with locked_dir(self.place(run), math.inf):
                pass
            status = run_command(f"frenchpress.{module}", list(map(str, arguments)), log)
        if status:
            raise Failed(_last_line(log) or f"{module} ended with {status}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""
