"""A compressed LSTM layer on the compiled kernels: the numbers of the torch path to rounding, kept weights only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.quantizers import largest_integer, round_scale
from frenchpress.kernels.native import LANES, KeptProduct, Recurrence, Rounding, library, norm_stats
from frenchpress.nnet.native_weight import packed, to_lanes

if TYPE_CHECKING:
    from frenchpress.nnet.lstm import QuantLSTMLayer


def serves(layer: QuantLSTMLayer, x: Tensor) -> bool:
    """Whether the compiled kernels take this call: float32 on the CPU, enough sequences for a vector."""
    enough = layer.training or len(x) > LANES // 4
    return enough and x.dtype == torch.float32 and x.device.type == "cpu" and takes(layer)


def takes(layer: QuantLSTMLayer) -> bool:
    """Whether the compiled kernels were built and take this kind of layer."""
    return layer.suits_kernels and layer.cells % 2 == 0 and library() is not None


def run(layer: QuantLSTMLayer, x: Tensor, lengths: Tensor) -> Tensor:
    """`x` [B, T, inputs], `lengths` int64 [B] in 1..T -> outputs [B, T, cells], zero at padding."""
    batch, steps, _ = x.shape
    real = (torch.arange(steps) < lengths.unsqueeze(1)).float().unsqueeze(2)
    x = to_lanes(layer.act_in(x.masked_fill(real == 0, 0.0)))
    mask = to_lanes(real).squeeze(2).contiguous()
    layout, values = packed(layer.input_matrix)
    pre = KeptProduct.apply(x.flatten(0, 1), values, layout).view(steps, -1, layout.outputs, LANES)
    gain, bias, norm = _normalisation(layer, pre, mask)
    layout, values = packed(layer.recurrent_matrix)
    out = Recurrence.apply(pre, gain, bias, values, layout, _rounding(layer.act_out), norm)
    return layer.dropout(out.permute(1, 3, 0, 2).reshape(-1, steps, layer.cells)[:batch] * real)


def _rounding(quantizer: ActQuantizer) -> Rounding:
    if quantizer.is_float:
        return Rounding()
    top = largest_integer(quantizer.bits)
    step = float(round_scale((quantizer.limit / top).float(), quantizer.bits))
    return Rounding(step, -float(top), float(top))


def _normalisation(
    layer: QuantLSTMLayer, pre: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, float] | None]:
    """What `Recurrence` needs of the batch norm; in training its running statistics move on."""
    n = layer.norm
    if n is None:
        return torch.ones_like(layer.bias), layer.bias, None
    count = float(mask.sum())
    if not layer.training or count < 2:  # one frame alone has no variance to go by
        gain = n.weight * (n.running_var + n.eps).rsqrt()
        return gain, n.bias - gain * n.running_mean, None
    mean, var = norm_stats(pre.detach().flatten(0, 1), mask, count)
    with torch.no_grad():
        n.num_batches_tracked += 1
        n.running_mean.lerp_(mean, n.momentum)
        n.running_var.lerp_(var * (count / (count - 1)), n.momentum)
    return n.weight, n.bias, (mean, (var + n.eps).rsqrt(), mask, count)
