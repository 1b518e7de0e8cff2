"""The LSTM recurrence over a packed batch with a backward pass written out, in plain torch.

Frames are packed time step by time step: step t has rows for the first `sizes[t]` sequences, longest first, as in
torch's PackedSequence, so that padding is neither computed nor able to influence anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.quantizers import largest_integer, to_grid
from frenchpress.compress.structure import BlockStructure
from frenchpress.kernels.blocks import block_outputs, gather_inputs, order_outputs, scatter_inputs
from frenchpress.kernels.delta import hold_step


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


def product_of(weight: Tensor, structure: BlockStructure | None) -> Product:
    """The product with a matrix [4 cells, cells], or with its compact form."""
    return DenseProduct(weight) if structure is None else BlockProduct(weight, structure)


class _Rounder:
    """Puts the values of a time step on the grid of an activation quantizer, in place.

    `grid`: `(range, scale)` if they were known before the first step. A quantizer that has seen nothing yet leaves
    the values as they are.
    """

    def __init__(self, quantizer: ActQuantizer | None, like: Tensor) -> None:
        active = quantizer is not None and not quantizer.is_float
        self.grid = quantizer.grid(like.dtype) if active else None
        self.scale = None if self.grid is None else self.grid[1]
        self.bits = quantizer.bits if active and (self.grid is not None or quantizer.per_call) else 32
        self.clips = self.grid is not None and quantizer.clips
        self.learned = quantizer.learned is not None if self.clips else False
        self._quantizer = quantizer

    def __call__(self, x: Tensor) -> None:
        """`x` [n, cells] -> its nearest value on the grid."""
        if self.bits == 32:
            return
        scale = self.scale
        if scale is None:
            scale = self._quantizer.now(x)[1]
        if self.bits == 1:
            x.copy_(to_grid(x, scale, 1))
        else:
            x.div_(scale).round_()
        # Where nothing clips, the largest |x| meets the largest integer by the choice of the scale up to 20 bits.
        if self.clips or self.bits > 20:
            x.clamp_(-largest_integer(self.bits), largest_integer(self.bits))
        x.mul_(scale)

    @property
    def observing(self) -> bool:
        """Whether the quantizer wants to see what was rounded."""
        return self._quantizer is not None and self._quantizer.observing

    def observe(self, x: Tensor) -> None:
        """Show the quantizer the values of all time steps, as they were before rounding."""
        self._quantizer.observe(x)

    def inside(self, x: Tensor) -> Tensor:
        """Where `x`, not rounded, is within the range."""
        return x.abs() <= self.grid[0]

    def learned_gradient(self, grad: Tensor, x: Tensor) -> Tensor:
        """Of the quantizer's parameter, from the gradient of the rounded values of all time steps."""
        return self._quantizer.learned_gradient(grad, x, *self.grid)


