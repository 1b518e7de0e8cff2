"""The recurrence of a pressed LSTM layer on a GPU's own kernels: the torch path's numbers to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from frenchpress.compress import PressedWeight
from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.gpu.functions import gpu_recurrence
from frenchpress.kernels.gpu.launch import choose_tiling, machine
from frenchpress.kernels.gpu.tiles import Tiles, Tiling

if TYPE_CHECKING:
    from frenchpress.nnet.lstm import QuantLSTMLayer

_EXACT_BITS = 20  # the kernels round in float32 arithmetic, exact up to here


def serves(layer: QuantLSTMLayer, x: Tensor) -> bool:
    """Whether the kernels take this call: float32, on a GPU that they run on."""
    return x.dtype == torch.float32 and takes(layer) and why_not(x.device) is None


def takes(layer: QuantLSTMLayer) -> bool:
    """Whether they take this kind of layer: outputs float or of a range that nothing leaves, cell state in float."""
    rounding = layer.act_out
    static = 1 < rounding.bits <= _EXACT_BITS and not rounding.per_call and not rounding.clips
    return (rounding.is_float or static) and layer.act_cell is None


def recurrence(layer: QuantLSTMLayer, projections: Tensor, sizes: list[int]) -> Tensor:
    """Outputs [N, cells] from packed, shifted projections [N, 4 cells] with `sizes[t]` rows at step t."""
    matrix, scale = layer.recurrent_matrix, None
    if not layer.act_out.is_float:
        scale = layer.act_out.grid(projections.dtype)[1]
    structure = matrix.structure
    weight = matrix() if structure is None else matrix.compact(structure)
    tiling = choose_tiling(layer.cells, sizes[0], machine(projections.device))
    return gpu_recurrence(projections, weight, sizes, _tiles(matrix, tiling), structure, scale)


def kernel_line(layers: nn.ModuleDict, device: torch.device) -> str:
    """What computes the LSTM layers of a model on the GPU `device`, for a log."""
    name, reason = torch.cuda.get_device_name(device), why_not(device)
    if reason is not None:
        return f"LSTM layers on {name}, by torch alone; GPU kernels are not used: {reason}"
    ours, plain = ([name for name, layer in layers.items() if takes(layer) == wanted] for wanted in (True, False))
    parts = [f"{', '.join(names)} by {how}" for names, how in ((ours, "GPU kernels"), (plain, "torch")) if names]
    return f"LSTM layers on {name}: {'; '.join(parts)}"


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
