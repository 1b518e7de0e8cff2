"""The compressed LSTM layer: its parameters. What computes with them is in frenchpress.kernels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress import ActQuantizer, Weight, act_quantizer_of, refuse_unused_act
from frenchpress.config import LayerPress
from frenchpress.kernels.backend import LstmParts
from frenchpress.kernels.backends import run_lstm
from frenchpress.kernels.delta import movement
from frenchpress.nnet.dropout import SequenceDropout
from frenchpress.nnet.weight import weight_of

GATES = 4


class QuantLSTMLayer(nn.Module):
    """Unidirectional LSTM layer with compressed matrices; gates in torch.nn.LSTM's order i, f, g, o.

    The input projections are batch-normalised over the real frames (Laurent et al. 2016, arXiv 1510.01378), whose
    shift takes the place of the bias; without `batch_norm` there is one bias. Weights are masked and quantized
    once per call; inputs are quantized, and so are the outputs h inside the recurrence, so that the next time
    step and the next layer see what an integer machine would. The cell state stays float unless `cell_bits` are given.
    With `delta` inputs and outputs that moved little are seen as they were when they were last sent on. Where
    `watches_movement` is set, `moved` [] is what the outputs of the last call in training moved (`movement`).

    Initialisation: input matrix uniform (Glorot), each gate's recurrent matrix orthogonal, both scaled up by
    1 / sqrt(density) where a mask removes some, and of factors their product as near to these as it can be; biases
    zero, but `forget_bias` for the forget gate, which lets the cell remember from the start (Jozefowicz et al. 2015).
    `input_limit`: range of the inputs if known (1.0 behind another LSTM layer). `dropout` zeroes outputs in training,
    `dropout_over` each frame's own or the same of a whole sequence. `generator` (CPU) draws masks and weights.
    """

    def __init__(
        self,
        inputs: int,
        cells: int,
        press: LayerPress = LayerPress(),  # noqa: B008 (frozen)
        batch_norm: bool = True,
        dropout: float = 0.0,
        dropout_over: str = "frame",
        input_limit: float | None = None,
        forget_bias: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.cells, self.dropout = inputs, cells, SequenceDropout(dropout, dropout_over)
        rows = GATES * cells
        self.input_matrix, act_in = _part("input", (rows, inputs), press, input_limit, generator)
        self.recurrent_matrix, act_out = _part("recurrent", (rows, cells), press, 1.0, generator)
        self.act_in, self.act_out = act_in, act_out
        cell = act_quantizer_of(press.of_cell())
        refuse_unused_act(press, self.act_in, self.act_out, cell)
        self.act_cell = None if cell.is_float else cell
        self.delta = None if press.delta is None else (press.delta.input, press.delta.output)
        # Few, long batches: statistics for evaluation are averaged over about the last 20.
        self.norm = nn.BatchNorm1d(rows, momentum=0.05) if batch_norm else None
        self.bias = None if batch_norm else nn.Parameter(torch.zeros(rows))
        self.watches_movement, self.moved = False, None
        self._initialise(forget_bias, generator)

    @torch.no_grad()
    def _initialise(self, forget_bias: float, generator: torch.Generator | None) -> None:
        matrix = self.input_matrix
        bound = (6 / (self.inputs * matrix.density + self.cells)) ** 0.5
        matrix.start(torch.empty(matrix.shape).uniform_(-bound, bound, generator=generator))
        matrix = self.recurrent_matrix
        gates = [_orthogonal(self.cells, generator) / matrix.density**0.5 for _ in range(GATES)]
        matrix.start(torch.cat(gates))
        shift = self.bias if self.norm is None else self.norm.bias
        shift.zero_()
        shift[self.cells : 2 * self.cells] = forget_bias

    @property
    def parts(self) -> LstmParts:
        """What the layer computes with, for a backend."""
        return LstmParts(
            self.input_matrix, self.recurrent_matrix, self.act_in, self.act_out, self.act_cell, self.norm, self.bias,
            self.training, self.delta,
        )  # fmt: skip

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`x` [B, T, inputs], `lengths` int64 [B] in 1..T (None: all T) -> [B, T, cells], zero at padding."""
        lengths = _checked_lengths(x, lengths)
        out = run_lstm(self.parts, x, lengths)
        self.moved = movement(out, lengths) if self.training and self.watches_movement else None
        return self.dropout(out)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"{self.inputs}, {self.cells}"


def _part(
    name: str, shape: tuple[int, int], press: LayerPress, limit: float | None, generator: torch.Generator | None
) -> tuple[Weight, ActQuantizer]:
    """One of the layer's matrices and the quantizer of what it multiplies; an error in its own entry names it."""
    own = getattr(press, name)
    try:
        press = press.of_matrix(name)
        matrix, act = weight_of(shape, press, GATES, generator), act_quantizer_of(press, limit)
        if own is not None and (own.act_quantizer or own.act_options):
            refuse_unused_act(press, act)
    except UserError as error:
        raise error if own is None else UserError(f"{name}: {error}") from None
    return matrix, act


def _orthogonal(size: int, generator: torch.Generator | None) -> Tensor:
    """Random orthogonal matrix, uniformly distributed: QR of a normal one with the signs of R undone."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator))
    return q * r.diagonal().sign()


def _checked_lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`lengths` on the CPU, all frames if None; ValueError unless they fit the batch."""
    batch, steps = x.shape[:2]
    lengths = torch.full((batch,), steps) if lengths is None else lengths.cpu()
    if lengths.shape != (batch,) or int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(f"lengths {lengths.tolist()} do not fit a batch of {batch} x {steps} frames")
    return lengths
