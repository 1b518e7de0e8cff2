"""The compressed layers that are timed, in training and packed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.sparsity import HierarchyMask
from frenchpress.config import Config, LayerPress, MatrixPress
from frenchpress.config.schema import LstmConfig, ModelConfig
from frenchpress.export.pack import pack_model
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.packed.model import PackedModel
from frenchpress.packed.runtime import Runtime
from frenchpress.packed.write import model_bytes

PRESSES = {
    "lstm (float)": LayerPress(),
    "w8a16": LayerPress(8, 16),
    "w8a16_hcgs16x": LayerPress(8, 16, hcgs=HierarchyMask(blocks=(32, 2), keep=("4/16", "4/16"))),
}

TRAINED = {
    **PRESSES,
    "w6a13_bank16x": LayerPress(6, 13, mask={"method": "bank", "bank": 32, "keep": "2/32", "after_epoch": 0}),
    "w8a16_magnitude16x": LayerPress(8, 16, mask={"method": "magnitude", "keep": "1/16", "after_epoch": 0}),
}


def _bank(bank: int, keep: str) -> MatrixPress:
    return MatrixPress(mask={"method": "bank", "bank": bank, "keep": keep, "after_epoch": 0})


def _banks(weight_bits: int, act_bits: int) -> dict[str, LayerPress]:
    """The layers of conf/w6a13_bank16x.cfg, with these bits."""
    bits, inputs = (weight_bits, act_bits), _bank(32, "2/32")
    recurrent = {"lstm0": _bank(64, "1/64"), "lstm*": _bank(32, "1/32")}
    return {name: LayerPress(*bits, input=inputs, recurrent=matrix) for name, matrix in recurrent.items()}


# Masks by magnitude: of weights that are drawn any are the largest.
PACKED: dict[str, dict[str, LayerPress]] = {
    **{name: {"lstm*": PRESSES[name]} for name in ("w8a16", "w8a16_hcgs16x")},
    "w8a16_magnitude16x": {"lstm*": TRAINED["w8a16_magnitude16x"]},
    "w6a13_bank16x": _banks(6, 13),
    "w8a8": {"lstm*": LayerPress(8, 8)},
    "w8a8_hcgs16x": {"lstm*": replace(PRESSES["w8a16_hcgs16x"], act_bits=8)},
    "w6a8_bank16x": _banks(6, 8),
}
"""Layers by name or pattern, as `compress` of a configuration."""


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


def acoustic_model(inputs: int, cells: int, layers: int, press: dict[str, LayerPress], seed: int) -> AcousticModel:
    """The same as a whole model: features [T, inputs], no context, and a head of one output."""
    model = ModelConfig(context=(0, 0), lstm=LstmConfig(layers=layers, cells=cells))
    # A mask cannot be finer than the head is high, and its time is not what is asked for. Of 4 bits, so that the sum
    # over many cells stays within 32.
    head = LayerPress(4, next(iter(press.values())).act_bits)
    config = Config(seed=seed, model=model, compress={**press, "head_*": head})
    network = AcousticModel(config, Sizes(feat_dim=inputs, num_pdfs=1, num_phones=1))
    MaskSchedule(network, seed).finish()
    with torch.no_grad():
        network(torch.randn(1, 32, inputs), torch.tensor([32]))  # sets the range of the inputs
    return network.eval()


def packed(model: AcousticModel) -> PackedModel:
    """That model as integers."""
    return pack_model(model, np.ones(1, np.int64), {})


def packed_model(inputs: int, cells: int, layers: int, press: dict[str, LayerPress], seed: int) -> PackedModel:
    """Layers as integers, by the same words."""
    return packed(acoustic_model(inputs, cells, layers, press, seed))


def packed_layers(inputs: int, cells: int, layers: int, press: dict[str, LayerPress], seed: int) -> Runtime:
    """That model in the runtime."""
    return Runtime(model_bytes(packed_model(inputs, cells, layers, press, seed)))
