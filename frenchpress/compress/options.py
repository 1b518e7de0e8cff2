"""What is done to one layer, as data; the `compress:` section of a `.cfg` fills these in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, get_args, get_type_hints

from frenchpress.common import UserError, blaming, unknown
from frenchpress.common.typed import parse_fraction

FLOAT_BITS = 32


def check_bits(bits: int, what: str) -> None:
    """UserError unless `bits` is a whole number in 1..32."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= FLOAT_BITS:
        raise UserError(f"{what}: {bits!r} is not a number of bits; use 1 to 32 (32: float)")


@dataclass(frozen=True)
class HcgsOptions:
    """Hierarchical coarse-grain sparsity (Kadetotad et al., JSSC 2020), one entry per level, coarse first.

    `blocks`: side of the square blocks. `keep`: fraction of the blocks of a row of blocks (level 1), or of a
    kept block's row of sub-blocks (level 2 and on), that is kept; strings such as `"4/16"` are read.
    `share_gates`: the four gates of an LSTM layer have the same kept blocks.
    """

    blocks: tuple[int, ...] = (32, 2)
    keep: tuple[Fraction, ...] = (Fraction(4, 16), Fraction(4, 16))
    share_gates: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, Sequence) or isinstance(self.blocks, str) or not self.blocks:
            raise UserError(f"hcgs.blocks: {self.blocks!r} is not a list of block sizes; write e.g. [32, 2]")
        if not isinstance(self.keep, Sequence) or isinstance(self.keep, str):
            raise UserError(f"hcgs.keep: {self.keep!r} is not a list of fractions; write e.g. [4/16, 4/16]")
        if len(self.blocks) != len(self.keep):
            raise UserError(
                f"hcgs: {len(self.blocks)} block sizes, {len(self.keep)} keep fractions; one each per level"
            )
        for block in self.blocks:
            if isinstance(block, bool) or not isinstance(block, int) or block < 1:
                raise UserError(f"hcgs.blocks: {block!r} is not a block size; use whole numbers from 1 up")
        for outer, inner in zip(self.blocks, self.blocks[1:]):
            if inner > outer:
                raise UserError(f"hcgs.blocks: {inner} lies inside {outer} and must not be larger than it")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "keep", tuple(parse_fraction(k, "hcgs.keep") for k in self.keep))

    @property
    def asked_density(self) -> float:
        """The product of the kept fractions; the realised density differs where sizes do not divide."""
        return float(math.prod(self.keep))


def _rarely() -> Any:
    """A field that is left out of a configuration written down while nothing is said in it."""
    return field(default=None, metadata={"rare": True})


@dataclass(frozen=True)
class MatrixPress:
    """What is said of one matrix of an LSTM layer, and of what it multiplies, in place of what its layer says.

    Another quantizer leaves the layer's options behind, since options belong to a method.
    """

    weight_bits: int | None = _rarely()
    act_bits: int | None = _rarely()
    quantizer: str | None = _rarely()
    act_quantizer: str | None = _rarely()
    quantizer_options: dict[str, Any] | None = _rarely()
    act_options: dict[str, Any] | None = _rarely()
    mask: dict[str, Any] | None = _rarely()

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
class LayerPress:
    """How one layer is compressed: everything that an LSTM layer or a head needs to know. 32 bits mean float.

    `quantizer`: name in the weight quantizer registry. `act_quantizer`: name in that of activations, `fixed` (static
    scale) or `dynamic` (maximum of the tensor at each call) or a learned one. Names, and the options that go with
    them, are checked as the layer is built. `mask`: another mask in place of `hcgs`, its method and what that takes
    (frenchpress.compress.sparsity). `prune`: magnitude pruning of what `hcgs` or a drawn `mask` keeps, or of all
    weights: the share that is left, and when. For an LSTM layer alone: `cell_bits` of the cell state, which is
    quantized as `act_quantizer` says; `input` and `recurrent` say what differs for the matrix that multiplies the
    layer's inputs, and these, and for the one that multiplies its outputs, and these.
    """

    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    quantizer: str = "uniform"
    act_quantizer: str = "fixed"
    hcgs: HcgsOptions | None = None
    quantizer_options: dict[str, Any] | None = _rarely()
    act_options: dict[str, Any] | None = _rarely()
    mask: dict[str, Any] | None = _rarely()
    prune: dict[str, Any] | None = _rarely()
    cell_bits: int | None = _rarely()
    input: MatrixPress | None = _rarely()
    recurrent: MatrixPress | None = _rarely()

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.act_bits, "act_bits")
        if self.cell_bits is not None:
            check_bits(self.cell_bits, "cell_bits")
        if self.hcgs is not None and self.mask is not None:
            raise UserError("mask: hcgs makes one already; one mask for a matrix, so leave one out (hcgs: null)")

    def of_matrix(self, name: str) -> LayerPress:
        """What comes to the matrix `input` or `recurrent` of an LSTM layer."""
        own: MatrixPress | None = getattr(self, name)
        alone = replace(self, cell_bits=None, input=None, recurrent=None)
        return alone if own is None else own.over(alone)

    def of_cell(self) -> LayerPress:
        """What comes to the cell state, as bits of an activation."""
        return replace(self, act_bits=self.cell_bits or FLOAT_BITS, cell_bits=None, input=None, recurrent=None)

    def refuse_lstm_keys(self) -> None:
        """UserError if something is said that only an LSTM layer has."""
        for name in ("cell_bits", "input", "recurrent"):
            if getattr(self, name) is not None:
                raise UserError(f"{name}: only an LSTM layer has this; say it for lstm*")


def bit_range(takes: range) -> str:
    """`4 bits` or `2 to 6 bits`."""
    if len(takes) == 1:
        return f"{takes[0]} bit{'s' if takes[0] > 1 else ''}"
    return f"{takes[0]} to {takes[-1]} bits"


@dataclass(frozen=True)
class NoOptions:
    """Of a method that has none."""


def read_method_options(kind: type, values: dict[str, Any], where: str) -> Any:
    """An instance of the options dataclass `kind`; UserError for unknown names, wrong types, what `kind` refuses.

    `where` begins the error: `quantizer_options: lsq`.
    """
    hints = {f.name: get_type_hints(kind)[f.name] for f in fields(kind)}
    for name, value in values.items():
        if name not in hints:
            problem = unknown(name, hints, "option ") if hints else f"unknown option {name!r}; it takes no options"
            raise UserError(f"{where}: {problem}")
        if not _fits(value, hints[name]):
            wanted = " or ".join(t.__name__ for t in _alternatives(hints[name]) if t is not type(None))
            raise UserError(f"{where}: {name}: {value!r} is no {wanted}")
    with blaming(where):
        return kind(**values)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) or (hint,)


def _fits(value: Any, hint: Any) -> bool:
    kinds = _alternatives(hint)
    if isinstance(value, bool):  # an int to Python, not to the reader of a .cfg
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
