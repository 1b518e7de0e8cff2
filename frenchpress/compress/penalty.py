"""A penalty that drives whole blocks towards zero before they are removed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from frenchpress.compress.chain import Chain
from frenchpress.compress.sparsity.base import cut


def group_lasso(weight: Tensor, chain: Chain) -> Tensor:
    """Sum over groups of sqrt(weights in a whole group) * |group|_2, differentiable (Yuan & Lin 2006; Wen 2018).

    `weight`: float32 [out, in]. Groups are what the mask of `chain` keeps or removes together, over all gates that
    share it; where that is a single weight it is the L1 norm. The gradient of a group of zeros is zero.
    """
    method, gates = chain.plan.method, chain.gates
    rows = weight.shape[0] // gates
    block = method.group((rows, weight.shape[1]))
    gate = torch.stack([cut(one, block) for one in weight.split(rows)])
    if not method.share_gates:
        return _norms(gate).mul(math.sqrt(block[0] * block[1])).sum()
    return _norms(gate.movedim(0, -1).flatten(2)).mul(math.sqrt(gates * block[0] * block[1])).sum()


def _norms(groups: Tensor) -> Tensor:
    """Euclidean norm over the last dimension."""
    return torch.linalg.vector_norm(groups, dim=-1)
