"""The pressed layers that are timed, in training and packed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from frenchpress.compress import HcgsOptions, LayerPress
from frenchpress.compress.schedule import MaskSchedule
from frenchpress.config import Config
from frenchpress.config.schema import LstmConfig, ModelConfig
from frenchpress.export.pack import pack_model
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.packed.runtime import Runtime
from frenchpress.packed.write import model_bytes

PRESSES = {
    "lstm (float)": LayerPress(),
    "w8a16": LayerPress(8, 16),
    "w8a16_hcgs16x": LayerPress(8, 16, hcgs=HcgsOptions((32, 2), ("4/16", "4/16"))),
}

TRAINED = {
    **PRESSES,
    "w6a13_bank16x": LayerPress(6, 13, mask={"method": "bank", "bank": 32, "keep": "2/32", "after_epoch": 0}),
    "w8a16_magnitude16x": LayerPress(8, 16, mask={"method": "magnitude", "keep": "1/16", "after_epoch": 0}),
}

PACKED = {
    **{name: PRESSES[name] for name in ("w8a16", "w8a16_hcgs16x")},
    # Single weights, each gate its own: of weights that are drawn any are the largest.
    "w8a16_magnitude16x": LayerPress(8, 16, mask={"method": "magnitude", "keep": "1/16", "after_epoch": 0}),
}


def pressed_layers(
    inputs: int, cells: int, layers: int, press: LayerPress, seed: int, norm: bool = True
) -> nn.Sequential:
    """LSTM layers one on the other, [B, T, inputs] -> [B, T, cells], with weights and masks drawn after `seed`.

    Masks that have a time are as they end.
    """
    torch.manual_seed(seed)
    sizes = [inputs, *[cells] * layers]
    stack = (QuantLSTMLayer(n, cells, press, norm, input_limit=1.0 if i else None) for i, n in enumerate(sizes[:-1]))
    model = nn.Sequential(*stack)
    MaskSchedule(model, seed).finish()
    return model


def packed_layers(inputs: int, cells: int, layers: int, press: LayerPress, seed: int) -> Runtime:
    """The same as a packed model: features [T, inputs], no context, and a head of one output."""
    model = ModelConfig(context=(0, 0), lstm=LstmConfig(layers=layers, cells=cells))
    # A mask cannot be finer than the head is high, and its time is not what is asked for. Of 4 bits, so that the sum
    # over many cells stays within 32.
    head = replace(press, hcgs=None, mask=None, weight_bits=4)
    config = Config(seed=seed, model=model, compress={"lstm*": press, "head_*": head})
    network = AcousticModel(config, Sizes(feat_dim=inputs, num_pdfs=1, num_phones=1))
    MaskSchedule(network, seed).finish()
    with torch.no_grad():
        network(torch.randn(1, 32, inputs), torch.tensor([32]))  # sets the range of the inputs
    return Runtime(model_bytes(pack_model(network.eval(), np.ones(1, np.int64), {})))
