"""Packed delta networks: the same weights with thresholds and without, side by side, by how many columns move; and such
networks compiled by TVM, with all columns and with lists of those that moved.

Features drift as those of speech do, here as noise with a memory of ten frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frenchpress.bench.compiler import library_run
from frenchpress.bench.inference import CLOCKS, Case, packed_run
from frenchpress.bench.layers import PACKED, acoustic_model, packed
from frenchpress.bench.timing import Subject, interleave
from frenchpress.config import LayerPress
from frenchpress.config.press import Delta
from frenchpress.export.compiler.formats import WHOLE
from frenchpress.export.packages import require_tvm
from frenchpress.nnet.model import AcousticModel
from frenchpress.packed.runtime import Runtime, library
from frenchpress.packed.write import model_bytes
from frenchpress.report.movement import Watch

NAMES = "w8a16", "w6a13_bank16x"
LISTED = "w8a16", "w8a16_magnitude16x", "w6a13_bank16x"
THRESHOLDS = (0.004, 0.0003), (0.2, 0.03), (0.4, 0.08), (0.4, 0.12), (0.7, 0.15)
"""Of the first layer's inputs, which have deviation 1, and of all outputs. The first of them are a step of 13 bits or
little more: nearly all is sent, and yet each column is asked whether it moved. With the others inputs and outputs of
dense layers move in shares about as in trained models, those of sparse ones less.
"""
_KEPT = 0.9
"""Of a feature from frame to frame."""


class Drifting(Case):
    """A case whose features drift."""

    def features(self) -> Tensor:
        """See Case."""
        x = super().features()
        for t in range(1, len(x)):
            x[t] = _KEPT * x[t - 1] + (1 - _KEPT**2) ** 0.5 * x[t]
        return x


@dataclass(frozen=True)
class Row:
    """Thresholds of inputs and outputs with the share of columns that move; how fast whole utterances and frames go."""

    thresholds: tuple[float, float]
    moved: float
    subjects: tuple[Subject, Subject]


def _held(press: dict[str, LayerPress], thresholds: tuple[float, float]) -> dict[str, LayerPress]:
    """The same for all layers, but that the first alone holds its inputs back: those of others are outputs."""
    if not any(thresholds):
        return press
    first, others = Delta(*thresholds), Delta(output=thresholds[1])
    held = {name: replace(layer, delta=others) for name, layer in press.items()}
    return held | {"lstm0": replace(press.get("lstm0", next(iter(press.values()))), delta=first)}


def _moved(model: AcousticModel, features: Tensor) -> float:
    """Share of the columns of all LSTM matrices that move in a frame, `features` [T, 1, inputs]."""
    watch = Watch(model, banks=1)
    with watch.on(), torch.no_grad():
        model(features.transpose(0, 1), torch.tensor([len(features)]))
    maps = watch.maps[:-1]  # the last one is of the heads
    return sum(float(m.moved.sum()) for m in maps) / sum(m.frames * len(m.moved) for m in maps)


def _cases(args: argparse.Namespace) -> list[Case]:
    """Whole utterances, and frames one by one."""
    sizes = args.inputs, args.cells, args.layers
    return [Drifting(*sizes, n, stream, 1, args.seed) for n, stream in ((args.frames, 0), (args.stream_frames, 1))]


def _rows(args: argparse.Namespace, name: str) -> list[Row]:
    cases, rows = _cases(args), []
    for thresholds in ((0.0, 0.0), *THRESHOLDS):
        model = _model(args, name, thresholds)
        runtime = Runtime(model_bytes(packed(model)))
        subjects = [Subject(name, packed_run(case, runtime), case.frames) for case in cases]
        rows.append(Row(thresholds, _moved(model, cases[0].features()), tuple(subjects)))
    return rows


def _model(args: argparse.Namespace, name: str, thresholds: tuple[float, float]) -> AcousticModel:
    return acoustic_model(args.inputs, args.cells, args.layers, _held(PACKED[name], thresholds), args.seed)


def _compiled_rows(args: argparse.Namespace, name: str) -> list[tuple[Row, Row]]:
    """Compiled, with all columns in the formats that take least, and with lists."""
    from frenchpress.export.compiler.module import Library, compile_network
    from frenchpress.export.compiler.network import of_packed

    cases, rows = _cases(args), []
    for thresholds in THRESHOLDS:
        model = _model(args, name, thresholds)
        network, moved = of_packed(packed(model)), _moved(model, cases[0].features())
        pair = []
        for kinds in WHOLE, ["columns"]:
            compiled = Library(compile_network(network, kinds).executable)
            subjects = [Subject(name, library_run(case, compiled), case.frames) for case in cases]
            pair.append(Row(thresholds, moved, tuple(subjects)))
        rows.append(tuple(pair))
    return rows


def run_movement(args: argparse.Namespace) -> None:
    """Time and print: microseconds per frame, and speed as a ratio to the model that sends everything."""
    if library() is None:
        print("left out: movement, since the packed runtime was not built (no C compiler)")
        return
    for name in NAMES:
        rows = _rows(args, name)
        interleave([s for row in rows for s in row.subjects], args.repeats, clock=CLOCKS[args.clock])
        head = f"movement, {name}, packed, one thread"
        print(f"\n{head:44s} {'moved':>8s} {'at once':>10s} {'ratio':>8s} {'streaming':>10s} {'ratio':>8s}")
        for row in rows:
            each = zip(row.subjects, rows[0].subjects)
            times = "".join(f" {s.microseconds_per_frame:7.1f} us {s.ratio(all_):7.2f}x" for s, all_ in each)
            title = "all sent" if row is rows[0] else "thresholds {:g} and {:g}".format(*row.thresholds)
            print(f"  {title:42s} {100 * row.moved:6.1f} %{times}")


def run_lists(args: argparse.Namespace) -> None:
    """Time and print compiled models: microseconds per frame, and speed with lists as a ratio to all columns."""
    require_tvm()
    for name in LISTED:
        rows = _compiled_rows(args, name)
        subjects = [s for pair in rows for row in pair for s in row.subjects]
        interleave(subjects, args.repeats, clock=CLOCKS[args.clock])
        print(f"\nmovement, {name}, compiled by TVM, one thread")
        heads = "".join(f" {f'{how}, all':>16s} {'lists':>10s} {'ratio':>8s}" for how in ("at once", "streaming"))
        print(f"  {'thresholds':21s} {'moved':>8s}{heads}")
        for whole, lists in rows:
            times = "".join(
                f" {a.microseconds_per_frame:13.1f} us {b.microseconds_per_frame:7.1f} us {b.ratio(a):7.2f}x"
                for a, b in zip(whole.subjects, lists.subjects)
            )
            title = "{:g} and {:g}".format(*whole.thresholds)
            print(f"  {title:21s} {100 * whole.moved:6.1f} %{times}")
