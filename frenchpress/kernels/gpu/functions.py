"""The LSTM recurrence over a packed batch on a GPU, differentiable: what `frenchpress.kernels.recurrence` gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from frenchpress.compress.structure import BlockStructure
from frenchpress.kernels.gpu.launch import Packed, run_steps
from frenchpress.kernels.gpu.tiles import Tiles
from frenchpress.kernels.recurrence import previous_rows, product_of


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projections: Tensor,
        weight: Tensor,
        structure: BlockStructure | None,
        tiles: Tiles,
        sizes: list[int],
        scale: Tensor | None,
    ) -> Tensor:
        from frenchpress.kernels.gpu.kernels import forward_steps

        count, cells = len(projections), projections.shape[1] // 4
        packed = Packed.of(sizes, tiles.tiling.batch, projections.device)
        gates = projections.new_empty(count, 4 * cells)
        cell, out = projections.new_empty(2, count, cells).unbind(0)
        side = tiles.forward
        step = projections.new_ones(()) if scale is None else scale
        given = (projections.contiguous(), side.index, side.pack(weight), packed.offsets, packed.steps, step)
        constants = {"CELLS": cells, "CT": tiles.tiling.cells, "BT": tiles.tiling.batch}
        rounding = {"ROUND": scale is not None}
        run_steps(forward_steps, side, packed, (*given, gates, cell, out), constants={**constants, **rounding})
        ctx.save_for_backward(gates, cell, out, weight)
        ctx.structure, ctx.tiles, ctx.packed, ctx.constants = structure, tiles, packed, constants
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from frenchpress.kernels.gpu.kernels import backward_steps

        gates, cell, out, weight = ctx.saved_tensors
        packed, side, sizes = ctx.packed, ctx.tiles.backward, ctx.packed.sizes
        d, carry = torch.empty_like(gates), gates.new_zeros(sizes[0], cell.shape[1])
        given = (grads[0].contiguous(), side.index, side.pack(weight), packed.offsets, packed.steps)
        run_steps(backward_steps, side, packed, (*given, gates, cell, d, carry), (len(sizes),), ctx.constants)
        dweight = None
        if ctx.needs_input_grad[1]:
            later = sizes[0]
            before = previous_rows(out, sizes)[later:]
            dweight = product_of(weight, ctx.structure).gradient(d[later:], before)
        return d, dweight, None, None, None, None


def gpu_recurrence(
    projections: Tensor,
    weight: Tensor,
    sizes: list[int],
    tiles: Tiles,
    structure: BlockStructure | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Outputs [N, cells] of an LSTM from its input projections float32 [N, 4 cells], gates in the order i, f, g, o.

    As `lstm_recurrence`; `tiles` say where `weight` (dense, or compact with `structure`) keeps weights. With `scale`
    [], outputs are rounded to its multiples, below 2^22 of them, and gradients pass straight through.
    """
    return _Recurrence.apply(projections, weight, structure, tiles, sizes, scale)
