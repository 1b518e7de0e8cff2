"""What the layers do on dev: outputs at their limits, inputs cut off, cells that never move, weights at the clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frenchpress.compress import ActQuantizer, PressedWeight
from frenchpress.config import Config
from frenchpress.nnet.data import Frames
from frenchpress.nnet.model import AcousticModel
from frenchpress.report.diagnose.findings import Finding, what_is_off

NEAR_ONE, SATURATED = 0.97, 0.1  # output of an LSTM cell near its limit; share of them that is too much
STILL, DEAD = 1e-3, 0.2  # standard deviation of a cell that does not move; share of them
CUT_OFF = 0.01  # share of inputs outside of the range of their quantizer
AT_CLIP = 0.01  # share of kept weights beyond the largest level
_EVEN_GRIDS = ("uniform", "lsq", "ceil")
_BATCH = 16


@dataclass
class Layer:
    """Of one LSTM layer over all frames: outputs near one, cells that do not move, inputs cut off; shares."""

    name: str
    values: int = 0
    near_one: int = 0
    inputs: int = 0
    cut: int = 0
    sums: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    frames: int = 0

    @property
    def saturated(self) -> float:
        """Share of outputs of more than `NEAR_ONE`, in magnitude."""
        return self.near_one / max(self.values, 1)

    @property
    def still(self) -> float:
        """Share of cells whose output is the same at all frames."""
        mean = torch.as_tensor(self.sums) / max(self.frames, 1)
        variance = torch.as_tensor(self.squares) / max(self.frames, 1) - mean**2
        return float((variance.clamp(min=0).sqrt() < STILL).float().mean())

    @property
    def cut_off(self) -> float:
        """Share of inputs outside of the range of their quantizer."""
        return self.cut / max(self.inputs, 1)


@dataclass
class Activity:
    """What was measured: the mean output of each tied state [S], and the layers."""

    mean_posterior: NDArray[np.float64]
    layers: list[Layer]
    clipped: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def measure(model: AcousticModel, frames: Frames) -> Activity:
    """Run the model over whole utterances."""
    model.eval()
    layers = [Layer(name) for name in model.lstm]
    hooks = [m.register_forward_hook(_watch(seen)) for seen, m in zip(layers, model.lstm.values())]
    total = torch.zeros(model.sizes.num_pdfs, dtype=torch.float64)
    try:
        for rows in frames.in_order(_BATCH):
            batch = frames.batch(rows, model.offsets)
            total += model(batch.inputs, batch.lengths)["cd"].double().softmax(-1).sum(0).cpu()
    finally:
        for hook in hooks:
            hook.remove()
    return Activity((total / len(frames)).numpy(), layers, dict(clipped_weights(model)))


def _watch(seen: Layer):  # noqa: ANN202 (a hook of torch)
    def hook(layer: nn.Module, given: tuple[Tensor, Tensor], out: Tensor) -> None:
        x, lengths = given
        real = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        x, h = x[real], out[real]
        seen.frames += len(h)
        seen.values += h.numel()
        seen.near_one += int((h.abs() > NEAR_ONE).sum())
        seen.sums += h.double().sum(0).cpu()
        seen.squares += h.double().square().sum(0).cpu()
        seen.inputs += x.numel()
        seen.cut += _outside(layer.act_in, x)

    return hook


def _outside(act: ActQuantizer, x: Tensor) -> int:
    """Values outside of a range that is known before; the outermost level is half a step wider."""
    grid = None if act.is_float or not act.clips else act.grid(x.dtype)
    return 0 if grid is None else int((x.abs() > grid[0] + grid[1]).sum())


def clipped_weights(model: AcousticModel) -> Iterator[tuple[str, float]]:
    """Share of the kept weights of each matrix that lie more than a step beyond the largest level."""
    for name, matrix in model.named_modules():
        if not isinstance(matrix, PressedWeight) or matrix.press.quantizer not in _EVEN_GRIDS:
            continue
        if matrix.quantizer.is_float or matrix.quantizer.bits < 3:
            continue
        mask = matrix.full_mask()
        kept = matrix.weight.detach() if mask is None else matrix.weight.detach() * mask
        integers, scale = matrix.quantizer.integers(kept)
        beyond = (kept - integers * scale).abs() > scale
        yield name, float(beyond.sum()) / max(int((kept != 0).sum()), 1)


def layer_findings(activity: Activity, config: Config) -> list[Finding]:
    """Of layers and matrices that stand out."""
    found = [finding for layer in activity.layers for finding in _of_layer(layer, config)]
    slower = ["lower rates in train.lr", *what_is_off(config, "train.clip: 5")]
    for name, share in activity.clipped.items():
        if share > AT_CLIP:
            found.append(
                Finding(
                    "weights at the clip",
                    f"{name}: {100 * share:.1f} % of the kept weights lie beyond the largest level.",
                    f"{', or '.join(slower)}; quantizer: uniform, whose range is the largest weight.",
                )
            )
    return found


def _of_layer(layer: Layer, config: Config) -> list[Finding]:
    found = []
    calmer = ["lower rates in train.lr", *what_is_off(config, "train.clip: 5", "model.lstm.batch_norm: true")]
    if layer.saturated > SATURATED:
        found.append(
            Finding(
                "saturated layer",
                f"{layer.name}: {100 * layer.saturated:.0f} % of its outputs are within "
                f"{1 - NEAR_ONE:.2f} of 1 in magnitude, where gradients vanish.",
                f"{', '.join(calmer)}; check the scale of the features.",
            )
        )
    if layer.still > DEAD:
        found.append(
            Finding(
                "cells that do not move",
                f"{layer.name}: {100 * layer.still:.0f} % of its cells give the same output at all frames.",
                "fewer cells, or keep more weights in this layer; mask: cell removes such cells for good.",
            )
        )
    if layer.cut_off > CUT_OFF:
        found.append(
            Finding(
                "inputs cut off",
                f"{layer.name}: {100 * layer.cut_off:.1f} % of its inputs lie outside of the range of their quantizer.",
                "act_options: {range: mse, batches: 50}, or more act_bits for this layer's input.",
            )
        )
    return found
