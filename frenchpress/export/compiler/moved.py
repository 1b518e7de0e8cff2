"""Feature maps with an index of their own: which columns moved, as tensors that flow from one operator to the next.

Of a frame of `columns` values, int32, as they are seen (in a delta network most of them as in the frame before):

    moved   int32 [columns]   numbers of the columns that are not what they were in the frame before, in ascending order
    change  int32 [columns]   by how much each of these moved, in the same order
    count   int32             how many there are; what follows them in `moved` and `change` has no meaning

With the sums of the frame before they are enough for this frame's: W x = W x_before + W change (delta networks, Neil et
al., ICML 2017, eq. 2). On integers that is exact. Every column on the way is what it was or what it will be, so that
sums on the way fit where all sums of such inputs fit. Where more than a share of the columns moved, the product is
computed whole, of the same weights; docs/sparsity_flow.md says how long that takes beside a product without lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tvm.tirx import Expr, PrimFunc
from tvm.tirx.script import builder as T

from frenchpress.export.compiler.arithmetic import Buffer, IntegerCell, Sums
from frenchpress.export.compiler.formats import Stored, padded
from frenchpress.export.compiler.operators import (
    Loops,
    Outputs,
    emit_product,
    emit_tile,
    function,
    next_states,
    tensor,
    tensors,
)
from frenchpress.packed.model import GATES

FEW_OF_8 = 7
"""Of 8 columns so many may move, until a product is computed whole. By list it was no slower at any share."""


Place = Callable[[Expr], tuple[Buffer, list[Expr]]]
"""Of a place in a list, the buffer and where in it that is."""


@dataclass(frozen=True)
class Lists:
    """What moved in each of a few frames: `count(frame)`, and `moved(frame, turn)`, `change(frame, turn)` below it."""

    count: Callable[[int], Expr]
    moved: Callable[[int, Expr], Expr]
    change: Callable[[int, Expr], Expr]

    def are_few(self, columns: int, frames: int) -> Expr:
        """Whether a product of these frames is computed by list."""
        total = self.count(0)
        for frame in range(1, frames):
            total = total + self.count(frame)
        return total * 8 <= FEW_OF_8 * columns * frames


def find_moved(loops: Loops, columns: int) -> PrimFunc:
    """(x [n, columns], the frame before [columns]) -> (moved, change [n, columns], count [n]), all int32."""

    def emit() -> None:
        n = T.int64()
        x, before = (tensor(shape, "int32") for shape in ((n, columns), (columns,)))
        moved, change, count = (tensor(shape, "int32") for shape in ((n, columns), (n, columns), (n,)))
        with loops.function(), T.serial(n) as t:
            found = T.alloc_buffer((1,), "int32", scope="local")
            T.buffer_store(found, T.int32(0), [0])
            with T.serial(columns) as i:
                last = T.if_then_else(t == 0, before[i], x[T.max(t - 1, T.int64(0)), i])
                _append(x[t, i] - last, i, found, lambda at: (moved, [t, at]), lambda at: (change, [t, at]))
            T.buffer_store(count, found[0], [t])

    return function(emit)


def _append(step: Expr, column: Expr, count: Buffer, moved: Place, change: Place) -> None:
    """A column to the list, if it moved; written in any case, without a branch, which could not be foreseen."""
    step, at = T.bind(step), T.bind(count[0])
    for value, (buffer, place) in ((column, moved(at)), (step, change(at))):
        T.buffer_store(buffer, value, place)
    T.buffer_store(count, at + (step != 0).astype("int32"), [0])


def _emit_tile(
    loops: Loops, stored: Stored, values: Buffer, tile: Expr, lists: Lists, before: Sums, out: Outputs, frames: int
) -> None:  # fmt: skip
    """out(frame, row, sum) for the rows of a tile, of frames that follow each other: sums `before` them, what moved."""
    lanes = stored.form.lanes
    sums = T.alloc_buffer((lanes,), "int32", scope="local")
    with loops.lanes(lanes) as (_, lane, place):
        T.buffer_store(sums, before(tile * lanes + lane), [place])
    for frame in range(frames):
        with T.serial(lists.count(frame)) as turn:
            step = T.bind(tile * stored.shape[2] + lists.moved(frame, turn))
            change = T.bind(lists.change(frame, turn))
            with loops.lanes(lanes) as (_, lane, place):
                product = values[step, lane].astype("int32") * change
                T.buffer_store(sums, sums[place] + product, [place])
        with loops.lanes(lanes) as (_, lane, place):
            out(frame, tile * lanes + lane, sums[place])


def moved_product(loops: Loops, stored: Stored) -> PrimFunc:
    """(x, moved, change [n, columns], count [n], sums before [gates * padded rows], weights) -> sums of each frame."""

    def emit() -> None:
        n, (gates, rows, columns) = T.int64(), stored.shape
        width = gates * padded(rows)
        x, moved, change = (tensor((n, columns), "int32") for _ in range(3))
        count, before = tensor((n,), "int32"), tensor((width,), "int32")
        weights, out = tensors((stored.values,)), tensor((n, width), "int32")

        def part(tile: Expr, first: Expr, frames: int) -> None:
            lists = Lists(
                lambda frame: count[first + frame], lambda frame, turn: moved[first + frame, turn],
                lambda frame, turn: change[first + frame, turn],
            )  # fmt: skip

            def given(frame: int, column: Expr) -> Expr:
                return x[first + frame, column]

            def store(frame: int, row: Expr, total: Expr) -> None:
                T.buffer_store(out, total, [first + frame, row])

            def sums(row: Expr) -> Expr:
                return T.if_then_else(first == 0, before[row], out[T.max(first - 1, T.int64(0)), row])

            with T.If(lists.are_few(columns, frames)):
                with T.Then():
                    _emit_tile(loops, stored, weights[0], tile, lists, sums, store, frames)
                with T.Else():
                    emit_tile(loops, stored, weights, tile, given, store, "int32", frames)

        # All frames of one tile, then the next: columns are read here and there, and a tile stays near the processor.
        with loops.function(), loops.items(stored.tiles, stored.form.lanes) as tile:
            loops.groups(n, partial(part, tile))

    return function(emit)


def moved_recurrence(loops: Loops, stored: Stored, cell: IntegerCell) -> PrimFunc:
    """The loop of a layer over frames, which finds after each what moved of its outputs, for the next.

    As operators.recurrence, but that it is given sums over outputs and gives them back: those of its last outputs.
    (..., constants of the cell, sums over outputs [4 * padded cells], weights) -> (..., these after the last frame).
    """

    def emit() -> None:
        n, cells, rows = T.int64(), stored.shape[1], padded(stored.shape[1])
        along, h0, c0 = (tensor(shape, "int32") for shape in ((n, GATES * rows), (cells,), (cells,)))
        constants, before = tensors(cell.constants), tensor((GATES * rows,), "int32")
        weights, shapes = tensors((stored.values,)), ((n, cells), (cells,), (cells,), (GATES * rows,))
        out, h, c, back = (tensor(shape, "int32") for shape in shapes)
        moved, change = (T.alloc_buffer((cells,), "int32") for _ in range(2))
        count = T.alloc_buffer((1,), "int32", scope="local")
        lists = Lists(lambda _: count[0], lambda _, turn: moved[turn], lambda _, turn: change[turn])

        def store(_: int, row: Expr, total: Expr) -> None:
            T.buffer_store(back, total, [row])

        def step(t: Expr, j: Expr) -> None:
            new = next_states(cell, j, rows, along, t, back, (h, c), constants)
            for value, buffer, at in zip(new, (out, c), ([t, j], [j])):
                T.buffer_store(buffer, value, at)

        with loops.function():
            for target, source, size in ((h, h0, cells), (c, c0, cells), (back, before, GATES * rows)):
                with loops.items(size) as i:
                    T.buffer_store(target, source[i], [i])
            with T.serial(n) as t:
                loops.each(cells, cell.by_vector, partial(step, t))
                T.buffer_store(count, T.int32(0), [0])
                with loops.items(cells) as j:
                    _append(out[t, j] - h[j], j, count, lambda at: (moved, [at]), lambda at: (change, [at]))
                    T.buffer_store(h, out[t, j], [j])
                with T.If(lists.are_few(cells, 1)):
                    with T.Then(), loops.items(stored.tiles, stored.form.lanes) as tile:
                        _emit_tile(loops, stored, weights[0], tile, lists, lambda row: back[row], store, 1)
                    with T.Else():
                        emit_product(loops, stored, weights, lambda _, column: h[column], store, "int32")

    return function(emit)
