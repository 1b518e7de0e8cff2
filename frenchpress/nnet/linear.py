"""The compressed linear layer of the heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frenchpress.compress import act_quantizer_of, refuse_unused_act
from frenchpress.config import LayerPress
from frenchpress.kernels.product import project
from frenchpress.nnet.weight import weight_of


class PressedLinear(nn.Module):
    """y = x W^T + b with W compressed and x quantized.

    `input_limit`: range of the inputs if known (1.0 behind an LSTM); otherwise the `fixed` activation quantizer
    calibrates it. Weights start uniform within sqrt(6 / (kept inputs + outputs)) (Glorot & Bengio 2010, eq. 16;
    for the inputs that a mask leaves), biases at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        press: LayerPress = LayerPress(),  # noqa: B008 (frozen)
        input_limit: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        press.refuse_lstm_keys()
        self.inputs, self.outputs = inputs, outputs
        self.matrix = weight_of((outputs, inputs), press, generator=generator)
        self.act = act_quantizer_of(press, input_limit)
        refuse_unused_act(press, self.act)
        self.bias = nn.Parameter(torch.zeros(outputs))
        bound = (6 / (inputs * self.matrix.density + outputs)) ** 0.5
        with torch.no_grad():
            self.matrix.start(torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        rows = self.act(x.reshape(-1, self.inputs))
        y = project(rows, self.matrix) + self.bias
        return y.view(*x.shape[:-1], self.outputs)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"{self.inputs}, {self.outputs}"
