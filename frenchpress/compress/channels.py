"""Channels that are taken out of any torch model: which ones, and the smaller layers that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.masks import kept_of
from frenchpress.compress.sparsity.base import keep_largest

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Channels:
    """The outputs of one layer by the names of those who know them: the layer that makes them, `maker`; the batch norm
    behind it, if any; the only layer that reads them, `user`, before which they may be flattened.
    """

    maker: str
    user: str
    norm: str | None = None


def scale_penalty(model: nn.Module) -> Tensor:
    """Sum of |gain| over the batch norms of `model`, [], to be added to the loss by some weight (network slimming, Liu
    et al. 2017, arXiv 1708.06519, eq. 1): channels that are of little use come to a gain of zero.
    """
    norms = [m for m in model.modules() if isinstance(m, _NORMS) and m.affine]
    if not norms:
        raise UserError("scale_penalty: the model has no batch norm with a gain; slimming goes by these")
    return torch.stack([norm.weight.abs().sum() for norm in norms]).sum()


def largest_scales(model: nn.Module, channels: Sequence[Channels], keep: Fraction | float | str) -> list[Tensor]:
    """Which of `channels` to keep, bool [channels] each: the share `keep` of all of them with the largest gains, one
    threshold for all (Liu et al. 2017, sec. 3.2), and of each layer at least one.
    """
    gains = [model.get_submodule(_norm_of(c)).weight.detach().abs() for c in channels]
    every = torch.cat(gains)
    kept = keep_largest(every, kept_of(len(every), parse_fraction(keep))).split([len(g) for g in gains])
    return [k if k.any() else keep_largest(g, 1) for k, g in zip(kept, gains)]


def _norm_of(channels: Channels) -> str:
    if channels.norm is None:
        raise UserError(f"largest_scales: {channels.maker}: no batch norm was named; slimming goes by its gains")
    return channels.norm


@torch.no_grad()
def keep_channels(model: nn.Module, channels: Channels, kept: Tensor) -> nn.Module:
    """Take all but the `kept` channels, bool [channels], out of `model`, in place: out of maker, batch norm and user.

    The model says the same where what is taken out was zero. UserError for layers that this cannot be done to.
    """
    maker, user = model.get_submodule(channels.maker), model.get_submodule(channels.user)
    for name, layer in ((channels.maker, maker), (channels.user, user)):
        if not isinstance(layer, (nn.Linear, *_CONVOLUTIONS)) or getattr(layer, "groups", 1) > 1:
            raise UserError(f"keep_channels: {name}: {layer} is no linear layer or convolution of one group")
    if len(kept) != len(maker.weight) or user.weight.shape[1] % len(kept) or not kept.any():
        raise UserError(
            f"keep_channels: {len(kept)} channels, {int(kept.sum())} kept, do not fit {channels.maker} with "
            f"{len(maker.weight)} and {channels.user} with {user.weight.shape[1]} inputs"
        )
    _cut(maker, kept, 0)
    if channels.norm is not None:
        norm = model.get_submodule(channels.norm)
        for name, value in [*norm.named_parameters(), *norm.named_buffers()]:
            _set(norm, name, value[kept] if value.dim() else value)
        norm.num_features = int(kept.sum())
    _cut(user, kept.repeat_interleave(user.weight.shape[1] // len(kept)), 1)
    return model


def _cut(layer: nn.Module, kept: Tensor, dim: int) -> None:
    """Keep some rows (with their biases) or columns of a layer's weight."""
    _set(layer, "weight", layer.weight.index_select(dim, kept.nonzero().squeeze(1)))
    if dim == 0 and layer.bias is not None:
        _set(layer, "bias", layer.bias[kept])
    names = ("out_features", "out_channels") if dim == 0 else ("in_features", "in_channels")
    setattr(layer, names[0] if isinstance(layer, nn.Linear) else names[1], int(kept.sum()))


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    old = getattr(module, name)
    setattr(module, name, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)


def thinet(inputs: Tensor, weight: Tensor, number: int) -> Tensor:
    """Which `number` input channels of a layer to keep, bool [C]: the others go one by one, each time the one with
    which the sum of what is gone is smallest (ThiNet, Luo et al. 2017, arXiv 1707.06342, eq. 5 and alg. 1).

    `inputs` [N, C, k]: what some outputs read, `weight` [out, C, k].
    """
    channels = weight.shape[1]
    if not 1 <= number <= channels:
        raise UserError(f"thinet: {number} is out of range; it must be 1 to {channels}, the number of channels")
    parts = torch.einsum("nck,ock->cno", inputs.double(), weight.detach().double()).flatten(1)
    gram = parts @ parts.t()  # inner products of what each channel adds to the outputs
    cost, gone = gram.diagonal().clone(), torch.zeros(channels, dtype=torch.bool)
    for _ in range(channels - number):
        worst = int(cost.masked_fill(gone, float("inf")).argmin())
        gone[worst] = True
        cost += 2 * gram[:, worst]
    return ~gone


def refit(inputs: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """The weights [out, kept, k] with which the `kept` channels alone come nearest to the outputs of all, by least
    squares (He et al. 2017, eq. 3); `inputs` [N, C, k], `weight` [out, C, k].
    """
    wide, all_of_it = inputs[:, kept].flatten(1).double(), inputs.flatten(1).double()
    target = all_of_it @ weight.detach().double().flatten(1).t()
    found = torch.linalg.lstsq(wide, target, driver="gelsd").solution
    return found.t().reshape(len(weight), int(kept.sum()), -1).to(weight.dtype)


def inputs_of(x: Tensor, layer: nn.Module) -> Tensor:
    """What each output of `layer`, given `x`, reads: [outputs, channels, k], for the functions above.

    `layer`: linear (k = 1) or a two-dimensional convolution (k: places of its kernel).
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1], 1)
    if not isinstance(layer, nn.Conv2d) or layer.groups > 1:
        raise UserError(f"inputs_of: {layer} is no linear layer or two-dimensional convolution of one group")
    places = {key: getattr(layer, key) for key in ("dilation", "padding", "stride")}
    wide = nn.functional.unfold(x, layer.kernel_size, **places)
    return wide.transpose(1, 2).reshape(-1, x.shape[1], wide.shape[1] // x.shape[1])
