"""A pressed matrix as the compiled kernels take it: tiles of kept weights, and products with them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress import PressedWeight
from frenchpress.kernels.native import LANES, TileProduct, Tiles, library

_GATES = 4
# Of the products of a matrix, with its gradients, the share above which a dense library product is no slower. Measured
# at 2190 x 512 x 960, one thread.
_WORTH_TILES = 0.5


def serves_product(matrix: PressedWeight, x: Tensor) -> bool:
    """Whether `product` takes `x` [N, in], and is faster than the dense product."""
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and len(x) >= LANES
    if not plain or matrix.mask is None or matrix.probing or library() is None:
        return False
    return _packing(matrix).tiles.kept <= _WORTH_TILES * matrix.weight.numel()


def product(x: Tensor, matrix: PressedWeight) -> Tensor:
    """`x` [N, in] times the transposed matrix, over kept weights alone: [N, out]."""
    tiles, values = packed(matrix)
    out = TileProduct.apply(to_lanes(x.unsqueeze(1)).squeeze(0), values, tiles)
    return out.transpose(1, 2).reshape(-1, tiles.outputs)[: len(x)]


def to_lanes(x: Tensor) -> Tensor:
    """[B, T, features] -> [T, ceil(B / 8), features, 8], filled up with zeros."""
    batch, steps, features = x.shape
    groups = -(-batch // LANES)
    if batch < groups * LANES:
        x = F.pad(x, (0, 0, 0, 0, 0, groups * LANES - batch))
    return x.view(groups, LANES, steps, features).permute(2, 0, 3, 1).contiguous()


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
        self.tiles = Tiles(torch.ones(matrix.shape, dtype=torch.bool) if mask is None else mask, matrix.gates)
        self.index = self.tiles.gather
        structure = matrix.structure
        if structure is not None:
            # From the compact form; weights that it lacks are zero and are found behind its end.
            place = torch.full((matrix.weight.numel() + 1,), structure.flat.numel())
            place[structure.target] = structure.source
            self.index = place[self.tiles.gather]

    def values(self, matrix: PressedWeight) -> Tensor:
        if self.dense and matrix.gates == _GATES:  # without an index: nothing is left out
            cells, inputs = matrix.shape[0] // _GATES, matrix.shape[1]
            by_tile = matrix().view(_GATES, cells // 2, 2, inputs).permute(1, 3, 0, 2)
            return by_tile.reshape(-1, 2 * _GATES)
        structure = matrix.structure
        flat = (matrix() if structure is None else matrix.compact(structure)).reshape(-1)
        return _Pick.apply(F.pad(flat, (0, 1)), self.index)


def packed(matrix: PressedWeight) -> tuple[Tiles, Tensor]:
    """Tiles of a matrix (made anew when its mask has changed) and its values as they are now."""
    packing = _packing(matrix)
    return packing.tiles, packing.values(matrix)


def _packing(matrix: PressedWeight) -> _Packing:
    mask = None if matrix.probing else matrix.mask
    key = None if mask is None else (mask.data_ptr(), mask._version)
    cached = matrix.__dict__.get("_tiles")
    if cached is None or cached[0] != key:
        cached = (key, _Packing(matrix))
        matrix.__dict__["_tiles"] = cached
    return cached[1]
