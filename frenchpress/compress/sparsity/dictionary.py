"""Dictionaries of patterns, bool [n, h * w]: drawn, read from a file, or found in the blocks of a trained matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.masks import Block
from frenchpress.compress.sparsity.base import keep_largest

_CANDIDATES = 512
_ROUNDS = 20


def drawn_patterns(block: Block, nonzeros: int, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` different patterns of `nonzeros` each, at random."""
    size, found = block[0] * block[1], {}
    while len(found) < count:
        places = torch.randperm(size, generator=generator)[:nonzeros].sort().values
        found[tuple(places.tolist())] = None
    patterns = torch.zeros(count, size, dtype=torch.bool)
    return patterns.scatter_(1, torch.tensor(list(found)), True)


def read_patterns(path: str) -> tuple[Tensor, Block, int]:
    """Patterns of a `.npy` file, bool or 0/1 [n, h, w]; their height and width; the non-zeros of each.

    UserError for a missing or damaged file, another shape, other values, a pattern that is there twice or has another
    number of non-zeros.
    """
    try:
        array = np.load(Path(path), allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"dictionary: {path}: no such file") from None
    except Exception as error:  # numpy parses the header as Python, and a damaged one fails in many ways
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"dictionary: {path}: not a .npy file of numbers ({why})") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"dictionary: {path}: an archive of arrays; save one array with numpy.save")
    return _checked(array, f"dictionary: {path}")


def parse_patterns(said: Sequence[object]) -> tuple[Tensor, Block, int]:
    """The same of patterns that are spelt out, `"10/01"` each: rows of 0 and 1, from the top down.

    UserError for anything else, and as above.
    """
    rows = [pattern.split("/") if isinstance(pattern, str) else [] for pattern in said]
    widths = {len(row) for pattern in rows for row in pattern}
    digits = all(set(row) <= {"0", "1"} for pattern in rows for row in pattern)
    if len({len(pattern) for pattern in rows}) != 1 or len(widths) != 1 or not digits:
        raise UserError('dictionary: patterns are rows of 0 and 1, all of the same size; write ["10/01", "01/10"]')
    return _checked(np.array([[list(map(int, row)) for row in pattern] for pattern in rows]), "dictionary")


def spell_patterns(patterns: Tensor, block: Block) -> list[str]:
    """Patterns, bool [n, h * w], as `parse_patterns` reads them."""
    digits = patterns.view(len(patterns), *block).int().tolist()
    return ["/".join("".join(map(str, row)) for row in pattern) for pattern in digits]


def _checked(array: NDArray[Any], where: str) -> tuple[Tensor, Block, int]:
    if array.ndim != 3 or 0 in array.shape:
        raise UserError(f"{where}: shape {list(array.shape)}; patterns are [n, height, width]")
    if array.dtype.kind not in "buif" or not np.isin(array, (0, 1)).all():
        raise UserError(f"{where}: holds other values than 0 and 1")
    patterns = array.reshape(len(array), -1).astype(np.bool_)
    counts = np.unique(patterns.sum(1))
    if len(counts) > 1 or not counts[0]:
        raise UserError(f"{where}: patterns of {counts.tolist()} non-zeros; all need the same, one or more")
    if len(np.unique(patterns, axis=0)) < len(patterns):
        raise UserError(f"{where}: a pattern is there twice")
    return torch.from_numpy(patterns), (array.shape[1], array.shape[2]), int(counts[0])


def searched_patterns(blocks: Tensor, nonzeros: int, count: int) -> Tensor:
    """The patterns most alike to the blocks: those that, one after the other, raise most what all blocks retain.

    `blocks`: magnitudes [N, h * w]. Candidates are the `nonzeros` largest places of the blocks, the 512 most frequent
    ones. What a block retains is the sum of its magnitudes under the best pattern so far. Greedy choice comes within
    1 - 1/e of the best dictionary of these (Nemhauser et al. 1978).
    """
    found, counts = torch.unique(keep_largest(blocks, nonzeros), dim=0, return_counts=True)
    order = torch.sort(counts, descending=True, stable=True).indices[:_CANDIDATES]
    candidates = found[order]
    retained, best, chosen = blocks @ candidates.float().t(), blocks.new_zeros(len(blocks), 1), []
    for _ in range(min(count, len(candidates))):
        gain = (retained - best).clamp_(min=0).sum(0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        best = torch.maximum(best, retained[:, chosen[-1:]])
    return candidates[sorted(chosen)]


def clustered_patterns(blocks: Tensor, nonzeros: int, count: int, generator: torch.Generator | None) -> Tensor:
    """The `nonzeros` largest places of the centroids of k-means over the blocks; at most `count`, as some may agree.

    `blocks`: magnitudes [N, h * w], brought to length 1, so that form and not size decides. Starts from blocks drawn at
    random; 20 rounds (Lloyd 1982).
    """
    shapes = blocks / blocks.norm(dim=1, keepdim=True).clamp(min=1e-30)
    centres = shapes[torch.randperm(len(shapes), generator=generator)[:count]]
    for _ in range(_ROUNDS):
        nearest = (shapes @ centres.t() - 0.5 * centres.square().sum(1)).argmax(1)
        number = torch.bincount(nearest, minlength=len(centres)).unsqueeze(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, shapes)
        centres = torch.where(number > 0, sums / number.clamp(min=1), centres)
    return torch.unique(keep_largest(centres, nonzeros), dim=0)


def check_dictionary(block: Block, nonzeros: int, count: int) -> None:
    """UserError unless there are `count` different patterns of `nonzeros` in a block."""
    size = block[0] * block[1]
    if not 1 <= nonzeros <= size:
        raise UserError(f"nonzeros: {nonzeros} do not fit a pattern of {block[0]} x {block[1]}; use 1 to {size}")
    if not 1 <= count <= min(math.comb(size, nonzeros), 4096):
        most = min(math.comb(size, nonzeros), 4096)
        raise UserError(f"count: {count} patterns of {nonzeros} in {block[0]} x {block[1]}; use 1 to {most}")
