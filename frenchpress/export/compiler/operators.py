"""Operators as TIR functions: products in every form, the loop of an LSTM over frames, and what is done to each number.

A function takes its inputs, then the tensors of a stored matrix (values, then its index), then its outputs. How loops
run is said once, in Loops (one thread of a CPU, lanes as vectors) and GpuLoops (CUDA).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tvm.script.ir_builder import IRBuilder
from tvm.tirx import Expr, PrimFunc
from tvm.tirx.script import builder as T

from frenchpress.export.compiler.arithmetic import (
    Buffer,
    FloatCell,
    FloatHead,
    FloatInput,
    FloatRounding,
    IntegerCell,
    IntegerHead,
    IntegerInput,
    IntegerRounding,
    held,
)
from frenchpress.export.compiler.formats import DENSE, NARROW, VECTOR, Array, Stored, padded
from frenchpress.packed.model import GATES

Shape = tuple[int | Expr, ...]
Inputs = Callable[[int, Expr], Expr]
"""Of a frame and a column."""
Outputs = Callable[[int, Expr, Expr], None]
"""Stores, for a frame and a row, a sum."""
_FRAMES = 4
"""Frames that a product takes side by side, so that a weight is read once for all of them."""
_SUMS = 64
"""Sums at a time: 8 of the 16 registers of AVX2. Where more do not fit, they go to memory and back in every step."""


class Loops:
    """One thread; the lanes of a tile are a vector."""

    side_by_side = _FRAMES
    by_list = True
    """Whether there are products of the columns that moved alone."""

    def __init__(self, wide: bool = False) -> None:
        """`wide`: with AVX-512."""
        self.wide = wide

    @contextmanager
    def function(self) -> Iterator[None]:
        """Around all that a function does."""
        with T.sblock("root"):
            yield

    def frames(self, count: Expr) -> T.frame.ForFrame:
        """Frames that do not depend on each other."""
        return T.serial(count)

    def groups(self, count: Expr, part: Callable[[Expr, int], None]) -> None:
        """Frames in their order, some side by side: part(the first, how many)."""
        many = self.side_by_side
        with self.frames(count // many) as group:
            part(group * many, many)
        if many > 1:
            with T.serial(count % many) as rest:
                part(count // many * many + rest, 1)

    @contextmanager
    def items(self, count: int, lanes: int = 1) -> Iterator[Expr]:
        """Things that do not depend on each other, of so many lanes each."""
        with T.serial(count) as item:
            yield item

    def each(self, count: int, by_vector: bool, part: Callable[[Expr], None]) -> None:
        """part(item) for things that do not depend on each other; `by_vector`: many at a time, as LLVM may not do."""
        vectors = count // VECTOR if by_vector else 0
        with T.serial(vectors) as group, T.vectorized(VECTOR) as lane:
            part(group * VECTOR + lane)
        with T.serial(count - vectors * VECTOR) as rest:
            part(vectors * VECTOR + rest)

    def sums(self, lanes: int) -> int:
        """Sums of a tile that a thread holds."""
        return lanes

    @contextmanager
    def lanes(self, height: int, groups: int = 1) -> Iterator[tuple[Expr, Expr, Expr]]:
        """Group of each lane, its place in the group, and its place among the sums."""
        with T.unroll(groups) as group, T.vectorized(height) as place:
            yield group, place, group * height + place

    def sync(self) -> None:
        """What was written can be read by all."""


class GpuLoops(Loops):
    """Blocks of THREADS threads of CUDA, one for a frame, or one for all; a thread is a lane."""

    THREADS = 256
    side_by_side = 1
    by_list = False

    @contextmanager
    def function(self) -> Iterator[None]:
        """See Loops."""
        with T.sblock("root"), T.thread_binding(self.THREADS, "threadIdx.x") as self._thread:
            yield

    def frames(self, count: Expr) -> T.frame.ForFrame:
        """See Loops."""
        return T.thread_binding(count, "blockIdx.x")

    @contextmanager
    def items(self, count: int, lanes: int = 1) -> Iterator[Expr]:
        """See Loops."""
        at_once = self.THREADS // lanes
        with T.serial(-(-count // at_once)) as turn:
            item = T.bind(turn * at_once + self._thread // lanes)
            with T.If(item < count), T.Then():
                yield item

    def each(self, count: int, by_vector: bool, part: Callable[[Expr], None]) -> None:
        """See Loops."""
        with self.items(count) as item:
            part(item)

    def sums(self, lanes: int) -> int:
        """See Loops."""
        return 1

    @contextmanager
    def lanes(self, height: int, groups: int = 1) -> Iterator[tuple[Expr, Expr, Expr]]:
        """See Loops."""
        lane = self._thread % (height * groups)
        yield lane // height, lane % height, T.int32(0)

    def sync(self) -> None:
        """See Loops."""
        T.evaluate(T.tvm_storage_sync("shared"))


def tensor(shape: Shape, dtype: str) -> Buffer:
    """The next argument of a function."""
    return T.arg("tensor", T.buffer(shape, dtype))


def tensors(arrays: Sequence[Array]) -> list[Buffer]:
    """Arguments that constants are given for."""
    return [tensor(array.shape, str(array.dtype)) for array in arrays]


def function(emit: Callable[[], None]) -> PrimFunc:
    """What `emit` says, whose tensors do not overlap."""
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("function")
        T.func_attr({"tirx.noalias": True})
        emit()
    return builder.get()


def _steps(stored: Stored, index: Sequence[Buffer], tile: Expr) -> T.frame.ForFrame:
    if stored.form.kind in DENSE:
        columns = stored.shape[2]
        return T.serial(tile * columns, tile * columns + columns)
    return T.serial(index[0][tile], index[0][tile + 1])


def _factors(
    stored: Stored, index: Sequence[Buffer], tile: Expr, step: Expr, x: Callable[[Expr], Expr]
) -> Callable[[Expr], Expr]:
    """What a lane multiplies its weight of a step with."""
    if stored.form.kind in DENSE:
        return lambda lane: x(step - tile * stored.shape[2])
    first = index[1][step].astype("int32")
    if stored.form.kind == "banks":
        return lambda lane: x(first + index[2][step, lane].astype("int32"))
    if stored.form.columns == 1:
        return lambda lane: x(first)
    # Loaded by themselves, and told apart by the place alone: of this LLVM makes one broadcast of both.
    even, odd = (T.bind(x(first + k)) for k in range(2))
    return lambda lane: T.Select(lane % 2 == 0, even, odd)


def _add_picked(
    values: Buffer, index: Sequence[Buffer], step: Expr, x: Callable[[Expr], Expr], sums: Buffer, at: int, dtype: str
) -> None:  # fmt: skip
    """A step of narrow banks: of the columns in two registers AVX-512 picks one for each row."""
    _, column, place = index
    lanes, vector, first = T.Ramp(0, 1, VECTOR), f"{dtype}x{VECTOR}", T.bind(column[step].astype("int32"))
    low, high = (x(T.Ramp(first + start, 1, VECTOR)) for start in (0, VECTOR))
    name = f"llvm.x86.avx512.vpermi2var.{'d' if dtype == 'int32' else 'ps'}.512"
    picked = T.call_llvm_pure_intrin(vector, name, low, place[step, lanes].astype(f"int32x{VECTOR}"), high)
    own = T.Ramp(at, 1, VECTOR)
    T.buffer_store(sums, sums[own] + values[step, lanes].astype(vector) * picked, [own])


def emit_product(
    loops: Loops, stored: Stored, weights: Sequence[Buffer], x: Inputs, out: Outputs, dtype: str, frames: int = 1
) -> None:  # fmt: skip
    """Sums of weight * x(frame, column) over columns; out(frame, row, sum) for each padded row of each gate."""
    with loops.items(stored.tiles, stored.form.lanes) as tile:
        emit_tile(loops, stored, weights, tile, x, out, dtype, frames)


def emit_tile(
    loops: Loops, stored: Stored, weights: Sequence[Buffer], tile: Expr, x: Inputs, out: Outputs, dtype: str,
    frames: int,
) -> None:  # fmt: skip
    """The rows of one tile of such a product, so many at a time that all sums are held in registers."""
    (values, *index), form = weights, stored.form
    columns = form.columns  # of a row each has a sum of its own, until the tile is done
    parts = max(1, frames * form.lanes * columns // _SUMS)
    groups, height = (form.groups // parts, form.height) if form.groups > 1 else (1, form.height // parts)
    lanes, rows = groups * height, padded(stored.shape[1])
    width = loops.sums(lanes * columns)
    sums = T.alloc_buffer((frames * width,), dtype, scope="local")
    with T.serial(parts) as part:
        for frame in range(frames):
            with loops.lanes(lanes * columns) as (_, _, place):
                T.buffer_store(sums, getattr(T, dtype)(0), [frame * width + place])
        with _steps(stored, index, tile) as step:
            for frame in range(frames):
                if form.window == NARROW:
                    _add_picked(values, index, step, partial(x, frame), sums, frame * width, dtype)
                    continue
                factor = _factors(stored, index, tile, step, partial(x, frame))
                with loops.lanes(lanes * columns) as (_, lane, place):
                    at, value = frame * width + place, values[step, part * lanes * columns + lane].astype(dtype)
                    T.buffer_store(sums, sums[at] + value * factor(lane), [at])
        first = tile * form.height + part * (groups * rows if form.groups > 1 else height)
        for frame in range(frames):
            with loops.lanes(height, groups) as (group, lane, place):
                at = frame * width + place * columns
                total = sums[at] if columns == 1 else sums[at] + sums[at + 1]
                out(frame, first + group * rows + lane, total)


def product(loops: Loops, stored: Stored, dtype: str) -> PrimFunc:
    """(x [n, columns], weights) -> sums [n, gates * padded rows]."""

    def emit() -> None:
        n, (gates, rows, columns) = T.int64(), stored.shape
        x, weights = tensor((n, columns), dtype), tensors((stored.values, *stored.index))
        out = tensor((n, gates * padded(rows)), dtype)

        def part(first: Expr, frames: int) -> None:
            emit_product(
                loops, stored, weights, lambda frame, column: x[first + frame, column],
                lambda frame, row, total: T.buffer_store(out, total, [first + frame, row]), dtype, frames,
            )  # fmt: skip

        with loops.function():
            loops.groups(n, part)

    return function(emit)


def next_states(
    cell: IntegerCell | FloatCell, j: Expr, rows: int, along: Buffer, t: Expr, back: Buffer, states: Sequence[Buffer],
    constants: Sequence[Buffer],
) -> Sequence[Expr]:  # fmt: skip
    """Output and cell state of cell j after frame t, from `states` before it and sums; `rows` padded ones a gate."""
    places, before = [gate * rows + j for gate in range(GATES)], [T.bind(state[j]) for state in states]
    return cell.step(lambda row: along[t, row], lambda row: back[row], before, places, constants)


def recurrence(loops: Loops, stored: Stored, cell: IntegerCell | FloatCell) -> PrimFunc:
    """The loop of a layer over frames.

    (sums over inputs [n, 4 * padded cells], h, c [cells], constants of the cell, recurrent weights) -> (outputs
    [n, cells], h, c after the last frame, the last sums over outputs [4 * padded cells]).
    """

    def emit() -> None:
        n, cells, rows = T.int64(), stored.shape[1], padded(stored.shape[1])
        along, h0, c0 = (tensor(shape, cell.dtype) for shape in ((n, GATES * rows), (cells,), (cells,)))
        constants, weights = tensors(cell.constants), tensors((stored.values, *stored.index))
        shapes = (n, cells), (cells,), (cells,), (GATES * rows,)
        out, h, c, back = (tensor(shape, cell.dtype) for shape in shapes)

        def step(t: Expr, j: Expr) -> None:
            new = next_states(cell, j, rows, along, t, back, (h, c), constants)
            for value, buffer, at in zip((*new, new[0]), (h, c, out), ([j], [j], [t, j])):
                T.buffer_store(buffer, value, at)

        with loops.function():
            with loops.items(cells) as j:
                T.buffer_store(h, h0[j], [j])
                T.buffer_store(c, c0[j], [j])
            loops.sync()
            with T.serial(n) as t:
                emit_product(
                    loops, stored, weights, lambda _, column: h[column],
                    lambda _, row, total: T.buffer_store(back, total, [row]), cell.dtype,
                )  # fmt: skip
                loops.sync()
                loops.each(cells, cell.by_vector, partial(step, t))
                loops.sync()

    return function(emit)


def splice(loops: Loops, given: IntegerInput | FloatInput, dim: int, offsets: range) -> PrimFunc:
    """(features float32 [n + last offset - first, dim], constants) -> inputs of the first layer [n, offsets * dim]."""

    def emit() -> None:
        m, width, around = T.int64(), len(offsets) * dim, offsets[-1] - offsets[0]
        features, constants = tensor((m, dim), "float32"), tensors(given.constants)
        out = tensor((m - around, width), given.dtype)
        with loops.function(), loops.frames(m - around) as t, loops.items(width) as i:
            value = given.value(features[t + i // dim * offsets.step, i % dim], i % dim, i // dim, constants)
            T.buffer_store(out, value, [t, i])

    return function(emit)


def rounding(loops: Loops, to: IntegerRounding | FloatRounding, columns: int, dtype: str) -> PrimFunc:
    """(x [n, columns]) -> the same on another grid."""

    def emit() -> None:
        n = T.int64()
        x, out = tensor((n, columns), dtype), tensor((n, columns), dtype)
        with loops.function(), loops.frames(n) as t, loops.items(columns) as i:
            T.buffer_store(out, to.value(x[t, i]), [t, i])

    return function(emit)


def holding(loops: Loops, hold: int, columns: int) -> PrimFunc:
    """(x int32 [n, columns], what was last sent [columns]) -> (x as it is seen, what was sent after the last frame)."""

    def emit() -> None:
        n = T.int64()
        x, before, out, sent = (tensor(shape, "int32") for shape in ((n, columns), (columns,)) * 2)
        with loops.function(), loops.items(columns) as i:
            T.buffer_store(sent, before[i], [i])
            with T.serial(n) as t:
                seen = T.bind(held(x[t, i], sent[i], hold))
                T.buffer_store(out, seen, [t, i])
                T.buffer_store(sent, seen, [i])

    return function(emit)


def last(loops: Loops, columns: int, dtype: str) -> PrimFunc:
    """(x [n, columns]) -> that of the last frame [columns]."""

    def emit() -> None:
        n = T.int64()
        x, out = tensor((n, columns), dtype), tensor((columns,), dtype)
        with loops.function(), loops.items(columns) as i:
            T.buffer_store(out, x[n - 1, i], [i])

    return function(emit)


def logits(loops: Loops, head: IntegerHead | FloatHead, outputs: int) -> PrimFunc:
    """(sums [n, padded outputs], constants) -> logits [n, outputs]."""

    def emit() -> None:
        n = T.int64()
        sums, constants = tensor((n, padded(outputs)), head.dtype), tensors(head.constants)
        out = tensor((n, outputs), head.dtype)
        with loops.function(), loops.frames(n) as t, loops.items(outputs) as i:
            T.buffer_store(out, head.value(sums[t, i], i, constants), [t, i])

    return function(emit)
