"""Compiled training kernels: masked, quantized layers that compute with kept weights only, and their optimizer.

Plain C behind a plain interface, built by setup.py where a compiler is at hand. Where it is not, the torch path gives
the same numbers to rounding.
"""

from frenchpress.kernels.native.functions import KeptProduct, Recurrence, Rounding, norm_stats, rmsprop_step
from frenchpress.kernels.native.layout import Layout
from frenchpress.kernels.native.library import LANES, ROWS, library
from frenchpress.kernels.native.losses import LogitLosses
from frenchpress.kernels.native.singles import Singles
from frenchpress.kernels.native.tiles import Tiles

__all__ = [
    "LANES",
    "ROWS",
    "KeptProduct",
    "Layout",
    "LogitLosses",
    "Recurrence",
    "Rounding",
    "Singles",
    "Tiles",
    "library",
    "norm_stats",
    "rmsprop_step",
]
