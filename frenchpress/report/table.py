"""The table of results: `python -m frenchpress.report.table --exp exp` writes exp/RESULTS.md and exp/results.json."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from frenchpress.common import atomic_path, run_main
from frenchpress.report.collect import Measured, System, collect, read_reference
from frenchpress.report.next_steps import next_steps

LEGEND = """\
How to read a row

- **PER**: phone error rate in percent, in scored phones. Acoustic and LM weight were chosen on dev; test was scored
  once with them. In brackets the 95 % interval of a bootstrap over utterances: two rows whose intervals overlap widely
  have not been told apart by this test set.
- **test oracle**: test with the LM weight chosen on test itself. A bound, not a result.
- **parameters**: of the whole model before pressing. **density**: kept weights over all weights, as realised.
- **stored**: bytes of the kept weights at their bits, of the index and scales, and of biases and batch norm.
- **compression**: bits of the dense float32 matrices over bits stored, index and scales included.
- **fewer weights**: all weights over kept weights, the figure that papers call "16x". It counts neither the bits nor
  the index.
- **MACs**: multiply-accumulates per frame with the kept weights, of those of the dense model.
- **time**: training, hours:minutes:seconds on the machine named in train.yaml.
- **mean ± s.d.** over seeds, sample standard deviation: compare rows by these, not by single runs.
"""


def gmm_table(gmms: Sequence[System], reference: dict[str, tuple[float, float]]) -> list[str]:
    """Markdown lines: a row per GMM system, reference rates beside it."""
    found = {s.name: s for s in gmms}
    head = ["system", "PER dev", "PER test"]
    if reference:
        head += ["reference dev", "reference test"]
    rows = []
    for name in [*found, *(n for n in reference if n not in found)]:
        system = found.get(name, System(name, None, None))
        row = [name, _rate(system.dev, system.state), _rate(system.test, system.state)]
        if reference:
            row += [f"{x:.2f}" for x in reference[name]] if name in reference else ["-", "-"]
        rows.append(row)
    return markdown(head, rows)


def experiment_table(experiments: Sequence[System]) -> list[str]:
    """Markdown lines: a row per run, and one of mean and deviation where there are several seeds."""
    head = [
        "experiment",
        "seed",
        "PER dev",
        "PER test",
        "test oracle",
        "parameters",
        "density",
        "stored",
        "compression",
        "fewer weights",
        "MACs",
        "time",
    ]
    rows: list[list[str]] = []
    for _, group in groupby(experiments, key=_alike):
        runs = list(group)
        rows += [_run_cells(run) for run in runs]
        # A seed counts once, trained under two names as it may be.
        decoded = list({run.seed: run for run in runs if run.dev and run.test}.values())
        if len(decoded) > 1:
            rows.append(_mean_cells(decoded))
    return markdown(head, rows)


def _alike(run: System) -> tuple[str, str]:
    """Runs that differ in nothing but their seed."""
    return run.group, run.config


def _run_cells(run: System) -> list[str]:
    oracle = f"{run.test.oracle:.2f}" if run.test and run.test.oracle is not None else "-"
    seed = "-" if run.seed is None else str(run.seed)
    return [run.name, seed, _rate(run.dev, run.state), _rate(run.test, run.state), oracle, *_size_cells(run)]


def _mean_cells(runs: Sequence[System]) -> list[str]:
    dev, test = _mean([r.dev.per for r in runs if r.dev]), _mean([r.test.per for r in runs if r.test])
    cells = [f"**{runs[0].group}, mean ± s.d.**", f"{len(runs)} seeds", dev, test, "-", *_size_cells(runs[0])]
    seconds = [r.training["seconds"] for r in runs if "seconds" in r.training]
    cells[-1] = _duration(statistics.mean(seconds)) if seconds else "-"
    return cells


def _mean(rates: Sequence[float]) -> str:
    return f"{statistics.mean(rates):.2f} ± {statistics.stdev(rates):.2f}"


def _size_cells(run: System) -> list[str]:
    def cell(key: str, show: Callable[[float], str]) -> str:
        return show(run.sizes[key]) if key in run.sizes else "-"

    macs = cell("macs_kept", _count)
    if "macs_dense" in run.sizes and run.sizes["macs_dense"] != run.sizes.get("macs_kept"):
        macs += f" of {_count(run.sizes['macs_dense'])}"
    return [
        cell("parameters", _count),
        cell("density", lambda x: f"{100 * x:.2f} %"),
        cell("stored_bytes", lambda x: f"{x / 1e6:.3f} MB"),
        cell("compression_ratio", lambda x: f"{x:.2f}x"),
        cell("weight_ratio", lambda x: f"{x:.2f}x"),
        macs,
        _duration(run.training["seconds"]) if "seconds" in run.training else "-",
    ]


def _rate(found: Measured | None, state: str) -> str:
    if found is None:
        return state or "-"
    return f"{found.per:.2f} [{found.interval[0]:.1f}, {found.interval[1]:.1f}]"


def _count(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else f"{number:.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up in plain text too; the first column to the left, others to the right."""
    widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [t.rjust(w) if c else t.ljust(w) for c, (t, w) in enumerate(zip(cells, widths))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ":" if c else "-" * (w + 2) for c, w in enumerate(widths)) + "|"
    return [line(head), rule, *(line(row) for row in rows)]


def scored_on(systems: Sequence[System]) -> list[str]:
    """How much was scored; a line per set, more where systems differ in it."""
    lines = []
    for split in ("dev", "test"):
        sizes = {(m.utterances, m.phones) for s in systems if (m := getattr(s, split))}
        lines += [f"- {split}: {utts} utterances, {phones} phones" for utts, phones in sorted(sizes)]
    return lines


def results_text(
    exp: Path,
    gmms: list[System],
    experiments: list[System],
    reference: dict[str, tuple[float, float]],
    conf: Path,
) -> str:
    """All of RESULTS.md."""
    parts: list[list[str]] = [["# Results"]]
    if gmms or reference:
        parts += [["## GMM-HMM"], gmm_table(gmms, reference)]
    if experiments:
        parts += [["## Acoustic models"], experiment_table(experiments)]
    if not gmms and not experiments:
        parts.append([f"Nothing in {exp} has been trained yet."])
    parts += [["Scored:", "", *scores] for scores in [scored_on([*gmms, *experiments])] if scores]
    parts += [[LEGEND.rstrip()], ["What to try next:", "", *next_steps(exp, experiments, conf)]]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def results_data(
    gmms: list[System], experiments: list[System], reference: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """The same figures, unrounded, for programs."""
    runs = [asdict(s) | {"config": json.loads(s.config)} for s in experiments]
    return {"gmm": [asdict(s) for s in gmms], "experiments": runs, "reference": reference}


def write(path: Path, text: str) -> None:
    """Write a text file whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write RESULTS.md and results.json of an exp directory.")
    parser.add_argument("--exp", type=Path, required=True)
    parser.add_argument("--reference", type=Path, help="YAML `system: [dev PER, test PER]`, shown beside the GMMs")
    parser.add_argument("--conf", type=Path, default=Path("conf"), help="where the .cfg files are (conf)")
    args = parser.parse_args()
    gmms, experiments = collect(args.exp)
    reference = read_reference(args.reference) if args.reference else {}
    text = results_text(args.exp, gmms, experiments, reference, args.conf)
    data = json.dumps(results_data(gmms, experiments, reference), indent=1, sort_keys=True) + "\n"
    write(args.exp / "results.json", data)
    write(args.exp / "RESULTS.md", text)
    print(text, end="")


if __name__ == "__main__":
    run_main(main)
