"""What a design can be judged by, and limits on it: `stored_bytes: <= 250 kB`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frenchpress.common import UserError, unknown

_BYTES = {"B": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 2.0**20}
_COUNT = {"k": 1e3, "M": 1e6}
_LIMIT = re.compile(r"<=\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(\S*)")


@dataclass(frozen=True)
class Metric:
    """`title`: head of a column. `units`: that a limit may be written in, with their worth. `form`: how a number is
    shown, after division by `shown`. `trained`: known only after training. `chip`: of a chip.
    """

    title: str
    units: Mapping[str, float]
    form: str
    shown: float = 1.0
    trained: bool = False
    chip: bool = False

    def text(self, value: float) -> str:
        """For people."""
        return self.form.format(value / self.shown)


METRICS = {
    "dev_per": Metric("PER dev", {"%": 1.0}, "{:.2f}", trained=True),
    "dev_frame_error": Metric("frame error dev", {"%": 1.0}, "{:.2f} %", trained=True),
    "stored_bytes": Metric("stored", _BYTES, "{:.1f} kB", shown=1e3),
    "macs": Metric("MACs", _COUNT, "{:.3f} M", shown=1e6),
    "cycles": Metric("cycles", _COUNT, "{:.0f}", chip=True),
    "microseconds": Metric("time on chip", {"us": 1.0, "ms": 1e3}, "{:.1f} us", chip=True),
    "energy_uj": Metric("energy", {"uJ": 1.0, "nJ": 1e-3}, "{:.3f} uJ", chip=True),
    "measured_us": Metric("measured time", {"us": 1.0, "ms": 1e3}, "{:.2f} us", trained=True),
}
"""What a space.yaml can minimise and limit. All of a frame but PER, frame error (of the tied states) and bytes."""


@dataclass(frozen=True)
class Limit:
    """At most `bound` of a metric."""

    name: str
    bound: float

    def over(self, found: Mapping[str, float]) -> float:
        """By how much of the bound it is broken; at most 0 where it is kept, or the metric is not known yet."""
        return found[self.name] / self.bound - 1.0 if self.name in found else 0.0

    def problem(self, found: Mapping[str, float]) -> str:
        """In words."""
        show = METRICS[self.name].text
        return f"{self.name}: {show(found[self.name])}, above the {show(self.bound)} of constraints"


def check_names(names: Sequence[str]) -> None:
    """UserError for what is no metric."""
    for name in names:
        if name not in METRICS:
            raise UserError(unknown(name, METRICS, "metric "))


def read_limit(name: str, text: object) -> Limit:
    """`<= 250 kB` of a metric; UserError unless it can be kept by something."""
    check_names([name])
    units = METRICS[name].units
    found = _LIMIT.fullmatch(text.strip()) if isinstance(text, str) else None
    example = f"such as <= 250{' ' + next(iter(units)) if units else ''}"
    if found is None or found[2] not in ("", *units):
        legal = f" in {', '.join(units)} or nothing" if units else ""
        raise UserError(f"{name}: {text!r} is no limit; write <= and a number{legal}, {example}")
    bound = float(found[1]) * units.get(found[2], 1.0)
    if not bound > 0:
        raise UserError(f"{name}: {text!r} is kept by nothing; the bound must be above 0")
    return Limit(name, bound)


def broken(limits: Sequence[Limit], found: Mapping[str, float]) -> str:
    """What is wrong with a design that costs what was `found`; nothing where it keeps all limits."""
    return next((limit.problem(found) for limit in limits if limit.over(found) > 0), "")
