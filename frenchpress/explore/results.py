"""What an exploration has come to: RESULTS.md, a .cfg for each point of the front, and the record of all trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frenchpress.common import write_if_changed
from frenchpress.config import Config, config_to_yaml, load_config
from frenchpress.explore.outcome import Outcome, read_outcome
from frenchpress.explore.page import write_exploration_page
from frenchpress.explore.pictures import figures
from frenchpress.explore.record import RECORD, write_record
from frenchpress.explore.select import front
from frenchpress.explore.space import Values
from frenchpress.explore.storage import Store
from frenchpress.explore.tables import (
    front_lines,
    front_table,
    hypervolume_table,
    importance_table,
    left_out_lines,
    stage_table,
)
from frenchpress.explore.trials import FOUND, INTERVAL, RUN, SECONDS, Trials
from frenchpress.explore.worker import searches, stage_of
from frenchpress.nnet.given import given_names
from frenchpress.report import figure
from frenchpress.report.scatter import SIZE

_MARK = ", complete"  # at the end of the first line of a .cfg that is written here
RESULTS, READING, FRONT = "RESULTS.md", "reading.md", "front"
LEGEND = """\
How to read this

- **experiment**: its directory in the exploration's exp directory, and its .cfg in `front/`. `./run.sh --stage 4` with
  `--conf` trains it, and the models that it starts from.
- What is minimised was measured on dev and chose the front; **PER test** was decoded once, at the end, with the front
  alone. The best of many on dev was a little lucky there: compare by test.
- **front**: no other design of the highest rung is as good in everything that is minimised, and better in something.
- **hypervolume**: of the designs on the lowest rung, the share of the box between the best and the worst value of
  everything that is minimised that they dominate. The box is that of both searches; its far corner is moved away by a
  tenth, so that a design that is best in all would have 1.21 with two things to minimise, and 1.33 with three.
- **importance**: by PED-ANOVA (Watanabe et al. 2023) over the lowest rung, in percent: what tells the better tenth of
  the designs from the others. Of few designs it is rough."""


def write_results(trials: Trials, out: Path) -> Path:
    """Write everything to the directory `out`, as far as it has come, and the page into EXP; returns the page."""
    space, store = trials.space, trials.store
    outcome = read_outcome(space, store)
    write_record(out / RECORD, store.task, {name: _plain(outcome, name) for name in outcome.stages})
    written = [write_cfgs(trials, t.params, out / FRONT) for t in front(outcome.measured(outcome.last))]
    _remove_others(out / FRONT, {path for paths in written for path in paths})
    pictures = []
    if figure.available() and outcome.measured(outcome.last):
        for name, draw in figures(outcome).items():
            pictures.append(figure.save(out / f"{name}.svg", draw, SIZE).name)
    write_if_changed(out / RESULTS, results_text(outcome, store, out / READING, pictures))
    return write_exploration_page(trials, outcome, out)


def write_cfgs(trials: Trials, values: Values, directory: Path) -> list[Path]:
    """The complete .cfg of a design on each rung, and of the models beside it that the lowest starts from."""
    written = []
    for number, rung in enumerate(trials.space.rungs):
        run, config = trials.at(values, rung)
        written.append(_write_cfg(directory / f"{run}.cfg", f"{run}: {rung} of {trials.space.path}", config))
        for key, name in given_names(config).items() if number == 0 else ():
            if "/" not in name:
                place = trials.experiments.exp / name.replace("{seed}", str(config.seed))
                cfg = trials.experiments.cfg_of_given(key, place)
                written.append(_write_cfg(directory / f"{place.name}.cfg", str(cfg), load_config(cfg)))
    return written


def _write_cfg(path: Path, what: str, config: Config) -> Path:
    write_if_changed(path, f"# {what}{_MARK}\n{config_to_yaml(config)}")
    return path


def _remove_others(directory: Path, kept: set[Path]) -> None:
    """Remove what was written of designs that have left the front; files of anybody else stay."""
    for path in directory.glob("*.cfg"):
        if path not in kept and _is_ours(path):
            path.unlink()


def _is_ours(path: Path) -> bool:
    return path.read_text("utf-8").split("\n", 1)[0].endswith(_MARK)


def _plain(outcome: Outcome, stage: str) -> list[dict[str, Any]]:
    """Measured trials of a stage for the record."""
    rungs = {stage_of(outcome.space, n): rung for n, rung in enumerate(outcome.space.rungs)}
    rungs |= dict.fromkeys(searches(outcome.space), outcome.space.rungs[0])
    said = []
    for trial in outcome.measured(stage):
        about = {"rung": rungs[stage]} if stage in rungs else {}
        about |= {"run": trial.user_attrs[RUN], "values": trial.params, "found": trial.user_attrs[FOUND]}
        said.append(about | {key: trial.user_attrs[key] for key in (SECONDS, INTERVAL) if key in trial.user_attrs})
    return said


def results_text(outcome: Outcome, store: Store, reading: Path, pictures: Sequence[str]) -> str:
    """All of RESULTS.md; `reading`: what is made of it, if a file."""
    space = outcome.space
    parts = [[f"# {space.file.title}"], [space.file.asks.strip()]]
    if reading.is_file():
        parts += [["## Reading"], [reading.read_text("utf-8").strip()]]
    if outcome.measured(outcome.last):
        parts += [["## The front"], front_table(outcome), front_lines(outcome)]
        parts += [[f"![{name}]({name})"] for name in pictures]
        if space.file.search.beside != "none":
            parts += [[f"## {space.file.search.sampler} beside random search"], hypervolume_table(outcome)]
        if table := importance_table(outcome, store):
            parts += [["## Which keys mattered"], table]
    parts += [["## How it went"], stage_table(outcome), left_out_lines(outcome), [LEGEND]]
    return "\n\n".join("\n".join(part) for part in parts if any(part)) + "\n"
