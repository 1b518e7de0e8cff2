"""Quantizers of weights: float tensors on a grid, straight-through gradients, the integers back.

Every quantizer is a module: `forward(x)` gives the tensor on the grid, `encode(x)` its codes with a scale, a zero
point or a table, `integers(x)` gives `(integers, scale)` with `integers * scale` equal to `forward(x)` to the bit.
`granularity` says what one scale serves, `levels` counts the values, `stored_bits` the bits that one value needs.
32 bits mean float: `forward` is the identity.
"""

from __future__ import annotations

from typing import Any

from frenchpress.common import UserError, unknown
from frenchpress.compress.options import FLOAT_BITS, WeightPress, bit_range, check_bits, read_method_options
from frenchpress.compress.quantizers.base import BitQuantizer, NoQuantizer, Quantizer, name_quantizers
from frenchpress.compress.quantizers.codebooks import BinaryBasesQuantizer, KMeansQuantizer
from frenchpress.compress.quantizers.codes import ROW, TENSOR, Codes, Granularity, groups_of
from frenchpress.compress.quantizers.few import BinaryQuantizer, TernaryQuantizer
from frenchpress.compress.quantizers.grid import largest_integer, round_scale, scale_bits, straight_through, to_grid
from frenchpress.compress.quantizers.incremental import IncrementalQuantizer
from frenchpress.compress.quantizers.powers import PowerQuantizer, PowerSumQuantizer
from frenchpress.compress.quantizers.published import BalancedQuantizer, CeilQuantizer, DorefaQuantizer
from frenchpress.compress.quantizers.shifted import AffineQuantizer, BlockFloatQuantizer, FixedPointQuantizer
from frenchpress.compress.quantizers.uniform import LsqQuantizer, UniformQuantizer

__all__ = [
    "QUANTIZERS",
    "ROW",
    "TENSOR",
    "BitQuantizer",
    "Codes",
    "Granularity",
    "Quantizer",
    "groups_of",
    "largest_integer",
    "make_quantizer",
    "name_quantizers",
    "quantizer_of",
    "round_scale",
    "scale_bits",
    "straight_through",
    "to_grid",
]

QUANTIZERS: dict[str, type[Quantizer]] = {
    "uniform": UniformQuantizer,
    "ceil": CeilQuantizer,
    "none": NoQuantizer,
    "balanced": BalancedQuantizer,
    "lsq": LsqQuantizer,
    "binary": BinaryQuantizer,
    "ternary": TernaryQuantizer,
    "pot": PowerQuantizer,
    "apot": PowerSumQuantizer,
    "affine": AffineQuantizer,
    "fixed_point": FixedPointQuantizer,
    "block_float": BlockFloatQuantizer,
    "kmeans": KMeansQuantizer,
    "abc": BinaryBasesQuantizer,
    "dorefa": DorefaQuantizer,
    "inq": IncrementalQuantizer,
}


def make_quantizer(name: str, bits: int, **options: Any) -> Quantizer:
    """The weight quantizer registered as `name` with `bits` bits; UserError names what would be right."""
    if name not in QUANTIZERS:
        raise UserError(f"quantizer: {unknown(name, QUANTIZERS)}")
    check_bits(bits, "weight_bits")
    kind = QUANTIZERS[name]
    if bits not in kind.takes:
        raise UserError(f"weight_bits: {bits}: quantizer {name} takes {bit_range(kind.takes)}")
    return kind(bits, read_method_options(kind.Options, options, f"quantizer_options: {name}"))


def quantizer_of(press: WeightPress) -> Quantizer:
    """The quantizer that `press` asks for; UserError where something in it would do nothing."""
    name, bits, options = press.quantizer, press.weight_bits, press.quantizer_options or {}
    quantizer = make_quantizer(name, bits, **options)
    if name == "none" and bits != FLOAT_BITS:
        raise UserError(f"weight_bits: {bits} would do nothing: quantizer none is float")
    if quantizer.is_float and (options or name not in ("uniform", "none")):
        what = "quantizer_options" if options else f"quantizer: {name}"
        raise UserError(f"{what} would do nothing: weight_bits: 32 is float")
    return quantizer
