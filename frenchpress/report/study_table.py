"""The tables of a study: design points, variants beside what they vary, and rank correlation with published figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from frenchpress.report.markdown import markdown
from frenchpress.report.rank import kendall, spearman
from frenchpress.report.study_rows import Loss, Row, by_group, loss, published_loss
from frenchpress.report.table import epochs_cell, sent_cell

Named = dict[str, Row]

_LINKS = {"100 Mbit/s": 100e6, "1 Gbit/s": 1e9}
"""Links of the table of `link_table`, bits per second."""

_SIZES = {
    "density": lambda x: f"{100 * x:.2f} %",
    "weight_ratio": lambda x: f"{x:.2f}x",
    "compression_ratio": lambda x: f"{x:.2f}x",
    "stored_bytes": lambda x: f"{x / 1e6:.3f} MB",
}


def point_table(rows: Sequence[Row], named: Named) -> list[str]:
    """Markdown lines: a design point per row; columns of published figures where there are any."""
    published = any(row.published is not None for row in rows)
    rates = [f"{rows[0].unit.rate} {split}" for split in ("dev", "test")]
    head = ["point", *(["published", "to its float"] if published else []), *rates, "to baseline"]
    head += ["test, no silence"] * (silent := any(_silent(row) for row in rows))
    head += ["density", "fewer weights", "compression", "stored"]
    head += ["sent"] * (sent := any(_sent(row) for row in rows))
    head += ["processor"] * (timed := any(_processor(row) for row in rows)) + ["epochs", "seeds"]
    cells = []
    for row in rows:
        theirs = _published_cells(row) if published else []
        ours = [_rate(row, "dev"), _rate(row, "test"), _cell(to_baseline(row, named))]
        ours += [_silent(row)] * silent
        sizes = ["-" if row.size(key) is None else show(row.size(key)) for key, show in _SIZES.items()]
        took = [_sent(row)] * sent + [_processor(row)] * timed
        cells.append([row.experiment.name, *theirs, *ours, *sizes, *took, _epochs(row), _seeds(row)])
    return markdown(head, cells)


def to_baseline(row: Row, named: Named) -> Loss | None:
    """What a row lost against its baseline."""
    return loss(row, named.get(row.experiment.baseline or ""))


def _published_cells(row: Row) -> list[str]:
    return ["-" if row.published is None else f"{row.published:.2f}", _cell(published_loss(row))]


def _cell(found: Loss | None) -> str:
    return "-" if found is None else str(found)


def _rate(row: Row, split: str) -> str:
    deviation = row.deviation(split)
    if deviation is not None:
        return f"{row.mean(split):.2f} ± {deviation:.2f} ({len(row.runs)})"
    low, high = getattr(row.runs[0].system, split).interval
    return f"{row.mean(split):.2f} [{low:.1f}, {high:.1f}]"


def _silent(row: Row) -> str:
    """Mean test rate without silence; empty where it was not measured for all runs."""
    found = [run.system.test.without_silence for run in row.runs]
    return "" if None in found else f"{statistics.mean(m.per for m in found):.2f}"


def _sent(row: Row) -> str:
    """As it is of the first run; seeds hardly change it."""
    return sent_cell(row.runs[0].system) if row.runs[0].system else ""


def _processor(row: Row) -> str:
    """Mean over the runs that know it; empty where none does."""
    found = [run.system.training.get("processor_seconds") for run in row.runs if run.system]
    known = [seconds for seconds in found if seconds]
    return f"{statistics.mean(known) / 60:.1f} min" if known else ""


def _epochs(row: Row) -> str:
    return "/".join(sorted({epochs_cell(run.system) for run in row.runs if run.system}))


def _seeds(row: Row) -> str:
    return " ".join(str(run.seed) for run in row.runs)


def twin_table(rows: Sequence[Row], named: Named) -> list[str]:
    """Markdown lines: variants beside what they are variants of; none without variants."""
    head = ["point", "variant", "published", "to its float", "to baseline", "variant to baseline", "variant less point"]
    cells = []
    for row in rows:
        twin = named.get(row.experiment.twin or "")
        if twin is not None:
            losses = (to_baseline(twin, named), to_baseline(row, named), loss(row, twin))
            names = [twin.experiment.name, row.experiment.name]
            cells.append([*names, *_published_cells(twin), *map(_cell, losses)])
    return markdown(head, cells) if cells else []


def index_table(rows: Sequence[Row]) -> list[str]:
    """Markdown lines: what the index of each masked model takes; none where there is none."""
    head = ["point", "index code", "values", "index", "scales", "index per kept weight"]
    head += ["compression, index free", "compression"]
    cells = []
    for row in rows:
        parts = [row.size(f"{kind}_bits") or 0 for kind in ("value", "index", "scale")]
        kept = (row.size("macs_kept") or 0) or 1
        if parts[1]:
            values, index, scales = parts
            free = 32 * (row.size("macs_dense") or 0) / (values + scales)
            sizes = [f"{bits / 8e6:.3f} MB" for bits in parts]
            more = [f"{index / kept:.2f} bits", f"{free:.2f}x", f"{row.size('compression_ratio'):.2f}x"]
            cells.append([row.experiment.name, ", ".join(row.runs[0].system.codes), *sizes, *more])
    return markdown(head, cells) if cells else []


def link_table(rows: Sequence[Row]) -> list[str]:
    """Markdown lines: how long a link takes for what each worker sends in a step; none where nothing was sent.

    Arithmetic, bytes by the rate of the link: latency and what the protocols of a network add are not in it.
    """
    head = ["point", "sent a step", *(f"on {link}" for link in _LINKS)]
    cells = []
    for row in rows:
        training = row.runs[0].system.training if row.runs[0].system else {}
        if bits := 8 * (training.get("sent_bytes_per_step") or 0):
            times = [f"{1000 * bits / rate:.2f} ms" for rate in _LINKS.values()]
            cells.append([row.experiment.name, _sent(row), *times])
    return markdown(head, cells) if cells else []


def epoch_table(rows: Sequence[Row]) -> list[str]:
    """Markdown lines: dev error rate after each epoch, means over seeds; none where it was not measured."""
    found = {row.experiment.name: [run.system.by_epoch for run in row.runs if run.system.by_epoch] for row in rows}
    last = max((epoch for runs in found.values() for by_epoch in runs for epoch in by_epoch), default=0)
    cells = []
    for name, runs in found.items():
        epochs = [[by_epoch[n] for by_epoch in runs if n in by_epoch] for n in range(1, last + 1)]
        if runs:
            cells.append([name, *(f"{statistics.mean(pers):.2f}" if pers else "-" for pers in epochs), str(len(runs))])
    return markdown(["point", *(f"epoch {n}" for n in range(1, last + 1)), "seeds"], cells) if cells else []


def rank_table(rows: Sequence[Row], named: Named) -> list[str]:
    """Markdown lines: is our order of design points the published one? In all and by group, from three points up."""
    pairs = [row for row in rows if row.published is not None]
    kinds = {"all, variants left out": [row for row in pairs if not row.experiment.twin]}
    kinds |= {group: mine for group, mine in by_group(pairs).items() if len(mine) < len(pairs)}
    cells = []
    for kind, mine in kinds.items():
        losses = [(published_loss(row), to_baseline(row, named)) for row in mine]
        columns = {
            "PER": [(row.published or 0.0, row.mean()) for row in mine],
            "loss": [(theirs.points, ours.points) for theirs, ours in losses if theirs and ours],
        }
        cells += [[kind, name, *_correlations(both)] for name, both in columns.items() if len(both) > 2]
    return markdown(["published against ours", "of", "n", "Spearman", "Kendall"], cells) if cells else []


def _correlations(both: Sequence[tuple[float, float]]) -> list[str]:
    one, other = zip(*both)
    found = (spearman(one, other), kendall(one, other))
    return [str(len(both)), *("-" if value is None else f"{value:.3f}" for value in found)]
