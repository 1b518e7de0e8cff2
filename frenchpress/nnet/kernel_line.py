"""What computes the LSTM layers of a model, in one line."""

from __future__ import annotations

import torch
from torch import nn

from frenchpress.kernels.backend import Backend
from frenchpress.kernels.gpu import backend as gpu_kernels
from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.native import backend as native_kernels
from frenchpress.kernels.native import library


def kernel_line(layers: nn.ModuleDict, device: torch.device) -> str:
    """What computes `layers`, a model's `QuantLSTMLayer`s by name, on `device`, for a log."""
    if device.type != "cpu":
        gpu, reason = torch.cuda.get_device_name(device), why_not(device)
        if reason is not None:
            return f"LSTM layers on {gpu}, by torch alone; GPU kernels are not used: {reason}"
        return f"LSTM layers on {gpu}: {_shared_out(layers, 'GPU kernels', gpu_kernels)}"
    if library() is None:
        return "LSTM layers by torch alone: compiled kernels were not built (no C compiler), or FRENCHPRESS_NATIVE=0"
    by_whom = _shared_out(layers, "compiled kernels", native_kernels)
    return f"LSTM layers: {by_whom}; {torch.get_num_threads()} threads"


def _shared_out(layers: nn.ModuleDict, ours: str, backend: Backend) -> str:
    """`lstm0 by compiled kernels; lstm1 by torch`."""
    taken = {name: backend.takes(layer.parts) for name, layer in layers.items()}
    fast, plain = ([name for name in taken if taken[name] == wanted] for wanted in (True, False))
    return "; ".join(f"{', '.join(names)} by {how}" for names, how in ((fast, ours), (plain, "torch")) if names)
