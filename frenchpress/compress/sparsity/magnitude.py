"""Pruning by magnitude: single weights, blocks, rows, columns, banks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor

from frenchpress.common import UserError, unknown
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.codes import Origin
from frenchpress.compress.masks import Block, kept_of
from frenchpress.compress.sparsity.base import (
    OUTSIDE,
    BlockMethod,
    MaskMethod,
    block_means,
    check_block,
    cut,
    join,
    keep_largest,
    read_block,
    spread,
)


@dataclass(frozen=True, kw_only=True)
class _OneFraction(MaskMethod):
    """A method with one kept fraction."""

    keep: Fraction | float | str
    gradual: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", parse_fraction(self.keep))

    @property
    def asked_density(self) -> float:
        """The kept fraction."""
        return float(self.keep)

    def at(self, density: float) -> Any:
        """With `density` in place of `keep`."""
        return replace(self, keep=Fraction(density))


@dataclass(frozen=True, kw_only=True)
class MagnitudeMask(_OneFraction):
    """The `keep` weights of a matrix with the largest magnitudes (Han et al. 2015, arXiv 1506.02626)."""

    share_gates: bool = False

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Exactly `keep` of all those that can be kept, rounded half up."""
        assert score is not None
        count = kept_of(int((score != OUTSIDE).sum()), self.keep)
        kept = torch.topk(score.flatten(), count, sorted=False).indices
        return torch.zeros(score.numel(), dtype=torch.bool).index_fill_(0, kept, True).view(shape)


@dataclass(frozen=True, kw_only=True)
class PruneMask(MagnitudeMask):
    """What `prune:` does: `keep` of the weights that another mask keeps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share_gates:
            raise UserError("share_gates: pruning goes by single weights of each gate; leave it out")


@dataclass(frozen=True, kw_only=True)
class BlockMask(_OneFraction, BlockMethod):
    """The `keep` blocks of a matrix with the largest mean magnitudes, wherever they lie (Narang et al. 2017)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "block", read_block(self.block, "block"))

    @property
    def side(self) -> int | None:
        """Of the blocks, where they are square."""
        return self.block[0] if self.block[0] == self.block[1] else None

    @property
    def origin(self) -> Origin:
        """One level of blocks, of which a row may by chance keep as many as the others."""
        return Origin((self.block,), self.block)

    def group(self, shape: tuple[int, int]) -> Block:
        """The block."""
        return self.block

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Exactly `keep` of the blocks, those at the edge counted as one each."""
        assert score is not None
        self.check(shape)
        means = block_means(score, self.block)
        kept = keep_largest(means.flatten(), kept_of(means.numel(), self.keep)).view(means.shape)
        return spread(kept, self.block, shape)


@dataclass(frozen=True, kw_only=True)
class RowMask(_OneFraction):
    """The `keep` rows with the largest mean magnitudes; of an LSTM, what goes into a cell."""

    def group(self, shape: tuple[int, int]) -> Block:
        """A row."""
        return (1, shape[1])

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Whole rows."""
        assert score is not None
        return keep_largest(score.mean(1), kept_of(shape[0], self.keep))[:, None].repeat(1, shape[1])


@dataclass(frozen=True, kw_only=True)
class ColumnMask(_OneFraction):
    """The `keep` columns with the largest mean magnitudes; a removed one is an input that nothing reads."""

    def group(self, shape: tuple[int, int]) -> Block:
        """A column."""
        return (shape[0], 1)

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Whole columns."""
        assert score is not None
        return keep_largest(score.mean(0), kept_of(shape[1], self.keep)).repeat(shape[0], 1)


@dataclass(frozen=True, kw_only=True)
class BankMask(_OneFraction):
    """Bank-balanced sparsity (BBS; Cao et al., FPGA 2019): each row is cut into banks of `bank` weights, each of which
    keeps its `keep` largest. `along: column` cuts columns (column-balanced: Gao et al. 2022, arXiv 2108.02297, alg. 1).
    """

    bank: int
    along: str = "row"
    share_gates: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bank < 2:
            raise UserError(f"bank: {self.bank} is no bank; use 2 weights or more")
        if self.along not in ("row", "column"):
            raise UserError(f"along: {unknown(self.along, ('row', 'column'))}")

    @property
    def origin(self) -> Origin:
        """Banks that keep equally many."""
        return Origin(counted=self._block)

    @property
    def _block(self) -> Block:
        return (1, self.bank) if self.along == "row" else (self.bank, 1)

    def check(self, shape: tuple[int, int]) -> None:
        """A bank must fit in."""
        check_block(self._block, shape, "bank")

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Every bank keeps the same number, the last one of a row or column, if shorter, its own share."""
        assert score is not None
        self.check(shape)
        if self.along == "column":
            return replace(self, along="row").make((shape[1], shape[0]), generator, score.t()).t().contiguous()
        banks, rest = cut(score, (1, self.bank), fill=-1.0), shape[1] % self.bank
        kept = keep_largest(banks, kept_of(self.bank, self.keep))
        if rest:
            kept[:, -1] = keep_largest(banks[:, -1], kept_of(rest, self.keep))
        return join(kept, (1, self.bank), shape)
