"""The pressed layers that are timed."""

from __future__ import annotations

import torch
from torch import nn

from frenchpress.compress import HcgsOptions, LayerPress
from frenchpress.nnet.lstm import QuantLSTMLayer

PRESSES = {
    "lstm (float)": LayerPress(),
    "w8a16": LayerPress(8, 16),
    "w8a16_hcgs16x": LayerPress(8, 16, hcgs=HcgsOptions((32, 2), ("4/16", "4/16"))),
}


def pressed_layers(
    inputs: int, cells: int, layers: int, press: LayerPress, seed: int, norm: bool = True
) -> nn.Sequential:
    """LSTM layers one on the other, [B, T, inputs] -> [B, T, cells], with weights and masks drawn after `seed`."""
    torch.manual_seed(seed)
    sizes = [inputs, *[cells] * layers]
    stack = (
        QuantLSTMLayer(n, cells, press, norm, input_limit=1.0 if i else None) for i, n in enumerate(sizes[:-1])
    )
    return nn.Sequential(*stack)
