"""Two and three levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.compress.quantizers.grid import mean_where, round_scale, row_dims, to_grid
from frenchpress.compress.quantizers.uniform import RowOptions, ScaledQuantizer


@dataclass(frozen=True)
class BinaryOptions(RowOptions):
    """`stochastic`: in training the sign is drawn, the likelier the larger the weight."""

    stochastic: bool = False


class BinaryQuantizer(ScaledQuantizer):
    """-s and +s, s the mean magnitude of the weights that are not zero (Rastegari et al. 2016, eq. 6).

    Deterministic: the sign; that is `uniform` at one bit. `stochastic`: in training +s with probability
    clip((w / s + 1) / 2, 0, 1) (Courbariaux et al. 2015, eq. 2 and 3, for weights in units of s), so that the mean of
    the draws is w for |w| <= s; drawn from torch's own generator, whose state a checkpoint has. In evaluation, and
    for `integers`, the sign. The gradient passes unchanged.
    """

    Options = BinaryOptions
    takes = range(1, 2)

    def __init__(self, bits: int = 1, options: BinaryOptions = BinaryOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, options)
        self.stochastic = options.stochastic

    def scale(self, x: Tensor) -> Tensor:
        """Per row `[..., 1]`, or of the tensor `[1, ..., 1]`."""
        size = x.abs()
        return round_scale(mean_where(size, size > 0, row_dims(x, self.per_row)), self.bits)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(signs, scale)`."""
        scale = self.scale(x)
        return to_grid(x, scale, 1), scale

    def draw(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Signs, where they are drawn."""
        if not self.stochastic:
            return None
        # rand_like lies in [0, 1); a weight of +s or more is never drawn as -s.
        return torch.where(2 * torch.rand_like(x) - 1 < x / scale, 1.0, -1.0).to(x.dtype)


class TernaryQuantizer(ScaledQuantizer):
    """-s, 0 and +s (ternary weight networks; Li et al. 2016, arXiv 1605.04711, eq. 5 and 6).

    Zero where |w| <= 0.7 mean|w|; s is the mean magnitude of the others. Means leave out weights that are zero
    already, which a mask has removed. Three levels, stored in 2 bits. The gradient passes unchanged.
    """

    Options = RowOptions
    takes = range(2, 3)

    def __init__(self, bits: int = 2, options: RowOptions = RowOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, options)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(-1, 0 or 1, scale)`."""
        size, dims = x.abs(), row_dims(x, self.per_row)
        large = size > 0.7 * mean_where(size, size > 0, dims)
        return x.sign() * large, round_scale(mean_where(size, large, dims), self.bits)
