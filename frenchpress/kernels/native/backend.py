"""A compressed LSTM layer on the compiled kernels: the numbers of the torch path to rounding, kept weights only."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.quantizers import largest_integer
from frenchpress.compress.workers import moments, shared
from frenchpress.kernels.backend import LstmParts
from frenchpress.kernels.native.functions import KeptProduct, Recurrence, Rounding, norm_stats
from frenchpress.kernels.native.library import LANES, library
from frenchpress.kernels.native.weight import packed, to_lanes


def serves(parts: LstmParts, x: Tensor) -> bool:
    """Whether the compiled kernels take this call: float32 on the CPU, enough sequences for a vector."""
    enough = parts.training or len(x) > LANES // 4
    return enough and x.dtype == torch.float32 and x.device.type == "cpu" and takes(parts)


def takes(parts: LstmParts) -> bool:
    """Whether the compiled kernels were built and take this kind of parts."""
    return parts.suits_kernels and parts.cells % 2 == 0 and library() is not None


def run(parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
    """See `Backend`."""
    batch, steps, _ = x.shape
    real = (torch.arange(steps) < lengths.unsqueeze(1)).float().unsqueeze(2)
    x = to_lanes(parts.seen_inputs(parts.act_in(x.masked_fill(real == 0, 0.0))))
    mask = to_lanes(real).squeeze(2).contiguous()
    layout, values = packed(parts.input_matrix)
    pre = KeptProduct.apply(x.flatten(0, 1), values, layout).view(steps, -1, layout.outputs, LANES)
    gain, bias, norm = _normalisation(parts, pre, mask)
    layout, values = packed(parts.recurrent_matrix)
    rounding = _rounding(parts.act_out, parts.output_margin(pre))
    out = Recurrence.apply(pre, gain, bias, values, layout, rounding, norm)
    return out.permute(1, 3, 0, 2).reshape(-1, steps, parts.cells)[:batch] * real


def _rounding(quantizer: ActQuantizer, margin: float) -> Rounding:
    if quantizer.is_float:
        return Rounding(margin=margin)
    top = float(largest_integer(quantizer.bits))
    return Rounding(float(quantizer.grid(torch.float32)[1]), -top, top, margin)


def _normalisation(
    parts: LstmParts, pre: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, float] | None]:
    """What `Recurrence` needs of the batch norm; in training its running statistics move on."""
    n = parts.norm
    if n is None:
        return torch.ones_like(parts.bias), parts.bias, None
    count = float(mask.sum())
    if not parts.training or (count < 2 and shared() is None):  # one frame alone has no variance to go by
        gain = n.weight * (n.running_var + n.eps).rsqrt()
        return gain, n.bias - gain * n.running_mean, None
    mean, var, count = moments(*norm_stats(pre.detach().flatten(0, 1), mask, count), count)
    with torch.no_grad():
        n.num_batches_tracked += 1
        n.running_mean.lerp_(mean, n.momentum)
        n.running_var.lerp_(var * (count / (count - 1)), n.momentum)
    return n.weight, n.bias, (mean, (var + n.eps).rsqrt(), mask, count)
