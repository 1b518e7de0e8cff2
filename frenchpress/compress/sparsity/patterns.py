"""Masks made of the patterns of a dictionary, of the largest weights of each block, and of both."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from frenchpress.common import UserError, unknown
from frenchpress.compress.codes import Origin
from frenchpress.compress.masks import Block, kept_of
from frenchpress.compress.sparsity.base import BlockMethod, cut, join, keep_largest, read_block
from frenchpress.compress.sparsity.dictionary import (
    check_dictionary,
    clustered_patterns,
    drawn_patterns,
    parse_patterns,
    read_patterns,
    searched_patterns,
)

_PLACES, _DICTIONARIES = ("best", "random"), ("random", "search", "kmeans")


@dataclass(frozen=True, kw_only=True)
class CooMask(BlockMethod):
    """The `nonzeros` largest weights of each block, which a block-local list of places stores.

    A block at the edge keeps the same share of what it has, rounded half up, at least one.
    """

    nonzeros: int
    share_gates: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", read_block(self.block, "block"))
        size = self.block[0] * self.block[1]
        if not 1 <= self.nonzeros <= size:
            raise UserError(f"nonzeros: {self.nonzeros} do not fit a block of {self.block[0]} x {self.block[1]}")

    @property
    def asked_density(self) -> float:
        """Non-zeros over the weights of a block."""
        return self.nonzeros / (self.block[0] * self.block[1])

    @property
    def origin(self) -> Origin:
        """Blocks that keep equally many."""
        return Origin(counted=self.block)

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Every whole block keeps exactly `nonzeros`."""
        assert score is not None
        self.check(shape)
        return join(_largest_of_each(score, self.block, self.nonzeros), self.block, shape)


