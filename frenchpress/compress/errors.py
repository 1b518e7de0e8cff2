"""How far a quantized tensor is from what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.weight import pressed_tensors

_BINS = 256


@torch.no_grad()
def tensor_errors(x: Tensor, quantized: Tensor) -> dict[str, float | None]:
    """Of `quantized` against `x`, of any one shape; where `x` is zero, as removed weights and padding are, they are
    left out.

    `sqnr`: signal to quantization noise, 10 log10(sum x^2 / sum (x - q)^2), in dB; None where nothing was changed.
    `cosine`: of the angle between both. `l1`: sum |x - q| / sum |x|. `kl`: Kullback-Leibler divergence of the
    distribution of x from that of q, in nats, over 256 equal bins from the smallest to the largest number of both, one
    added to each count. All are 0, and `cosine` 1, of nothing.
    """
    kept = x != 0
    x, q = x[kept].double(), quantized[kept].double()
    if not len(x):
        return {"sqnr": None, "cosine": 1.0, "l1": 0.0, "kl": 0.0}
    noise = (x - q).square().sum()
    low, high = float(torch.minimum(x.min(), q.min())), float(torch.maximum(x.max(), q.max()))
    p, r = ((torch.histc(t.cpu(), _BINS, low, high) + 1) / (len(t) + _BINS) for t in (x, q))
    return {
        "sqnr": float(10 * (x.square().sum() / noise).log10()) if noise > 0 else None,
        "cosine": float((x @ q) / (x.norm() * q.norm()).clamp(min=torch.finfo(x.dtype).tiny)),
        "l1": float((x - q).abs().sum() / x.abs().sum()),
        "kl": float((p * (p / r).log()).sum()),
    }


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
