"""How the kernels are launched: how the work is cut, and whether one launch takes all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frenchpress.kernels.gpu.tiles import LEAST_MEMORY, Side, Tiling

_CELLS = (4, 8, 16)  # per tile


class Machine(NamedTuple):
    """`processors`: programs that run side by side for certain. `memory`: bytes of shared memory that each can have."""

    processors: int
    memory: int


def machine(device: torch.device) -> Machine:
    """A GPU's, a program per multiprocessor; one program alone where Triton is interpreted."""
    if device.type != "cuda":
        return Machine(1, LEAST_MEMORY)
    found = torch.cuda.get_device_properties(device)
    return Machine(found.multi_processor_count, getattr(found, "shared_memory_per_block_optin", LEAST_MEMORY))


def choose_tiling(cells: int, batch: int, on: Machine) -> Tiling:
    """The smallest tiles of which those of a whole batch have room side by side, or the largest that there are."""
    rows = 8 if batch <= 8 else 16
    groups = -(-batch // rows)
    fitting = [n for n in _CELLS if -(-cells // n) * groups <= on.processors]
    return Tiling(fitting[0] if fitting else _CELLS[-1], rows, on.memory)


@dataclass(frozen=True)
class Packed:
    """A packed batch, `sizes[t]` rows at step t, never growing, for programs that take so many sequences, a group.

    On the device: `offsets` int64 [T + 1], where the rows of each step start, and `steps` int64 [groups], in how many
    steps there is a row of the group.
    """

    sizes: list[int]
    offsets: Tensor
    steps: Tensor

    @classmethod
    def of(cls, sizes: list[int], batch: int, device: torch.device) -> Packed:
        """For groups of `batch` sequences."""
        counts = torch.tensor(sizes)
        steps = (counts > torch.arange(0, sizes[0], batch)[:, None]).sum(1)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(sizes, offsets.to(device), steps.to(device))


def run_steps(
    kernel: Any,
    side: Side,
    packed: Packed,
    tensors: Sequence[Tensor],
    numbers: Sequence[int] = (),
    constants: dict[str, int] | None = None,
) -> None:
    """All steps of `kernel`, its first arguments `tensors`, its last but the constants `numbers`.

    Where the tiles of a group of sequences have a processor each, one launch takes all steps of as many groups as fit.
    Its programs wait for each other, which takes a cooperative launch: that fails unless all of them are resident.
    Elsewhere every step is a launch.
    """
    total, groups = len(packed.sizes), len(packed.steps)
    fit = machine(tensors[0].device).processors // side.tiles
    arrived = tensors[0].new_zeros(groups, dtype=torch.int32)
    options = {"num_warps": side.slices, "num_stages": 1, "launch_cooperative_grid": fit > 0, "enable_fp_fusion": True}
    spans = [(0, total)] if fit else [(t, t + 1) for t in range(total)]
    for group in range(0, groups, fit or groups):
        grid = (side.tiles, min(fit or groups, groups - group))
        for first, last in spans:
            with torch.cuda.device_of(tensors[0]):
                kernel[grid](
                    *tensors, arrived, first, last, group, *numbers,
                    K=side.depth, S=side.slices, KS=side.deep, **(constants or {}), **options,
                )  # fmt: skip
