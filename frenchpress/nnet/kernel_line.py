"""What computes the LSTM layers of a model, in one line."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.native import library
from frenchpress.nnet import native_lstm
from frenchpress.nnet.lstm import QuantLSTMLayer


def kernel_line(layers: nn.ModuleDict, device: torch.device) -> str:
    """What computes `layers`, a model's `QuantLSTMLayer`s by name, on `device`, for a log."""
    if device.type != "cpu":
        gpu, reason = torch.cuda.get_device_name(device), why_not(device)
        if reason is not None:
            return f"LSTM layers on {gpu}, by torch alone; GPU kernels are not used: {reason}"
        return f"LSTM layers on {gpu}: {_shared_out(layers, 'GPU kernels', lambda layer: layer.suits_kernels)}"
    if library() is None:
        return "LSTM layers by torch alone: compiled kernels were not built (no C compiler), or FRENCHPRESS_NATIVE=0"
    by_whom = _shared_out(layers, "compiled kernels", native_lstm.takes)
    return f"LSTM layers: {by_whom}; {torch.get_num_threads()} threads"


def _shared_out(layers: nn.ModuleDict, ours: str, takes: Callable[[QuantLSTMLayer], bool]) -> str:
    """`lstm0 by compiled kernels; lstm1 by torch`."""
    fast, plain = ([name for name, layer in layers.items() if takes(layer) == wanted] for wanted in (True, False))
    return "; ".join(f"{', '.join(names)} by {how}" for names, how in ((fast, ours), (plain, "torch")) if names)
