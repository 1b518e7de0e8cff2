"""Samples from a pipe as they arrive: WAV, or headerless 16-bit samples, little-endian, one channel."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, blaming
from frenchpress.kaldi.kinds import LOOK, kind_of
from frenchpress.kaldi.wav import NAMES, check_rest, check_size, decoder, read_header

_PIECE = 3200


def stream_samples(handle: io.BufferedIOBase, rate: int, where: str) -> Iterator[NDArray[np.float32]]:
    """Samples in the range of 16-bit integers, float32 [n], each piece as soon as it is there.

    WAV, or else raw samples at `rate`. Errors, begun with `where`: another kind of file, another rate or number of
    channels; samples that are not finite; none; fewer than the header promises.
    """
    with blaming(where):
        begun = _fill(handle, b"", 4)
        if begun in NAMES:
            yield from _wav_samples(handle, begun, rate)
        else:
            yield from _raw_samples(handle, begun)


def _wav_samples(handle: io.BufferedIOBase, begun: bytes, rate: int) -> Iterator[NDArray[np.float32]]:
    header = read_header(_Begun(begun, handle))
    width, decode = decoder(header, rate)
    received = 0
    for piece in _pieces(handle, b"", header.size, width):
        yield decode(piece, received // width)
        received += len(piece)
    check_size(header, received, width)
    if header.size is not None:
        check_rest(_fill(handle, b"", LOOK + header.size % 2)[header.size % 2 :])


def _raw_samples(handle: io.BufferedIOBase, begun: bytes) -> Iterator[NDArray[np.float32]]:
    begun = _fill(handle, begun, LOOK)
    if len(begun) < 2:
        raise UserError("no audio came in")
    if found := kind_of(begun):
        raise UserError(f"{found} data; a pipe may bring WAV or raw 16-bit samples")
    for piece in _pieces(handle, begun, None, 2):
        yield np.frombuffer(piece, "<i2").astype(np.float32)


class _Begun:
    """A stream of which the first bytes were read already."""

    def __init__(self, begun: bytes, handle: io.BufferedIOBase) -> None:
        self._begun, self._handle = begun, handle

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end."""
        begun, self._begun = self._begun[:size], self._begun[size:]
        return _fill(self._handle, begun, size)


def _fill(handle: io.BufferedIOBase, begun: bytes, size: int) -> bytes:
    """`begun` and what follows it, `size` bytes in all, fewer at the end."""
    while len(begun) < size and (new := handle.read1(size - len(begun))):
        begun += new
    return begun


def _pieces(handle: io.BufferedIOBase, begun: bytes, promised: int | None, width: int) -> Iterator[bytes]:
    """Whole samples of `width` bytes up to the end, or up to `promised` bytes; part of one at the end is dropped."""
    left = promised
    new = begun
    begun = b""
    while True:
        begun += new
        whole = len(begun) // width * width
        if whole:
            yield begun[:whole]
        begun = begun[whole:]
        if left == 0:
            return
        new = handle.read1(_PIECE if left is None else min(_PIECE, left))
        if not new:
            return
        left = None if left is None else left - len(new)
