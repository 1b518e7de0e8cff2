"""Products with the kept blocks of a matrix as one batch of small dense products, in plain torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress.structure import BlockStructure


def _fill_up(x: Tensor, size: int) -> Tensor:
    """Zeros behind the last dimension up to `size`; not even a copy where there is nothing to fill."""
    missing = size - x.shape[-1]
    return F.pad(x, (0, missing)) if missing else x


def gather_inputs(x: Tensor, s: BlockStructure) -> Tensor:
    """Inputs [N, columns] -> what each row of blocks reads [R, N, kept * block] (a view of a fresh tensor)."""
    x = _fill_up(x, s.input_blocks * s.block)
    picked = x.view(len(x), s.input_blocks, s.block).index_select(1, s.inputs.flatten())
    return picked.view(len(x), len(s.inputs), s.kept * s.block).transpose(0, 1)


def scatter_inputs(d: Tensor, s: BlockStructure) -> Tensor:
    """Transpose of `gather_inputs`: [R, N, kept * block] -> [N, columns], summed where several rows read a block."""
    count = d.shape[1]
    pieces = d.view(len(s.inputs), count, s.kept, s.block).transpose(1, 2).reshape(-1, count, s.block)
    total = d.new_zeros(s.input_blocks, count, s.block).index_add_(0, s.inputs.flatten(), pieces)
    return total.transpose(0, 1).reshape(count, -1)[:, : s.columns]


def order_outputs(y: Tensor, s: BlockStructure) -> Tensor:
    """Outputs by row of blocks [R, N, gates * block] -> [N, groups, gates, rows] (a view where nothing is padded)."""
    y = y.view(s.groups, s.block_rows, y.shape[1], s.gates, s.block).permute(2, 0, 3, 1, 4)
    if s.block_rows * s.block == s.rows:
        return y
    return y.reshape(*y.shape[:3], -1)[..., : s.rows]


def block_outputs(d: Tensor, s: BlockStructure) -> Tensor:
    """Transpose of `order_outputs`: [N, groups * gates * rows] -> [R, N, gates * block]."""
    d = _fill_up(d.view(len(d), s.groups, s.gates, s.rows), s.block_rows * s.block)
    d = d.view(len(d), s.groups, s.gates, s.block_rows, s.block).permute(1, 3, 0, 2, 4)
    return d.reshape(len(s.inputs), d.shape[2], s.gates * s.block)


class _BlockLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, s: BlockStructure) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.structure = s
        y = torch.bmm(gather_inputs(x, s), weight.transpose(1, 2))
        return order_outputs(y, s).reshape(len(x), -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), s = ctx.saved_tensors, ctx.structure
        d = block_outputs(grads[0].contiguous(), s)
        dx = scatter_inputs(torch.bmm(d, weight), s) if ctx.needs_input_grad[0] else None
        dweight = torch.bmm(d.transpose(1, 2), gather_inputs(x, s)) if ctx.needs_input_grad[1] else None
        return dx, dweight, None


def block_linear(x: Tensor, weight: Tensor, structure: BlockStructure) -> Tensor:
    """`x` [N, columns] times the transposed matrix with compact `weight` [R, gates * block, kept * block].

    Gives [N, groups * gates * rows], the numbers of the dense masked product; differentiable in both.
    """
    return _BlockLinear.apply(x, weight, structure)
