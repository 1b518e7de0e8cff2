"""Models compiled by TVM beside each other, onnxruntime and our runtime; and where each sparse format beats dense.

Every compiled model has the integers of the packed one beside it, in one format for all its matrices. Only the times of
one run compare: the subjects take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchpress.bench.inference import (
    CLOCKS,
    ORT_INT8,
    Case,
    Unavailable,
    onnx_subjects,
    packed_subjects,
    print_times,
)
from frenchpress.bench.layers import PACKED, packed_model
from frenchpress.bench.timing import Subject, interleave
from frenchpress.common import UserError
from frenchpress.export.compiler.formats import WHOLE, choose, padded
from frenchpress.export.packages import require_tvm
from frenchpress.report import figure
from frenchpress.report.lines import Line, lines

if TYPE_CHECKING:
    from frenchpress.export.compiler.module import Library

DENSE = "w8a16, TVM dense"
MASKS = "w8a16_hcgs16x", "w6a13_bank16x", "w8a16_magnitude16x"
DENSITIES = tuple(2.0**-power for power in range(6, 0, -1))


def library_run(case: Case, library: Library) -> Callable[[], None]:
    """The frames of the case through a compiled network."""
    features = case.features()[:, 0].contiguous().numpy()
    frames = [require_tvm().runtime.tensor(features[t : t + 1]) for t in range(case.frames)]

    def whole() -> None:
        library.logits(features)

    def frame_by_frame() -> None:
        states = library.start()
        for frame in frames:
            _, states = library.step(frame, states)

    return frame_by_frame if case.streaming else whole


def _libraries(args: argparse.Namespace) -> Iterator[tuple[str, Library]]:
    """Name and library of every model in every format that differs."""
    from frenchpress.export.compiler.module import Library, compile_network
    from frenchpress.export.compiler.network import of_packed

    subjects = {"w8a16": ["dense"]} | {name: [kind for kind in WHOLE if kind != "dense"] for name in MASKS}
    for name, kinds in subjects.items():
        network = of_packed(packed_model(args.inputs, args.cells, args.layers, PACKED[name], args.seed))
        for kind in kinds:
            start = time.perf_counter()
            compiled = compile_network(network, [kind])
            print(f"compiled {name}, {kind}: {time.perf_counter() - start:.1f} s", flush=True)
            yield f"{name}, TVM {kind}", Library(compiled.executable)


def run_compiler(args: argparse.Namespace) -> None:
    """Time models and print the tables: microseconds per frame, speed as a ratio to dense TVM and to onnxruntime."""
    require_tvm()
    libraries = dict(_libraries(args))
    found: dict[str, list[Subject]] = {}
    for streaming in (False, True):
        frames = args.stream_frames if streaming else args.frames
        case = Case(args.inputs, args.cells, args.layers, frames, streaming, 1, args.seed)
        subjects = [Subject(name, library_run(case, library), frames) for name, library in libraries.items()]
        for others in (onnx_subjects, packed_subjects):
            try:
                subjects += others(case)
            except Unavailable as reason:
                print(f"left out: {reason}")
        found[case.title] = subjects
    interleave([s for subjects in found.values() for s in subjects], args.repeats, clock=CLOCKS[args.clock])
    for title, subjects in found.items():
        print_times(title, subjects, (DENSE, ORT_INT8))


def _masks(rng: np.random.Generator, cells: int, density: float) -> dict[str, NDArray[np.bool_]]:
    """For each sparse format a mask of the kind that it is for, bool [4, cells, cells]."""
    half = -(-cells // 2)
    blocks = np.kron(rng.random((half, half)) < density, np.ones((2, 2), bool))[:cells, :cells]
    order = rng.random((4, cells, -(-cells // 64), 64)).argsort(axis=-1) < max(1, round(64 * density))
    banks = order.reshape(4, cells, -1)[:, :, :cells]
    return {"blocks": np.tile(blocks, (4, 1, 1)), "banks": banks, "csr": rng.random((4, cells, cells)) < density}


def density_subjects(cells: int, seed: int, calls: int) -> dict[tuple[str, float], Subject]:
    """(format, density) -> a product of the recurrent matrix of a layer with one frame, compiled."""
    tvm = require_tvm()
    from frenchpress.export.compiler.module import host_target, loops_for
    from frenchpress.export.compiler.operators import product

    target, rng = host_target(), np.random.default_rng(seed)
    loops = loops_for(target)
    weights = rng.integers(1, 127, (4, cells, cells)).astype(np.int8)
    stored = {("dense", 1.0): choose(weights, kinds=["dense"]).stored}
    for density in DENSITIES:
        for kind, mask in _masks(rng, cells, density).items():
            stored[kind, density] = choose(weights * mask, kinds=[kind], wide=loops.wide).stored
    functions = {f"product{i}": product(loops, one, "int32") for i, one in enumerate(stored.values())}
    module = tvm.IRModule({name: f.with_attr("global_symbol", name) for name, f in functions.items()})
    compiled = tvm.compile(module, target).jit()
    x, out = (tvm.runtime.tensor(np.ones((1, size), np.int32)) for size in (cells, 4 * padded(cells)))

    def subject(name: str, constants: list[object]) -> Subject:
        function = compiled[name]
        return Subject(name, lambda: [function(x, *constants, out) for _ in range(calls)], calls)

    return {
        key: subject(name, [tvm.runtime.tensor(array) for array in (one.values, *one.index)])
        for name, (key, one) in zip(functions, stored.items())
    }


def break_even(times: dict[float, float], dense: float) -> float:
    """The density at which a format takes as long as dense, between those measured; 0: always longer, inf: never."""
    densities = sorted(times)
    for below, above in zip(densities, densities[1:]):
        if times[below] <= dense < times[above]:
            share = np.log(dense / times[below]) / np.log(times[above] / times[below])
            return float(below * (above / below) ** share)
    return float("inf") if times[densities[-1]] <= dense else 0.0


def run_density(args: argparse.Namespace) -> None:
    """Time a product in every format over densities, say where each loses to dense, and plot it (--plot-dir)."""
    if args.plot_dir is not None and not figure.available():
        raise UserError(f"--plot-dir: {figure.HOW_TO_GET}")
    subjects = density_subjects(args.cells, args.seed, args.stream_frames)
    interleave(list(subjects.values()), args.repeats, clock=CLOCKS[args.clock])
    dense = subjects["dense", 1.0].microseconds_per_frame
    times = {
        kind: {density: subjects[kind, density].microseconds_per_frame for density in DENSITIES}
        for kind in WHOLE
        if kind != "dense"
    }
    print(f"\nproduct of 4 x {args.cells} x {args.cells} with one frame, us; dense: {dense:.1f}")
    print(f"{'density':10s}" + "".join(f"{density:9.4f}" for density in DENSITIES) + "   as dense at")
    for kind, row in times.items():
        print(f"{kind:10s}" + "".join(f"{t:9.1f}" for t in row.values()) + f"{break_even(row, dense):14.3f}")
    if args.plot_dir:
        _plot(times, dense, args)


def _plot(times: dict[str, dict[float, float]], dense: float, args: argparse.Namespace) -> None:
    def line(kind: str, row: dict[float, float], group: int, dashed: bool = False) -> Line:
        return Line(kind, [(100 * density, time) for density, time in row.items()], group, dashed)

    drawn = [line(kind, row, group) for group, (kind, row) in enumerate(times.items())]
    drawn.append(line("dense", dict.fromkeys(DENSITIES, dense), 4, dashed=True))
    title = f"compiled by TVM: 4 x {args.cells} x {args.cells} int8 weights, one frame"
    path = Path(args.plot_dir) / "density.svg"
    figure.save(path, lines(title, "% of the weights kept", "us per product", drawn))
    print(path)
