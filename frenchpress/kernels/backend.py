"""The protocol between an LSTM layer and what computes it: the layer hands over its parts, and knows no kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from frenchpress.compress import ActQuantizer, Weight

_EXACT_BITS = 20  # kernels round in float32 arithmetic, exact up to here


@dataclass(frozen=True)
class LstmParts:
    """What an LSTM layer computes with; gates in the order i, f, g, o.

    `input_matrix` [4 cells, inputs] multiplies what `act_in` gives, `recurrent_matrix` [4 cells, cells] the outputs,
    which `act_out` rounds; `act_cell`, where there is one, rounds the cell state. The projections of the inputs are
    normalised by `norm`, or have `bias` [4 cells] added. `training`: whether the statistics of `norm` are the batch's.
    """

    input_matrix: Weight
    recurrent_matrix: Weight
    act_in: ActQuantizer
    act_out: ActQuantizer
    act_cell: ActQuantizer | None
    norm: nn.BatchNorm1d | None
    bias: Tensor | None
    training: bool

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


class Backend(Protocol):
    """One way to compute an LSTM layer; all give the numbers of `frenchpress.kernels.reference` to rounding."""

    def takes(self, parts: LstmParts) -> bool:
        """Whether it is there, and computes layers of this kind."""

    def serves(self, parts: LstmParts, x: Tensor) -> bool:
        """Whether it takes this call: the type of `x` [B, T, inputs], its device, its size."""

    def run(self, parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
        """`x` [B, T, inputs], `lengths` int64 [B] in 1..T on the CPU -> outputs [B, T, cells], zero at padding."""
