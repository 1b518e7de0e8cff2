"""Which error of the weights foretells the loss in PER: `frenchpress errors exp/zoo/w4-*`.

Of each experiment that was trained with `train.errors`: SQNR, cosine, relative L1 and KL of its weights after the last
epoch, each the mean over the matrices (`frenchpress.compress.errors` defines them). Below: rank correlations of each of
them with PER and frame error on dev, over the experiments together. Experiments should start from one model and keep
the same weights; otherwise more than the errors tells them apart.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, run_main
from frenchpress.report.collect import System, read_experiment, unit_of
from frenchpress.report.diagnose.curves import read_history
from frenchpress.report.markdown import markdown
from frenchpress.report.rank import kendall, spearman

MEASURES = {"sqnr": "SQNR, dB", "cosine": "cosine", "l1": "relative L1", "kl": "KL, nats"}
"""Key in metrics.jsonl and name of each measure."""
_CLOSER = {"sqnr": 1, "cosine": 1, "l1": -1, "kl": -1}  # larger or smaller where less is lost
_WEIGHTS = "matrix"  # what the names of weights in the record end with; those of activations do not


@dataclass(frozen=True)
class Erring:
    """A decoded experiment, its frame error on dev, in percent, and the mean of each measure over its matrices."""

    system: System
    frame_error: float
    means: dict[str, float]

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.system.name

    @property
    def per(self) -> float:
        """PER (of words: WER) on dev, in percent."""
        return self.system.dev.per


def read_erring(place: Path) -> Erring:
    """What the experiment in `place` has; UserError where it was trained without `train.errors`, or is not decoded."""
    if not (place / "config.yaml").is_file():
        raise UserError(f"{place}: no experiment: no config.yaml in it")
    system, history = read_experiment(place), read_history(place)
    if system.state or system.dev is None:
        raise UserError(f"{place}: {system.state or 'not decoded yet'}")
    last = history[-1] if history else {}
    found = [errors for name, errors in last.get("errors", {}).items() if name.endswith(_WEIGHTS)]
    # Of a matrix that quantization has not changed there is no SQNR: it has no end.
    if not found or any(errors[key] is None for errors in found for key in MEASURES):
        raise UserError(
            f"{place}/metrics.jsonl: no errors of quantized weights; train with train.errors: true and few bits"
        )
    means = {key: statistics.fmean(errors[key] for errors in found) for key in MEASURES}
    return Erring(system, 100 * last["dev_frame_error_cd"], means)


def error_table(runs: Sequence[Erring]) -> list[str]:
    """Markdown lines: an experiment per row, by PER."""
    rows = [
        [run.name, f"{run.per:.2f}", f"{run.frame_error:.2f}", *(f"{run.means[key]:.4g}" for key in MEASURES)]
        for run in sorted(runs, key=lambda run: (run.per, run.name))
    ]
    rate = unit_of(run.system for run in runs).rate
    return markdown(["experiment", f"{rate} dev", "frame error", *MEASURES.values()], rows)


def foretelling_table(runs: Sequence[Erring]) -> list[str]:
    """Markdown lines: rank correlations of each measure; 1 where a closer tensor always means the lower rate."""
    rows = []
    for key, title in MEASURES.items():
        far = [-_CLOSER[key] * run.means[key] for run in runs]
        cells = []
        for rates in ([run.per for run in runs], [run.frame_error for run in runs]):
            cells += ["-" if r is None else f"{r:.2f}" for r in (spearman(far, rates), kendall(far, rates))]
        rows.append([title, *cells])
    rates = (unit_of(run.system for run in runs).rate, "frame error")
    return markdown(["measure", *(f"{kind}, {rate}" for rate in rates for kind in ("Spearman", "Kendall"))], rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Which error of quantized weights foretells the loss in PER.")
    parser.add_argument("experiments", type=Path, nargs="+", help="exp/<name>, trained with train.errors, and decoded")
    places = parser.parse_args().experiments
    if len(places) < 3:
        raise UserError(f"expected at least three experiments, to be put in an order; found {len(places)}")
    runs = [read_erring(place) for place in places]
    print(*error_table(runs), "", *foretelling_table(runs), sep="\n")


if __name__ == "__main__":
    run_main(main)
