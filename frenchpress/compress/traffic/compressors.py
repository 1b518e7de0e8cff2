"""Compressors of tensors that are sent: `(tensor, ...) -> Sent`. None of them has a gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.masks import kept_of
from frenchpress.compress.quantizers.grid import at_least_float32
from frenchpress.compress.sparsity.base import keep_largest

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
    bitmap = total if count < total else 0
    places = min(bitmap + count * _bits_of(parts), count * _bits_of(total))
    decoded = torch.zeros_like(x).masked_scatter(kept, round_sorted(x[kept], partitions, bits))
    return Sent(_bytes(places + count * bits + 2 * parts * _FLOAT), decoded)


def check_multi_step(ratio: float, partitions: int, bits: int) -> None:
    """UserError where an option of `multi_step` is out of range."""
    _check_share(ratio, "ratio")
    if partitions < 1:
        raise UserError(f"partitions: {partitions} is out of range; it must be at least 1")
    if not 1 <= bits <= 16:
        raise UserError(f"bits: {bits} is out of range; it must be 1 to 16")


@torch.no_grad()
def round_sorted(values: Tensor, partitions: int, bits: int) -> Tensor:
    """`values` [n], sorted from large to small, cut into `partitions` parts of equal length (to one; no more parts than
    values), each rounded to 2^bits levels from its least to its largest value, and put back in place.

    Values are sorted with their signs, so that no part has a wide range that it does not use.
    """
    ordered, order = torch.sort(at_least_float32(values), descending=True, stable=True)
    count = len(values)
    parts = min(partitions, count)
    edges = torch.arange(parts + 1, device=values.device) * count // max(1, parts)
    lengths = edges.diff()
    high, low = (ordered[ends].repeat_interleave(lengths) for ends in (edges[:-1], edges[1:] - 1))
    level = ((ordered - low) / (high - low) * (2**bits - 1)).nan_to_num().round()
    rounded = torch.lerp(low, high, level / (2**bits - 1))
    return torch.empty_like(ordered).scatter_(0, order, rounded).to(values.dtype)


@torch.no_grad()
def qsgd(x: Tensor, levels: int, bucket: int = 512, generator: torch.Generator | None = None) -> Sent:
    """`x` rounded at random to multiples of |bucket|_2 / `levels`, in buckets of `bucket` numbers; the mean is `x`
    (Alistarh et al. 2017, arXiv 1610.02132, sec. 3.1 and 4).

    Bytes as that paper codes them: the norm of each bucket as float32; then, in the cheaper way for the whole tensor,
    either every number (Elias code of its level + 1, a sign unless it is zero) or those that are not zero (Elias codes
    of the distance to the last one and of the level, a sign), with how many these are.
    """
    if levels < 1:
        raise UserError(f"levels: {levels} is out of range; it must be at least 1")
    if bucket < 1:
        raise UserError(f"bucket: {bucket} is out of range; it must be at least 1")
    flat = at_least_float32(x).flatten()
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % bucket)).view(-1, bucket)
    norm = torch.linalg.vector_norm(padded, dim=1, keepdim=True)
    share = (padded.abs() / norm * levels).nan_to_num()  # a bucket of zeros stays zero
    chance = torch.rand(share.shape, generator=generator).to(x.device)
    level = share.floor() + (chance < share - share.floor())
    decoded = (norm * padded.sign() * level / levels).flatten()[: len(flat)].view(x.shape).to(x.dtype)
    return Sent(_bytes(len(norm) * _FLOAT + _qsgd_bits(level.flatten()[: len(flat)], bucket)), decoded)


def _qsgd_bits(level: Tensor, bucket: int) -> int:
    """Bits of levels [n] and their signs."""
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
    """Bool of the shape of `x`: the share `ratio` with the largest magnitudes, rounded half up, at least one."""
    return keep_largest(x.abs().flatten(), kept_of(x.numel(), ratio)).view(x.shape)


def index_bits(total: int, kept: int) -> int:
    """Bits that say which `kept` of `total` numbers are sent: a bitmap, or their places."""
    return min(total, kept * _bits_of(total)) if kept < total else 0


def _bits_of(choices: int) -> int:
    return max(0, choices - 1).bit_length()


def _check_share(share: float, what: str) -> None:
    if not 0 < share <= 1:
        raise UserError(f"{what}: {share} is out of range; it must be above 0 and at most 1")


def _bytes(bits: int) -> int:
    return -(-bits // 8)
