"""A pressed LSTM layer on the compiled kernels: the same numbers as the torch path to rounding, kept weights only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress import PressedWeight
from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.quantizers import largest_integer, round_scale
from frenchpress.kernels.native import LANES, Recurrence, Rounding, TileProduct, Tiles, library, norm_stats

if TYPE_CHECKING:
    from frenchpress.nnet.lstm import QuantLSTMLayer

_GATES = 4


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
    x = _to_lanes(layer.act_in(x.masked_fill(real == 0, 0.0)))
    mask = _to_lanes(real).squeeze(2).contiguous()
    tiles, values = _packed(layer.input_matrix)
    pre = TileProduct.apply(x.flatten(0, 1), values, tiles).view(steps, -1, tiles.outputs, LANES)
    gain, bias, norm = _normalisation(layer, pre, mask)
    tiles, values = _packed(layer.recurrent_matrix)
    out = Recurrence.apply(pre, gain, bias, values, tiles, _rounding(layer.act_out), norm)
    out = out.permute(1, 3, 0, 2).reshape(-1, steps, layer.cells)[:batch] * real
    return F.dropout(out, layer.dropout, layer.training)


def _to_lanes(x: Tensor) -> Tensor:
    """[B, T, features] -> [T, ceil(B / 8), features, 8], filled up with zeros."""
    batch, steps, features = x.shape
    groups = -(-batch // LANES)
    if batch < groups * LANES:
        x = F.pad(x, (0, 0, 0, 0, 0, groups * LANES - batch))
    return x.view(groups, LANES, steps, features).permute(2, 0, 3, 1).contiguous()


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


class _Pick(torch.autograd.Function):
    """`flat[index]` for an index that names nothing twice but the last element, whose gradient nobody needs."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, index: Tensor) -> Tensor:
        ctx.index, ctx.size = index, len(flat)
        return torch.take(flat, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        out = grads[0].new_zeros(ctx.size)
        return out.index_copy_(0, ctx.index.reshape(-1), grads[0].reshape(-1)), None


class _Packing:
    """Where the tiles of one matrix find their values, for one state of its mask."""

    def __init__(self, matrix: PressedWeight) -> None:
        mask = None if matrix.probing else matrix.full_mask()
        self.dense = mask is None
        self.tiles = Tiles(torch.ones(matrix.shape, dtype=torch.bool) if mask is None else mask)
        self.index = self.tiles.gather
        structure = matrix.structure
        if structure is not None:
            # From the compact form; weights that it lacks are zero and are found behind its end.
            place = torch.full((matrix.weight.numel(),), structure.flat.numel())
            place[structure.target] = structure.source
            self.index = place[self.tiles.gather]

    def values(self, matrix: PressedWeight) -> Tensor:
        if self.dense:
            cells, inputs = matrix.shape[0] // _GATES, matrix.shape[1]
            by_tile = matrix().view(_GATES, cells // 2, 2, inputs).permute(1, 3, 0, 2)
            return by_tile.reshape(-1, 2 * _GATES)
        structure = matrix.structure
        flat = (matrix() if structure is None else matrix.compact(structure)).reshape(-1)
        return _Pick.apply(F.pad(flat, (0, 1)), self.index)


def _packed(matrix: PressedWeight) -> tuple[Tiles, Tensor]:
    """Tiles of a matrix (made anew when its mask has changed) and its values as they are now."""
    mask = None if matrix.probing else matrix.mask
    key = None if mask is None else (mask.data_ptr(), mask._version)
    cached = matrix.__dict__.get("_tiles")
    if cached is None or cached[0] != key:
        cached = (key, _Packing(matrix))
        matrix.__dict__["_tiles"] = cached
    return cached[1].tiles, cached[1].values(matrix)
