"""The recurrence of a compressed LSTM layer on a GPU's own kernels: the torch path's numbers to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from frenchpress.compress import PressedWeight
from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.gpu.functions import gpu_recurrence
from frenchpress.kernels.gpu.launch import choose_tiling, machine
from frenchpress.kernels.gpu.tiles import Tiles, Tiling

if TYPE_CHECKING:
    from frenchpress.nnet.lstm import QuantLSTMLayer


def serves(layer: QuantLSTMLayer, x: Tensor) -> bool:
    """Whether the kernels take this call: float32, on a GPU that they run on."""
    return x.dtype == torch.float32 and layer.suits_kernels and why_not(x.device) is None


def recurrence(layer: QuantLSTMLayer, projections: Tensor, sizes: list[int]) -> Tensor:
    """Outputs [N, cells] from packed, shifted projections [N, 4 cells] with `sizes[t]` rows at step t."""
    matrix, scale = layer.recurrent_matrix, None
    if not layer.act_out.is_float:
        scale = layer.act_out.grid(projections.dtype)[1]
    structure = matrix.structure
    weight = matrix() if structure is None else matrix.compact(structure)
    tiling = choose_tiling(layer.cells, sizes[0], machine(projections.device))
    return gpu_recurrence(projections, weight, sizes, _tiles(matrix, tiling), structure, scale)


def _tiles(matrix: PressedWeight, tiling: Tiling) -> Tiles:
    """Tiles of a matrix, made anew when its mask, the form of its values or the tiling has changed."""
    mask, structure = matrix.mask, matrix.structure
    key = (tiling, structure is None, matrix.weight.device)
    if mask is not None:
        key += (mask.data_ptr(), mask._version)
    cached = matrix.__dict__.get("_gpu_tiles")
    if cached is None or cached[0] != key:
        kept = torch.ones_like(matrix.weight, dtype=torch.bool) if mask is None else matrix.full_mask()
        cached = (key, Tiles(kept, tiling, structure))
        matrix.__dict__["_gpu_tiles"] = cached
    return cached[1]
