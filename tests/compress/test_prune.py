"""Pruning inside a structure: what is kept against a plain count, density, sizes, and what cannot be."""

import numpy as np
import pytest
import torch
from mask_cases import hcgs_of
from torch import nn

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight, size_report
from frenchpress.compress.codes import decode, encode
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import matrix_codings, matrix_size
from frenchpress.config.press import LayerPress

PRUNE = {"keep": "3/10", "after_epoch": 1, "every": "epoch"}
PATTERN = {"method": "pattern", "place": "random", "block": 8, "nonzeros": 4, "count": 16}
BANK = {"method": "bank", "bank": 8, "keep": "1/2", "after_epoch": 1}
DYNAMIC = {"method": "dynamic", "block": 8, "keep": "1/2", "start_epoch": 0, "end_epoch": 1}
HCGS = hcgs_of((8, 2), ("1/2", "1/4"))


def make(shape=(64, 48), gates=4, **press):
    matrix = PressedWeight(shape, LayerPress(prune=PRUNE, **press), gates, torch.Generator().manual_seed(0))
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    return nn.ModuleDict({"part": matrix}), matrix


def kept_plainly(weight, within, share=0.3):
    """The largest of each gate among those that the structure keeps, one by one."""
    mask = np.zeros(weight.shape, bool)
    rows = len(weight) // 4
    for gate in range(4):
        places = [(gate * rows + r, c) for r, c in np.argwhere(within[gate * rows : (gate + 1) * rows])]
        places.sort(key=lambda place: -abs(weight[place]))
        for place in places[: int(share * len(places) + 0.5)]:
            mask[place] = True
    return mask


@pytest.mark.parametrize("press", [{}, {"hcgs": HCGS}, {"mask": PATTERN}], ids=["dense", "hcgs", "pattern"])
def test_the_largest_inside_the_structure_are_kept(press):
    model, matrix = make(weight_bits=8, **press)
    structure = PressedWeight((64, 48), LayerPress(**press), 4, torch.Generator().manual_seed(0))
    within = np.ones((64, 48), bool) if structure.mask is None else structure.full_mask().numpy()
    assert np.array_equal(matrix.full_mask().numpy(), within)
    schedule = MaskSchedule(model)
    for epoch in range(3):
        schedule.before_step(epoch, 0, 2)
        wanted = within if epoch == 0 else kept_plainly(matrix.weight.detach().numpy(), within)
        assert np.array_equal(matrix.full_mask().numpy(), wanted)
        assert not matrix()[~torch.from_numpy(wanted)].any()
        with torch.no_grad():
            matrix.weight.add_(torch.randn(64, 48))
    assert matrix.density == pytest.approx(0.3 * structure.density, abs=0.5 / 768)
    assert matrix.asked_density == pytest.approx(0.3 * structure.asked_density)


@pytest.mark.parametrize("press", [{"hcgs": HCGS}, {"mask": PATTERN}], ids=["hcgs", "pattern"])
def test_its_index_is_that_of_the_structure_and_a_bit_for_each_weight_that_it_keeps(press):
    model, matrix = make((512, 96), weight_bits=8, **press)
    MaskSchedule(model).finish()
    size, structure = size_report(model)["matrices"][0], PressedWeight((512, 96), LayerPress(8, **press), 4)
    structure.mask.copy_(matrix.within[:128])
    inside = int(matrix.within.sum())
    assert size["kept"] == 4 * round(0.3 * inside / 4) and size["index_code"] == "layered"
    # The structure once for four gates.
    assert 0.8 * inside < size["index_bits"] - matrix_size("w", structure).index_bits <= inside + 16
    (mask, code) = matrix_codings(matrix)[0]["layered"].streams[0]
    assert (decode(encode(0 * mask.astype(int), mask, code))[1] == matrix.mask.numpy()).all()


def test_what_it_chooses_from_is_in_the_checkpoint():
    model, matrix = make(hcgs=HCGS)
    other, again = make(hcgs=hcgs_of((8, 2), ("1/4", "1/2")))
    assert not torch.equal(matrix.within, again.within)
    other.load_state_dict(model.state_dict())
    assert torch.equal(matrix.within, again.within)


@pytest.mark.parametrize(
    ("prune", "press", "said"),
    [
        ({"after_epoch": 1}, {}, "prune: keep is missing"),
        ({"keep": "1/2"}, {}, "prune: it goes by the weights; say when, with after_epoch"),
        ({"keep": 2, "after_epoch": 1}, {}, "prune: keep: 2 is out of range"),
        ({"keep": "1/2", "after": 1}, {}, "prune: unknown option 'after'"),
        ({**PRUNE, "share_gates": True}, {}, "prune: share_gates: pruning goes by single weights"),
        (PRUNE, {"mask": BANK}, "prune: needs hcgs or a mask that is fixed before training, and bank is chosen later"),
        (PRUNE, {"mask": DYNAMIC}, "and dynamic is chosen later"),
    ],
)
def test_what_cannot_be_is_one_clear_line(prune, press, said):
    with pytest.raises(UserError, match=said) as error:
        PressedWeight((64, 48), LayerPress(prune=prune, **press), 4)
    assert "\n" not in str(error.value)


def test_a_mask_that_is_never_as_asked_for_is_refused():
    with pytest.raises(UserError, match="part: mask: prune: after_epoch: 1 of 1"):
        MaskSchedule(make(hcgs=HCGS)[0]).check(1)
