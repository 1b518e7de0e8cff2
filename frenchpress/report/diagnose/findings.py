"""A finding: what was seen, and what to try."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from frenchpress.config import Config
from frenchpress.score.unit import Unit


@dataclass(frozen=True)
class Finding:
    """`kind`: a short name; `seen`: what was measured, one or two sentences; `advice`: what to try."""

    kind: str
    seen: str
    advice: str

    def of(self, unit: Unit) -> Finding:
        """The same, which speaks of phones and PER, on what is scored in `unit`."""
        return Finding(*map(unit.said, (self.kind, self.seen, self.advice)))

    def __str__(self) -> str:
        return f"{self.kind}: {self.seen}\n    Try: {self.advice}"


def what_is_off(config: Config, *options: str) -> list[str]:
    """Of `options`, such as `train.clip: 5`, those whose key is 0, false or null in `config`: not tried yet."""
    return [option for option in options if not reduce(getattr, option.split(":")[0].split("."), config)]
