"""Packed models at full speed: the C runtime through ctypes, or numpy with the same bits where it was not built."""

from __future__ import annotations

import ctypes
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.packed.format import parse_model, parse_outline, read_file
from frenchpress.packed.model import UNSEEN, Outline, PackedModel
from frenchpress.packed.reference import ReferenceStream

LEVELS = ("portable C", "AVX2", "AVX-512 VNNI", "NEON", "NEON with dot products")
"""Instruction sets of the runtime, by number."""

_LOG = logging.getLogger(__name__)


class Stream(Protocol):
    """Frames in as they come, logits out as soon as their right context is there."""

    def push(self, feats: NDArray[np.float32]) -> NDArray[np.int32]:
        """Features float32 [n, dim] -> logits that are ready, int32 [at most n, outputs], 16 fraction bits."""

    def finish(self) -> NDArray[np.int32]:
        """The utterance is over: the last logits. The stream is then at the start of the next one."""

    def reset(self) -> None:
        """Forget the utterance."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled runtime, or None where it was not built or FRENCHPRESS_NATIVE=0 asks for numpy."""
    built = sorted((Path(__file__).parent / "native").glob("_press*.so"))
    if not built or os.environ.get("FRENCHPRESS_NATIVE") == "0":
        return None
    try:
        return _declared(ctypes.CDLL(str(built[0])))
    except (OSError, AttributeError) as error:
        _LOG.warning("%s cannot be used (%s); packed models run in numpy, slowly", built[0], error)
        return None


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """Types of the functions of native/press.h."""
    pointer, i32, i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    signatures = {
        "fp_model_read": (pointer, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]),
        "fp_model_free": (None, [pointer]),
        "fp_model_macs": (i64, [pointer]),
        "fp_model_bytes": (i64, [pointer]),
        "fp_model_level": (i32, [pointer, i32]),
        "fp_stream_new": (pointer, [pointer]),
        "fp_stream_free": (None, [pointer]),
        "fp_stream_reset": (None, [pointer]),
        "fp_stream_push": (i64, [pointer, pointer, i64, pointer]),
        "fp_stream_finish": (i64, [pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class Runtime:
    """A packed model ready to run. `model`: what the file says of it; `level`: see LEVELS, None for numpy.

    The weights lie in memory once: in the C runtime, which checks the file itself, or in numpy's arrays.
    """

    def __init__(self, data: bytes, name: str = "packed model", level: int | None = None) -> None:
        """`data`: the bytes of a file. `level`: a lower instruction set than the best. UserError when damaged."""
        self._handle, self._library = None, library()
        self._packed: PackedModel | None = None
        if self._library is None:
            self._packed = parse_model(data, name)
            self.model: Outline = self._packed.outline
            return
        self.model = parse_outline(data, name)
        error = ctypes.create_string_buffer(256)
        self._handle = self._library.fp_model_read(data, len(data), error, len(error))
        if not self._handle:
            raise UserError(f"{name}: {error.value.decode(errors='replace')}")
        self._library.fp_model_level(self._handle, -1 if level is None else level)

    @classmethod
    def load(cls, path: Path | str, level: int | None = None) -> Runtime:
        """The model in a file; UserError when it is missing or damaged."""
        return cls(read_file(path), str(path), level)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.fp_model_free(self._handle)

    @property
    def level(self) -> int | None:
        """Instruction set in use, an index into LEVELS; None: numpy."""
        return self._library.fp_model_level(self._handle, -1) if self._handle else None

    @property
    def macs(self) -> int:
        """Multiply-accumulates per frame that the runtime does, padding included."""
        return self._library.fp_model_macs(self._handle) if self._handle else 0

    @property
    def weight_bytes(self) -> int:
        """Memory that the weights and their places take in the runtime."""
        return self._library.fp_model_bytes(self._handle) if self._handle else 0

    def stream(self) -> Stream:
        """A new stream at the start of an utterance."""
        return _NativeStream(self) if self._handle else ReferenceStream(self._packed)

    def logits(self, feats: NDArray[np.float32]) -> NDArray[np.int32]:
        """Features of an utterance float32 [T, dim] -> logits int32 [T, outputs], 16 fraction bits."""
        stream = self.stream()
        return np.concatenate([stream.push(feats), stream.finish()])

    def log_posteriors(self, feats: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of an utterance float32 [T, dim] -> log posteriors of the tied states [T, outputs]."""
        return log_softmax(self.logits(feats))

    def log_priors(self) -> NDArray[np.float32]:
        """Log prior of each tied state, float32 [outputs]; -inf where training saw none."""
        prior = self.model.log_prior
        return np.where(prior == UNSEEN, -np.inf, prior / 65536.0).astype(np.float32)


def log_softmax(logits: NDArray[np.int32]) -> NDArray[np.float32]:
    """Logits int32 [T, outputs] with 16 fraction bits -> log posteriors."""
    x = logits / 65536.0
    x -= x.max(axis=1, keepdims=True)
    return (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(np.float32)


class _NativeStream:
    """A stream of the C runtime. Buffers for single frames are kept, so that a call costs little besides the work."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._library = runtime, runtime._library  # the model must outlive its streams
        self._handle = self._library.fp_stream_new(runtime._handle)
        if not self._handle:
            raise MemoryError("no memory for a stream")
        self._dim, self._outputs = runtime.model.input.dim, runtime.model.outputs
        self._frame, self._logits = np.zeros((1, self._dim), np.float32), np.zeros((1, self._outputs), np.int32)
        self._pointers = self._frame.ctypes.data, self._logits.ctypes.data

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.fp_stream_free(self._handle)

    def push(self, feats: NDArray[np.float32]) -> NDArray[np.int32]:
        """See Stream."""
        if feats.shape == self._frame.shape:
            self._frame[:] = feats
            frame, logits = self._pointers
            return self._logits[: self._library.fp_stream_push(self._handle, frame, 1, logits)].copy()
        feats = np.ascontiguousarray(feats, np.float32)
        if feats.ndim != 2 or feats.shape[1] != self._dim:
            raise ValueError(f"features of shape {feats.shape}, expected [n, {self._dim}]")
        logits = np.empty((len(feats), self._outputs), np.int32)
        count = self._library.fp_stream_push(self._handle, feats.ctypes.data, len(feats), logits.ctypes.data)
        return logits[:count]

    def finish(self) -> NDArray[np.int32]:
        """See Stream."""
        logits = np.empty((self._runtime.model.input.right, self._outputs), np.int32)
        return logits[: self._library.fp_stream_finish(self._handle, logits.ctypes.data)]

    def reset(self) -> None:
        """See Stream."""
        self._library.fp_stream_reset(self._handle)
