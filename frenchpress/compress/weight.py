"""A pressed matrix: the dense parameter that trains, seen by the model only through `quantize(mask * w)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frenchpress.compress.activations import ActQuantizer
from frenchpress.compress.masks import gate_mask
from frenchpress.compress.options import LayerPress
from frenchpress.compress.quantizers import Quantizer, quantizer_of
from frenchpress.compress.structure import BlockStructure, compact, gate_structure

# Above this share of multiplications the batched product of kept blocks is no faster than the dense one.
_WORTH_BLOCKS = 0.7


class PressedWeight(nn.Module):
    """Weight matrix [out, in] with an optional mask and a quantizer, evaluated once per forward pass.

    `gates`: number of matrices stacked by rows (4 for an LSTM), which may share one mask. The mask is a buffer:
    a checkpoint carries it, and what is derived from it follows when it changes. The parameter is left
    uninitialised.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        press: LayerPress,
        gates: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.press, self.gates = press, gates
        self.weight = nn.Parameter(torch.empty(shape))
        self.quantizer = quantizer_of(press)
        mask = None if press.hcgs is None else gate_mask(shape, press.hcgs, gates, generator)
        self.register_buffer("mask", mask)
        self._cache: tuple[object, BlockStructure] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weight.shape[0], self.weight.shape[1]

    def full_mask(self) -> Tensor | None:
        """Mask of every weight, bool [out, in]; a shared one is repeated for each gate."""
        if self.mask is None:
            return None
        return self.mask.repeat(self.weight.shape[0] // self.mask.shape[0], 1)

    @property
    def density(self) -> float:
        """Kept weights over all weights, as realised."""
        return 1.0 if self.mask is None else float(self.mask.float().mean())

    @property
    def structure(self) -> BlockStructure | None:
        """Kept blocks of the coarse level, or None where the dense product is the faster one."""
        if self.mask is None or self.press.hcgs is None:
            return None
        key = (self.mask.data_ptr(), self.mask._version, self.mask.device)
        if self._cache is None or self._cache[0] != key:
            found = gate_structure(self.mask, self.press.hcgs.blocks[0], self.gates, self.weight.shape[0])
            self._cache = (key, found)
        found = self._cache[1]
        return found if found.computed_fraction <= _WORTH_BLOCKS else None

    def forward(self) -> Tensor:
        """The dense matrix [out, in] that the model multiplies with."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer(self.weight)
        return self.quantizer(self.weight * mask) * mask

    def compact(self, structure: BlockStructure) -> Tensor:
        """The same weights as `forward`, kept blocks only: [R, gates * block, kept * block]."""
        return self.quantizer(compact(self.weight, structure)) * structure.mask

    def integers(self) -> tuple[Tensor, Tensor]:
        """`(int64 [out, in], scale)`, zero where the mask removes; `integers * scale == forward()` to the bit."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer.integers(self.weight)
        integers, scale = self.quantizer.integers(self.weight * mask)
        return integers * mask, scale


def learned_ranges(module: nn.Module) -> list[nn.Parameter]:
    """Step sizes and ranges that the quantizers in `module` learn, in the order of its modules."""
    quantizers = [m for m in module.modules() if isinstance(m, (Quantizer, ActQuantizer))]
    return [p for q in quantizers for p in q.parameters()]
