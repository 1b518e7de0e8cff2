"""A pressed matrix as the compiled kernels take it: tiles of kept weights, and products with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress import PressedWeight, Selection
from frenchpress.kernels.native import LANES, ROWS, TileProduct, Tiles, library

# Of the products of a matrix, with its gradients, the share above which a dense library product is no slower. Measured
# at 2190 x 512 x 960, one thread.
_WORTH_TILES = 0.5
# Of the weights of a matrix, the share above which all of them are computed with rather than looked up one by one.
_WORTH_SELECTING = 0.7


def serves_product(matrix: PressedWeight, x: Tensor) -> bool:
    """Whether `product` takes `x` [N, in], and is faster than the dense product."""
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and len(x) >= LANES
    if not plain or matrix.mask is None or matrix.probing or library() is None:
        return False
    return _packing(matrix).tiles.kept <= _WORTH_TILES * matrix.weight.numel()


def product(x: Tensor, matrix: PressedWeight) -> Tensor:
    """`x` [N, in] times the transposed matrix, over kept weights alone: [N, out]; where `serves_product` says so."""
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


class _Packing:
    """Where the tiles of one matrix find their values, for one state of its mask.

    Kept weights are quantized in a compact form [tiles, 8 rows, columns], for as many columns as the fullest tile has.
    """

    def __init__(self, matrix: PressedWeight) -> None:
        mask = None if matrix.probing else matrix.full_mask()
        self.tiles = Tiles(torch.ones(matrix.shape, dtype=torch.bool) if mask is None else mask, matrix.gates)
        self.dense = mask is None or self.tiles.kept > _WORTH_SELECTING * mask.numel()
        if self.dense:
            self.tiles = Tiles(torch.ones(matrix.shape, dtype=torch.bool), matrix.gates)
            return
        most = max(1, int(self.tiles.counts.max()))
        self.place = self.tiles.places(most)
        flat = torch.full((self.tiles.tiles * most, ROWS), mask.numel())
        flat[self.place] = self.tiles.gather
        kept = F.pad(mask.reshape(-1), (0, 1))[flat]
        by_row = [x.view(-1, most, ROWS).transpose(1, 2).contiguous() for x in (flat.clamp(max=mask.numel() - 1), kept)]
        self.selection = Selection(**Selection.of(*by_row))
        self.even = len(self.place) == len(flat)

    def values(self, matrix: PressedWeight) -> Tensor:
        """[kept columns, 8], as they are now."""
        if self.dense:
            units, inputs = matrix.shape[0] // matrix.gates, matrix.shape[1]
            side = ROWS // matrix.gates
            by_tile = matrix().view(matrix.gates, units // side, side, inputs).permute(1, 3, 0, 2)
            return by_tile.reshape(-1, ROWS)
        values = matrix.compact(self.selection).transpose(1, 2).contiguous().view(-1, ROWS)
        return values if self.even else values.index_select(0, self.place)


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
