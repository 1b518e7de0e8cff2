"""The LSTM recurrence over a packed batch with a backward pass written out, in plain torch.

Frames are packed time step by time step: step t has rows for the first `sizes[t]` sequences, longest first, as in
torch's PackedSequence, so that padding is neither computed nor able to influence anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from frenchpress.compress.activations import ActQuantizer, FixedActQuantizer
from frenchpress.compress.quantizers import largest_integer, round_scale, to_grid
from frenchpress.compress.structure import BlockStructure
from frenchpress.kernels.blocks import block_outputs, gather_inputs, order_outputs, scatter_inputs


class Product(Protocol):
    """What the recurrence needs of its matrix W [4 cells, cells]."""

    def add(self, gates: Tensor, h: Tensor) -> None:
        """`gates` [n, 4 cells] += h [n, cells] W^T."""

    def add_transposed(self, dh: Tensor, d: Tensor) -> None:
        """`dh` [n, cells] += d [n, 4 cells] W."""

    def gradient(self, d: Tensor, h: Tensor) -> Tensor:
        """Gradient of the matrix as it was given, from d [N, 4 cells] and h [N, cells]."""


class DenseProduct:
    """The matrix as it is: W [4 cells, cells].

    On a CPU the skinny product of one time step (8 x 512 x 2048) takes up to a third less time as a batch of one
    product per gate than in one piece.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._gates = weight.view(4, -1, weight.shape[1])
        self._in_gates = weight.device.type == "cpu"

    def add(self, gates: Tensor, h: Tensor) -> None:
        """`gates` += h W^T."""
        if not self._in_gates or len(h) == 1:
            gates.addmm_(h, self._weight.t())
            return
        y = torch.bmm(h.expand(4, *h.shape), self._gates.transpose(1, 2))
        gates.view(len(h), 4, -1).add_(y.transpose(0, 1))

    def add_transposed(self, dh: Tensor, d: Tensor) -> None:
        """`dh` += d W."""
        if not self._in_gates or len(d) == 1:
            dh.addmm_(d, self._weight)
            return
        dh.add_(torch.bmm(d.view(len(d), 4, -1).transpose(0, 1), self._gates).sum(0))

    def gradient(self, d: Tensor, h: Tensor) -> Tensor:
        """[4 cells, cells]."""
        return d.t() @ h


class BlockProduct:
    """Kept blocks alone: compact weight [R, gates * block, kept * block]."""

    def __init__(self, weight: Tensor, structure: BlockStructure) -> None:
        self._weight, self._structure = weight, structure
        self._turned = weight.transpose(1, 2).contiguous()

    def add(self, gates: Tensor, h: Tensor) -> None:
        """`gates` += h W^T."""
        y = order_outputs(torch.bmm(gather_inputs(h, self._structure), self._turned), self._structure)
        gates.view(y.shape).add_(y)

    def add_transposed(self, dh: Tensor, d: Tensor) -> None:
        """`dh` += d W."""
        dh.add_(scatter_inputs(torch.bmm(block_outputs(d, self._structure), self._weight), self._structure))

    def gradient(self, d: Tensor, h: Tensor) -> Tensor:
        """[R, gates * block, kept * block]."""
        s = self._structure
        return torch.bmm(block_outputs(d, s).transpose(1, 2), gather_inputs(h, s))


def _product(weight: Tensor, structure: BlockStructure | None) -> Product:
    return DenseProduct(weight) if structure is None else BlockProduct(weight, structure)


