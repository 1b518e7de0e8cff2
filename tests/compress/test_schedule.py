"""When masks change, and the penalty before: on matrices alone, without a trainer."""

import math

import pytest
import torch
from mask_cases import hcgs_of
from torch import nn

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.penalty import group_lasso
from frenchpress.compress.sparsity import Timing
from frenchpress.config.press import LayerPress


def make(said, shape=(64, 48), gates=4, **press):
    matrix = PressedWeight(shape, LayerPress(mask=said, **press), gates, torch.Generator().manual_seed(0))
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    return nn.ModuleDict({"part": matrix}), matrix


def lasso_of(matrix):
    return group_lasso(matrix.weight, matrix)


@pytest.mark.parametrize(
    "timing, due",
    [
        (Timing(after_epoch=0), [(0, 0)]),
        (Timing(after_epoch=2), [(2, 0)]),
        (Timing(after_epoch=2, every="epoch"), [(2, 0), (3, 0)]),
        (Timing(after_epoch=3, every=2), [(3, 0), (3, 2)]),
        (Timing(start_epoch=1, end_epoch=3), [(1, 0), (2, 0), (3, 0)]),
        (Timing(start_epoch=1, end_epoch=2, every=2), [(1, 0), (1, 2), (2, 0)]),
        (Timing(start_epoch=1, end_epoch=2, every=1), [(1, 0), (1, 1), (1, 2), (2, 0)]),
    ],
)
def test_what_is_due(timing, due):
    assert [(e, s) for e in range(4) for s in range(3) if timing.due(e, s)] == due


def test_progress_counts_steps():
    timing = Timing(start_epoch=1, end_epoch=3, every=1)
    assert [timing.progress(*at) for at in ((0, 0, 9), (1, 0, 9), (1, 3, 4), (2, 0, 5), (3, 0, 2), (3, 1, 2))] == [
        0, 0, 0.375, 0.5, 1, 1,
    ]  # fmt: skip


def test_density_falls_to_what_is_asked_for_and_stays():
    model, matrix = make({"method": "magnitude", "keep": "1/16", "start_epoch": 1, "end_epoch": 3, "every": 2})
    schedule, seen = MaskSchedule(model), []
    for epoch in range(4):
        for step in range(4):
            schedule.before_step(epoch, step, 4)
            seen.append(matrix.density)
            with torch.no_grad():
                matrix.weight.add_(torch.randn(64, 48) * 0.1)
    wanted = [1 / 16 + 15 / 16 * (1 - p) ** 3 for p in (0, 0.25, 0.5, 0.75)]
    assert seen[:4] == [1.0] * 4 and seen[12:] == [1 / 16] * 4
    assert seen[4:12:2] == pytest.approx(wanted, abs=1e-3) and seen[5:12:2] == seen[4:12:2]


def test_every_step_follows_the_weights_and_once_does_not():
    for every, follows in ((None, False), ("epoch", False), (1, True)):
        model, matrix = make({"method": "bank", "bank": 8, "keep": "1/4", "after_epoch": 0, "every": every})
        schedule = MaskSchedule(model)
        schedule.before_step(0, 0, 2)
        first = matrix.mask.clone()
        with torch.no_grad():
            matrix.weight.copy_(matrix.weight.flip(0))
        schedule.before_step(0, 1, 2)
        assert torch.equal(first, matrix.mask) != follows


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize("bits", [8, 32])
def test_regrown_blocks_start_at_zero_and_only_kept_weights_have_a_gradient(grow, bits):
    said = {"method": "dynamic", "block": 4, "keep": "1/2", "grow": grow, "start_epoch": 0, "end_epoch": 1}
    model, matrix = make(said, weight_bits=bits)
    schedule, before, old = MaskSchedule(model), matrix().detach().clone(), matrix.full_mask()
    schedule.before_step(0, 0, 2)
    up = torch.randn(64, 48)
    assert torch.equal(matrix(), before)
    (matrix() * up).sum().backward()
    torch.testing.assert_close(matrix.weight.grad[~old], up[~old])
    schedule.after_backward()
    new = matrix.full_mask()
    assert not matrix.probing and not torch.equal(new, old) and new.sum() == old.sum()
    assert not matrix.weight[~(new & old)].any() and not matrix.weight.grad[~(new & old)].any()
    assert matrix.weight.grad[new & old].all()
    schedule.before_step(0, 1, 2)
    assert not matrix.probing


def test_a_model_that_is_denser_than_asked_for_is_not_settled():
    model, _ = make({"method": "magnitude", "keep": 0.5, "start_epoch": 1, "end_epoch": 3})
    schedule = MaskSchedule(model)
    assert [schedule.settled(e) for e in range(5)] == [False, False, False, True, True]
    assert [schedule.thinned(e) for e in range(5)] == [False, True, True, True, False]
    schedule.check(4)
    with pytest.raises(UserError, match="part: mask: magnitude: end_epoch: 3 of 3"):
        schedule.check(3)
    for said in (None, {"method": "dynamic", "block": 4, "keep": 0.5, "start_epoch": 0, "end_epoch": 3}):
        schedule = MaskSchedule(make(said)[0])
        assert schedule.settled(0) and not schedule.thinned(0)


def test_group_lasso_by_hand():
    one = {"keep": 0.5, "after_epoch": 1}
    weight = make({"method": "magnitude", **one})[1].weight
    cases = [
        ({"method": "magnitude", **one}, weight.abs().sum()),
        ({"method": "row", "share_gates": False, **one}, weight.norm(dim=1).sum() * math.sqrt(48)),
        ({"method": "row", **one}, weight.view(4, 16, 48).movedim(0, 1).flatten(1).norm(dim=1).sum() * math.sqrt(192)),
        ({"method": "column", "share_gates": False, **one}, weight.view(4, 16, 48).norm(dim=1).sum() * math.sqrt(16)),
        (
            {"method": "block", "block": [16, 48], "share_gates": False, **one},
            weight.view(4, -1).norm(dim=1).sum() * math.sqrt(16 * 48),
        ),
    ]
    for said, wanted in cases:
        torch.testing.assert_close(lasso_of(make(said)[1]), wanted)


def test_the_penalty_ends_when_the_mask_is_chosen_and_zeros_have_no_gradient():
    model, matrix = make({"method": "block", "block": 8, "keep": 0.5, "after_epoch": 2, "lasso": 0.25})
    schedule = MaskSchedule(model)
    schedule.before_step(1, 0, 1)
    torch.testing.assert_close(schedule.penalty(), 0.25 * lasso_of(matrix))
    with torch.no_grad():
        matrix.weight.zero_()
    schedule.penalty().backward()
    assert not matrix.weight.grad.any()
    schedule.before_step(2, 0, 1)
    assert schedule.penalty() is None


def test_masks_without_a_time_are_left_alone():
    matrix = PressedWeight((16, 16), LayerPress(hcgs=hcgs_of((4,), (0.5,))), 4)
    schedule, before = MaskSchedule(nn.ModuleDict({"a": matrix})), matrix.mask.clone()
    schedule.before_step(0, 0, 1)
    schedule.after_backward()
    assert torch.equal(matrix.mask, before) and schedule.penalty() is None
