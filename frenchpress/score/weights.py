"""Decoding weights: the grid that is tried on dev, and how it grows where the best lies at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from frenchpress.score.transcripts import Transcripts

DOUBLINGS = 2
"""How often either end of a grid may move away, by a factor of two each time: as far as 4 times, or a quarter."""


@dataclass(frozen=True, order=True)
class Weights:
    """Log-likelihoods are scaled by `acoustic_scale` in the search; when the lattice is rescored, graph costs
    count `lm_weight` times against the unscaled acoustic costs."""

    acoustic_scale: float
    lm_weight: float

    def __str__(self) -> str:
        return f"acoustic_scale={self.acoustic_scale:g} lm_weight={self.lm_weight:g}"


HypsByWeights = Mapping[Weights, Transcripts]

AXES = {"acoustic_scale": "acoustic scale", "lm_weight": "LM weight"}


@dataclass(frozen=True)
class Grid:
    """Every acoustic scale with every LM weight; both in rising order, each value once."""

    acoustic_scale: tuple[float, ...]
    lm_weight: tuple[float, ...]

    @classmethod
    def of(cls, acoustic_scales: Iterable[float], lm_weights: Iterable[float]) -> Grid:
        """The grid of these values, in whatever order they come."""
        return cls(tuple(sorted(set(acoustic_scales))), tuple(sorted(set(lm_weights))))

    def __iter__(self) -> Iterator[Weights]:
        return (Weights(scale, weight) for scale in self.acoustic_scale for weight in self.lm_weight)

    def ends(self, weights: Weights) -> int:
        """On how many axes `weights` lie at an end."""
        return sum(getattr(weights, axis) in (values[0], values[-1]) for axis, values in vars(self).items())


def best_of(errors: Mapping[Weights, int], grid: Grid) -> Weights:
    """The weights of fewest errors; when equal those inside the grid, then the smaller ones."""
    return min(errors, key=lambda w: (errors[w], grid.ends(w), w))


def edges(errors: Mapping[Weights, int], grid: Grid) -> dict[str, int]:
    """Axes at whose end the best weights lie: 0 for the low end, -1 for the high one.

    An axis of one value is fixed and not chosen. No end where another value on the axis does as well: going further
    then promises nothing.
    """
    best, found = best_of(errors, grid), {}
    for axis, values in vars(grid).items():
        mine = getattr(best, axis)
        others = [count for w, count in errors.items() if getattr(w, axis) != mine]
        if others and mine in (values[0], values[-1]) and errors[best] < min(others):
            found[axis] = 0 if mine == values[0] else -1
    return found


def beyond(values: Sequence[float], end: int) -> list[float]:
    """What goes on from the low (0) or high (-1) end of rising `values`, in the last step there.

    As far as half or twice the end; half of it at least.
    """
    edge = values[end]
    step = abs(values[1] - values[0]) if end == 0 else abs(values[-1] - values[-2])
    count = int((edge / 2 if end == 0 else edge) / step + 1e-6)
    sign = 1 if end else -1
    return [round(edge + sign * step * n, 6) for n in range(1, count + 1)] or [edge / 2]


@dataclass(frozen=True)
class Widening:
    """A grid that has grown from `start`; `moved` counts how often each end did."""

    start: Grid
    grid: Grid
    moved: Mapping[tuple[str, int], int]

    @classmethod
    def none(cls, grid: Grid) -> Widening:
        """Nothing has grown yet."""
        return cls(grid, grid, {})

    def further(self, counts: Iterable[Mapping[Weights, int]]) -> Widening | None:
        """Longer wherever one of the choices by `counts` (errors by weights) lies at an end; None where none may grow.

        An end stays after `DOUBLINGS`.
        """
        ends = {item for errors in counts for item in edges(errors, self.grid).items()}
        ends = {end for end in ends if self.moved.get(end, 0) < DOUBLINGS}
        grid = self.grid
        for axis, end in sorted(ends):
            values = getattr(self.grid, axis)
            grid = replace(grid, **{axis: tuple(sorted({*getattr(grid, axis), *beyond(values, end)}))})
        moved = {**self.moved, **{end: self.moved.get(end, 0) + 1 for end in ends}}
        return Widening(self.start, grid, moved) if ends else None

    def fresh(self, old: Grid) -> list[Grid]:
        """What of the grid is not in `old`, as grids to search: new scales in full, old scales at new LM weights."""
        scales = tuple(s for s in self.grid.acoustic_scale if s not in old.acoustic_scale)
        weights = tuple(w for w in self.grid.lm_weight if w not in old.lm_weight)
        parts = [Grid(scales, self.grid.lm_weight), Grid(old.acoustic_scale, weights)]
        return [part for part in parts if part.acoustic_scale and part.lm_weight]

    def line(self, chosen: Mapping[str, Weights], counts: Mapping[str, Mapping[Weights, int]]) -> str:
        """What grew and what came of it, for one line; empty where nothing grew. `chosen` and `counts` by measure,
        the rate without silence last."""
        said = []
        for axis, name in AXES.items():
            old, new = getattr(self.start, axis), getattr(self.grid, axis)
            if old == new:
                continue
            took = [f"{getattr(weights, axis):g}" for weights in chosen.values()]
            also = f" ({took[1]} without silence)" if took[1:] not in ([], took[:1]) else ""
            still = any(axis in edges(errors, self.grid) for errors in counts.values())
            limit = ", at the limit of what is tried" if still else ""
            said.append(
                f"the best {name} lay at the end of {old[0]:g} to {old[-1]:g}: "
                f"tried {new[0]:g} to {new[-1]:g}, chose {took[0]}{also}{limit}"
            )
        return "; ".join(said)
