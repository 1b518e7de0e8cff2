"""Kept weights of a matrix in compact form; where they are whole blocks, a batch of small dense matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class AsItIs:
    """A tensor as it is now: equal to itself alone, and until it is changed. It is held, so that what is made for it is
    not taken for that of another one, which lies in its place in memory when it is gone.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version = tensor, tensor._version

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsItIs) and self._tensor is other._tensor and self._version == other._version

    def __hash__(self) -> int:
        return hash((id(self._tensor), self._version))


@dataclass(frozen=True)
class Selection:
    """Some weights of a matrix, rows of them, in a compact form [..., rows, columns].

    `flat` holds the position of each one in the flattened matrix, `mask` (same shape) is False on removed weights and
    on padding. `source` lists the kept weights in the flattened compact form, `target` the same ones in the matrix.
    """

    flat: Tensor
    mask: Tensor
    source: Tensor
    target: Tensor

    @staticmethod
    def of(flat: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The fields, from positions and mask."""
        source = mask.reshape(-1).nonzero().flatten()
        return {"flat": flat, "mask": mask, "source": source, "target": flat.reshape(-1)[source]}


@dataclass(frozen=True)
class BlockStructure(Selection):
    """Kept blocks of a masked matrix [groups * gates * rows, columns], per row of blocks.

    `gates` matrices share each mask, and `groups` such bundles with masks of their own are stacked. A row of
    blocks of a bundle, over all its gates, reads the same `kept` blocks of inputs: `inputs` [R, kept] names
    them, R = groups * ceil(rows / block). The compact form is [R, gates * block, kept * block].
    """

    block: int
    rows: int
    columns: int
    gates: int
    groups: int
    inputs: Tensor

    @property
    def kept(self) -> int:
        """Input blocks per row of blocks (the most, where rows differ)."""
        return self.inputs.shape[1]

    @property
    def input_blocks(self) -> int:
        """Number of blocks that the inputs are cut into."""
        return -(-self.columns // self.block)

    @property
    def block_rows(self) -> int:
        """Rows of blocks of one bundle."""
        return self.inputs.shape[0] // self.groups

    @property
    def computed_fraction(self) -> float:
        """Weights that the block product multiplies over weights of the dense matrix."""
        return self.flat.numel() / (self.groups * self.gates * self.rows * self.columns)


def gate_structure(mask: Tensor, block: int, gates: int, out: int) -> BlockStructure:
    """Structure of a weight of `out` rows, `gates` matrices stacked, by blocks of side `block`.

    `mask`: bool [out / gates, columns] if the matrices share it, else [out, columns].
    """
    shared = mask.shape[0] != out or gates == 1
    return _structure(mask, block, gates, 1) if shared else _structure(mask, block, 1, gates)


def _structure(mask: Tensor, block: int, gates: int, groups: int) -> BlockStructure:
    rows, columns = mask.shape[0] // groups, mask.shape[1]
    block_rows, block_columns = -(-rows // block), -(-columns // block)
    padded = mask.new_zeros(groups, block_rows * block, block_columns * block)
    padded[:, :rows, :columns] = mask.view(groups, rows, columns)
    cells = padded.view(groups * block_rows, block, block_columns, block)
    present = cells.any(dim=3).any(dim=1)
    kept = max(1, int(present.sum(1).max()))
    # Kept blocks first, in ascending order; rows with fewer are filled up with blocks whose mask is False.
    inputs = torch.argsort((~present).to(torch.uint8), dim=1, stable=True)[:, :kept].contiguous()
    row = torch.arange(groups * block_rows, device=mask.device)
    compact = cells.transpose(1, 2)[row[:, None], inputs].transpose(1, 2)
    compact = compact.reshape(len(row), 1, block, kept * block).expand(-1, gates, -1, -1)
    flat = _positions(inputs, block, rows, columns, gates, groups)
    shape = (len(row), gates * block, kept * block)
    chosen = Selection.of(flat.reshape(shape), compact.reshape(shape))
    return BlockStructure(**chosen, block=block, rows=rows, columns=columns, gates=gates, groups=groups, inputs=inputs)


def _positions(inputs: Tensor, block: int, rows: int, columns: int, gates: int, groups: int) -> Tensor:
    """Flat positions [R, gates, block, kept * block], clamped into the matrix where they are padding."""
    device, block_rows = inputs.device, inputs.shape[0] // groups
    within = torch.arange(block, device=device)
    column = (inputs[:, :, None] * block + within).flatten(1).clamp_(max=columns - 1)
    row = torch.arange(block_rows, device=device)[:, None] * block + within
    row = row.clamp_(max=rows - 1).repeat(groups, 1)
    matrix = torch.arange(groups, device=device).repeat_interleave(block_rows)[:, None] * gates
    matrix = matrix + torch.arange(gates, device=device)
    line = matrix[:, :, None] * rows + row[:, None, :]
    return line[..., None] * columns + column[:, None, None, :]


class _Compact(torch.autograd.Function):
    """Kept weights of a dense matrix; the gradient comes back as a dense matrix, zero where nothing is kept."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, structure: Selection) -> Tensor:
        ctx.structure, ctx.shape = structure, weight.shape
        return torch.take(weight, structure.flat).mul_(structure.mask)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), s = grads, ctx.structure
        dense = grad.new_zeros(ctx.shape)
        dense.view(-1).index_copy_(0, s.target, grad.reshape(-1).index_select(0, s.source))
        return dense, None


def compact(weight: Tensor, structure: Selection) -> Tensor:
    """The weights of a dense matrix in compact form, zeros where the mask removes; differentiable."""
    return _Compact.apply(weight, structure)
