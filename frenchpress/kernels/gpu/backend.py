"""An LSTM layer whose recurrence is on a GPU's own kernels: the torch path's numbers to rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.compress import Weight
from frenchpress.kernels import reference
from frenchpress.kernels.backend import LstmParts
from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.gpu.functions import gpu_recurrence
from frenchpress.kernels.gpu.launch import choose_tiling, machine
from frenchpress.kernels.gpu.tiles import Tiles, Tiling
from frenchpress.kernels.kept import Kept, PerMatrix


def takes(parts: LstmParts) -> bool:
    """Layers whose outputs the kernels can round, all of them sent on."""
    return parts.suits_kernels and parts.delta is None


def serves(parts: LstmParts, x: Tensor) -> bool:
    """Whether the kernels take this call: float32, on a GPU that they run on."""
    return x.dtype == torch.float32 and takes(parts) and why_not(x.device) is None


def run(parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
    """See `Backend`."""
    return reference.run_packed(parts, x, lengths, recurrence)


def recurrence(parts: LstmParts, projections: Tensor, sizes: list[int]) -> Tensor:
    """Outputs [N, cells] from packed, shifted projections [N, 4 cells] with `sizes[t]` rows at step t."""
    if projections.dtype != torch.float32:  # under autocast
        return reference.recurrence(parts, projections, sizes)
    matrix, scale = parts.recurrent_matrix, None
    if not parts.act_out.is_float:
        scale = parts.act_out.grid(projections.dtype)[1]
    structure = matrix.structure
    weight = matrix() if structure is None else matrix.compact(structure)
    tiling = choose_tiling(parts.cells, sizes[0], machine(projections.device))
    return gpu_recurrence(projections, weight, sizes, TILES.of(matrix, tiling), structure, scale)


def _tiles(matrix: Weight, tiling: Tiling) -> Tiles:
    # In tiles weights are where the mask keeps any; a quantizer of groups of columns has given them before.
    return Tiles(Kept.of(matrix).full, tiling, matrix.structure)


TILES = PerMatrix(_tiles)
