"""From real numbers to the integers of a packed model: multipliers, shifts and steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.packed.model import GATE_BITS, Requantizer

_MULTIPLIER_BITS = 29
_MAX_SHIFT = 46
_MAX_BIAS = 2**15
Floats = NDArray[np.float64]


def fixed_point(*factors: Floats) -> tuple[int, list[NDArray[np.int32]]]:
    """`(shift, multipliers)` so that accumulator * factor, with GATE_BITS fraction bits, is acc * m / 2^shift.

    One shift serves all factors; the largest multiplier has 29 or 30 bits.
    """
    largest = max(float(np.abs(f).max(initial=0.0)) for f in factors) * 2.0**GATE_BITS
    if not math.isfinite(largest):
        raise UserError("a scale is not finite; the model has diverged")
    shift = _MAX_SHIFT if largest == 0 else _MULTIPLIER_BITS - math.floor(math.log2(largest))
    shift = min(max(shift, 1), _MAX_SHIFT)
    if largest * 2.0**shift >= 2**30:
        raise UserError(f"a scale of {largest * 2.0**-GATE_BITS:g} is too large for integers")
    return shift, [np.rint(f * 2.0 ** (GATE_BITS + shift)).astype(np.int32) for f in factors]


def fixed_bias(bias: Floats) -> NDArray[np.int32]:
    """Biases with GATE_BITS fraction bits; UserError unless they are finite and below 2^15."""
    if not np.isfinite(bias).all() or np.abs(bias).max(initial=0.0) >= _MAX_BIAS:
        raise UserError("a bias is not finite or above 32768; the model has diverged")
    return np.rint(bias * 2.0**GATE_BITS).astype(np.int32)


def out_multiplier(step: float) -> int:
    """2^15 over the step of a layer's outputs."""
    return round(2.0**15 / step)


def requantizer(step_from: float, bits_from: int, step_to: float, bits_to: int) -> Requantizer:
    """From one grid of integers to another; nothing to do where both are the same."""
    if (step_from, bits_from) == (step_to, bits_to):
        return Requantizer()
    ratio = step_from / step_to
    shift = min(max(_MULTIPLIER_BITS - math.floor(math.log2(ratio)), 1), _MAX_SHIFT)
    multiplier = round(ratio * 2.0**shift)
    if not 0 < multiplier < 2**31:
        raise UserError(f"grids of steps {step_from:g} and {step_to:g} are too far apart for integers")
    return Requantizer(multiplier, shift)
