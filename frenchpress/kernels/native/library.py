"""The compiled library, if it was built: loading, and pointers into tensors."""

from __future__ import annotations

import ctypes
import logging
import os
from functools import lru_cache
from pathlib import Path

import torch

LANES = 8  # sequences side by side in one vector
ROWS = 8  # rows of a tile: of an LSTM two cells times four gates

_LOG = logging.getLogger(__name__)
_STATUS_FUNCTIONS = (
    "fp_apply",
    "fp_apply_transposed",
    "fp_gradient",
    "fp_lstm_forward",
    "fp_lstm_backward",
    "fp_singles_apply",
    "fp_singles_gradient",
    "fp_singles_lstm_forward",
    "fp_singles_lstm_backward",
    "fp_loss",
    "fp_loss_gradient",
    "fp_norm_stats",
    "fp_norm_backward",
    "fp_rmsprop",
)


class Matrix(ctypes.Structure):
    """`matrix` of lstm.c."""

    _fields_ = (
        [(name, ctypes.c_int32) for name in ("tiles", "rows_out", "columns_in")]
        + [(name, ctypes.c_void_p) for name in ("rows", "start", "cols", "values")]
    )  # fmt: skip


class SingleWeights(ctypes.Structure):
    """`singles` of singles.c."""

    _fields_ = (
        [(name, ctypes.c_int32) for name in ("rows_out", "columns_in")]
        + [(name, ctypes.c_void_p) for name in ("start", "cols", "values")]
    )  # fmt: skip


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or FRENCHPRESS_NATIVE=0 asks for the plain torch path."""
    if os.environ.get("FRENCHPRESS_NATIVE") == "0":
        return None
    built = sorted(Path(__file__).parent.glob("_lstm*.so"))
    if not built:
        return None
    try:
        loaded = ctypes.CDLL(str(built[0]))
        for name in _STATUS_FUNCTIONS:
            getattr(loaded, name).restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        _LOG.warning("%s cannot be used (%s); training goes on with torch alone", built[0], error)
        return None
    return loaded


def call(name: str, *arguments: object) -> None:
    """Call `name` with tensors as pointers, ints as 64-bit and floats as 32-bit; RuntimeError unless it returns 0.

    The functions take `int` where C says so; on the 64-bit calling conventions a 64-bit integer serves for both.
    """
    converted = [_convert(a) for a in arguments]
    if getattr(library(), name)(*converted, ctypes.c_int(torch.get_num_threads())) != 0:
        raise RuntimeError(f"{name}: out of memory, or more than 64 threads")


def _convert(value: object) -> object:
    if isinstance(value, torch.Tensor):
        assert value.is_contiguous() and value.device.type == "cpu"
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, (Matrix, SingleWeights)):
        return ctypes.byref(value)
    if value is None:
        return ctypes.c_void_p()
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_float(value)
