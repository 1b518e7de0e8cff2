"""The gate functions by table, in integers.

One table serves both: sigmoid at multiples of 1/128 from 0 to 16 with 20 fraction bits, straight lines between, and
1 - sigmoid(-x) below zero; tanh(x) = 2 sigmoid(2 x) - 1. The error against the functions is below 2^-19.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

VALUE_BITS = 20
"""Fraction bits of a gate's value: 2^20 is 1."""
STEP_BITS = 9
"""An argument has 16 fraction bits; its lowest 9 lie between two entries of the table."""
ENTRIES = 2048
"""Steps of the table; the argument is held within +-16."""

_ONE = 1 << VALUE_BITS


@lru_cache(maxsize=1)
def sigmoid_table() -> NDArray[np.int64]:
    """int64 [ENTRIES + 1]: round(2^20 sigmoid(i / 128)). No entry is so near a tie that the last bit of exp matters."""
    x = np.arange(ENTRIES + 1) / 128.0
    return np.floor(_ONE / (1.0 + np.exp(-x)) + 0.5).astype(np.int64)


def sigmoid(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Arguments with 16 fraction bits -> values with 20."""
    size = np.minimum(np.abs(x), (ENTRIES << STEP_BITS) - 1)
    entry, rest = size >> STEP_BITS, size & ((1 << STEP_BITS) - 1)
    table = sigmoid_table()
    y = table[entry] + (((table[entry + 1] - table[entry]) * rest + (1 << (STEP_BITS - 1))) >> STEP_BITS)
    return np.where(x < 0, _ONE - y, y)


def tanh(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Arguments with 16 fraction bits -> values with 20, in -1 to 1."""
    return 2 * sigmoid(2 * x) - _ONE
