"""Compressors of tensors that are sent: `(tensor, ...) -> Sent`. None of them has a gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.common.bits import width_of
from frenchpress.compress.masks import kept_of
from frenchpress.compress.quantizers.grid import at_least_float32

_FLOAT = 32  # bits of a number that is sent as it is


class Sent(NamedTuple):
    """`bytes`: what is sent; `decoded`: what is received, of the tensor's shape and dtype."""

    bytes: int
    decoded: Tensor


@torch.no_grad()
def top_k(x: Tensor, ratio: float) -> Sent:
    """The share `ratio` of `x` with the largest magnitudes, as float32; the rest is zero."""
    _check_share(ratio, "ratio")
    kept = largest_of(x, ratio)
    count = int(kept.sum())
    return Sent(_bytes(count * _FLOAT + index_bits(x.numel(), count)), x * kept)


@torch.no_grad()
def multi_step(x: Tensor, ratio: float, partitions: int, bits: int) -> Sent:
    """The share `ratio` of `x` with the largest magnitudes, rounded as `round_sorted` does; the rest is zero."""
    check_multi_step(ratio, partitions, bits)
    return send_kept(x, largest_of(x, ratio), partitions, bits)


@torch.no_grad()
def send_kept(x: Tensor, kept: Tensor, partitions: int, bits: int, among: int | None = None) -> Sent:
    """The numbers of `x` where `kept`, bool of its shape, says so, rounded by `round_sorted`; the rest is zero.

    Of each part two float32 are sent, its least and its largest value; of each kept number its level, its place and
    its part: in the cheaper of a bitmap with the part of each, and of the places in the order in which they were
    sorted, from which the parts follow. `among`: of how many places the receiver knows that no other can be meant.
    """
    total, count = x.numel() if among is None else among, int(kept.sum())
    parts = min(partitions, count)
    places = min(*places_and_parts(total, count, parts))
    decoded = torch.zeros_like(x).masked_scatter(kept, round_sorted(x[kept], partitions, bits))
    return Sent(_bytes(places + count * bits + 2 * parts * _FLOAT), decoded)


def places_and_parts(total: int, count: int, parts: int) -> tuple[int, int]:
    """Bits that say which `count` of `total` numbers are sent, and in which of `parts` each is: by a bitmap (where it
    says anything) and the part of each, or by their places in the order of the parts.
    """
    return (total if count < total else 0) + count * width_of(parts), count * width_of(total)


def check_multi_step(ratio: float, partitions: int, bits: int) -> None:
    """UserError where an option of `multi_step` is out of range."""
    _check_share(ratio, "ratio")
    if partitions < 1:
        raise UserError(f"partitions: {partitions} is out of range; it must be at least 1")
    if not 1 <= bits <= 16:
        raise UserError(f"bits: {bits} is out of range; it must be 1 to 16")


def part_ends(values: Tensor, partitions: int) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each part, [parts].

    Parts are `values` [n], float32 or wider, from the largest to the smallest, with their signs, so that none has a
    wide range that it does not use, cut into `partitions` of equal length (to one; no more parts than values).
    """
    ordered = _descending(values)
    lengths = part_lengths(len(values), partitions).to(values.device)
    ends = lengths.cumsum(0)
    return ordered[ends - 1], ordered[ends - lengths]


def _descending(values: Tensor) -> Tensor:
    """Sorted; of equals none can be told from the others. NumPy's sort takes a fifteenth of the time of torch's."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.detach().numpy())).flip(0)
    return torch.sort(values, descending=True).values


def part_of(values: Tensor, low: Tensor) -> Tensor:
    """The part of each of `values` [n], int64, from the least value of each: the first that goes down to it."""
    lows, each = (-v.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf) for v in (low, values))
    return torch.searchsorted(lows, each)


