"""The table of results: `python -m frenchpress.report.table --exp exp`.

Writes exp/RESULTS.md, exp/results.json, and the page exp/report/index.html.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from frenchpress.arguments import parse
from frenchpress.common import atomic_path, run_main
from frenchpress.hardware.chip import load_chip
from frenchpress.report.baseline import Baseline
from frenchpress.report.collect import (
    Measured,
    References,
    System,
    alike,
    collect,
    one_per_seed,
    read_reference,
    unit_of,
    without_seed,
)
from frenchpress.report.hardware import chip_data, chip_figures, chip_section, on_chip
from frenchpress.report.markdown import markdown
from frenchpress.report.next_steps import next_steps
from frenchpress.report.page import REPORT, experiment_entry, said_of, write_page
from frenchpress.score.unit import PHONE, UNITS, Unit

LEGEND = """\
How to read a row

- **PER**: phone error rate in percent, in scored phones. Acoustic and LM weight were chosen on dev; test was scored
  once with them. In brackets the 95 % interval of a bootstrap over speakers, or over utterances where a set has fewer
  than 5 speakers; what was resampled stands under "Scored". Over utterances it is too narrow: they are not independent.
- **to ...**: test PER less that of the baseline (`--baseline NAME`; the first float model if none is named), in points,
  with the 95 % interval of a bootstrap on the same speakers or utterances for both. An interval on one side of 0: the
  two differ. Several seeds: means over seeds, and seeds are resampled too.
{silence}- **test oracle**: test with the LM weight chosen on test itself. A bound, not a result.
- **epochs**: of this training, of those in all, with the runs that it starts from. **starts from**: the run whose
  weights were its first ones. **learns from**: its teacher.
- **parameters**: of the whole dense model. **density**: kept weights / all weights, as it came out.
- **stored**: bytes of the kept weights at their bits, of the index and scales, and of biases and batch norm.
- **compression**: bits of the weight matrices as dense float32 / bits stored for them, with index and scales, without
  biases and batch norm.
- **fewer weights**: all weights / kept weights, which papers call "16x". It counts neither bits nor index.
- **MACs**: multiply-accumulate operations per frame with the kept weights, of those of the dense model.
{sent}- **time**: training, hours:minutes:seconds on the machine named in train.yaml. **in all**: with every run that it
  starts or learns from, each once.
- **mean ± s.d.** over seeds, sample standard deviation: compare rows by these, not by single runs.
"""
SENT_LEGEND = """\
- **sent**: bytes of gradients that each of the workers of a training sends per step; of layers on several processes,
  bytes of outputs and gradients that all of them send (docs/machines.md).
"""
SILENCE_LEGEND = """\
- **test, no silence**: test PER with silence taken out of reference and result, LM weight chosen for it on dev. In PER
  silence is scored, and to leave it out is no error, as Kaldi has it. Some published TIMIT figures leave silence out
  (docs/scoring.md). Empty: decoded before this was measured.
