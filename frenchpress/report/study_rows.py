"""What the runs of a study have come to, taken together by design point."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, read_lines, read_yaml
from frenchpress.config import Config, config_differences, config_to_dict
from frenchpress.nnet.checkpoint import read_header
from frenchpress.nnet.given import given_names
from frenchpress.report.collect import System, read_experiment, unit_of
from frenchpress.report.records import RUNS, read_record, record_path
from frenchpress.report.study import Experiment, Study
from frenchpress.score.unit import PHONE, Unit

NOT_RUN = "not run"


@dataclass(frozen=True)
class Run:
    """One run of an experiment. `problem`: why it has no result. `settings`: where it departs from the study.

    `recorded`: it is as its record says.
    """

    name: str
    seed: int
    problem: str
    system: System | None = None
    settings: tuple[str, ...] = ()
    task: str = ""
    device: str = ""
    recorded: bool = False


@dataclass(frozen=True)
class Row:
    """A design point with its decoded runs; there is at least one."""

    experiment: Experiment
    runs: tuple[Run, ...]

    def rates(self, split: str) -> dict[int, float]:
        """Error rate of `dev` or `test` by seed."""
        return {run.seed: getattr(run.system, split).per for run in self.runs}

    def mean(self, split: str = "test") -> float:
        """Mean error rate over seeds."""
        return statistics.mean(self.rates(split).values())

    def deviation(self, split: str = "test") -> float | None:
        """Sample standard deviation over seeds, where there are several."""
        return spread(list(self.rates(split).values()))

    @property
    def published(self) -> float | None:
        """The published PER; None where there is none, and for runs on words, to which it says nothing."""
        said = self.experiment.published
        return None if said is None or self.unit is not PHONE else said.per

    @property
    def unit(self) -> Unit:
        """What its rates are of."""
        return unit_of(run.system for run in self.runs if run.system)

    def size(self, key: str) -> float | None:
        """A figure of size.yaml; that of the first run, since seeds hardly change it."""
        return self.runs[0].system.sizes.get(key) if self.runs[0].system else None


@dataclass(frozen=True)
class Loss:
    """By how much an error rate lies above another: points, their deviation over seeds, and percent of the other."""

    points: float
    deviation: float | None
    percent: float

    def __str__(self) -> str:
        more = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.points:+.2f}{more} ({self.percent:+.1f} %)"


def loss(row: Row, other: Row | None) -> Loss | None:
    """How much the test rate lies above that of `other`, seed by seed; None where they have no seed in common."""
    if other is None:
        return None
    ours, theirs = row.rates("test"), other.rates("test")
    seeds = [seed for seed in ours if seed in theirs]
    below = sum(theirs[seed] for seed in seeds)
    if not seeds or not below:
        return None
    above = [ours[seed] - theirs[seed] for seed in seeds]
    return Loss(statistics.mean(above), spread(above), 100 * sum(above) / below)


def published_loss(row: Row) -> Loss | None:
    """How much the published PER lies above that of the published float model."""
    said = row.experiment.published
    if said is None or not row.published or not said.float_per:
        return None
    return Loss(said.per - said.float_per, None, 100 * (said.per / said.float_per - 1))


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation, where there are two values or more."""
    return statistics.stdev(values) if len(values) > 1 else None


def scored_in(runs: dict[str, list[Run]]) -> Unit:
    """What the runs of a study are scored in."""
    return unit_of(run.system for mine in runs.values() for run in mine if run.system)


