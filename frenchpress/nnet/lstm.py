"""The compressed LSTM layer: input projections of all frames at once, then the recurrence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress import ActQuantizer, PressedWeight, act_quantizer_of, refuse_unused_act
from frenchpress.config import LayerPress
from frenchpress.kernels.recurrence import lstm_recurrence
from frenchpress.nnet import gpu_lstm, native_lstm
from frenchpress.nnet.dropout import SequenceDropout
from frenchpress.nnet.linear import project

GATES = 4
_EXACT_BITS = 20  # kernels round in float32 arithmetic, exact up to here


class QuantLSTMLayer(nn.Module):
    """Unidirectional LSTM layer with compressed matrices; gates in torch.nn.LSTM's order i, f, g, o.

    The input projections are batch-normalised over the real frames (Laurent et al. 2016, arXiv 1510.01378), whose
    shift takes the place of the bias; without `batch_norm` there is one bias. Weights are masked and quantized
    once per call; inputs are quantized, and so are the outputs h inside the recurrence, so that the next time
    step and the next layer see what an integer machine would. The cell state stays float unless `cell_bits` are given.

    Initialisation: input matrix uniform (Glorot), each gate's recurrent matrix orthogonal, both scaled up by
    1 / sqrt(density) where a mask removes some; biases zero, but `forget_bias` for the forget gate, which lets the
    cell remember from the start (Jozefowicz et al. 2015). `input_limit`: range of the inputs if known (1.0 behind
    another LSTM layer). `dropout` zeroes outputs in training, `dropout_over` each frame's own or the same of a whole
    sequence. `generator` (CPU) draws masks and weights.
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
        # Few, long batches: statistics for evaluation are averaged over about the last 20.
        self.norm = nn.BatchNorm1d(rows, momentum=0.05) if batch_norm else None
        self.bias = None if batch_norm else nn.Parameter(torch.zeros(rows))
        self._initialise(forget_bias, generator)

    @torch.no_grad()
    def _initialise(self, forget_bias: float, generator: torch.Generator | None) -> None:
        matrix = self.input_matrix
        bound = (6 / (self.inputs * matrix.density + self.cells)) ** 0.5
        matrix.weight.uniform_(-bound, bound, generator=generator)
        matrix = self.recurrent_matrix
        for gate in matrix.weight.view(GATES, self.cells, self.cells):
            gate.copy_(_orthogonal(self.cells, generator) / matrix.density**0.5)
        shift = self.bias if self.norm is None else self.norm.bias
        shift.zero_()
        shift[self.cells : 2 * self.cells] = forget_bias

    @property
    def suits_kernels(self) -> bool:
        """Whether outputs are float, or rounded over a range that nothing leaves, and the cell state is float.

        More, neither the compiled kernels nor those for GPUs can do.
        """
        rounding = self.act_out
        static = 1 < rounding.bits <= _EXACT_BITS and not rounding.per_call and not rounding.clips
        return (rounding.is_float or static) and self.act_cell is None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`x` [B, T, inputs], `lengths` int64 [B] in 1..T (None: all T) -> [B, T, cells], zero at padding."""
        if native_lstm.serves(self, x):
            return native_lstm.run(self, x, _checked_lengths(x, lengths))
        rows, sizes = _packing(x, lengths)
        packed = x.reshape(-1, self.inputs).index_select(0, rows)
        projections = self.shift(project(self.act_in(packed), self.input_matrix))
        h = self._recurrence(projections, sizes)
        out = h.new_zeros(x.shape[0] * x.shape[1], self.cells).index_copy(0, rows, h)
        return self.dropout(out.view(x.shape[0], x.shape[1], self.cells))

    def _recurrence(self, projections: Tensor, sizes: list[int]) -> Tensor:
        """Outputs [N, cells] from packed projections, by the GPU's kernels where they serve, else by torch."""
        if gpu_lstm.serves(self, projections):
            return gpu_lstm.recurrence(self, projections, sizes)
        structure = self.recurrent_matrix.structure
        weight = self.recurrent_matrix() if structure is None else self.recurrent_matrix.compact(structure)
        return lstm_recurrence(projections, weight, sizes, structure, self.act_out, self.act_cell)

    def shift(self, projections: Tensor) -> Tensor:
        """Batch norm or bias, on packed projections [N, 4 cells]. One frame alone has no variance to go by."""
        if self.norm is None:
            return projections + self.bias
        if len(projections) == 1 and self.training:
            n = self.norm
            return F.batch_norm(projections, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
        return self.norm(projections)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"{self.inputs}, {self.cells}"


def _part(
    name: str, shape: tuple[int, int], press: LayerPress, limit: float | None, generator: torch.Generator | None
) -> tuple[PressedWeight, ActQuantizer]:
    """One of the layer's matrices and the quantizer of what it multiplies; an error in its own entry names it."""
    own = getattr(press, name)
    try:
        press = press.of_matrix(name)
        matrix, act = PressedWeight(shape, press, GATES, generator), act_quantizer_of(press, limit)
        if own is not None and (own.act_quantizer or own.act_options):
            refuse_unused_act(press, act)
    except UserError as error:
        raise error if own is None else UserError(f"{name}: {error}") from None
    return matrix, act


def _orthogonal(size: int, generator: torch.Generator | None) -> Tensor:
    """Random orthogonal matrix, uniformly distributed: QR of a normal one with the signs of R undone."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator))
    return q * r.diagonal().sign()


def _packing(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, list[int]]:
    """Rows of the flattened [B * T] batch that are real, time step by time step, longest sequence first.

    Also the number of rows at each step. ValueError unless the lengths fit the batch.
    """
    steps, lengths = x.shape[1], _checked_lengths(x, lengths)
    ordered, order = torch.sort(lengths, descending=True, stable=True)
    real = torch.arange(int(ordered[0])).unsqueeze(1) < ordered
    rows = (order * steps + torch.arange(len(real)).unsqueeze(1))[real]
    return rows.to(x.device), real.sum(1).tolist()


def _checked_lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`lengths` on the CPU, all frames if None; ValueError unless they fit the batch."""
    batch, steps = x.shape[:2]
    lengths = torch.full((batch,), steps) if lengths is None else lengths.cpu()
    if lengths.shape != (batch,) or int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(f"lengths {lengths.tolist()} do not fit a batch of {batch} x {steps} frames")
    return lengths
