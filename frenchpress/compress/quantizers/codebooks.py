"""Levels that are found from the weights, stored as a table: shared weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.quantizers.base import BitQuantizer, Quantizer
from frenchpress.compress.quantizers.clusters import cluster
from frenchpress.compress.quantizers.codes import Codes, codes_in
from frenchpress.compress.quantizers.grid import round_scale

ENTRY_BITS = 16
"""Bits of a level in a stored table, in steps of one scale."""


# Above any weight, and a number all the same, as everything in the state of a model is.
_NEVER = 1e38


def to_entries(levels: Tensor) -> tuple[Tensor, Tensor]:
    """`(integers as floats, scale [1, 1])` of `levels` [n], the largest being the largest integer of `ENTRY_BITS`."""
    top = 2 ** (ENTRY_BITS - 1) - 1
    scale = round_scale(levels.abs().amax() / top, ENTRY_BITS).view(1, 1)
    return (levels / scale[0]).round().clamp(-top, top), scale


class TableQuantizer(Quantizer):
    """Base: a level is one of a table's, stored with the matrix; a weight its place in it."""

    takes = range(1, 9)

    @property
    def levels(self) -> int:
        """2^b."""
        return 2**self.bits

    @property
    def top(self) -> int:
        """Of the integers in the table."""
        return 2 ** (ENTRY_BITS - 1) - 1

    @property
    def scale_bits(self) -> int:
        """A float32, since the integers have 16 bits."""
        return 32

    @property
    def table_bits(self) -> int:
        """16 for each level."""
        return self.levels * ENTRY_BITS

    def codes_of(self, integers: Tensor, scale: Tensor) -> Codes:
        """The place of each level among those in use."""
        return codes_in(integers.unique(), integers, scale)


@dataclass(frozen=True)
class KMeansOptions:
    """`fixed`: a weight stays in the cluster that it is in at first, and the levels alone are trained. `entropy`: of
    `cluster`. `hessian`: so many training calls after the first one the levels are found again, each weight counting by
    its mean squared gradient; 0: never.
    """

    fixed: bool = False
    entropy: float = 0.0
    hessian: int = 0

    def __post_init__(self) -> None:
        if self.entropy < 0 or self.hessian < 0:
            raise UserError(f"{'entropy' if self.entropy < 0 else 'hessian'}: must be at least 0")
        if self.entropy and self.hessian:
            raise UserError("entropy: goes without hessian; leave one out")