class _Rounder:
    """Puts the outputs of a time step on the grid of an activation quantizer, in place."""

    def __init__(self, quantizer: ActQuantizer | None, like: Tensor) -> None:
        self.bits = 32 if quantizer is None else quantizer.bits
        self.scale = None
        if isinstance(quantizer, FixedActQuantizer) and not quantizer.is_float:
            self.scale = round_scale((quantizer.limit / largest_integer(self.bits)).to(like.dtype), self.bits)

    def __call__(self, h: Tensor) -> None:
        """`h` [n, cells] in (-1, 1) -> its nearest value on the grid."""
        if self.bits == 32:
            return
        scale = self.scale
        if scale is None:
            scale = round_scale(h.abs().amax() / largest_integer(self.bits), self.bits)
        if self.bits == 1:
            h.copy_(to_grid(h, scale, 1))
        else:
            h.div_(scale).round_()
        if self.bits > 20:  # below, the largest |h| meets the largest integer by the choice of the scale
            h.clamp_(-largest_integer(self.bits), largest_integer(self.bits))
        h.mul_(scale)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projections: Tensor,
        weight: Tensor,
        structure: BlockStructure | None,
        sizes: list[int],
        quantizer: ActQuantizer | None,
    ) -> Tensor:
        gates = projections.clone(memory_format=torch.contiguous_format)
        count, cells = len(gates), gates.shape[1] // 4
        cell, squashed, out = gates.new_empty(3, count, cells).unbind(0)
        steps = [m.split(sizes) for m in (gates, *gates.split(cells, dim=1), cell, squashed, out)]
        both = gates[:, : 2 * cells].split(sizes)
        product, rounder = _product(weight, structure), _Rounder(quantizer, gates)
        c = h = gates.new_zeros(sizes[0], cells)
        for t, n in enumerate(sizes):
            gate, i, f, g, o, c_new, tanh_c, h_new = (s[t] for s in steps)
            if t:
                product.add(gate, h[:n])
            both[t].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.mul(f, c[:n], out=c_new).addcmul_(i, g)
            torch.tanh(c, out=tanh_c)
            h = torch.mul(o, tanh_c, out=h_new)
            rounder(h)
        ctx.save_for_backward(gates, cell, squashed, out, weight)
        ctx.structure, ctx.sizes = structure, sizes
        return out.clone() if ctx.needs_input_grad[0] else out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gates, cell, squashed, out, weight = ctx.saved_tensors
        sizes, cells = ctx.sizes, cell.shape[1]
        d, keep = _slopes(gates, _previous(cell, sizes), squashed)
        dh_all = grads[0].clone(memory_format=torch.contiguous_format)
        steps = [m.split(sizes) for m in (d, keep, dh_all, gates[:, cells : 2 * cells])]
        product = _product(weight, ctx.structure)
        dc_all = cell.new_zeros(sizes[0], cells)
        for t in range(len(sizes) - 1, -1, -1):
            n = sizes[t]
            slope, keep_t, dh, f = (s[t] for s in steps)
            if t + 1 < len(sizes):
                product.add_transposed(dh[: sizes[t + 1]], steps[0][t + 1])
            dc = dc_all[:n].addcmul_(dh, keep_t)
            slope = slope.view(n, 4, cells)
            slope[:, 3].mul_(dh)
            slope[:, :3].mul_(dc.unsqueeze(1))
            dc.mul_(f)
        dweight = None
        if ctx.needs_input_grad[1]:
            later = sizes[0]
            dweight = product.gradient(d[later:], _previous(out, sizes)[later:])
        return d, dweight, None, None, None


def _previous(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of the time step before, for each row of packed `x`; zeros at the first step."""
    steps = torch.tensor([0, *sizes[:-1]], device=x.device)
    behind = steps.repeat_interleave(torch.tensor(sizes, device=x.device))
    rows = torch.arange(len(x), device=x.device) - behind
    previous = x.index_select(0, rows)
    previous[: sizes[0]] = 0
    return previous


def _slopes(gates: Tensor, before: Tensor, squashed: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives known before the backward loop, for all frames at once.

    [N, 4 cells]: of c by the inputs of gates i, f, g, and of h by that of o; [N, cells]: of h by c.
    """
    i, f, g, o = gates.chunk(4, dim=1)
    slopes = torch.empty_like(gates)
    di, df, dg, do = slopes.chunk(4, dim=1)
    torch.ops.aten.sigmoid_backward.grad_input(g, i, grad_input=di)
    torch.ops.aten.sigmoid_backward.grad_input(before, f, grad_input=df)
    torch.ops.aten.tanh_backward.grad_input(i, g, grad_input=dg)
    torch.ops.aten.sigmoid_backward.grad_input(squashed, o, grad_input=do)
    return slopes, torch.ops.aten.tanh_backward(o, squashed)


def lstm_recurrence(
    projections: Tensor,
    weight: Tensor,
    sizes: list[int],
    structure: BlockStructure | None = None,
    quantizer: ActQuantizer | None = None,
) -> Tensor:
    """Outputs [N, cells] of an LSTM from its input projections [N, 4 cells], gates in the order i, f, g, o.

    Rows are packed by time step, `sizes[t]` of them at step t, never growing. `weight` is the recurrent matrix
    [4 cells, cells], or with `structure` its compact form. `quantizer` rounds the outputs, which is also what the
    recurrence sees; its gradient passes straight through, since |h| < 1 never clips. Initial states are zero.
    """
    return _Recurrence.apply(projections, weight, structure, sizes, quantizer)