def by_group(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by group, groups and rows in the order in which they come."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.experiment.group, []).append(row)
    return groups


def read_runs(study: Study, exp: Path, recorded: Path | None = None) -> dict[str, list[Run]]:
    """The runs of every experiment, those of the study's seeds and those found besides, by seed.

    A run without a result in `exp` is as its record in `recorded` (the study's directory) says, if that is one of the
    study as it is now, or nothing was begun. What starts or learns from a run that departs from the study departs in
    the same way; a record knows by itself what it came from.
    """
    recorded = recorded or study.path.parent
    shared, configs = study.runs(), study.configs()
    places = [*exp.glob("[!.]*-seed*"), *(recorded / RUNS).glob("[!.]*-seed*.yaml")]
    result: dict[str, list[Run]] = {}
    for name, experiment in study.experiments.items():
        found = [re.fullmatch(re.escape(shared[name]) + r"-seed(\d+)(\.yaml)?", p.name) for p in places]
        seeds = {*experiment.seeds, *(int(f[1]) for f in found if f)}
        result[name] = []
        for seed in sorted(seeds):
            run = _read_run(exp, shared[name], seed, configs[name])
            record = record_path(recorded, f"{run.name}-seed{seed}")
            if run.problem and record.is_file():
                run = _from_record(record, run, replace(configs[name], seed=seed), study)
            result[name].append(run)
    return with_epochs(_with_settings_of_given(result, configs))


def _with_settings_of_given(runs: dict[str, list[Run]], configs: dict[str, Config]) -> dict[str, list[Run]]:
    """`runs`, each with the departures of what it starts or learns from, in whatever order; a record has them all."""
    by_place = {f"{run.name}-seed{run.seed}": (name, run) for name, mine in runs.items() for run in mine}

    def settings(place: str, below: int = 20) -> frozenset[str]:
        name, run = by_place.get(place, ("", None))
        if run is None or run.recorded or not below:
            return frozenset(run.settings if run else ())
        given = (other.replace("{seed}", str(run.seed)) for other in given_names(configs[name]).values())
        return frozenset(run.settings).union(*(settings(other, below - 1) for other in given))

    def told(run: Run) -> Run:
        return replace(run, settings=tuple(sorted(settings(f"{run.name}-seed{run.seed}"))))

    return {name: list(map(told, mine)) for name, mine in runs.items()}


def with_epochs(runs: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """`runs` with the epochs in all of those that do not know them and start from another of them, as records do."""
    by_place = {f"{run.name}-seed{run.seed}": run.system for mine in runs.values() for run in mine if run.system}

    def in_all(system: System | None, below: int = 20) -> float | None:
        if system is None or not below or "epochs" not in system.training:
            return None
        known = system.training.get("epochs_in_all")
        if known is not None or not system.starts_from:
            return system.training["epochs"] if known is None else known
        before = in_all(by_place.get(system.starts_from), below - 1)
        return None if before is None else system.training["epochs"] + before

    def told(run: Run) -> Run:
        epochs = in_all(run.system)
        if epochs is None:
            return run
        return replace(run, system=replace(run.system, training={**run.system.training, "epochs_in_all": epochs}))

    return {name: list(map(told, mine)) for name, mine in runs.items()}


def _read_run(exp: Path, name: str, seed: int, config: Config) -> Run:
    place = exp / f"{name}-seed{seed}"
    failed = exp / "log" / f"{place.name}.failed"
    why = f"failed: {(read_lines(failed) or ['no reason given'])[0]}" if failed.is_file() else ""
    if not (place / "config.yaml").is_file():
        return Run(name, seed, why or NOT_RUN)
    try:
        system = read_experiment(place)
        settings = departures(read_yaml(place / "config.yaml"), config, seed)
        task = read_header(place / "config.yaml").get("task", "")
        device = read_yaml(place / "train.yaml").get("device", "") if (place / "train.yaml").is_file() else ""
    except UserError as error:
        return Run(name, seed, str(error))
    return Run(name, seed, system.state and (why or system.state), system, settings, task, str(device))


def _from_record(path: Path, run: Run, config: Config, study: Study) -> Run:
    """`run`, which has no result, as its record says, unless that is an old one and a new run was begun."""
    try:
        record = read_record(path)
    except UserError as error:
        return replace(run, problem=str(error))
    settings = departures(record.config, config, run.seed)
    if not settings and record.lineage != study.lineage(config, record.task):
        settings = ("made from a model of other settings than the study now says",)
    if settings and run.problem != NOT_RUN:
        return run
    return Run(run.name, run.seed, "", record.system, settings, record.task, record.device, recorded=True)


def departures(made: dict[str, Any], config: Config, seed: int) -> tuple[str, ...]:
    """Where a run with the configuration `made` departs from what a study says, `config` with this seed."""
    differences = config_differences(made, config_to_dict(replace(config, seed=seed)))
    return tuple(f"{key} = {then} (the study says {now})" for key, then, now in differences)


def sections(study: Study, runs: dict[str, list[Run]]) -> dict[tuple[str, ...], list[Row]]:
    """Rows of decoded runs by how they depart from the study, those that do not first; a mean never mixes two ways."""
    tasks = {run.task for mine in runs.values() for run in mine if run.task}
    result: dict[tuple[str, ...], dict[str, list[Run]]] = {}
    for name, mine in runs.items():
        for run in mine:
            if run.problem:
                continue
            settings = run.settings
            if len(tasks) > 1:
                settings += (f"on task {run.task[:8]}; other runs are on other tasks",)
            result.setdefault(settings, {}).setdefault(name, []).append(run)
    ordered = sorted(result.items(), key=lambda item: (len(item[0]), -len(item[1]), item[0]))
    return {
        settings: [Row(study.experiments[name], tuple(mine)) for name, mine in by_name.items()]
        for settings, by_name in ordered
    }


def without_result(runs: dict[str, list[Run]]) -> dict[str, list[str]]:
    """Why there is no result, and of what: experiments without any, begun runs of the others."""
    result: dict[str, list[str]] = {}
    for name, mine in runs.items():
        if all(run.problem == NOT_RUN for run in mine):
            result.setdefault(NOT_RUN, []).append(name)
            continue
        for run in mine:
            if run.problem and (run.problem != NOT_RUN or all(other.problem for other in mine)):
                result.setdefault(run.problem, []).append(f"{name}, seed {run.seed}")
    return result


def missing_lines(study: Study, runs: dict[str, list[Run]]) -> list[str]:
    """Markdown lines on what has no result; of what was not run one, in which a whole group has but its name."""
    missing = without_result(runs)
    idle = [name for name in missing.pop(NOT_RUN, []) if name in study.experiments]
    lines = [f"- {why}: {'; '.join(names)}" for why, names in missing.items()]
    if not idle:
        return lines
    members: dict[str, list[str]] = {}
    for name, experiment in study.experiments.items():
        members.setdefault(experiment.group or name, []).append(name)
    told = []
    for group, names in members.items():
        left = [name for name in names if name in idle]
        whole = len(left) == len(names) > 2
        told += [f"all {len(names)} of *{group}*"] if whole else [", ".join(left)] * bool(left)
    return [*lines, f"- not run, {len(idle)} of {len(study.experiments)} points: {'; '.join(told)}"]
