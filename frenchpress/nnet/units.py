"""LSTM cells that are removed from every matrix that makes or reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress import Chain
from frenchpress.compress.masks import kept_of
from frenchpress.compress.sparsity import MaskPlan
from frenchpress.compress.sparsity.base import keep_largest
from frenchpress.config.press import CellMask


@dataclass(frozen=True)
class Units:
    """Units that the rows of `makers` compute, one row of every gate each, and the columns of `users` read.

    A matrix may be both. Made with `link`, which gives the users a mask.
    """

    plan: MaskPlan
    makers: tuple[Chain, ...]
    users: tuple[Chain, ...]

    @torch.no_grad()
    def choose(self, progress: float, score_of: Callable[[Chain], Tensor]) -> None:
        """Set the masks to the units whose incoming weights are worth most on average, over all makers.

        `score_of`: what each weight of a matrix is worth, [out, in].
        """
        method = self.plan.method if progress >= 1 else self.plan.method.at(self.plan.density_at(progress))
        scores = [self.plan.split(score_of(m), m.gates)[0] for m in self.makers]
        score = torch.cat(scores, dim=1).mean(1)
        kept = keep_largest(score, kept_of(len(score), method.keep)).to(self.makers[0].mask.device)
        # A mask of these is always some rows times some columns.
        for matrix in self.makers:
            matrix.mask.copy_(kept[:, None] & matrix.mask.any(0))
        for matrix in self.users:
            matrix.mask.copy_(matrix.mask.any(1)[:, None] & kept)


def is_cell_plan(plan: MaskPlan | None) -> bool:
    """Whether the mask removes units."""
    return plan is not None and isinstance(plan.method, CellMask)


def link(makers: Sequence[Chain], users: Sequence[Chain]) -> Units | None:
    """The units that `makers` compute, where their mask removes units; None where it does not.

    UserError where only some of the makers have such a mask, or a user has another one.
    """
    if not any(is_cell_plan(m.plan) for m in makers):
        return None
    plan = makers[0].plan
    if any(m.plan != plan for m in makers):
        raise UserError("mask: cell: removes rows of both matrices; say it for the layer, not for one of them")
    for user in users:
        if user.mask is not None and not is_cell_plan(user.plan):
            raise UserError("mask: cell: two masks for one matrix: what reads these cells has a mask of its own")
        user.read_units(plan)
    return Units(plan, tuple(makers), tuple(users))
