"""What the machine does at best, measured in the same rounds as what is held against it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from frenchpress.bench.timing import Subject
from frenchpress.common import UserError
from frenchpress.packed.runtime import library

_ROUNDS = 200_000
_READ = 1 << 24
_STEP = 256


@dataclass(frozen=True)
class Limits:
    """Subjects that do nothing but one thing: their frames are multiply-accumulates, or bytes.

    The best of all rounds counts: whatever slows a limit down is not a limit.
    """

    macs: Subject
    read: Subject

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates per second."""
        return self.macs.frames / min(self.macs.times)

    @property
    def bytes_per_second(self) -> float:
        """Bytes read per second."""
        return self.read.frames / min(self.read.times)

    def shares(self, subject: Subject, macs: int, size: int) -> tuple[float, float]:
        """How much of each limit `subject` reaches, which does `macs` and reads `size` bytes per frame; 1 is all."""
        rate = subject.frames_per_second
        return rate * macs / self.macs_per_second, rate * size / self.bytes_per_second

    def least_microseconds(self, macs: int, size: int) -> float:
        """What `macs` multiply-accumulates and reading `size` bytes take at least, when both go on at once."""
        return 1e6 * max(macs / self.macs_per_second, size / self.bytes_per_second)


def _functions() -> ctypes.CDLL:
    """The compiled runtime with the functions of native/limits.c; UserError where it lacks them."""
    loaded = library()
    if loaded is None or not hasattr(loaded, "fp_limit_macs"):
        raise UserError("the compiled runtime is missing or old; with a C compiler, `pip install .` builds it")
    i32, i64, size = ctypes.c_int32, ctypes.c_int64, ctypes.c_size_t
    loaded.fp_limit_macs.restype, loaded.fp_limit_macs.argtypes = i64, [i32, i64]
    loaded.fp_limit_read.restype, loaded.fp_limit_read.argtypes = ctypes.c_uint64, [i32, ctypes.c_void_p, size, i64]
    return loaded


def macs_subject(level: int) -> Subject:
    """16-bit multiply-accumulates with all operands in registers; `level`: instruction set, see LEVELS."""
    functions = _functions()
    count = functions.fp_limit_macs(level, 1) * _ROUNDS
    return Subject("multiply-accumulates", lambda: functions.fp_limit_macs(level, _ROUNDS), count)


def read_subject(level: int, size: int) -> Subject:
    """Reading a buffer of about `size` bytes over and over."""
    functions = _functions()
    buffer = np.ones(-(-size // _STEP) * _STEP, np.uint8)
    times = max(1, _READ // len(buffer))

    def run() -> None:
        functions.fp_limit_read(level, buffer.ctypes.data, len(buffer), times)

    return Subject("reading", run, len(buffer) * times)