@dataclass(frozen=True, kw_only=True)
class PatternMask(BlockMethod):
    """Every block has one of the patterns of a dictionary (PatDNN, Niu et al. 2020; PCONV, Ma et al. 2020).

    `dictionary`: `random`; `search`, `kmeans`, from the blocks of the trained matrix; the name of a `.npy` file of
    [n, h, w]; or the patterns themselves, `["10/01", "01/10"]`, which is what a configuration has in place of the file
    once it is read. The first three take `count` patterns of `block` with `nonzeros` each, given ones say these.
    `place`: of each block the pattern that retains most magnitude (`best`), or any (`random`).
    At the edge a pattern is cut off. Gates with masks of their own have dictionaries of their own.
    """

    dictionary: str | list | tuple = "random"
    place: str = "best"
    block: int | list | tuple | None = None
    nonzeros: int | None = None
    count: int | None = None
    _given: ClassVar[Tensor | None] = None

    def __post_init__(self) -> None:
        if self.place not in _PLACES:
            raise UserError(f"place: {unknown(self.place, _PLACES)}")
        given = {name: getattr(self, name) for name in ("block", "nonzeros", "count")}
        if not isinstance(self.dictionary, str) or self.dictionary.endswith(".npy"):
            self._take([name for name, value in given.items() if value is not None])
            return
        if self.dictionary not in _DICTIONARIES:
            raise UserError(f"dictionary: {unknown(self.dictionary, (*_DICTIONARIES, 'a .npy file'))}")
        for name, value in given.items():
            if value is None:
                raise UserError(f"{name} is missing; a {self.dictionary} dictionary needs block, nonzeros and count")
        object.__setattr__(self, "block", read_block(self.block, "block"))
        check_dictionary(self.block, self.by_pattern, self.count)

    def _take(self, said: list[str]) -> None:
        file = isinstance(self.dictionary, str)
        if said:
            raise UserError(f"{said[0]}: {f'the file {self.dictionary}' if file else 'the dictionary'} says this")
        patterns, block, nonzeros = read_patterns(self.dictionary) if file else parse_patterns(self.dictionary)
        for name, value in (("_given", patterns), ("block", block), ("nonzeros", nonzeros), ("count", len(patterns))):
            object.__setattr__(self, name, value)

    @property
    def by_pattern(self) -> int:
        """Non-zeros of each pattern."""
        return self.nonzeros

    @property
    def by_weight(self) -> bool:
        """Unless dictionary and places are both known without the weights."""
        return self.place == "best" or self.dictionary in ("search", "kmeans")

    @property
    def asked_density(self) -> float:
        """Non-zeros over the weights of a block."""
        return self.nonzeros / (self.block[0] * self.block[1])

    @property
    def origin(self) -> Origin:
        """Pieces of the patterns' size."""
        return Origin(piece=self.block)

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """The pattern of every block."""
        self.check(shape)
        return join(self._placed(shape, generator, score), self.block, shape)

    def _placed(self, shape: tuple[int, int], generator: torch.Generator | None, score: Tensor | None) -> Tensor:
        """Patterns [down, across, h * w]."""
        down, across = -(-shape[0] // self.block[0]), -(-shape[1] // self.block[1])
        patterns = self._patterns(shape, generator, score)
        if self.place == "random":
            return patterns[torch.randint(len(patterns), (down, across), generator=generator)]
        assert score is not None
        return patterns[(cut(score, self.block) @ patterns.float().t()).argmax(-1)]

    def _patterns(self, shape: tuple[int, int], generator: torch.Generator | None, score: Tensor | None) -> Tensor:
        if self._given is not None:
            return self._given
        if self.dictionary == "random":
            return drawn_patterns(self.block, self.by_pattern, self.count, generator)
        assert score is not None
        whole = score[: shape[0] // self.block[0] * self.block[0], : shape[1] // self.block[1] * self.block[1]]
        blocks = cut(whole, self.block).flatten(0, 1)
        if self.dictionary == "search":
            return searched_patterns(blocks, self.by_pattern, self.count)
        return clustered_patterns(blocks, self.by_pattern, self.count, generator)


@dataclass(frozen=True, kw_only=True)
class PatternCooMask(PatternMask):
    """Half of the non-zeros of a block in a pattern, half wherever its largest other weights are.

    Of an odd number the pattern has the one more. Patterns that are given are the half: as many again are free.
    """

    share_gates: bool = False

    @property
    def by_pattern(self) -> int:
        """Non-zeros of each pattern."""
        return self.nonzeros if self._given is not None else self.nonzeros - self.nonzeros // 2

    @property
    def _free(self) -> int:
        return self.nonzeros if self._given is not None else self.nonzeros // 2

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.block[0] * self.block[1]
        if not self._free or self.by_pattern + self._free > size:
            raise UserError(
                f"nonzeros: {self.nonzeros}: half in a pattern and half free do not fit "
                f"{self.block[0]} x {self.block[1]}"
            )

    @property
    def by_weight(self) -> bool:
        """The free half goes by the weights."""
        return True

    @property
    def asked_density(self) -> float:
        """Both halves over the weights of a block."""
        return (self.by_pattern + self._free) / (self.block[0] * self.block[1])

    @property
    def origin(self) -> Origin:
        """Patterns that blocks share; the free half makes most of them differ."""
        return Origin(shared=(*self.block, self.by_pattern), counted=self.block)

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Every whole block keeps exactly both halves; at the edge the free half is its share."""
        assert score is not None
        self.check(shape)
        pattern = join(self._placed(shape, generator, score), self.block, shape)
        # Places of the pattern come last in each block, and are kept anyway.
        free = _largest_of_each(score.masked_fill(pattern, -1.0), self.block, self._free)
        return pattern | join(free, self.block, shape)


def _largest_of_each(score: Tensor, block: Block, nonzeros: int) -> Tensor:
    """Bool [down, across, h * w]: the `nonzeros` largest of each block, at the edge its share of them."""
    blocks, (height, width) = cut(score, block, fill=-2.0), block
    share, kept = Fraction(nonzeros, height * width), keep_largest(blocks, nonzeros)
    low, thin = score.shape[0] % height or height, score.shape[1] % width or width
    for down, across, size in ((-1, slice(None), low * width), (slice(None), -1, height * thin), (-1, -1, low * thin)):
        if size < height * width:
            kept[down, across] = keep_largest(blocks[down, across], kept_of(size, share))
    return kept
