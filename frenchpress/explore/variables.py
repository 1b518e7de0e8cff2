"""What varies in a space: choices, whole numbers, numbers; some only where others have certain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from frenchpress.common import UserError

if TYPE_CHECKING:
    import optuna

Label = str | int | float | bool | None
"""A value as Optuna knows it: one that it can store."""


@dataclass(frozen=True)
class Variable:
    """One entry of `vary`. `choices`: a list of values, or names with what each lays over the configuration. Else
    numbers from `low` to `high`, whole ones where both are written so, in steps of `step`, or log-uniform (`log`).
    `when`: it is there only where other variables, said before it, have these values.
    """

    choices: Any = None
    low: Any = None
    high: Any = None
    step: Any = None
    log: bool = False
    when: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if self.choices is not None:
            if ends != (None, None) or self.step is not None or self.log:
                raise UserError("choices: has values already; leave out low, high, step and log")
            if not isinstance(self.choices, (list, dict)) or not self.choices:
                raise UserError("choices: expected a list of values, such as [2, 4, 6], or names with overrides")
            if len(set(map(str, self.labels))) < len(self.choices):
                raise UserError("choices: has one of them twice")
            return
        if not all(map(_is_number, ends)) or not (self.step is None or _is_number(self.step) and self.step > 0):
            raise UserError("needs choices: [...], or numbers low: and high:, and above 0 step: if any")
        if not self.low < self.high:
            raise UserError(f"low: {self.low} must be below high: {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise UserError("log: low must be above 0, and there is no step")

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def labels(self) -> list[Label]:
        """The choices as Optuna stores them: names, plain values, and anything else as text."""
        plain = (str, int, float, bool, type(None))
        return [c if isinstance(c, plain) else flow(c) for c in self.choices]

    @property
    def examples(self) -> list[Label]:
        """Values that stand for all: every choice, or both ends."""
        return [self.low, self.high] if self.choices is None else self.labels

    def meaning(self, label: Label) -> Any:
        """What a label stands for; of names, the name."""
        return self.choices[self.labels.index(label)] if isinstance(self.choices, list) else label

    def active(self, chosen: Mapping[str, Label]) -> bool:
        """Whether it is there, where variables before it have these values."""
        return all(chosen.get(name) in listed(values) and name in chosen for name, values in self.when.items())

    def suggest(self, name: str, trial: optuna.Trial) -> Label:
        """The value that the sampler proposes for `trial`."""
        if self.choices is not None:
            return trial.suggest_categorical(name, self.labels)
        if self.whole:
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def grid(self) -> list[Label]:
        """All values; UserError where there are too many to list."""
        if self.choices is not None:
            return self.labels
        if self.log or not (self.whole or self.step):
            raise UserError("a grid needs choices, whole numbers or a step")
        step = self.step or 1
        return [self.low + i * step for i in range(int((self.high - self.low) / step + 1e-9) + 1)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def listed(values: Any) -> list[Any]:
    """A list of one or several values that is written as either."""
    return values if isinstance(values, list) else [values]


def flow(value: Any) -> str:
    """A value in one line, `[32, 2]`."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
