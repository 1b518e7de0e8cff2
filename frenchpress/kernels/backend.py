"""The protocol between an LSTM layer and what computes it: the layer hands over its parts, and knows no kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from frenchpress.compress import ActQuantizer, Weight
from frenchpress.kernels.delta import held, margin_of

_EXACT_BITS = 20  # kernels round in float32 arithmetic, exact up to here


@dataclass(frozen=True)
class LstmParts:
    """What an LSTM layer computes with; gates in the order i, f, g, o.

    `input_matrix` [4 cells, inputs] multiplies what `act_in` gives, `recurrent_matrix` [4 cells, cells] the outputs,
    which `act_out` rounds; `act_cell`, where there is one, rounds the cell state. The projections of the inputs are
    normalised by `norm`, or have `bias` [4 cells] added. `training`: whether the statistics of `norm` are the batch's.
    `delta`: thresholds of inputs and outputs, which are sent on when they have moved by more; None: always.
    """

    input_matrix: Weight
    recurrent_matrix: Weight
    act_in: ActQuantizer
    act_out: ActQuantizer
    act_cell: ActQuantizer | None
    norm: nn.BatchNorm1d | None
    bias: Tensor | None
    training: bool
    delta: tuple[float, float] | None = None

    @property
    def holds_inputs(self) -> bool:
        """Whether an input that has moved may be seen as it was."""
        return self.delta is not None and self.delta[0] > 0

    def held_inputs(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """What the input matrix sees of rounded inputs `x` [N, inputs], packed by time step."""
        if not self.holds_inputs:
            return x
        return held(x, sizes, margin_of(self.delta[0], _scale(self.act_in, x)))

    def seen_inputs(self, x: Tensor) -> Tensor:
        """The same of rounded inputs [B, T, inputs]."""
        if not self.holds_inputs:
            return x
        batch, steps, inputs = x.shape
        by_step = x.transpose(0, 1).reshape(-1, inputs)
        return self.held_inputs(by_step, [batch] * steps).view(steps, batch, inputs).transpose(0, 1)

    def output_margin(self, like: Tensor) -> float:
        """What an output's move must exceed to be sent on; negative: all are."""
        holds = self.delta is not None and self.delta[1] > 0
        return margin_of(self.delta[1], _scale(self.act_out, like)) if holds else -1.0

    @property
    def cells(self) -> int:
        """Outputs per frame."""
        return self.recurrent_matrix.shape[1]

    @property
    def suits_kernels(self) -> bool:
        """Whether outputs are float, or rounded over a range that nothing leaves, and the cell state is float.

        More, neither the compiled kernels nor those for GPUs can do.
        """
        rounding = self.act_out
        static = 1 < rounding.bits <= _EXACT_BITS and not rounding.per_call and not rounding.clips
        return (rounding.is_float or static) and self.act_cell is None


def _scale(quantizer: ActQuantizer, like: Tensor) -> Tensor | None:
    """The step of the grid that values are on; None where there is none, or not yet."""
    grid = None if quantizer.is_float else quantizer.grid(like.dtype)
    return None if grid is None else grid[1]


class Backend(Protocol):
    """One way to compute an LSTM layer; all give the numbers of `frenchpress.kernels.reference` to rounding."""

    def takes(self, parts: LstmParts) -> bool:
        """Whether it is there, and computes layers of this kind."""

    def serves(self, parts: LstmParts, x: Tensor) -> bool:
        """Whether it takes this call: the type of `x` [B, T, inputs], its device, its size."""

    def run(self, parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
        """`x` [B, T, inputs], `lengths` int64 [B] in 1..T on the CPU -> outputs [B, T, cells], zero at padding."""
