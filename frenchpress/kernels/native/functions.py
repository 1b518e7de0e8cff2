"""The compiled kernels as differentiable functions. Tensors are float32, [frames][features][8 sequences]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from frenchpress.compress.workers import shared, total
from frenchpress.kernels.native.layout import Layout
from frenchpress.kernels.native.library import LANES, call


@dataclass(frozen=True)
class Rounding:
    """Outputs are rounded to a multiple of `step` within [low, high] steps; step 0 leaves them float.

    One that has moved by no more than `margin` since it was last sent on stays as it was; negative: all are sent on.
    The largest integer must stay below 2^22, where float32 still rounds to nearest.
    """

    step: float = 0.0
    low: float = 0.0
    high: float = 0.0
    margin: float = -1.0


class KeptProduct(Function):
    """y[n] = W x[n] over the kept weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, layout: Layout) -> Tensor:
        """`x` [n, inputs, 8], `values` as `layout` has them -> [n, rows, 8]."""
        out = x.new_empty(len(x), layout.outputs, LANES)
        layout.apply(values, x, out)
        ctx.save_for_backward(x, values)
        ctx.layout = layout
        return out

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of `x` and `values`."""
        x, values = ctx.saved_tensors
        dy = dy.contiguous()
        dx = dvalues = None
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(x)
            ctx.layout.apply_transposed(values, dy, dx)
        if ctx.needs_input_grad[1]:
            dvalues = torch.empty_like(values)
            ctx.layout.gradient(x, dy, dvalues)
        return dx, dvalues, None


def norm_stats(x: Tensor, mask: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per feature of `x` [n, features, 8] over the frames where `mask` [n, 8] is 1."""
    mean, var = x.new_empty(x.shape[1]), x.new_empty(x.shape[1])
    call("fp_norm_stats", len(x), x.shape[1], x, mask, count, mean, var)
    return mean, var


def rmsprop_step(weight: Tensor, grad: Tensor, square: Tensor, rate: float, alpha: float, eps: float) -> None:
    """One step in place: square = alpha square + (1 - alpha) grad^2, weight -= rate grad / (sqrt(square) + eps).

    `weight`, `grad`, `square`: contiguous, of one size.
    """
    call("fp_rmsprop", weight.numel(), weight, grad, square, rate, alpha, 1.0 - alpha, eps)


class Recurrence(Function):
    """The LSTM over all time steps, with the batch norm (or bias) of its input projections taken in."""

    @staticmethod
    def forward(
        ctx: Any, pre: Tensor, gain: Tensor, bias: Tensor, values: Tensor,
        layout: Layout, rounding: Rounding, norm: tuple[Tensor, Tensor, Tensor, float] | None,
    ) -> Tensor:  # fmt: skip
        """Outputs [steps, groups, cells, 8], rounded, from projections `pre` [steps, groups, 4 cells, 8].

        Without `norm`, a gate sees gain * pre + bias. With `norm` = (mean, 1 / std, mask [steps, groups, 8],
        count) of the projections, it sees gain * (pre - mean) / std + bias, and the gradient goes through the
        statistics. Rounding passes the gradient straight through.
        """
        steps, groups, rows, _ = pre.shape
        cells = rows // 4
        slope, offset = gain, bias
        if norm is not None:
            slope = gain * norm[1]
            offset = bias - slope * norm[0]
        gates = torch.empty_like(pre)
        cell, tanh_cell, out = pre.new_empty(3, steps, groups, cells, LANES)
        layout.lstm_forward(
            values, steps, groups, cells, pre, slope.contiguous(), offset.contiguous(),
            gates, cell, tanh_cell, out, rounding.step, rounding.low, rounding.high, rounding.margin,
        )  # fmt: skip
        ctx.save_for_backward(pre, gain, values, gates, cell, tanh_cell, out)
        ctx.layout, ctx.norm = layout, norm
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the projections, gain, bias and recurrent weights."""
        pre, gain, values, gates, cell, tanh_cell, out = ctx.saved_tensors
        steps, groups, cells, _ = out.shape
        d = torch.empty_like(gates)
        ctx.layout.lstm_backward(values, steps, groups, cells, gates, cell, tanh_cell, dout.contiguous(), d)
        dvalues = torch.zeros_like(values)
        if steps > 1:
            ctx.layout.gradient(out[:-1].flatten(0, 1), d[1:].flatten(0, 1), dvalues)
        if ctx.norm is None:
            plain = d.sum(dim=(0, 1, 3))
            along = (d * pre).sum(dim=(0, 1, 3))
            return d * gain[:, None], along, plain, dvalues, None, None, None
        dgain, dbias = _norm_backward(pre, d, gain, ctx.norm)
        return d, dgain, dbias, dvalues, None, None, None


def _norm_backward(
    pre: Tensor, d: Tensor, gain: Tensor, norm: tuple[Tensor, Tensor, Tensor, float]
) -> tuple[Tensor, Tensor]:
    """Gradients [features] of gain and bias; `d` [steps, groups, features, 8] becomes that of `pre`, in place.

    That of `pre` takes sums over the frames of all workers, the other two are added up with all gradients.
    """
    mean, rstd, mask, count = norm
    steps, groups, features, _ = pre.shape
    sums = gain.new_empty(2, features)
    frames = (steps * groups, features, pre, mask, count, mean, rstd, gain, d)
    if shared() is None:
        call("fp_norm_backward", *frames, *sums, 3)
    else:
        call("fp_norm_backward", *frames, *sums, 1)
        call("fp_norm_backward", *frames, *total(sums), 2)
    return sums[0], sums[1]
