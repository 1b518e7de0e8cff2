"""What a packed model holds: integers, and the numbers that turn accumulators into gates and logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.combinations import Counted
from frenchpress.packed.index import Level, Mask, encode_index
from frenchpress.packed.runs import Runs

Integers = NDArray[np.int32]

GATES = 4
MAX_HOLD = 2**16 - 1
GATE_BITS = 16
"""Fraction bits of a gate before its nonlinearity, and of a logit."""


@dataclass(frozen=True)
class PackedMatrix:
    """`gates` matrices [rows, columns], one above the other, of `bits`-bit integers.

    `values` int32 [gates * rows, columns], zero where not kept. `masks` is empty for a dense matrix; otherwise it has
    one mask bool [rows, columns] that all gates share, or one for each: hierarchies of `levels`, blocks that keep
    equally many as `counted` says, or any.
    """

    gates: int
    bits: int
    values: Integers
    levels: tuple[Level, ...] = ()
    masks: tuple[Mask, ...] = ()
    counted: Counted | None = None

    @property
    def rows(self) -> int:
        """Rows of one gate."""
        return self.values.shape[0] // self.gates

    @property
    def columns(self) -> int:
        """Inputs."""
        return self.values.shape[1]

    @property
    def mask(self) -> Mask:
        """Of all gates, bool [gates * rows, columns]."""
        if not self.masks:
            return np.ones(self.values.shape, np.bool_)
        return np.concatenate(self.masks * (self.gates // len(self.masks)))

    @property
    def runs(self) -> tuple[Runs, ...]:
        """Of each mask, where nothing is known of these; empty otherwise."""
        return () if self.levels or self.counted else tuple(Runs.of(mask) for mask in self.masks)

    @property
    def index(self) -> tuple[NDArray[np.uint8], ...]:
        """Bits of the index of each mask; UserError where a mask is not what it is said to be."""
        if self.counted:
            return tuple(self.counted.write(mask, highest_first=False) for mask in self.masks)
        return tuple(encode_index(mask, self.levels) for mask in self.masks)

    @property
    def kept(self) -> int:
        """Number of weights stored."""
        if not self.masks:
            return int(self.values.size)
        return sum(int(mask.sum()) for mask in self.masks) * (self.gates // len(self.masks))

    @property
    def content_bits(self) -> int:
        """Bits of the kept weights and of the index: what theory asks for."""
        return self.kept * self.bits + sum(map(len, self.index))


@dataclass(frozen=True)
class Requantizer:
    """Turns integers of one grid into those of another: round(q * multiplier / 2^shift). Multiplier 0: as they are."""

    multiplier: int = 0
    shift: int = 0


@dataclass(frozen=True)
class PackedInput:
    """Features float32 [dim] -> integers clamp(round((x - mean) * gain)), spliced: of `left` frames before, the frame
    itself and `right` after it every `stride`-th, from the first to the last. Where `left` is less than 0, the first is
    so many frames after the frame itself.
    """

    left: int
    right: int
    bits: int
    mean: NDArray[np.float32]
    gain: NDArray[np.float32]
    stride: int = 1

    @property
    def dim(self) -> int:
        """Features per frame."""
        return len(self.mean)

    @property
    def offsets(self) -> range:
        """The frames that are spliced, counted from the current one."""
        return range(-self.left, self.right + 1, self.stride)

    @property
    def width(self) -> int:
        """Numbers of a spliced frame."""
        return len(self.offsets) * self.dim


@dataclass(frozen=True)
class PackedLstm:
    """One LSTM layer, gates in the order i, f, g, o.

    A gate's argument is (acc_x * input_multiplier + acc_h * recurrent_multiplier) / 2^shift + bias, with GATE_BITS
    fraction bits; batch norm and all scales are folded into these, and so is a 2 for gate g, since tanh(x) is
    2 sigmoid(2 x) - 1. `out_multiplier`: 2^15 over the step of the outputs. An input, or an output, is seen as it was
    last sent on until it has moved by more than `hold_input`, or `hold_output`, of its integers.
    """

    input_bits: int
    output_bits: int
    requantizer: Requantizer
    out_multiplier: int
    shift: int
    input_multiplier: Integers
    recurrent_multiplier: Integers
    bias: Integers
    input_matrix: PackedMatrix
    recurrent_matrix: PackedMatrix
    hold_input: int = 0
    hold_output: int = 0

    @property
    def cells(self) -> int:
        """Outputs per frame."""
        return self.recurrent_matrix.columns


@dataclass(frozen=True)
class PackedHead:
    """Logits with GATE_BITS fraction bits: acc * multiplier / 2^shift + bias.

    `log_prior`: of each output, the same format; UNSEEN for one that training never saw.
    """

    input_bits: int
    requantizer: Requantizer
    shift: int
    multiplier: Integers
    bias: Integers
    log_prior: Integers
    matrix: PackedMatrix


UNSEEN = -(2**31)


ENDS_PHONE, SELF_LOOP = 1, 2
"""Flags of a graph label: the arc ends its phone; the arc stays in its state."""


@dataclass(frozen=True)
class PackedFront:
    """What makes features of cepstra, and phones of the labels of a decoding graph. The network does without it.

    Features: cepstra or filterbanks less a running mean that begins as `mean` float32 [ceps], `left` + 1 + `right`
    frames side by side, through `matrix` float32 [dim, (left + 1 + right) * ceps]. Phones as adaptation knows them, on
    the features of training: `weight` float32 [phones] (share of frames, 0 for silence), `means` and `variances`
    float32 [phones, dim]; no phones where the features are not adapted to the speaker. Input label k + 1 of the graph
    reads output `label_pdf[k]` and is of phone `label_phone[k]`, with flags `label_flags[k]`; all int32 [labels].
    """

    left: int
    right: int
    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]
    weight: NDArray[np.float32]
    means: NDArray[np.float32]
    variances: NDArray[np.float32]
    label_pdf: Integers
    label_phone: Integers
    label_flags: Integers

    @property
    def content_bits(self) -> int:
        """32 for every number, and for every label with what it stands for."""
        numbers = (self.mean, self.matrix, self.weight, self.means, self.variances, self.label_pdf)
        return 32 * sum(n.size for n in numbers)


@dataclass(frozen=True)
class Outline:
    """What a program must know of a model to feed it and to use its logits: all but the numbers it computes with.

    `log_prior`, `meta` and `front`: as in PackedHead and PackedModel.
    """

    input: PackedInput
    log_prior: Integers
    meta: dict[str, Any] = field(default_factory=dict)
    front: PackedFront | None = None

    @property
    def outputs(self) -> int:
        """Logits per frame."""
        return len(self.log_prior)


@dataclass(frozen=True)
class PackedModel:
    """A whole network. `meta`: plain values for people and tools (phones, decoding options, where it came from)."""

    input: PackedInput
    layers: tuple[PackedLstm, ...]
    head: PackedHead
    meta: dict[str, Any] = field(default_factory=dict)
    front: PackedFront | None = None

    @property
    def outputs(self) -> int:
        """Logits per frame."""
        return len(self.head.bias)

    @property
    def outline(self) -> Outline:
        """The model without its weights."""
        return Outline(self.input, self.head.log_prior, self.meta, self.front)

    @property
    def matrices(self) -> tuple[PackedMatrix, ...]:
        """Of each layer those of its inputs and of its own outputs, then that of the head."""
        layers = (matrix for layer in self.layers for matrix in (layer.input_matrix, layer.recurrent_matrix))
        return (*layers, self.head.matrix)

    @property
    def holds(self) -> bool:
        """Whether anything that moved is not sent on."""
        return any(layer.hold_input or layer.hold_output for layer in self.layers)

    @property
    def content_bits(self) -> int:
        """Bits of everything that is computed with: weights, index, and 32 for every other number."""
        others = 2 * self.input.dim + sum(3 * len(layer.bias) for layer in self.layers) + 3 * self.outputs
        front = self.front.content_bits if self.front else 0
        holds = 32 * len(self.layers) if self.holds else 0
        return sum(m.content_bits for m in self.matrices) + 32 * others + holds + front
