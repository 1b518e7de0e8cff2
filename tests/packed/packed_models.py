"""Small packed models with random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from frenchpress.common.combinations import Counted
from frenchpress.packed.build import fixed_bias, fixed_point, out_multiplier, requantizer
from frenchpress.packed.model import UNSEEN, PackedFront, PackedHead, PackedInput, PackedLstm, PackedMatrix, PackedModel

NATIVE = Path(__file__).resolve().parents[2] / "frenchpress" / "packed" / "native"
SOURCES = sorted(str(path) for path in NATIVE.glob("*.c") if path.name != "limits.c")
"""Of the runtime; all that it needs to be compiled."""


class Banks(NamedTuple):
    """In place of levels: every block of height x width keeps `kept`, at the edge its share."""

    height: int
    width: int
    kept: int


def counted_mask(rng, shape, banks):
    mask, (height, width, kept) = np.zeros(shape, bool), banks
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            piece = mask[top : top + height, left : left + width]
            piece.flat = rng.permutation(piece.size) < max(1, int(kept * piece.size / (height * width) + 0.5))
    return mask


def random_mask(rng, rows, columns, levels):
    """A hierarchical mask, block by block; with a number for levels, a mask that keeps such a part, wherever."""
    if isinstance(levels, float):
        return rng.random((rows, columns)) < levels
    if isinstance(levels, Banks):
        return counted_mask(rng, (rows, columns), levels)
    level, mask = levels[0], np.zeros((rows, columns), bool)
    count = -(-columns // level.block)
    for top in range(0, rows, level.block):
        for number in rng.permutation(count)[: level.kept(count)]:
            block = mask[top : top + level.block, number * level.block : (number + 1) * level.block]
            block[:] = random_mask(rng, *block.shape, levels[1:]) if len(levels) > 1 else True
    return mask


def random_matrix(rng, gates, rows, columns, bits, levels=(), shared=True):
    masks = tuple(random_mask(rng, rows, columns, levels) for _ in range(1 if shared else gates)) if levels else ()
    if bits == 1:
        values = rng.choice([-1, 1], (gates * rows, columns))
    else:
        values = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (gates * rows, columns))
    if masks:
        values = values * np.concatenate(masks * (gates // len(masks)))
    counted = Counted.of(masks[0], levels[:2]) if isinstance(levels, Banks) else None
    hierarchy = () if isinstance(levels, (float, Banks)) else levels
    return PackedMatrix(gates, bits, values.astype(np.int32), hierarchy, masks, counted)


def random_front(rng, dim, outputs, ceps=3, context=(1, 1), phones=4, labels=9):
    """A front end for `dim` features; its labels read any of `outputs` outputs."""
    width = (sum(context) + 1) * ceps

    def draw(*shape):
        return rng.normal(0, 1, shape).astype(np.float32)

    return PackedFront(
        *context, draw(ceps), draw(dim, width), np.abs(draw(phones)), draw(phones, dim), np.exp(draw(phones, dim)),
        *(rng.integers(0, top, labels).astype(np.int32) for top in (outputs, phones, 4)),
    )  # fmt: skip


def random_model(
    seed=0, dim=5, context=(2, 1), cells=(7, 6), outputs=11, bits=8, act_bits=(16, 16, 16), levels=(), shared=True,
    front=False, hold=(0, 0), stride=1,
):  # fmt: skip
    """`act_bits`: of the features, of the outputs of all layers, of the inputs of the head. `hold`: moves of inputs and
    outputs that are not sent on."""
    rng = np.random.default_rng(seed)
    step = [1.0 / (2 ** (b - 1) - 1) for b in act_bits]
    weight = 1.0 / 2 ** (bits - 1)
    width, given, layers = (sum(context) // stride + 1) * dim, (8 * step[0], act_bits[0]), []
    for count in cells:
        along = random_matrix(rng, 4, count, width, bits, levels, shared)
        back = random_matrix(rng, 4, count, count, bits, levels, shared)
        twice = np.repeat([1.0, 1.0, 2.0, 1.0], count)
        shift, factors = fixed_point(
            twice * rng.uniform(-1, 2, 4 * count) * weight * given[0] / width**0.5,
            twice * rng.uniform(0.5, 2, 4 * count) * weight * step[1] / count**0.5,
        )
        layers.append(
            PackedLstm(
                given[1],
                act_bits[1],
                requantizer(*given, *given),
                out_multiplier(step[1]),
                shift,
                *factors,
                fixed_bias(rng.normal(0, 1, 4 * count)),
                along,
                back,
                *hold,
            )  # fmt: skip
        )
        width, given = count, (step[1], act_bits[1])
    shift, factors = fixed_point(rng.uniform(0.5, 2, outputs) * weight * step[2])
    prior = np.where(rng.random(outputs) < 0.2, UNSEEN, rng.integers(-600000, 0, outputs)).astype(np.int32)
    head = PackedHead(
        act_bits[2], requantizer(*given, step[2], act_bits[2]), shift, factors[0],
        fixed_bias(rng.normal(0, 1, outputs)), prior, random_matrix(rng, 1, outputs, width, bits, levels),
    )  # fmt: skip
    mean, gain = rng.normal(0, 1, dim), rng.uniform(0.5, 2, dim) / (8 * step[0])
    given = PackedInput(*context, act_bits[0], mean.astype(np.float32), gain.astype(np.float32), stride)
    meta = {"phones": ["SIL", "a"], "name": "é"}
    return PackedModel(given, tuple(layers), head, meta, random_front(rng, dim, outputs) if front else None)
