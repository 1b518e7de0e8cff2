"""A masked recurrent matrix as tiles of a few cells with the inputs that any of them keeps, as the kernels read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.compress.structure import BlockStructure

_GATES = 4
_CHUNK = 16384  # values of weights, and of inputs, that a program works on at a time: 64 KiB each
_WARP_WORK = 4096  # multiplications of a step that are worth a warp
_WARPS = (4, 16)  # the fewest and the most
_DEEP = 16  # the fewest inputs that a slice of the product may have
_SPARE = 4096  # bytes of shared memory for sums and changes of layout
LEAST_MEMORY = 99 * 1024  # bytes of shared memory that a program can have on every GPU of compute capability 8.0


@dataclass(frozen=True)
class Tiling:
    """How a step is cut: `cells` of the layer per tile, `batch` sequences per program; powers of two.

    `memory`: bytes of shared memory that a program can have.
    """

    cells: int
    batch: int
    memory: int = LEAST_MEMORY


@dataclass(frozen=True)
class Side:
    """One direction of the matrix. The inputs of a tile are worked off in chunks of `slices` times `deep`.

    `index` int32 [tiles, depth]: where in a row of inputs they lie. `gather` int64 [tiles, depth, values]: where among
    the values of the matrix each weight lies; one past the end where there is none.
    """

    index: Tensor
    gather: Tensor
    slices: int
    deep: int

    @property
    def tiles(self) -> int:
        """How many."""
        return self.index.shape[0]

    @property
    def depth(self) -> int:
        """Inputs per tile, filled up."""
        return self.index.shape[1]

    def pack(self, values: Tensor) -> Tensor:
        """Weights [tiles, depth, values] from all values of the matrix."""
        return torch.take(F.pad(values.reshape(-1), (0, 1)), self.gather)


class Tiles:
    """Where the kept weights of a matrix W [4 n, n] lie, for both directions.

    A tile of `forward` gives the gates of its cells from the outputs that they read, values ordered by cell, then i, f,
    g, o. A tile of `backward` gives the gradients of its cells' outputs from those of the gates that read them. A tile
    keeps an input when any of its weights is kept: any mask is right, and one that gates and neighbours share is
    tight. `mask`: bool [4 n, n]. With `structure` the matrix's values are those of its compact form.
    """

    def __init__(self, mask: Tensor, tiling: Tiling, structure: BlockStructure | None = None) -> None:
        self.tiling = tiling
        cells = mask.shape[1]
        more = -cells % tiling.cells
        count = (cells + more) // tiling.cells
        place, end = _places(mask, structure)
        place = F.pad(place.view(_GATES, cells, cells), (0, more, 0, more), value=end)
        kept = F.pad(mask.view(_GATES, cells, cells), (0, more, 0, more))

        gates_of = place.view(_GATES, count, tiling.cells, -1).permute(1, 3, 2, 0).flatten(2)
        read = kept.view(_GATES, count, tiling.cells, -1).any(2).any(0)
        source = torch.arange(cells + more, device=mask.device).clamp_(max=cells - 1)
        self.forward = _side(gates_of, read, source, tiling, end)

        outputs_of = place.view(_GATES * (cells + more), count, tiling.cells).transpose(0, 1)
        read = kept.view(_GATES * (cells + more), count, tiling.cells).any(2).t()
        source = (torch.arange(_GATES, device=mask.device)[:, None] * cells + source).flatten()
        self.backward = _side(outputs_of, read, source, tiling, end)


def _places(mask: Tensor, structure: BlockStructure | None) -> tuple[Tensor, int]:
    """Where each weight of the dense matrix lies among the values given, and how many these are."""
    if structure is None:
        return torch.arange(mask.numel(), device=mask.device), mask.numel()
    end = structure.flat.numel()
    place = torch.full((mask.numel(),), end, device=mask.device)
    place[structure.target] = structure.source
    return place, end


def _side(place: Tensor, read: Tensor, source: Tensor, tiling: Tiling, end: int) -> Side:
    """From `place` [tiles, inputs, values], `read` [tiles, inputs], and `source` [inputs], the column of each input."""
    most, values = max(1, int(read.sum(1).max())), place.shape[2]
    chunk = _chunk(most, values, tiling)
    work = _power(chunk * values * tiling.batch // _WARP_WORK)
    slices = min(max(work, _WARPS[0]), _WARPS[1], chunk // _DEEP)
    depth = -(-most // chunk) * chunk
    # Inputs that are read first, in ascending order; what fills up has no weights.
    order = torch.argsort((~read).to(torch.uint8), dim=1, stable=True)[:, :depth]
    gather = place.gather(1, order[:, :, None].expand(-1, -1, values))
    gather = gather.masked_fill(~read.gather(1, order)[:, :, None], end)
    missing = depth - order.shape[1]
    index = F.pad(source[order], (0, missing)).int().contiguous()
    return Side(index, F.pad(gather, (0, 0, 0, missing), value=end).contiguous(), slices, chunk // slices)


def _chunk(most: int, values: int, tiling: Tiling) -> int:
    """Inputs of a tile that are worked on at a time, a power of two, given the `most` that one has."""
    chunk = max(min(_power(most), _CHUNK // max(values, tiling.batch)), _WARPS[0] * _DEEP)
    while chunk > _WARPS[0] * _DEEP:
        # The first chunk's weights stay; those of further ones and the inputs come and go.
        held = chunk * (values * (1 if chunk >= most else 2) + tiling.batch)
        if 4 * held + _SPARE <= tiling.memory:
            break
        chunk //= 2
    return chunk


def _power(n: int) -> int:
    """The next power of two."""
    return 1 << max(0, n - 1).bit_length()
