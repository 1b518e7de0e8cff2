"""What weights are worth, by hand."""

import pytest
import torch
from torch import nn

from frenchpress.compress import PressedWeight
from frenchpress.compress.criteria import Gained, Magnitude, Movement, Taylor
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.config.press import LayerPress

WEIGHT = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
GRAD = torch.tensor([[-3.0, -1.0], [3.0, 9.0]])
ALL = torch.ones(2, 2, dtype=torch.bool)


def test_magnitude_and_what_was_gained():
    assert torch.equal(Magnitude(WEIGHT).score(WEIGHT), WEIGHT.abs())
    gained = Gained(WEIGHT).score(WEIGHT + GRAD)  # |w| grows from 1, 2, 0.5, 0 to 2, 3, 3.5, 9
    torch.testing.assert_close(gained, torch.tensor([[0.0, 0.0], [2.0, 8.0]]))


def test_taylor_averages_the_products():
    criterion = Taylor(WEIGHT)
    criterion.observe(WEIGHT, GRAD, ALL)
    torch.testing.assert_close(criterion.score(WEIGHT), 0.01 * (WEIGHT * GRAD).abs())
    kept = torch.tensor([[True, False], [True, True]])
    criterion.observe(WEIGHT, 2 * GRAD, kept)
    wanted = (0.99 * 0.01 + 0.02 * kept) * (WEIGHT * GRAD).abs()
    wanted[0, 1] = 0.01 * 2.0  # removed: as it was
    torch.testing.assert_close(criterion.score(WEIGHT), wanted)


def test_movement_prefers_what_grows():
    """A step of descent moves w by -g: 1 grows to 4, -2 shrinks to -1, 0.5 shrinks."""
    criterion = Movement(WEIGHT)
    criterion.observe(WEIGHT, GRAD, ALL)
    torch.testing.assert_close(criterion.score(WEIGHT), torch.tensor([[5.0, 0.0], [0.5, 2.0]]))


@pytest.mark.parametrize("every, seen", [(None, False), ("epoch", True)])
def test_gradients_are_shown_as_long_as_a_mask_is_chosen_again(every, seen):
    mask = {"method": "magnitude", "keep": 0.5, "after_epoch": 1, "every": every, "score": "taylor"}
    model = nn.ModuleDict({"part": PressedWeight((2, 2), LayerPress(mask=mask))})
    with torch.no_grad():
        model["part"].weight.copy_(WEIGHT)
    schedule, states = MaskSchedule(model), []
    for epoch in range(3):
        schedule.before_step(epoch, 0, 1)
        (model["part"]() * GRAD).sum().backward()
        schedule.after_backward()
        states.append(schedule.state_dict()["part"].clone())
    assert torch.equal(states[1], states[2]) != seen


def test_the_schedule_shows_gradients_until_the_mask_is_settled_and_keeps_what_was_seen():
    mask = {"method": "magnitude", "keep": 0.5, "start_epoch": 0, "end_epoch": 1, "every": 1, "score": "taylor"}
    model = nn.ModuleDict({"part": PressedWeight((2, 2), LayerPress(mask=mask))})
    matrix = model["part"]
    with torch.no_grad():
        matrix.weight.copy_(WEIGHT)
    schedule = MaskSchedule(model)
    schedule.before_step(0, 0, 4)
    assert matrix.mask.all()
    (matrix() * GRAD).sum().backward()
    schedule.after_backward()
    again = MaskSchedule(model)
    again.load_state_dict(schedule.state_dict())
    again.before_step(1, 0, 4)
    assert matrix.mask.tolist() == [[True, True], [False, False]]  # |w g|: 3, 2, 1.5, 0
    seen = again.state_dict()["part"].clone()
    again.after_backward()
    assert torch.equal(again.state_dict()["part"], seen)
