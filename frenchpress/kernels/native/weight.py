"""A compressed matrix as the compiled kernels take it: tiles of kept weights, and products with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress import Selection, Weight
from frenchpress.kernels.kept import Kept, PerMatrix
from frenchpress.kernels.native.functions import KeptProduct
from frenchpress.kernels.native.layout import Layout
from frenchpress.kernels.native.library import LANES, ROWS, library
from frenchpress.kernels.native.singles import Singles
from frenchpress.kernels.native.tiles import Tiles

# Time of a weight computed with by itself over that of one in a tile. Measured on an AVX2 core over densities of 1/32
# to 1/2, forward, backward and the gradient of the weights.
_SINGLE_COST = 2.7
# Of the time of the products of a matrix over all of its weights, the share above which a dense library product is no
# slower. Measured at 1600 x 512 x 960, one thread.
_WORTH_KEPT = 0.6
# Of the weights of a matrix, the share above which all of them are quantized rather than looked up one by one.
_WORTH_SELECTING = 0.7


def serves_product(matrix: Weight, x: Tensor) -> bool:
    """Whether `product` takes `x` [N, in], and is faster than the dense product."""
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and len(x) >= LANES
    if not plain or matrix.mask is None or matrix.probing or library() is None:
        return False
    return _PACKINGS.of(matrix).cost <= _WORTH_KEPT * matrix.weight.numel()


def product(x: Tensor, matrix: Weight) -> Tensor:
    """`x` [N, in] times the transposed matrix, over kept weights alone: [N, out]; where `serves_product` says so."""
    layout, values = packed(matrix)
    out = KeptProduct.apply(to_lanes(x.unsqueeze(1)).squeeze(0), values, layout)
    return out.transpose(1, 2).reshape(-1, layout.outputs)[: len(x)]


def to_lanes(x: Tensor) -> Tensor:
    """[B, T, features] -> [T, ceil(B / 8), features, 8], filled up with zeros."""
    batch, steps, features = x.shape
    groups = -(-batch // LANES)
    if batch < groups * LANES:
        x = F.pad(x, (0, 0, 0, 0, 0, groups * LANES - batch))
    return x.view(groups, LANES, steps, features).permute(2, 0, 3, 1).contiguous()


class _Packing:
    """How one matrix is computed with, and where its values are found, for one state of its mask.

    As tiles or weight by weight, whichever takes less time. `cost`: of that, in weights of a tile.
    """

    def __init__(self, matrix: Weight) -> None:
        kept = Kept.of(matrix)
        # Weights of a group of columns have to stay beside the others, and are computed with, kept or not.
        mask = kept.full if kept.movable and kept.mask is not None else None
        full = torch.ones(kept.shape, dtype=torch.bool)
        self.layout: Layout = Tiles(full if mask is None else mask, kept.gates)
        self.cost: float = self.layout.kept
        self.compact: _CompactTiles | _CompactRows | None = None
        if mask is not None and _SINGLE_COST * int(mask.sum()) < self.cost:
            self.layout = Singles(mask)
            self.cost = _SINGLE_COST * self.layout.kept
            self.compact = _CompactRows(self.layout, mask)
        elif mask is not None and self.cost <= _WORTH_SELECTING * mask.numel():
            self.compact = _CompactTiles(self.layout, mask)
        else:
            self.layout = Tiles(full, kept.gates)

    def values(self, matrix: Weight) -> Tensor:
        """The weights as they are now, in the order of the layout."""
        return _by_tile(matrix) if self.compact is None else self.compact.values(matrix)


def _by_tile(matrix: Weight) -> Tensor:
    """All weights of a matrix [tiles * inputs, 8], eight rows side by side."""
    units, inputs = matrix.shape[0] // matrix.gates, matrix.shape[1]
    side = ROWS // matrix.gates
    by_tile = matrix().view(matrix.gates, units // side, side, inputs).permute(1, 3, 0, 2)
    return by_tile.reshape(-1, ROWS)


class _CompactTiles:
    """Kept weights are quantized in a form [tiles, 8 rows, columns], for as many columns as the fullest tile has."""

    def __init__(self, tiles: Tiles, mask: Tensor) -> None:
        most = max(1, int(tiles.counts.max()))
        self._place = tiles.places(most)
        flat = torch.full((tiles.tiles * most, ROWS), mask.numel())
        flat[self._place] = tiles.gather
        kept = F.pad(mask.reshape(-1), (0, 1))[flat]
        by_row = [x.view(-1, most, ROWS).transpose(1, 2).contiguous() for x in (flat.clamp(max=mask.numel() - 1), kept)]
        self._selection = Selection(**Selection.of(*by_row))
        self._even = len(self._place) == len(flat)

    def values(self, matrix: Weight) -> Tensor:
        """[kept columns, 8]."""
        values = matrix.compact(self._selection).transpose(1, 2).contiguous().view(-1, ROWS)
        return values if self._even else values.index_select(0, self._place)


class _CompactRows:
    """Kept weights are quantized in a form [rows, columns], for as many columns as the fullest row has."""

    def __init__(self, singles: Singles, mask: Tensor) -> None:
        most = max(1, int(singles.counts.max()))
        self._place = singles.places(most)
        flat, kept = torch.zeros(len(mask) * most, dtype=torch.int64), torch.zeros(len(mask) * most, dtype=torch.bool)
        flat[self._place], kept[self._place] = singles.gather, True
        self._selection = Selection(**Selection.of(flat.view(-1, most), kept.view(-1, most)))
        self._even = len(self._place) == len(flat)

    def values(self, matrix: Weight) -> Tensor:
        """[kept]."""
        values = matrix.compact(self._selection).view(-1)
        return values if self._even else values.index_select(0, self._place)


_PACKINGS = PerMatrix(_Packing)


def packed(matrix: Weight) -> tuple[Layout, Tensor]:
    """How a matrix is computed with (found anew when its mask has changed) and its values as they are now."""
    packing = _PACKINGS.of(matrix)
    return packing.layout, packing.values(matrix)
