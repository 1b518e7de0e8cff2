"""Which error foretells the loss in PER: `frenchpress errors exp/zoo/w4-*` or `... recipes/zoo/runs/w4-*`.

Of each experiment, or record of one, what its last epoch says: with `train.errors` SQNR, cosine, relative L1 and KL of
its weights, each the mean over the matrices (`frenchpress.compress.errors` defines them); with `train.traffic` how far
what was sent is from what was to be sent; with `train.pipeline` the same measures at its boundaries. Below: rank
correlations of each of them with PER and frame error on dev, over the experiments together. Experiments should start
from one model and keep the same weights; otherwise more than the errors tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.report.collect import System, read_experiment, unit_of
from frenchpress.report.epochs import ERRORS, FRAME_ERROR, PLACES, SENT_ERROR, read_epochs
from frenchpress.report.markdown import markdown
from frenchpress.report.rank import kendall, spearman
from frenchpress.report.records import read_record

MEASURES = {f"{place}_{key}": said + name for place, said in PLACES.items() for key, name in ERRORS.items()}
MEASURES |= {SENT_ERROR: "error of what was sent"}
"""Quantity of `read_epochs`, and its name."""
_CLOSER_IS_LARGER = ("sqnr", "cosine")


@dataclass(frozen=True)
class Erring:
    """A decoded experiment, its frame error on dev, in percent, and each measure that it has after its last epoch."""

    system: System
    frame_error: float
    measures: dict[str, float]

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.system.name

    @property
    def per(self) -> float:
        """PER (of words: WER) on dev, in percent."""
        return self.system.dev.per


def read_erring(place: Path) -> Erring:
    """What the experiment in `place`, or the record `place`, says; UserError where it has no errors, or no PER."""
    if place.is_file():
        system = read_record(place).system
    elif (place / "config.yaml").is_file():
        system = replace(read_experiment(place), epochs=read_epochs(place))
    else:
        raise UserError(f"{place}: no experiment: no config.yaml in it")
    if system.state or system.dev is None:
        raise UserError(f"{place}: {system.state or 'not decoded yet'}")
    last = {name: values[-1] for name, values in system.epochs.items() if values[-1] is not None}
    found = {name: last[name] for name in MEASURES if name in last}
    if not found or FRAME_ERROR not in last:
        raise UserError(
            f"{place}: no errors of tensors in its last epoch; train with few bits and train.errors: true, or with "
            "train.traffic or train.pipeline"
        )
    return Erring(system, last[FRAME_ERROR], found)


def shared_measures(runs: Sequence[Erring]) -> list[str]:
    """The measures that all of the runs have; UserError for none."""
    found = [name for name in MEASURES if all(name in run.measures for run in runs)]
    if not found:
        names = ", ".join(run.name for run in runs)
        raise UserError(f"{names}: no measure that all of them have; take those with errors of the same tensors")
    return found


def error_table(runs: Sequence[Erring], measures: Sequence[str]) -> list[str]:
    """Markdown lines: an experiment per row, by PER."""
    rows = [
        [run.name, f"{run.per:.2f}", f"{run.frame_error:.2f}", *(f"{run.measures[key]:.4g}" for key in measures)]
        for run in sorted(runs, key=lambda run: (run.per, run.name))
    ]
    rate = unit_of(run.system for run in runs).rate
    return markdown(["experiment", f"{rate} dev", "frame error", *(MEASURES[key] for key in measures)], rows)


def foretelling_table(runs: Sequence[Erring], measures: Sequence[str]) -> list[str]:
    """Markdown lines: rank correlations of each measure; 1 where a closer tensor always means the lower rate."""
    rows = []
    for name in measures:
        far = [-run.measures[name] if name.endswith(_CLOSER_IS_LARGER) else run.measures[name] for run in runs]
        cells = []
        for rates in ([run.per for run in runs], [run.frame_error for run in runs]):
            cells += ["-" if r is None else f"{r:.2f}" for r in (spearman(far, rates), kendall(far, rates))]
        rows.append([MEASURES[name], *cells])
    rates = (unit_of(run.system for run in runs).rate, "frame error")
    return markdown(["measure", *(f"{kind}, {rate}" for rate in rates for kind in ("Spearman", "Kendall"))], rows)


def main() -> None:
    """Command line."""
    places = parse("errors").experiments
    different = {place.resolve() for place in places}
    if len(different) < 3:
        raise UserError(f"expected at least three experiments, to be put in an order; found {len(different)}")
    runs = [read_erring(place) for place in places]
    measures = shared_measures(runs)
    print(*error_table(runs, measures), "", *foretelling_table(runs, measures), sep="\n")


if __name__ == "__main__":
    run_main(main)