class _SharedWeights(torch.autograd.Function):
    """Levels in the places of weights. Backward: a level has the sum of its weights' gradients (Han et al. 2016,
    eq. 3); the quantizer is shown the gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, centre: Tensor, on_grid: Tensor, place: Tensor, of: KMeansQuantizer) -> Tensor:
        ctx.save_for_backward(x, place)
        ctx.of = of
        return on_grid

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, place = ctx.saved_tensors
        grad = grads[0] * (x != 0)  # what a mask has removed is zero, and no part of a level
        ctx.of.see(grad)
        level = grad.new_zeros(len(ctx.of.centre)).index_add_(0, place.flatten(), grad.flatten())
        return None if ctx.of.options.fixed else grads[0], level, None, None, None


class KMeansQuantizer(TableQuantizer):
    """Weight sharing (Deep Compression; Han et al. 2016, arXiv 1510.00149, sec. 3): 2^b levels for the matrix.

    The first training call finds them by k-means of the weights that are not zero. Then the levels are trained: each
    has the sum of its weights' gradients. Weights are trained too, straight through, and belong to the nearest level;
    with `fixed`, as published, they are not and stay with theirs. `entropy`: bits of a Huffman code count
    beside squared errors (ECSQ; Choi et al. 2017, arXiv 1612.01543, sec. 5). `hessian`: errors count by what they do to
    the loss (ibid., sec. 3.3; as in 3.5, the second moment of the gradient stands for the Hessian's diagonal). Stored
    are codes of b bits and a table of 16-bit integers.
    """

    Options = KMeansOptions

    def __init__(self, bits: int, options: KMeansOptions = KMeansOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits)
        self.options = options
        self.centre = nn.Parameter(torch.zeros(self.levels))
        # The edges between levels, with `fixed`; else by how much they lie off the middle. `_NEVER`: no level follows.
        self.register_buffer("edge", torch.zeros(self.levels - 1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @property
    def movable(self) -> bool:
        """Unless every weight has a gradient to be remembered."""
        return not self.options.hessian

    @property
    def sees_gradients(self) -> bool:
        """With `hessian`."""
        return self.options.hessian > 0

    @property
    def held(self) -> Tensor | None:
        """All of them, with `fixed`."""
        return torch.ones_like(self.calls, dtype=torch.bool) if self.options.fixed else None

    def size_for(self, shape: tuple[int, int]) -> None:
        """Room for the squared gradients."""
        if self.options.hessian:
            self.register_buffer("curvature", torch.zeros(shape))

    def take_over(self, other: BitQuantizer) -> None:
        """The levels, where they are found in the same way; what gradients they were found by is their own matter."""
        if isinstance(other, KMeansQuantizer) and (other.options, other.bits) == (self.options, self.bits):
            with torch.no_grad():
                for key in ("centre", "edge", "calls"):
                    getattr(self, key).copy_(getattr(other, key))

    def find(self, x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`(centres [2^b], edges as stored [2^b - 1])` of `x`, by k-means."""
        chosen = x != 0
        values = x[chosen]
        if not len(values) or not bool(values.isfinite().all()):
            return x.sum() + self.centre.detach().to(x.dtype) * 0, self.edge.to(x.dtype)
        chosen_weights = None if weights is None else weights[chosen]
        centres, edges = cluster(values, chosen_weights, self.levels, self.options.entropy)
        middle = 0 if self.options.fixed else (centres[1:] + centres[:-1]) / 2
        unused = self.levels - len(centres)
        centres = torch.cat([centres, centres[-1:].expand(unused)])
        edges = torch.cat([edges - middle, edges.new_full((unused,), _NEVER)])
        return centres.to(x.dtype), edges.to(x.dtype)

    def levels_now(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(integers, scale, place of each weight)`, by the levels as trained; before training by those of `x`."""
        centre, edge = (self.centre.detach().to(x.dtype), self.edge.to(x.dtype)) if self.calls else self.find(x)
        entries, scale = to_entries(centre)
        if self.options.fixed:
            place = torch.bucketize(x, edge)
        else:
            ordered, order = centre.sort(stable=True)
            place = order[torch.bucketize(x, (edge + (ordered[1:] + ordered[:-1]) / 2).cummax(0).values)]
        return entries[place], scale.view((1,) * x.dim()), place

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers of the table, scale)`."""
        return self.levels_now(x)[:2]

    def quantized(self, x: Tensor) -> Tensor:
        """`x` on the levels; the first training call finds them."""
        with torch.no_grad():
            if self.training and self.calls <= self.options.hessian:
                self._learn(x.detach())
            integers, scale, place = self.levels_now(x.detach())
            self.refuse_unless_finite(x.sum() + scale.amax() * self.top)
        return _SharedWeights.apply(x, self.centre, integers * scale, place, self)

    def _learn(self, x: Tensor) -> None:
        """Find the levels in the first call, and once more when gradients were looked at in all calls that count."""
        if not self.calls or self.calls == self.options.hessian:
            centres, edges = self.find(x, self.curvature if self.calls else None)
            self.centre.copy_(centres)
            self.edge.copy_(edges)
        self.calls += 1

    def see(self, grad: Tensor) -> None:
        """Add up the squared gradient of each weight while these are still to be weighed."""
        if self.calls <= self.options.hessian and self.options.hessian:
            self.curvature += grad.square()


class BinaryBasesQuantizer(TableQuantizer):
    """Sums of binary matrices (ABC-Net; Lin et al. 2017, arXiv 1711.11294, eq. 2 to 4): w' = sum of a_i B_i for b bases
    B_i = sign(w - mean + u_i std), u_i from -1 to 1 at equal distances, and a by least squares. For the matrix.

    The bases differ only where w lies between their thresholds: b of them have b + 1 levels, and are stored as these.
    Means, deviation and squares leave out weights that are zero. The gradient passes unchanged.
    """

    takes = range(1, 8)

    @property
    def levels(self) -> int:
        """One more than bases."""
        return self.bits + 1

    @property
    def stored_bits(self) -> int:
        """Those that tell the levels apart."""
        return self.bits.bit_length()

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers of the table, scale)`."""
        values = x[x != 0].double()
        if not len(values) or not bool(values.isfinite().all()):
            return torch.zeros_like(x), (x.sum() * 0 + 1).view((1,) * x.dim())
        shifts = torch.linspace(-1, 1, self.bits, dtype=torch.float64, device=x.device) if self.bits > 1 else 0.0
        edges = (values.mean() + shifts * values.std(correction=0)).reshape(-1)
        part = torch.bucketize(values, edges, right=True)
        counts = torch.bincount(part, minlength=self.levels).double()
        sums = torch.bincount(part, values, minlength=self.levels)
        index = torch.arange(self.levels, device=x.device)
        signs = torch.where(index.unsqueeze(1) > index[:-1], 1.0, -1.0).double()  # of each base, level by level
        factors = torch.linalg.pinv(signs.t() * counts @ signs, hermitian=True) @ (signs.t() @ sums)
        entries, scale = to_entries(signs @ factors)
        integers = entries[torch.bucketize(x.double(), edges, right=True)]
        return integers.to(x.dtype), scale.to(x.dtype).view((1,) * x.dim())
