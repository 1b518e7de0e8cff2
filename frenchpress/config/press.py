"""What a `.cfg` says of a layer in its `compress:` section; what only an LSTM layer has is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from frenchpress.common import UserError
from frenchpress.common.typed import ranged
from frenchpress.compress import Factors, act_quantizer_of, check_weight_press, spelt_mask
from frenchpress.compress.activations import ACT_QUANTIZERS
from frenchpress.compress.options import FLOAT_BITS, WeightPress, check_bits, rarely
from frenchpress.compress.quantizers import QUANTIZERS
from frenchpress.compress.sparsity import HierarchyMask, MaskMethod, RowMask

MATRICES = ("input", "recurrent")


@dataclass(frozen=True, kw_only=True)
class CellMask(RowMask):
    """The `keep` cells of an LSTM layer with the largest mean magnitude of all that goes into them.

    A removed cell loses its rows in both matrices of the layer, and its column in every matrix that reads it, which
    leaves a smaller dense layer. Which cells these are is decided over both matrices (frenchpress.nnet.units).
    """

    linked: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.share_gates:
            raise UserError("share_gates: a cell has all its gates or none")


@dataclass(frozen=True)
class MatrixPress:
    """What is said of one matrix of an LSTM layer, and of what it multiplies, in place of what its layer says.

    Another quantizer leaves the layer's options behind, since options belong to a method.
    """

    weight_bits: int | None = rarely()
    act_bits: int | None = rarely()
    quantizer: str | None = rarely()
    act_quantizer: str | None = rarely()
    quantizer_options: dict[str, Any] | None = rarely()
    act_options: dict[str, Any] | None = rarely()
    mask: dict[str, Any] | None = rarely()
    factors: Factors | None = rarely()

    def __post_init__(self) -> None:
        for name in ("weight_bits", "act_bits"):
            if getattr(self, name) is not None:
                check_bits(getattr(self, name), name)

    def over(self, press: LayerPress) -> LayerPress:
        """`press` with what is said here in place of what it says."""
        said = {name: value for name, value in vars(self).items() if value is not None}
        for method, options in (("quantizer", "quantizer_options"), ("act_quantizer", "act_options")):
            if method in said:
                said.setdefault(options, None)
        return replace(press, **said)


@dataclass(frozen=True)
class Delta:
    """An input or an output of an LSTM layer is sent on when it has moved by more than this since it last was."""

    input: float = ranged(0.0, low=0.0)
    output: float = ranged(0.0, low=0.0)

    def __post_init__(self) -> None:
        if not self.input and not self.output:
            raise UserError("delta: input and output are both 0, which holds nothing back; leave it out")


@dataclass(frozen=True)
class LayerPress(WeightPress):
    """How one layer is compressed: everything that an LSTM layer or a head needs to know.

    `hcgs`: short for `mask: {method: hcgs}` with the same options. `factors`: two matrices of low rank in place of each
    one, and how small they are. For an LSTM layer alone: `cell_bits` of the cell state, which is quantized as
    `act_quantizer` says; `delta`: what moves little is not sent on; `input` and `recurrent` say what differs for the
    matrix that multiplies the layer's inputs, and these, and for the one that multiplies its outputs, and these.
    """

    masks: ClassVar[Mapping[str, type[MaskMethod]]] = {"cell": CellMask}

    hcgs: HierarchyMask | None = None
    factors: Factors | None = rarely()
    cell_bits: int | None = rarely()
    delta: Delta | None = rarely()
    input: MatrixPress | None = rarely()
    recurrent: MatrixPress | None = rarely()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell_bits is not None:
            check_bits(self.cell_bits, "cell_bits")
        if self.hcgs is not None and self.mask is not None:
            raise UserError("mask: hcgs makes one already; one mask for a matrix, so leave one out (hcgs: null)")
        if self.factors is not None and (self.said_mask or self.prune):
            raise UserError("factors: two small matrices in place of one have no mask; leave mask, hcgs and prune out")

    @classmethod
    def belongs_to(cls, key: str) -> str:
        """The section that has `key` as an option of some method; nothing where none has."""
        places = {"quantizer_options": QUANTIZERS.values(), "act_options": ACT_QUANTIZERS.values()}
        known = {place: {f.name for kind in kinds for f in fields(kind.Options)} for place, kinds in places.items()}
        return " or ".join(place for place, names in known.items() if key in names)

    @property
    def said_mask(self) -> Mapping[str, Any] | None:
        """`mask`, or what `hcgs` is short for."""
        return self.mask if self.hcgs is None else {"method": "hcgs", **vars(self.hcgs)}

    def of_matrix(self, name: str) -> LayerPress:
        """What comes to the matrix `input` or `recurrent` of an LSTM layer."""
        own: MatrixPress | None = getattr(self, name)
        alone = replace(self, cell_bits=None, delta=None, input=None, recurrent=None)
        return alone if own is None else own.over(alone)

    def of_cell(self) -> LayerPress:
        """What comes to the cell state, as bits of an activation."""
        bits = self.cell_bits or FLOAT_BITS
        return replace(self, act_bits=bits, cell_bits=None, delta=None, input=None, recurrent=None)

    def refuse_lstm_keys(self) -> None:
        """UserError if something is said that only an LSTM layer has."""
        for name in ("cell_bits", "delta", *MATRICES):
            if getattr(self, name) is not None:
                raise UserError(f"{name}: only an LSTM layer has this; say it for lstm*")


def check_press(press: LayerPress) -> None:
    """UserError, as when the layer is built, for a method or option that is wrong whatever the matrices' sizes."""
    for name in MATRICES:
        try:
            check_weight_press(press.of_matrix(name))
        except UserError as error:
            raise error if getattr(press, name) is None else UserError(f"{name}: {error}") from None
    act_quantizer_of(press.of_cell())


def self_contained(press: LayerPress) -> LayerPress:
    """`press` with the patterns of its `.npy` dictionaries in place of the files' names; UserError as in reading them.

    What is kept with a model then says all of its masks, whatever becomes of the files.
    """
    own = {name: getattr(press, name) for name in MATRICES}
    said = {name: replace(m, mask=spelt_mask(m.mask)) for name, m in own.items() if m is not None}
    return replace(press, mask=spelt_mask(press.mask), **said)