class _Recurrence(torch.autograd.Function):
    """The last two inputs are the parameters, if any, of the two quantizers, which autograd has to see."""

    @staticmethod
    def forward(
        ctx: Any,
        projections: Tensor,
        weight: Tensor,
        structure: BlockStructure | None,
        sizes: list[int],
        quantizer: ActQuantizer | None,
        cell_quantizer: ActQuantizer | None,
        margin: float,
        *learned: Tensor | None,
    ) -> Tensor:
        gates = projections.clone(memory_format=torch.contiguous_format)
        count, cells = len(gates), gates.shape[1] // 4
        cell, squashed, out = gates.new_empty(3, count, cells).unbind(0)
        steps = [m.split(sizes) for m in (gates, *gates.split(cells, dim=1), cell, squashed, out)]
        both = gates[:, : 2 * cells].split(sizes)
        product, rounder, cell_rounder = (
            product_of(weight, structure),
            _Rounder(quantizer, gates),
            _Rounder(cell_quantizer, gates),
        )
        c = h = gates.new_zeros(sizes[0], cells)
        for t, n in enumerate(sizes):
            gate, i, f, g, o, c_new, tanh_c, h_new = (s[t] for s in steps)
            if t:
                product.add(gate, h[:n])
            both[t].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.mul(f, c[:n], out=c_new).addcmul_(i, g)
            cell_rounder(c)
            torch.tanh(c, out=tanh_c)
            before, h = h, torch.mul(o, tanh_c, out=h_new)
            rounder(h)
            if margin >= 0:
                hold_step(h, before[:n], margin)
        if rounder.observing:
            rounder.observe(_outputs(gates, squashed))
        if cell_rounder.observing:
            cell_rounder.observe(_cell_states(gates, cell, sizes))
        ctx.save_for_backward(gates, cell, squashed, out, weight)
        ctx.structure, ctx.sizes, ctx.rounders = structure, sizes, (rounder, cell_rounder)
        return out.clone() if ctx.needs_input_grad[0] else out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gates, cell, squashed, out, weight = ctx.saved_tensors
        sizes, cells, (rounder, cell_rounder) = ctx.sizes, cell.shape[1], ctx.rounders
        d, keep = _slopes(gates, previous_rows(cell, sizes), squashed)
        forget = gates[:, cells : 2 * cells]
        if rounder.clips:
            _stop_clipped_outputs(rounder.inside(_outputs(gates, squashed)), d, keep)
        if cell_rounder.clips:
            forget = _stop_clipped_cells(cell_rounder.inside(_cell_states(gates, cell, sizes)), d, forget)
        dh_all = grads[0].clone(memory_format=torch.contiguous_format)
        dc_rounded = torch.empty_like(cell) if cell_rounder.learned else None
        steps = [m.split(sizes) for m in (d, keep, dh_all, forget)]
        dc_steps = None if dc_rounded is None else dc_rounded.split(sizes)
        product = product_of(weight, ctx.structure)
        dc_all = cell.new_zeros(sizes[0], cells)
        for t in range(len(sizes) - 1, -1, -1):
            n = sizes[t]
            slope, keep_t, dh, f = (s[t] for s in steps)
            if t + 1 < len(sizes):
                product.add_transposed(dh[: sizes[t + 1]], steps[0][t + 1])
            dc = dc_all[:n].addcmul_(dh, keep_t)
            if dc_steps is not None:
                dc_steps[t].copy_(dc)
            slope = slope.view(n, 4, cells)
            slope[:, 3].mul_(dh)
            slope[:, :3].mul_(dc.unsqueeze(1))
            dc.mul_(f)
        dweight = None
        if ctx.needs_input_grad[1]:
            later = sizes[0]
            dweight = product.gradient(d[later:], previous_rows(out, sizes)[later:])
        dlearned = rounder.learned_gradient(dh_all, _outputs(gates, squashed)) if rounder.learned else None
        dcell = cell_rounder.learned_gradient(dc_rounded, _cell_states(gates, cell, sizes)) if dc_steps else None
        return d, dweight, None, None, None, None, None, dlearned, dcell


def _outputs(gates: Tensor, squashed: Tensor) -> Tensor:
    """Outputs [N, cells] of all time steps before they were rounded."""
    return gates.chunk(4, dim=1)[3] * squashed


def _cell_states(gates: Tensor, cell: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cell states [N, cells] of all time steps before they were rounded; `cell` has them rounded."""
    i, f, g, _ = gates.chunk(4, dim=1)
    return torch.addcmul(f * previous_rows(cell, sizes), i, g)


def _stop_clipped_outputs(inside: Tensor, d: Tensor, keep: Tensor) -> None:
    """Let no gradient pass an output outside its range: `d` and `keep` as `_slopes` gives them, in place."""
    keep.mul_(inside)
    d.chunk(4, dim=1)[3].mul_(inside)


def _stop_clipped_cells(inside: Tensor, d: Tensor, forget: Tensor) -> Tensor:
    """Let no gradient pass a cell state outside its range: `d` in place, and the forget gates to go on with."""
    for part in d.chunk(4, dim=1)[:3]:
        part.mul_(inside)
    return forget * inside


def previous_rows(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of the time step before, for each row of packed `x`; zeros at the first step."""
    steps = torch.tensor([0, *sizes[:-1]], device=x.device)
    # Told how many they come to, a GPU need not be waited for.
    behind = steps.repeat_interleave(torch.tensor(sizes, device=x.device), output_size=len(x))
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
    cell_quantizer: ActQuantizer | None = None,
    margin: float = -1.0,
) -> Tensor:
    """Outputs [N, cells] of an LSTM from its input projections [N, 4 cells], gates in the order i, f, g, o.

    Rows are packed by time step, `sizes[t]` of them at step t, never growing. `weight` is the recurrent matrix
    [4 cells, cells], or with `structure` its compact form. `quantizer` rounds the outputs, which is also what the
    recurrence sees, and `cell_quantizer` the cell state; gradients pass straight through inside the range, if one
    can be left (with the range 1, |h| < 1 never clips). An output that has moved by no more than `margin` since it was
    last sent stays what it was then, straight through too; negative: all are sent. Initial states are zero.
    """
    learned = [None if q is None else q.learned for q in (quantizer, cell_quantizer)]
    return _Recurrence.apply(projections, weight, structure, sizes, quantizer, cell_quantizer, margin, *learned)
