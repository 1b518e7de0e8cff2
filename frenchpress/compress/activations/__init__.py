"""Activation quantizers: `fixed` has a static range as integer machines need, `dynamic` the tensor's, `pact` and `lsq`
a learned one.
"""

from __future__ import annotations

from typing import Any

from frenchpress.common import UserError, unknown
from frenchpress.compress.activations.base import ActQuantizer, DynamicActQuantizer
from frenchpress.compress.activations.learned import LsqActQuantizer, PactQuantizer
from frenchpress.compress.activations.static import FixedActQuantizer
from frenchpress.compress.options import FLOAT_BITS, WeightPress, bit_range, check_bits, read_method_options
from frenchpress.compress.quantizers.ranges import RANGES

__all__ = [
    "ACT_QUANTIZERS",
    "RANGES",
    "ActQuantizer",
    "DynamicActQuantizer",
    "FixedActQuantizer",
    "act_quantizer_of",
    "make_act_quantizer",
    "refuse_unused_act",
]

ACT_QUANTIZERS: dict[str, type[ActQuantizer]] = {
    "fixed": FixedActQuantizer,
    "dynamic": DynamicActQuantizer,
    "pact": PactQuantizer,
    "lsq": LsqActQuantizer,
}


def make_act_quantizer(name: str, bits: int, limit: float | None = None, **options: Any) -> ActQuantizer:
    """The activation quantizer registered as `name`; UserError names what would be right."""
    _check_name(name)
    check_bits(bits, "act_bits")
    kind = ACT_QUANTIZERS[name]
    if bits not in (*kind.takes, FLOAT_BITS):
        raise UserError(f"act_bits: {bits}: act_quantizer {name} takes {bit_range(kind.takes)}, or 32 for float")
    return kind(bits, limit, read_method_options(kind.Options, options, f"act_options: {name}"))


def act_quantizer_of(press: WeightPress, limit: float | None = None) -> ActQuantizer:
    """The quantizer of activations that `press` asks for; one that does nothing where `act_bits` are float."""
    name, options = press.act_quantizer, press.act_options or {}
    if press.act_bits != FLOAT_BITS:
        return make_act_quantizer(name, press.act_bits, limit, **options)
    # The method may serve other activations of the layer; what it is called is checked all the same.
    _check_name(name)
    return FixedActQuantizer(FLOAT_BITS, limit)


def _check_name(name: str) -> None:
    if name not in ACT_QUANTIZERS:
        raise UserError(f"act_quantizer: {unknown(name, ACT_QUANTIZERS)}")


def refuse_unused_act(press: WeightPress, *quantizers: ActQuantizer) -> None:
    """UserError where `press` says how to quantize activations and none of these is quantized."""
    if all(q.is_float for q in quantizers) and (press.act_options or press.act_quantizer != "fixed"):
        what = "act_options" if press.act_options else f"act_quantizer: {press.act_quantizer}"
        raise UserError(f"{what} would do nothing: act_bits: 32 is float")
