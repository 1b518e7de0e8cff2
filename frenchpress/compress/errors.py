"""How far a quantized tensor is from what it was."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.weight import pressed_tensors

_BINS = 256


class ErrorSums:
    """Sums over tensors and what has become of them, from which the errors of all of them together follow.

    `sums`, of what is not zero in x: x^2, q^2, x q, (x - q)^2, |x|, |x - q|; they can be kept, and given again.
    """

    def __init__(self, sums: Sequence[float] = (0.0,) * 6) -> None:
        self.sums = list(sums)

    @torch.no_grad()
    def add(self, x: Tensor, quantized: Tensor) -> None:
        """Take in `quantized` against `x`, of one shape."""
        kept = x != 0
        x, q = x[kept].double(), quantized[kept].double()
        off = x - q
        found = torch.stack([x @ x, q @ q, x @ q, off @ off, x.abs().sum(), off.abs().sum()]).tolist()
        self.sums = [a + b for a, b in zip(self.sums, found)]

    def figures(self) -> dict[str, float | None]:
        """`sqnr`, `cosine` and `l1`, as `tensor_errors` has them."""
        xx, qq, xq, noise, size, off = self.sums
        if not xx:
            return {"sqnr": None, "cosine": 1.0, "l1": 0.0}
        return {
            "sqnr": 10 * math.log10(xx / noise) if noise else None,
            "cosine": xq / max(math.sqrt(xx * qq), sys.float_info.min),
            "l1": off / size,
        }


@torch.no_grad()
def tensor_errors(x: Tensor, quantized: Tensor) -> dict[str, float | None]:
    """Of `quantized` against `x`, of any one shape; where `x` is zero, as removed weights and padding are, they are
    left out.

    `sqnr`: signal to quantization noise, 10 log10(sum x^2 / sum (x - q)^2), in dB; None where nothing was changed.
    `cosine`: of the angle between both. `l1`: sum |x - q| / sum |x|. `kl`: Kullback-Leibler divergence of the
    distribution of x from that of q, in nats, over 256 equal bins from the smallest to the largest number of both, one
    added to each count. All are 0, and `cosine` 1, of nothing.
    """
    sums = ErrorSums()
    sums.add(x, quantized)
    return {**sums.figures(), "kl": _divergence(x, quantized)}


def _divergence(x: Tensor, quantized: Tensor) -> float:
    kept = x != 0
    x, q = x[kept].double(), quantized[kept].double()
    if not len(x):
        return 0.0
    low, high = float(torch.minimum(x.min(), q.min())), float(torch.maximum(x.max(), q.max()))
    p, r = ((torch.histc(t.cpu(), _BINS, low, high) + 1) / (len(t) + _BINS) for t in (x, q))
    return float((p * (p / r).log()).sum())


def weight_errors(model: nn.Module) -> dict[str, dict[str, float | None]]:
    """`tensor_errors` of every quantized weight of `model`, by name; of a mask, what it keeps."""
    found = {}
    for p in pressed_tensors(model):
        if not p.chain.quantizer.is_float:
            mask = p.chain.full_mask()
            kept = p.matrix.detach() if mask is None else p.matrix.detach() * mask
            with torch.no_grad():
                found[p.name] = tensor_errors(kept, p.chain.press_matrix(p.matrix.detach()))
    return found


@contextmanager
def activation_errors(model: nn.Module) -> Iterator[dict[str, dict[str, float | None]]]:
    """What is quantized of the activations while this lasts, by name; of several calls, the last one.

    What is quantized inside a recurrence is not seen: it never is there as a float tensor.
    """
    found: dict[str, dict[str, float | None]] = {}

    def look(quantizer: ActQuantizer, given: tuple[Tensor, ...], gives: Tensor) -> None:
        found[quantizer.called] = tensor_errors(given[0].detach(), gives.detach())

    quantizers = [m for m in model.modules() if isinstance(m, ActQuantizer) and not m.is_float]
    handles = [quantizer.register_forward_hook(look) for quantizer in quantizers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