"""
"""Of phones alone: silence is none of the words that are scored."""


def gmm_table(gmms: Sequence[System], reference: References, unit: Unit) -> list[str]:
    """Markdown lines: a row per GMM system, reference rates beside it."""
    found = {s.name: s for s in gmms}
    head = ["system", f"{unit.rate} dev", f"{unit.rate} test", "test, no silence"]
    if reference:
        head += ["reference dev", "reference test"]
    rows = []
    for name in [*found, *(n for n in reference if n not in found)]:
        system = found.get(name, System(name, None, None))
        row = [name, _rate(system.dev, system.state), _rate(system.test, system.state), _silent([system])]
        if reference:
            row += ["-" if rate is None else f"{rate:.2f}" for rate in reference.get(name, (None, None))]
        rows.append(row)
    return markdown(head, rows)


def experiment_table(experiments: Sequence[System], baseline: Baseline, unit: Unit) -> list[str]:
    """Markdown lines, what most want to know: a row per run, and one of mean and deviation of several seeds."""
    head = ["experiment", "seed", f"{unit.rate} dev", f"{unit.rate} test"]
    head += [f"to {baseline.name}"] * bool(baseline.name)
    head += ["epochs", "density", "stored", "compression", "fewer weights"]
    head += ["sent"] * (sent := any(map(sent_cell, experiments))) + ["time"]
    rows = []
    for runs in _rows(experiments):
        rates = [_rates(runs, "dev"), _rates(runs, "test"), *_to_baseline(runs, baseline)]
        what = [epochs_cell(runs[0]), *_size_cells(runs[0]), *[sent_cell(runs[0])] * sent]
        rows.append([*_named(runs), *rates, *what, _time(runs, "seconds")])
    return markdown(head, rows)


def more_table(experiments: Sequence[System]) -> list[str]:
    """Markdown lines: the same rows, what else is known of them."""
    head = ["experiment", "seed", "test, no silence", "test oracle", "starts from", "learns from"]
    head += ["parameters", "MACs", "in all"]
    rows = []
    for runs in _rows(experiments):
        given = [given_cell([getattr(run, key) for run in runs]) for key in ("starts_from", "learns_from")]
        counts = [_size_cell(runs[0], "parameters", _count), _macs(runs[0])]
        rows.append([*_named(runs), _silent(runs), _oracle(runs), *given, *counts, _time(runs, "seconds_in_all")])
    return markdown(head, rows)


def _rows(experiments: Sequence[System]) -> Iterator[list[System]]:
    """The runs of each row: one, or the decoded ones of several seeds, after these."""
    for _, group in groupby(experiments, key=alike):
        runs = list(group)
        yield from ([run] for run in runs)
        decoded = one_per_seed(run for run in runs if run.dev and run.test)
        if len(decoded) > 1:
            yield decoded


def _named(runs: Sequence[System]) -> list[str]:
    if len(runs) > 1:
        return [f"**{runs[0].group}, mean ± s.d.**", f"{len(runs)} seeds"]
    return [runs[0].name, "-" if runs[0].seed is None else str(runs[0].seed)]


def _rates(runs: Sequence[System], split: str) -> str:
    if len(runs) == 1:
        return _rate(getattr(runs[0], split), runs[0].state)
    return _mean([getattr(run, split).per for run in runs])


def _oracle(runs: Sequence[System]) -> str:
    test = runs[0].test
    return f"{test.oracle:.2f}" if len(runs) == 1 and test and test.oracle is not None else "-"


def _time(runs: Sequence[System], key: str) -> str:
    known = [run.training[key] for run in runs if key in run.training]
    return _duration(statistics.mean(known) if known else None)


def _to_baseline(runs: Sequence[System], baseline: Baseline) -> list[str]:
    """The cell of the difference to the baseline, if the table has one."""
    if not baseline.name:
        return []
    found = baseline.against(runs) if all(run.test for run in runs) else None
    return ["-" if found is None else str(found)]


def _silent(runs: Sequence[System]) -> str:
    """Test rate without silence; empty where it was not measured."""
    found = [run.test.without_silence for run in runs if run.test and run.test.without_silence]
    if len(found) < len(runs):
        return ""
    return _mean([m.per for m in found]) if len(found) > 1 else f"{found[0].per:.2f}"


def given_cell(names: Sequence[str]) -> str:
    """The run that some seeds start or learn from, or that each has one of its own of one name."""
    if len(set(names)) == 1:
        return names[0] or "-"
    groups = {without_seed(name) for name in names}
    return f"{groups.pop()} of each seed" if len(groups) == 1 else "several"


def epochs_cell(run: System) -> str:
    """Epochs of a run, and of those in all where it starts from another one: `4 of 7`, `4 of ?`."""
    own, whole = run.training.get("epochs"), run.training.get("epochs_in_all")
    if own is None:
        return "-"
    return f"{own:.0f}" + (f" of {'?' if whole is None else format(whole, '.0f')}" if run.starts_from else "")


def sent_cell(run: System) -> str:
    """Bytes of gradients per step of a run by several workers, else empty."""
    sent = run.training.get("sent_bytes_per_step")
    return "" if sent is None else f"{sent / 1e6:.3f} MB"


def _mean(rates: Sequence[float]) -> str:
    return f"{statistics.mean(rates):.2f} ± {statistics.stdev(rates):.2f}"


def _size_cells(run: System) -> list[str]:
    return [
        _size_cell(run, "density", lambda x: f"{100 * x:.2f} %"),
        _size_cell(run, "stored_bytes", lambda x: f"{x / 1e6:.3f} MB"),
        _size_cell(run, "compression_ratio", lambda x: f"{x:.2f}x"),
        _size_cell(run, "weight_ratio", lambda x: f"{x:.2f}x"),
    ]


def _size_cell(run: System, key: str, show: Callable[[float], str]) -> str:
    return show(run.sizes[key]) if key in run.sizes else "-"


def _macs(run: System) -> str:
    kept, dense = run.sizes.get("macs_kept"), run.sizes.get("macs_dense")
    return _size_cell(run, "macs_kept", _count) + (f" of {_count(dense)}" if dense not in (None, kept) else "")


def _rate(found: Measured | None, state: str) -> str:
    if found is None:
        return state or "-"
    return f"{found.per:.2f} [{found.interval[0]:.1f}, {found.interval[1]:.1f}]"


def _count(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else f"{number:.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def scored_on(systems: Sequence[System]) -> list[str]:
    """How much was scored, and what the intervals resample; a line per set, more where systems differ in it."""
    lines = []
    for split in ("dev", "test"):
        found = {_size_of(m): None for s in systems if (m := getattr(s, split))}
        lines += [f"- {split}: {size}" for size in sorted(found)]
    return lines


def _size_of(found: Measured) -> str:
    size = f"{found.utterances} utterances, {found.phones} {UNITS[found.unit].many}"
    if found.interval_over is None:
        return f"{size}; intervals over utterances"
    few = "too few to resample: " if found.interval_over == "utterances" else ""
    speakers = f"{found.speakers} speaker{'s' * (found.speakers != 1)}"
    return f"{size}, {speakers}, {few}intervals over {found.interval_over}"


def results_text(
    exp: Path,
    gmms: list[System],
    experiments: list[System],
    reference: References,
    conf: Path,
    baseline: Baseline,
    more: Sequence[list[str]] = (),
) -> str:
    """All of RESULTS.md; `more`: paragraphs of other sections."""
    parts: list[list[str]] = [["# Results"]]
    if not gmms and not experiments:
        return f"# Results\n\nNothing in {exp} has been trained yet; stages 0 to 5 of ./run.sh do that.\n"
    unit = unit_of([*gmms, *experiments])
    sent = SENT_LEGEND if any(map(sent_cell, experiments)) else ""
    legend = unit.said(LEGEND.format(silence=SILENCE_LEGEND if unit is PHONE else "", sent=sent))
    if gmms or reference:
        parts += [["## GMM-HMM"], gmm_table(gmms, reference, unit)]
    if experiments:
        parts += [["## Acoustic models"], experiment_table(experiments, baseline, unit)]
        parts += [["More of the same:"], more_table(experiments)]
    parts += [["Scored:", "", *scores] for scores in [scored_on([*gmms, *experiments])] if scores]
    parts += [[legend.rstrip()], *more, ["What to try next:", "", *next_steps(exp, experiments, conf)]]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def results_data(
    gmms: list[System], experiments: list[System], reference: References, baseline: Baseline
) -> dict[str, Any]:
    """The same figures, unrounded, for programs."""
    runs = []
    for s in experiments:
        found = baseline.against([s]) if s.test else None
        above = None if found is None else {"baseline": baseline.name, **asdict(found)}
        runs.append(asdict(s) | {"config": json.loads(s.config), "to_baseline": above})
    return {"gmm": [asdict(s) for s in gmms], "experiments": runs, "reference": reference}


def write_exp_page(
    exp: Path,
    gmms: Sequence[System],
    experiments: Sequence[System],
    baseline: Baseline,
    figures: Mapping[str, Mapping[str, float]],
) -> str:
    """Write <exp>/report/index.html; `figures`: more of each experiment, by name. Returns what to say of it."""
    entries = []
    for system in experiments:
        found = baseline.against([system]) if system.test else None
        more = {"to_baseline": found and found.difference, **figures.get(system.name, {})}
        entries.append(experiment_entry(exp / system.name, system, system.group, more))
    about = [line.removeprefix("- ") for line in scored_on([*gmms, *experiments])]
    about += [f"baseline: {baseline.name}"] * bool(baseline.name)
    return said_of(write_page(exp / REPORT, f"Results in {exp}", entries, gmms, about))


def write(path: Path, text: str) -> None:
    """Write a text file whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def main() -> None:
    """Command line."""
    args = parse("table")
    chip = load_chip(args.chip) if args.chip else None
    gmms, experiments = collect(args.place)
    reference = read_reference(args.reference) if args.reference else {}
    baseline = Baseline.choose(args.place, experiments, args.baseline)
    values, more, rows = results_data(gmms, experiments, reference, baseline), [], []
    if chip:
        rows = [on_chip(chip, s.name, args.place / s.name, s.test.per if s.test else None) for s in experiments]
        values, more = values | {"hardware": chip_data(rows)}, chip_section(chip, rows, unit_of(experiments))
    text = results_text(args.place, gmms, experiments, reference, args.conf, baseline, more)
    write(args.place / "results.json", json.dumps(values, indent=1, sort_keys=True) + "\n")
    write(args.place / "RESULTS.md", text)
    print(text)
    figures = {row.name: chip_figures(row) for row in rows}
    print(write_exp_page(args.place, gmms, experiments, baseline, figures))


if __name__ == "__main__":
    run_main(main)
