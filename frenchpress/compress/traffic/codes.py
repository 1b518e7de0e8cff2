"""Compressed gradients as bytes: a code makes them of a float32 tensor [n] on the CPU, and gives back what they say.

How many bytes depends on n alone, so that workers can gather them. They are those that the compressor of the same name
counts, save for `qsgd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frenchpress.common.bits import BitReader, pack_bits, to_bytes, width_of
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.masks import kept_of
from frenchpress.compress.quantizers.grid import at_least_float32
from frenchpress.compress.traffic.compressors import (
    check_multi_step,
    check_qsgd,
    draw_levels,
    from_levels,
    largest_of,
    level_of,
    part_ends,
    part_lengths,
    part_of,
    part_of_each,
    places_and_parts,
    value_of,
)


@dataclass(frozen=True, kw_only=True)
class GradientCode:
    """Base of the codes; fields are what a `.cfg` says beside the name. `feedback`: what a worker has not sent of a
    gradient is added to its next one (Seide et al. 2014, "1-bit stochastic gradient descent", sec. 2).
    """

    feedback: ClassVar[bool] = False

    def encode(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Bytes, uint8, of `x` [n]; random choices are drawn from `generator`."""
        raise NotImplementedError

    def decode(self, sent: Tensor, count: int) -> Tensor:
        """What bytes of `count` numbers say, float32 [count]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TopK(GradientCode):
    """The share `ratio` with the largest magnitudes, float32, and their places (Aji and Heafield 2017, arXiv
    1704.05021).
    """

    ratio: Fraction | float | str
    feedback: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", parse_fraction(self.ratio, "ratio"))

    def encode(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Values in the order of their places; then a bitmap or the places, what is shorter."""
        kept = largest_of(x, self.ratio)
        places = kept.nonzero().squeeze(1)
        bitmap = _has_bitmap(len(x), len(places), 1)
        index = _bitmap_bits(kept) if bitmap else pack_bits(places, width_of(len(x)), highest_first=True)
        return _joined([x[places]], index)

    def decode(self, sent: Tensor, count: int) -> Tensor:
        """Zeros where nothing was sent."""
        kept = kept_of(count, self.ratio)
        (values,), reader = _split(sent, [kept])
        places = _read_bitmap(reader, count, kept) if _has_bitmap(count, kept, 1) else _read(reader, kept, count)
        return torch.zeros(count).index_put_((places,), values)


@dataclass(frozen=True, kw_only=True)
class MultiStepRounding(TopK):
    """The same share, each number as a level of its part (`multi_step`)."""

    partitions: int
    bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_multi_step(self.ratio, self.partitions, self.bits)

    def encode(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Ends of the parts; a bitmap and the part of each number, or the places in sorted order; the levels."""
        kept = largest_of(x, self.ratio)
        places = kept.nonzero().squeeze(1)
        values = at_least_float32(x[places])
        low, high = part_ends(values, self.partitions)
        if _has_bitmap(len(x), len(places), len(low)):
            part = part_of(values, low)
            index = [_bitmap_bits(kept), pack_bits(part, width_of(len(low)), highest_first=True)]
        else:
            order = torch.argsort(values, descending=True)
            values, part = values[order], part_of_each(part_lengths(len(places), self.partitions))
            index = [pack_bits(places[order], width_of(len(x)), highest_first=True)]
        level = level_of(values, low[part], high[part], self.bits)
        return _joined([low, high], *index, pack_bits(level.long(), self.bits, highest_first=True))

    def decode(self, sent: Tensor, count: int) -> Tensor:
        """Zeros where nothing was sent."""
        kept = kept_of(count, self.ratio)
        lengths = part_lengths(kept, self.partitions)
        parts = len(lengths)
        (low, high), reader = _split(sent, [parts, parts])
        if _has_bitmap(count, kept, parts):
            places, part = _read_bitmap(reader, count, kept), _read(reader, kept, parts)
        else:
            places, part = _read(reader, kept, count), part_of_each(lengths)
        level = _read(reader, kept, 2**self.bits).float()
        return torch.zeros(count).index_put_((places,), value_of(low[part], high[part], level, self.bits))


@dataclass(frozen=True, kw_only=True)
class Qsgd(GradientCode):
    """Every number, rounded at random (`qsgd`). Levels and signs have the same bits each, since Elias codes would give
    every worker another number of bytes.
    """

    levels: int = 7
    bucket: int = 512
    feedback: ClassVar[bool] = False  # nothing is lost on average

    def __post_init__(self) -> None:
        check_qsgd(self.levels, self.bucket)

    def encode(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Norms of the buckets, then the levels with their signs."""
        norm, level = draw_levels(x, self.levels, self.bucket, generator)
        return _joined([norm], pack_bits(level.long() + self.levels, self._width, highest_first=True))

    def decode(self, sent: Tensor, count: int) -> Tensor:
        """The mean over many draws is what was encoded."""
        (norm,), reader = _split(sent, [-(-count // self.bucket)])
        level = _read(reader, count, 2 * self.levels + 1) - self.levels
        return from_levels(norm, level, self.levels, self.bucket)

    @property
    def _width(self) -> int:
        return width_of(2 * self.levels + 1)


def _has_bitmap(total: int, count: int, parts: int) -> bool:
    bitmap, places = places_and_parts(total, count, parts)
    return bitmap <= places


def _bitmap_bits(kept: Tensor) -> NDArray[np.uint8]:
    """`kept`, bool [n], as bits; none where it says nothing."""
    return kept.numpy().astype(np.uint8) if not bool(kept.all()) else np.zeros(0, np.uint8)


def _joined(numbers: list[Tensor], *bits: NDArray[np.uint8]) -> Tensor:
    """Floats as they are, and bits one after the other, as bytes."""
    floats = torch.cat(numbers).float().numpy().astype("<f4").tobytes()
    return torch.frombuffer(bytearray(floats + to_bytes(*bits, highest_first=True)), dtype=torch.uint8)


def _split(sent: Tensor, lengths: list[int]) -> tuple[tuple[Tensor, ...], BitReader]:
    """The inverse of `_joined`: the floats of each length, and what reads the bits."""
    content, count = sent.numpy().tobytes(), sum(lengths)
    numbers = torch.from_numpy(np.frombuffer(content, "<f4", count).astype(np.float32))
    return numbers.split(lengths), BitReader(memoryview(content)[4 * count :])


def _read(reader: BitReader, count: int, choices: int) -> Tensor:
    """`count` numbers below `choices`, int64."""
    return torch.from_numpy(reader.take(count, width_of(choices)))


def _read_bitmap(reader: BitReader, total: int, count: int) -> Tensor:
    """Places [count] of `total`."""
    return torch.from_numpy(reader.take_bits(total).nonzero()[0]) if count < total else torch.arange(total)
