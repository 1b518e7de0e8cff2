"""A matrix of integers and its mask as bytes: header, index, values, each in whole bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, unknown
from frenchpress.common.bits import WIDEST, BitReader, BitWriter
from frenchpress.compress.codes.bitmap import Bitmap, Full, Lines
from frenchpress.compress.codes.blockcoo import BlockCoo
from frenchpress.compress.codes.combination import Combination
from frenchpress.compress.codes.coordinates import Coo, Csc, Csr
from frenchpress.compress.codes.hcgs import Hcgs
from frenchpress.compress.codes.index import IndexCode, Mask
from frenchpress.compress.codes.layered import Layered
from frenchpress.compress.codes.pattern import Pattern
from frenchpress.compress.codes.runlength import RunLength
from frenchpress.compress.codes.values import VALUE_CODES

# The place in this list is written into the bytes; add at the end.
_CODES: tuple[type[IndexCode], ...] = (
    Full,
    Bitmap,
    Coo,
    Csr,
    Csc,
    RunLength,
    BlockCoo,
    Pattern,
    Hcgs,
    Lines,
    Layered,
    Combination,
)
INDEX_CODES: dict[str, type[IndexCode]] = {code.name: code for code in _CODES}

# A few bytes can claim any size. 8192 x 8192 is far beyond what is compressed here.
LARGEST = 1 << 26


@dataclass(frozen=True)
class Encoded:
    """The parts of an encoded matrix; `index_bits` are those of the index before its last byte is filled up."""

    header: bytes
    index: bytes
    values: bytes
    index_bits: int

    @property
    def data(self) -> bytes:
        """All that is stored."""
        return self.header + self.index + self.values


def make_index_code(name: str, **options: object) -> IndexCode:
    """The index code registered as `name`; UserError names the registered ones, or the option it does not have."""
    if name not in INDEX_CODES:
        raise UserError(f"index code: {unknown(name, INDEX_CODES)}")
    try:
        return INDEX_CODES[name](**options)
    except TypeError:
        raise UserError(f"index code {name}: does not take the options {', '.join(options)}") from None


def encode_parts(
    integers: NDArray[np.int64], mask: Mask, code: IndexCode, values: str = "fixed", bits: int | None = None
) -> Encoded:
    """Encode `integers`, int [rows, columns], whose kept places `mask` says.

    `mask`: bool [rows / g, columns]; with g > 1 the g matrices stacked by rows share it, and its index is stored
    once. Kept zeros are values like others. `values`: `fixed`, `codebook` or `huffman`; `bits` of a value in the first
    two, None for the fewest that hold them all. UserError where the parts do not fit together.
    """
    kept = _checked(integers, mask)
    if values not in VALUE_CODES:
        raise UserError(f"value code: {unknown(values, VALUE_CODES)}")
    needed = VALUE_CODES[values].bits_needed(kept)
    width = needed if bits is None else bits
    if not needed <= width <= WIDEST:
        raise UserError(f"{width} bits do not fit these integers; use {needed} to {WIDEST}")
    header, index, rest = BitWriter(), BitWriter(), BitWriter()
    header.put(16 * list(VALUE_CODES).index(values) + _CODES.index(type(code)), 8)
    for number in (*mask.shape, integers.shape[0] // mask.shape[0] if mask.shape[0] else 1):
        header.put_varint(number)
    code.write(mask, index)
    VALUE_CODES[values].write(kept, width, rest)
    return Encoded(header.to_bytes(), index.to_bytes(), rest.to_bytes(), index.bits)


def encode(
    integers: NDArray[np.int64], mask: Mask, code: IndexCode, values: str = "fixed", bits: int | None = None
) -> bytes:
    """The bytes of `encode_parts`."""
    return encode_parts(integers, mask, code, values, bits).data


def decode(data: bytes, largest: int = LARGEST) -> tuple[NDArray[np.int64], Mask]:
    """`(integers int64 [rows, columns], mask bool [rows / g, columns])` as they were given to `encode`.

    UserError on bytes that no matrix has, and on a matrix of more than `largest` weights. There is no checksum:
    a damaged value is another value.
    """
    source = BitReader(data)
    kind = source.take_one(8)
    if kind % 16 >= len(_CODES) or kind // 16 >= len(VALUE_CODES):
        raise UserError(f"encoded matrix: no code has number {kind}")
    rows, columns, gates = (source.take_varint() for _ in range(3))
    # Rows of nothing would be walked too.
    if max(rows, 1) * max(columns, 1) * gates > largest or not gates:
        raise UserError(f"encoded matrix: damaged, or larger than {largest} weights ({gates} x {rows} x {columns})")
    mask = _CODES[kind % 16].read(rows, columns, source)
    source.align()
    kept = int(np.count_nonzero(mask)) * gates
    values = list(VALUE_CODES.values())[kind // 16].read(kept, source)
    source.align()
    if source.left:
        raise UserError(f"encoded matrix: damaged ({source.left // 8} bytes too many)")
    integers = np.zeros((rows * gates, columns), np.int64)
    integers[np.tile(mask, (gates, 1))] = values
    return integers, mask


def _checked(integers: NDArray[np.int64], mask: Mask) -> NDArray[np.int64]:
    """The kept integers, row by row; UserError unless matrix and mask fit each other."""
    if integers.ndim != 2 or not np.issubdtype(integers.dtype, np.integer):
        raise UserError(f"index codes take a matrix of integers, not {integers.dtype} of {integers.ndim} dimensions")
    fits = mask.ndim == 2 and mask.dtype == np.bool_ and mask.shape[1] == integers.shape[1]
    if not fits or (integers.shape[0] % mask.shape[0] if mask.shape[0] else integers.shape[0]):
        raise UserError(f"mask {mask.dtype} {list(mask.shape)} does not fit a matrix {list(integers.shape)}")
    if integers.size > LARGEST:
        raise UserError(f"matrix {list(integers.shape)}: at most {LARGEST} weights can be encoded")
    full = np.tile(mask, (integers.shape[0] // mask.shape[0], 1)) if mask.shape[0] else mask
    lost = int(np.count_nonzero(integers[~full]))
    if lost:
        raise UserError(f"{lost} integers are not zero where the mask removes them")
    return integers[full].astype(np.int64)
