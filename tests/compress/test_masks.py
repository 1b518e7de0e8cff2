import math
from fractions import Fraction

import pytest
import torch
from hcgs_index import hcgs_index_bits
from mask_cases import hcgs_mask, hcgs_of

from frenchpress.common import UserError
from frenchpress.common.typed import parse_fraction
from frenchpress.compress import Chain
from frenchpress.compress.masks import kept_of
from frenchpress.config.press import LayerPress


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


CASES = [
    ((512, 512), (32, 2), ("4/16", "4/16")),
    ((2048, 440), (32, 2), ("4/16", "4/16")),
    ((1928, 512), (64, 4), ("2/8", "4/16")),
    ((1928, 512), (32, 4), (0.125, 0.25)),
    ((100, 70), (16, 3), ("1/2", "1/3")),
    ((48, 512), (64, 4), (0.5, 0.75)),
    ((64, 64), (8,), ("1/4",)),
    ((64, 64), (16, 8, 2), (0.5, 0.5, 0.5)),
    ((30, 30), (7, 7), (0.5, 1)),
]


def check_level(mask, blocks, keep):
    """Every row of blocks keeps exactly the asked number, and so does every kept block inside; none else is kept."""
    side, columns = blocks[0], math.ceil(mask.shape[1] / blocks[0])
    wanted = kept_of(columns, Fraction(keep[0]) if not isinstance(keep[0], str) else Fraction(keep[0]))
    for row in mask.split(side):
        kept = [block for block in row.split(side, dim=1) if block.any()]
        assert len(kept) == wanted
        for block in kept:
            if len(blocks) == 1:
                assert block.all()
            else:
                check_level(block, blocks[1:], keep[1:])


@pytest.mark.parametrize("shape, blocks, keep", CASES)
def test_every_row_of_blocks_keeps_the_same_number(shape, blocks, keep):
    mask = hcgs_mask(shape, blocks, keep, seeded())
    assert mask.shape == shape and mask.dtype == torch.bool
    check_level(mask, blocks, keep)


def test_realised_density_where_sizes_divide():
    mask = hcgs_mask((512, 512), (32, 2), ("4/16", "4/16"), seeded())
    assert int(mask.sum()) * 16 == 512 * 512


def test_realised_density_at_edges_is_rounded_half_up():
    # 440 inputs are 14 blocks of 32, the last of 24: keep 3.5 -> 4 of them, 4 of 16 (or 3 of 12) sub-blocks each.
    mask = hcgs_mask((32, 440), (32, 2), ("4/16", "4/16"), seeded(1))
    per_row = mask.sum(1)
    assert set(per_row.tolist()) <= {32, 30}
    assert kept_of(14, Fraction(1, 4)) == 4


@pytest.mark.parametrize(
    "count, keep, kept", [(16, "1/4", 4), (10, "1/4", 3), (14, "1/4", 4), (3, "1/100", 1), (5, "1", 5)]
)
def test_round_half_up_and_at_least_one(count, keep, kept):
    assert kept_of(count, Fraction(keep)) == kept


def test_seed_reproduces_and_seeds_differ():
    make = lambda seed: hcgs_mask((128, 96), (16, 4), (0.5, 0.5), seeded(seed))  # noqa: E731
    assert torch.equal(make(3), make(3))
    assert not torch.equal(make(3), make(4))


def test_blocks_are_chosen_evenly():
    counts = torch.zeros(4)
    for seed in range(300):
        counts += hcgs_mask((1, 4), (1,), (0.5,), seeded(seed))[0]
    assert (counts - 150).abs().max() < 50


def gate_mask(hcgs):
    return Chain((64, 32), LayerPress(hcgs=hcgs), 4, seeded()).mask


def test_gates_share_a_mask_or_do_not():
    shared = gate_mask(hcgs_of((4,), (0.5,)))
    assert shared.shape == (16, 32)
    own = gate_mask(hcgs_of((4,), (0.5,), share_gates=False))
    gates = own.view(4, 16, 32)
    assert not torch.equal(gates[0], gates[1])
    for gate in gates:
        check_level(gate, (4,), (0.5,))


def test_keep_means_the_same_as_fraction_string_or_float():
    options = [hcgs_of((8, 2), (k, k)) for k in ("4/16", 0.25, Fraction(1, 4), "0.25")]
    assert all(o == options[0] for o in options)
    assert options[0].asked_density == 1 / 16
    assert parse_fraction(0.1) == Fraction(1, 10)


@pytest.mark.parametrize(
    "blocks, keep, message",
    [
        ((8, 2), (0, 0.5), "above 0"),
        ((8, 2), (0.5, 1.5), "at most 1"),
        ((8, 2), (0.5, "x"), "not a fraction"),
        ((8, 2), (0.5, "1/0"), "not a fraction"),
        ((8, 2), (0.5, "1e-999999999"), "not a fraction"),  # it would take all memory
        ((8, 2), (0.5, float("nan")), "not a fraction"),
        ((8, 2), (0.5,), "one each per level"),
        ((8,), (0.5, 0.5), "one each per level"),
        ((), (), "one each per level"),
        ((8, 16), (0.5, 0.5), "lies inside"),
        ((0,), (0.5,), "is no block"),
        ((2.5,), (0.5,), "is no block"),
        ((33,), (0.5,), "larger than the matrix of 64 x 32"),
        ("8", (0.5,), "is no block"),
        ((8,), ("0,5",), "not a fraction"),
    ],
)
def test_impossible_options(blocks, keep, message):
    with pytest.raises(UserError, match=message):
        options = hcgs_of(blocks, keep)
        hcgs_mask((64, 32), options.blocks, options.keep)


@pytest.mark.parametrize("field", ["weight_bits", "act_bits"])
@pytest.mark.parametrize("bits", [0, 33, 1.5, True])
def test_layer_bits_out_of_range(field, bits):
    with pytest.raises(UserError, match=field):
        LayerPress(**{field: bits})


def test_index_bits_by_hand():
    # 16 rows of blocks x 4 kept x 4 bits; in each of the 64 kept blocks 16 rows x 4 kept x 4 bits.
    mask = hcgs_mask((512, 512), (32, 2), ("4/16", "4/16"), seeded())
    assert hcgs_index_bits(mask, (32, 2)) == 16 * 4 * 4 + 64 * 16 * 4 * 4


def test_one_block_per_row_needs_no_index():
    assert hcgs_index_bits(torch.ones(8, 4, dtype=torch.bool), (4,)) == 0
