"""Growth of the packed runtime's cost, on one thread: with cells, with compression, with streams.

Each point has the time per frame of whole utterances and of frames one by one, the multiply-accumulates and bytes of
weights that a frame takes in the runtime, padding included, and how much of the machine's limits is reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from frenchpress.bench.inference import packed_run
from frenchpress.bench.layers import packed_layers
from frenchpress.bench.limits import Limits, macs_subject, read_subject
from frenchpress.bench.streams import Y_LABEL, case_of, streams_growth
from frenchpress.bench.timing import Subject, interleave
from frenchpress.common import UserError
from frenchpress.compress.sparsity import HierarchyMask
from frenchpress.config import LayerPress
from frenchpress.packed.runtime import LEVELS, Runtime
from frenchpress.report import figure
from frenchpress.report.lines import SIZE, Line, lines

CELLS, QUICK_CELLS = (128, 256, 512, 1024, 2048), (64, 128)
KEEP = {
    1: None, 2: ("8/16", "16/16"), 4: ("8/16", "8/16"), 8: ("4/16", "8/16"), 16: ("4/16", "4/16"),
    32: ("2/16", "4/16"), 64: ("2/16", "2/16"),
}  # fmt: skip
"""Fewer weights by this factor: what each of the two levels keeps, blocks of 32 and of 2; None: dense."""
QUICK_FACTORS = 1, 16


@dataclass(frozen=True)
class Point:
    """One packed model at the place `x` of an axis, timed in both ways, with the limits that it is held against."""

    x: int
    runtime: Runtime
    whole: Subject
    single: Subject
    limits: Limits

    def shares(self, subject: Subject) -> tuple[float, float]:
        """Share of the multiply-accumulates, and of the bytes read, that the machine does at best in that time."""
        return self.limits.shares(subject, self.runtime.macs, self.runtime.weight_bytes)

    @property
    def least(self) -> float:
        """Microseconds that a frame by itself takes at least."""
        return self.limits.least_microseconds(self.runtime.macs, self.runtime.weight_bytes)


def _press(factor: int) -> LayerPress:
    keep = KEEP[factor]
    return LayerPress(8, 16, hcgs=None if keep is None else HierarchyMask(blocks=(32, 2), keep=keep))


def _point(args: argparse.Namespace, x: int, cells: int, factor: int, macs: Subject | None) -> Point:
    runtime = packed_layers(args.inputs, cells, args.layers, {"lstm*": _press(factor)}, args.seed)
    level = runtime.level or 0
    limits = Limits(macs or macs_subject(level), read_subject(level, runtime.weight_bytes))
    subjects = []
    for streaming in (False, True):
        case = case_of(args, cells, streaming)
        subjects.append(Subject(case.title, packed_run(case, runtime), case.frames))
    return Point(x, runtime, *subjects, limits)


def _timed(args: argparse.Namespace, sizes: Sequence[tuple[int, int, int]]) -> list[Point]:
    """Points of (x, cells, factor), timed in the same rounds as one another and as the limits."""
    points: list[Point] = []
    for x, cells, factor in sizes:
        points.append(_point(args, x, cells, factor, points[0].limits.macs if points else None))
    subjects = [s for p in points for s in (p.whole, p.single, p.limits.read)]
    interleave([points[0].limits.macs, *subjects], args.repeats)
    return points


def _print_points(title: str, axis: str, points: Sequence[Point]) -> None:
    limits, level = points[0].limits, points[0].runtime.level or 0
    rate = limits.macs_per_second / 1e9
    print(f"\n{title}; at best {rate:.1f} billion multiply-accumulates/s ({LEVELS[level]})")
    print(f"{'':>10s} {'':>9s} {'':>9s} {'us/frame':>17s} {'of multiplying':>15s} {'of reading':>11s} {'at best':>16s}")
    print(
        f"{axis:>10s} {'MACs':>9s} {'bytes':>9s} {'whole':>8s} {'single':>8s} {'whole':>7s} {'single':>7s} "
        f"{'single':>11s} {'GB/s':>7s} {'us':>8s}"
    )
    for p in points:
        (whole, _), (single, reading) = p.shares(p.whole), p.shares(p.single)
        print(
            f"{p.x:10d} {p.runtime.macs:9d} {p.runtime.weight_bytes:9d} {p.whole.microseconds_per_frame:8.2f} "
            f"{p.single.microseconds_per_frame:8.2f} {whole:7.1%} {single:7.1%} {reading:11.1%} "
            f"{p.limits.bytes_per_second / 1e9:7.1f} {p.least:8.2f}"
        )


def _plot_points(title: str, axis: str, points: Sequence[Point]) -> figure.Draw:
    def line(name: str, value: Callable[[Point], float], group: int, dashed: bool = False) -> Line:
        return Line(name, [(p.x, value(p)) for p in points], group, dashed)

    drawn = [
        line("frame by frame", lambda p: p.single.microseconds_per_frame, 0),
        line("whole utterances", lambda p: p.whole.microseconds_per_frame, 0, dashed=True),
        line("frame by frame, at best", lambda p: p.least, 4),
    ]
    return lines(title, axis, Y_LABEL, drawn)


def cells_growth(args: argparse.Namespace) -> figure.Draw:
    """Time and print the growth with cells, HCGS 16x; the plot."""
    points = _timed(args, [(n, n, 16) for n in (QUICK_CELLS if args.quick else CELLS)])
    title = f"growth with cells per layer, {args.layers} layers, HCGS 16x, {args.inputs} inputs"
    _print_points(title, "cells", points)
    return _plot_points(title, "cells per layer", points)


def compression_growth(args: argparse.Namespace) -> figure.Draw:
    """Time and print the growth with the share of weights that is kept; the plot."""
    points = _timed(args, [(k, args.cells, k) for k in (QUICK_FACTORS if args.quick else KEEP)])
    title = f"growth with compression, {args.layers} x {args.cells} cells, {args.inputs} inputs"
    _print_points(title, "weights /", points)
    return _plot_points(title, "fewer weights, times", points)


SWEEPS = {"cells": cells_growth, "compression": compression_growth, "streams": streams_growth}


def run_growth(args: argparse.Namespace) -> None:
    """Time and print every sweep; with `args.plot_dir`, write growth_<sweep>.svg there."""
    if args.plot_dir is not None and not figure.available():
        raise UserError(f"--plot-dir: {figure.HOW_TO_GET}")
    for name, sweep in SWEEPS.items():
        picture = sweep(args)
        if args.plot_dir is not None:
            figure.save(Path(args.plot_dir) / f"growth_{name}.svg", picture, SIZE)
