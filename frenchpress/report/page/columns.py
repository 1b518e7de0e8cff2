"""What the page's table can show, and figures can have as an axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from frenchpress.report.collect import System
from frenchpress.score.unit import Unit

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure or a word of each experiment.

    `kind`: how it is written: text, rate (PER, WER), points, number, count, percent, bytes, times, seconds. `better`:
    which end is wanted, low or high, "" for neither. `shown`: in the table without being asked for.
    """

    key: str
    title: str
    kind: str
    better: str = ""
    shown: bool = True


COLUMNS = (
    Column("name", "experiment", "text"),
    Column("group", "group", "text", shown=False),
    Column("seed", "seed", "number", shown=False),
    Column("state", "state", "text"),
    Column("per_dev", "PER dev", "rate", "low"),
    Column("per_test", "PER test", "rate", "low"),
    Column("dev_frame_error", "frame error dev", "rate", "low"),
    Column("to_baseline", "to baseline", "points", "low"),
    Column("published", "published PER", "rate", "low"),
    Column("no_silence", "test, no silence", "rate", "low", shown=False),
    Column("oracle", "test oracle", "rate", "low", shown=False),
    Column("epochs", "epochs", "number", shown=False),
    Column("epochs_in_all", "epochs in all", "number"),
    Column("starts_from", "starts from", "text", shown=False),
    Column("learns_from", "learns from", "text", shown=False),
    Column("density", "density", "percent", "low"),
    Column("stored_bytes", "bytes", "bytes", "low"),
    Column("compression_ratio", "compression", "times", "high"),
    Column("weight_ratio", "fewer weights", "times", "high", shown=False),
    Column("parameters", "parameters", "count", shown=False),
    Column("macs_kept", "MACs per frame", "count", "low"),
    Column("cycles", "cycles per frame", "count", "low"),
    Column("microseconds", "microseconds per frame", "number", "low"),
    Column("measured_us", "measured us per frame", "number", "low"),
    Column("energy_uj", "uJ per frame", "number", "low"),
    Column("sent_bytes_per_step", "sent per step", "bytes", "low"),
    Column("seconds", "time", "seconds", "low"),
    Column("seconds_in_all", "time in all", "seconds", "low", shown=False),
)


def column_data(rows: Iterable[Values], unit: Unit) -> list[dict[str, Any]]:
    """The columns that one of `rows` has a value in, and one for each key that is not among `COLUMNS`; rates are of
    `unit`."""
    there = {key for row in rows for key, value in row.items() if value not in (None, "")}
    known = {column.key for column in COLUMNS}
    others = [Column(key, key, "number") for key in sorted(there - known)]
    return [asdict(c) | {"title": unit.said(c.title)} for c in (*COLUMNS, *others) if c.key in there]


def system_values(system: System) -> dict[str, Any]:
    """What is known of an experiment, by the keys of `COLUMNS`."""
    dev, test = system.dev, system.test
    return {
        "name": system.name,
        "seed": system.seed,
        "state": system.state,
        "per_dev": dev and dev.per,
        "per_test": test and test.per,
        "no_silence": test and test.without_silence and test.without_silence.per,
        "oracle": test and test.oracle,
        "starts_from": system.starts_from,
        "learns_from": system.learns_from,
        **{key: x for key, x in system.sizes.items() if not key.endswith("_bits") and key != "macs_dense"},
        **{key: x for key, x in system.training.items() if key != "frames_per_second"},
    }
