"""The table of the gate functions."""

from decimal import Decimal, getcontext

import numpy as np

from frenchpress.packed import gates


def test_table_is_rounded_right_and_never_near_a_tie():
    """Its numbers are then the same wherever exp is good to the last few bits."""
    getcontext().prec = 40
    for i, entry in enumerate(gates.sigmoid_table()):
        exact = Decimal(2**gates.VALUE_BITS) / (1 + (-Decimal(i) / 128).exp())
        assert abs(exact - int(entry)) < Decimal("0.5") - Decimal("1e-6")


def test_functions_are_near():
    x = np.arange(-(2**20) - 5000, 2**20 + 5000, 37)
    true = 1 / (1 + np.exp(-x / 65536))
    assert np.abs(gates.sigmoid(x) / 2**20 - true).max() < 2.0**-19
    assert np.abs(gates.tanh(x) / 2**20 - np.tanh(x / 65536)).max() < 2.0**-18


def test_symmetric_monotone_and_within_range():
    x = np.arange(0, 2**20 + 100, 11)
    y = gates.sigmoid(x)
    assert np.array_equal(gates.sigmoid(-x[1:]), 2**20 - y[1:])
    assert (np.diff(y) >= 0).all() and y[0] == 2**19 and y[-1] <= 2**20
