"""The product with a compressed matrix, over kept weights or blocks where that pays."""

from __future__ import annotations

from torch import Tensor

from frenchpress.compress import Weight
from frenchpress.kernels.blocks import block_linear
from frenchpress.kernels.native import weight as native

# One large dense product beats gathering the inputs of kept blocks until so few are kept (measured at 2600 x 512 x
# 960 on a CPU: dense 110 ms with its backward pass; blocks 180 ms where 1/4 is kept, 40 ms where 1/16 is).
_WORTH_GATHERING = 0.125


def project(x: Tensor, matrix: Weight) -> Tensor:
    """`x` [N, in] times the transposed compressed matrix: [N, out]."""
    if native.serves_product(matrix, x):
        return native.product(x, matrix)
    structure = matrix.structure
    if structure is None or structure.computed_fraction > _WORTH_GATHERING:
        return x @ matrix().t()
    return block_linear(x, matrix.compact(structure), structure)