def level_of(values: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits levels from `low` to `high`, of one shape, float; 0 where these are the same."""
    return ((values - low) / (high - low) * (2**bits - 1)).nan_to_num().round()


def part_lengths(count: int, partitions: int) -> Tensor:
    """How many of `count` sorted numbers are in each part, int64 [parts]: the same to one, and no part is empty."""
    parts = min(partitions, count)
    return (torch.arange(parts + 1) * count // max(1, parts)).diff()


def part_of_each(lengths: Tensor) -> Tensor:
    """The part of each sorted number, int64 [n], from the lengths of all."""
    return torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)


def value_of(low: Tensor, high: Tensor, level: Tensor, bits: int) -> Tensor:
    """What `level` stands for in a part from `low` to `high`, all of one shape."""
    return torch.lerp(low, high, level / (2**bits - 1))


@torch.no_grad()
def round_sorted(values: Tensor, partitions: int, bits: int) -> Tensor:
    """`values` [n], each rounded to 2^bits levels from the least to the largest value of its part (`part_ends`)."""
    exact = at_least_float32(values)
    low, high = part_ends(exact, partitions)
    part = part_of(exact, low)
    low, high = low[part], high[part]
    return value_of(low, high, level_of(exact, low, high, bits), bits).to(values.dtype)


@torch.no_grad()
def qsgd(x: Tensor, levels: int, bucket: int = 512, generator: torch.Generator | None = None) -> Sent:
    """`x` rounded at random to multiples of |bucket|_2 / `levels`, in buckets of `bucket` numbers; the mean is `x`
    (Alistarh et al. 2017, arXiv 1610.02132, sec. 3.1 and 4).

    Bytes as that paper codes them: the norm of each bucket as float32; then, in the cheaper way for the whole tensor,
    either every number (Elias code of its level + 1, a sign unless it is zero) or those that are not zero (Elias codes
    of the distance to the last one and of the level, a sign), with how many these are.
    """
    check_qsgd(levels, bucket)
    norm, level = draw_levels(x, levels, bucket, generator)
    decoded = from_levels(norm, level, levels, bucket).view(x.shape).to(x.dtype)
    return Sent(_bytes(len(norm) * _FLOAT + _qsgd_bits(level.abs(), bucket)), decoded)


def check_qsgd(levels: int, bucket: int) -> None:
    """UserError where an option of `qsgd` is out of range."""
    for what, value in (("levels", levels), ("bucket", bucket)):
        if value < 1:
            raise UserError(f"{what}: {value} is out of range; it must be at least 1")


def draw_levels(x: Tensor, levels: int, bucket: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Norm of each bucket [buckets], and of each number of `x` [n] its level with its sign, -levels to levels."""
    flat = at_least_float32(x).flatten()
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % bucket)).view(-1, bucket)
    norm = torch.linalg.vector_norm(padded, dim=1)
    share = (padded.abs() / norm.unsqueeze(1) * levels).nan_to_num()  # a bucket of zeros stays zero
    chance = torch.rand(share.shape, generator=generator).to(x.device)
    level = share.floor() + (chance < share - share.floor())
    return norm, (padded.sign() * level).flatten()[: len(flat)]


def from_levels(norm: Tensor, level: Tensor, levels: int, bucket: int) -> Tensor:
    """What the other side makes of `draw_levels`, [n]."""
    return norm.repeat_interleave(bucket)[: len(level)] * level / levels


def _qsgd_bits(level: Tensor, bucket: int) -> int:
    """Bits of levels [n], without their signs, and of the signs."""
    places = level.nonzero().squeeze(1)
    dense = int(elias_length(level + 1).sum()) + len(places)
    first = torch.diff(places // bucket, prepend=places.new_full((1,), -1)) > 0
    gaps = torch.where(first, places % bucket + 1, torch.diff(places, prepend=places.new_zeros(1)))
    counts = torch.bincount(places // bucket, minlength=-(-len(level) // bucket))
    sparse = sum(int(elias_length(part).sum()) for part in (gaps, level[places], counts + 1)) + len(places)
    return min(dense, sparse)


def elias_length(numbers: Tensor) -> Tensor:
    """Bits of the Elias omega code of each whole number from 1 up (P. Elias, IEEE Trans. Inf. Theory 1975), int64."""
    rest = numbers.double()
    bits = torch.ones(rest.shape, dtype=torch.int64, device=rest.device)
    while bool((rest > 1).any()):
        length = torch.frexp(rest).exponent
        bits += torch.where(rest > 1, length, 0)
        rest = torch.where(rest > 1, length - 1.0, rest)
    return bits


def largest_of(x: Tensor, ratio: float) -> Tensor:
    """Bool of the shape of `x`: the share `ratio` with the largest magnitudes, rounded half up, at least one; the first
    among equals. What is no number is the largest.
    """
    if ratio == 1:
        return torch.ones_like(x, dtype=torch.bool)
    magnitude, count = x.abs().flatten().nan_to_num(nan=torch.inf, posinf=torch.inf), kept_of(x.numel(), ratio)
    least = torch.topk(magnitude, count, sorted=False).values.min()  # a tenth of the time that sorting all takes
    kept = magnitude > least
    kept[(magnitude == least).nonzero().squeeze(1)[: count - int(kept.sum())]] = True
    return kept.view(x.shape)


def index_bits(total: int, kept: int) -> int:
    """Bits that say which `kept` of `total` numbers are sent: a bitmap, or their places."""
    return min(total, kept * width_of(total)) if kept < total else 0


def _check_share(share: float, what: str) -> None:
    if not 0 < share <= 1:
        raise UserError(f"{what}: {share} is out of range; it must be above 0 and at most 1")


def _bytes(bits: int) -> int:
    return -(-bits // 8)
