"""Feature maps with an index of their own: which columns moved, as tensors that flow from one operator to the next.

A frame of `columns` values is sent on as `moved` int32 [columns], the numbers of those that changed by more than a
threshold since they were last sent, in ascending order; `count` int32 [1], how many these are; and `change` [columns],
by how much each one moved, 0 for the others. What a product gave for the frame before, and the columns that moved, are
enough for this frame's: W x = W x_before + W change (delta networks, Neil et al., ICML 2017, eq. 2). On integers this
is exact for what was sent; with a threshold of 0 it is the dense product.
"""

from __future__ import annotations

from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as T

from frenchpress.export.compiler.formats import Stored, padded
from frenchpress.export.compiler.operators import Loops, function, tensor, tensors


def find_moved(columns: int, threshold: int) -> PrimFunc:
    """(x, sent int32 [columns]) -> (moved, count, change, sent int32 [columns] after this frame)."""

    def emit() -> None:
        x, before = tensor((columns,), "int32"), tensor((columns,), "int32")
        moved, count, change, sent = (tensor((size,), "int32") for size in (columns, 1, columns, columns))
        with Loops().function():
            T.buffer_store(count, T.int32(0), [0])
            with T.serial(columns) as i:
                step = T.bind(x[i] - before[i])
                far = T.bind(T.max(step, -step) > threshold)
                T.buffer_store(change, T.Select(far, step, T.int32(0)), [i])
                T.buffer_store(sent, T.Select(far, x[i], before[i]), [i])
                with T.If(far), T.Then():
                    T.buffer_store(moved, i, [count[0]])
                    T.buffer_store(count, count[0] + 1, [0])

    return function(emit)


def moved_product(stored: Stored) -> PrimFunc:
    """(moved, count, change, sums int32 [gates * padded rows], weights by columns) -> sums after this frame.

    Weights of columns that did not move are not read.
    """

    def emit() -> None:
        (gates, rows, columns), lanes = stored.shape, stored.form.lanes
        moved, count, change = (tensor((size,), "int32") for size in (columns, 1, columns))
        before = tensor((gates * padded(rows),), "int32")
        values, start, tile = tensors((stored.values, *stored.index))
        out = tensor((gates * padded(rows),), "int32")
        with Loops().function():
            with T.serial(gates * padded(rows) // lanes) as part, T.vectorized(lanes) as lane:
                T.buffer_store(out, before[part * lanes + lane], [part * lanes + lane])
            with T.serial(count[0]) as turn:
                column = T.bind(moved[turn])
                with T.serial(start[column], start[column + 1]) as step, T.vectorized(lanes) as lane:
                    row = tile[step] * lanes + lane
                    product = values[step, lane].astype("int32") * change[column]
                    T.buffer_store(out, out[row] + product, [row])

    return function(emit)
