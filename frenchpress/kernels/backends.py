"""The backends of an LSTM layer, in the order in which they are asked."""

from __future__ import annotations

from torch import Tensor

from frenchpress.kernels import reference
from frenchpress.kernels.backend import Backend, LstmParts
from frenchpress.kernels.gpu import backend as gpu
from frenchpress.kernels.native import backend as native

BACKENDS: tuple[Backend, ...] = (native, gpu, reference)


def run_lstm(parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
    """`Backend.run` of the first that serves; `reference` takes every call."""
    return next(backend for backend in BACKENDS if backend.serves(parts, x)).run(parts, x, lengths)
