"""When a mask is chosen: once, again and again, or denser at first and thinner step by step."""

from __future__ import annotations

from dataclasses import dataclass

from frenchpress.common import UserError


@dataclass(frozen=True)
class Timing:
    """Epochs are counted as done: 2 is before the first step of the third one.

    `after_epoch`: chosen once, then; with `every` chosen again from there to the last epoch. `start_epoch`,
    `end_epoch`: chosen again and again between them, where the density falls (gradual methods), and not after.
    `every`: `epoch`, or a number of steps, counted from the start of each epoch; 1 is before every forward pass in
    training, since weights change at no other time.
    """

    after_epoch: int | None = None
    start_epoch: int | None = None
    end_epoch: int | None = None
    every: int | str | None = None

    def __post_init__(self) -> None:
        window = self.start_epoch is not None or self.end_epoch is not None
        if window == (self.after_epoch is not None):
            raise UserError("say when: either after_epoch, or start_epoch and end_epoch")
        for name in ("start_epoch", "end_epoch") if window else ():
            if getattr(self, name) is None:
                raise UserError(f"{name} is missing: from start_epoch to end_epoch, such as 0 and 4")
        if window and self.start_epoch >= self.end_epoch:
            raise UserError(f"start_epoch {self.start_epoch}, end_epoch {self.end_epoch}: the start must come first")
        for name in ("after_epoch", "start_epoch"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"{name}: {getattr(self, name)} is out of range; it must be at least 0")
        steps = isinstance(self.every, int) and self.every > 0
        if self.every not in (None, "epoch") and not steps:
            raise UserError(f"every: {self.every!r} is no interval; use epoch, or a number of steps")

    @property
    def first(self) -> int:
        """Epochs done before the first choice."""
        return self.start_epoch if self.after_epoch is None else self.after_epoch

    @property
    def last(self) -> int:
        """Epochs done when the density is the one asked for."""
        return getattr(self, self.last_key)

    @property
    def last_key(self) -> str:
        """What says that."""
        return "end_epoch" if self.after_epoch is None else "after_epoch"

    def due(self, epoch: int, step: int) -> bool:
        """Whether the mask is chosen before step `step` of epoch `epoch`, both counted from 0."""
        if self.after_epoch is not None and self.every is None or epoch == self.end_epoch:
            return epoch == self.last and step == 0
        tick = step == 0 if self.every in (None, "epoch") else step % self.every == 0
        return tick and self.first <= epoch and (self.end_epoch is None or epoch < self.end_epoch)

    def chooses_after(self, epoch: int) -> bool:
        """Whether the mask is chosen once more after a step of `epoch`, counted from 0, if training goes on."""
        return epoch < self.last or (self.after_epoch is not None and self.every is not None)

    def progress(self, epoch: int, step: int, steps: int) -> float:
        """How far the way from `first` to `last` has been gone, 0 to 1, before a step of an epoch of `steps`."""
        if self.last == self.first:
            return 1.0
        return min(1.0, max(0.0, (epoch + step / steps - self.first) / (self.last - self.first)))
