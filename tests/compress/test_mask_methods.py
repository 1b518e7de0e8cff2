"""Every mask method: exact density and balance, reproduced by its seed, the rest refused with one line."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from mask_cases import ALL_MASKS, METHODS, hcgs_mask

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter
from frenchpress.compress import PressedWeight
from frenchpress.compress.codes import INDEX_CODES, make_index_code
from frenchpress.compress.masks import kept_of
from frenchpress.compress.size import matrix_codings, matrix_size
from frenchpress.compress.sparsity import HierarchyMask
from frenchpress.compress.sparsity.plan import read_plan
from frenchpress.config.press import LayerPress

# 440 inputs and 482 rows of a gate of 1928 divide by few things.
SHAPES = [(482, 440), (37, 50), (64, 64)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(shape, seed=0, **said):
    said.setdefault("after_epoch", 1) if said["method"] not in ("hcgs", "dynamic") else None
    if said["method"] == "dynamic":
        said |= {"start_epoch": 0, "end_epoch": 2}
    plan = read_plan(said, ALL_MASKS)
    return plan.method.make(shape, seeded(seed), torch.rand(shape, generator=seeded(99)))


def blocks_of(mask, height, width):
    return [[b for b in row.split(width, dim=1)] for row in mask.split(height)]


def check_levels(mask, blocks, keep):
    (height, width), count = blocks[0], math.ceil(mask.shape[1] / blocks[0][1])
    for row in blocks_of(mask, height, width):
        kept = [b for b in row if b.any()]
        assert len(kept) == kept_of(count, Fraction(keep[0]))
        for block in kept:
            assert block.all() if len(blocks) == 1 else True
            if len(blocks) > 1:
                check_levels(block, blocks[1:], keep[1:])


@pytest.mark.parametrize("method", ["hcgs", "guided"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "blocks, keep",
    [
        ([[8, 8]], ["1/4"]),
        ([[16, 4]], ["1/3"]),
        ([[16, 32], [4, 2]], ["1/2", "1/4"]),
        ([[16, 16], [8, 4], [1, 2]], ["1/2", "1/2", "1/2"]),
    ],
)
def test_hierarchies_keep_the_same_number_in_every_row_of_blocks(method, shape, blocks, keep):
    mask = make(shape, method=method, blocks=blocks, keep=keep)
    assert mask.shape == shape and mask.dtype == torch.bool
    check_levels(mask, blocks, keep)


def test_square_random_hierarchies_are_those_of_hcgs():
    mask = make((482, 440), 3, method="hcgs", blocks=[32, 2], keep=["4/16", "4/16"])
    assert torch.equal(mask, hcgs_mask((482, 440), (32, 2), ("4/16", "4/16"), seeded(3)))


def test_guided_keeps_the_blocks_of_largest_mean_magnitude():
    score = torch.zeros(8, 12)
    score[0:4, 8:12] = score[4:8, 0:4] = 1.0
    score[0, 8] = score[5, 3] = 2.0
    said = {"method": "guided", "blocks": [4, 1], "keep": ["1/3", "1/4"], "after_epoch": 0}
    method = read_plan(said, ALL_MASKS).method
    mask = method.make((8, 12), None, score)
    assert mask[:4, 8:].sum() == 4 and mask[4:, :4].sum() == 4 and mask.sum() == 8
    assert mask[0, 8] and mask[5, 3]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keep", ["1/16", 0.3, "1/1000000", 1])
def test_single_weights_exactly(shape, keep):
    mask = make(shape, method="magnitude", keep=keep)
    score = torch.rand(shape, generator=seeded(99))
    assert int(mask.sum()) == kept_of(mask.numel(), Fraction(str(keep)))
    if not mask.all():
        assert score[mask].min() >= score[~mask].max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [8, [4, 16], [1, 5]])
def test_blocks_exactly(shape, block):
    mask = make(shape, method="block", block=block, keep="1/5")
    height, width = (block, block) if isinstance(block, int) else block
    blocks = [b for row in blocks_of(mask, height, width) for b in row]
    assert all(b.all() or not b.any() for b in blocks)
    assert sum(bool(b.any()) for b in blocks) == kept_of(len(blocks), Fraction(1, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_and_columns_exactly(shape):
    rows, columns = make(shape, method="row", keep="1/3"), make(shape, method="column", keep="1/3")
    assert set(rows.sum(1).tolist()) == {0, shape[1]} and rows.any(1).sum() == kept_of(shape[0], Fraction(1, 3))
    assert set(columns.sum(0).tolist()) == {0, shape[0]} and columns.any(0).sum() == kept_of(shape[1], Fraction(1, 3))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bank", [8, 16, 7, 50])
def test_every_bank_keeps_its_share(shape, bank):
    if bank > shape[1]:
        return
    mask, score = make(shape, method="bank", bank=bank, keep="3/8"), torch.rand(shape, generator=seeded(99))
    for part, scores in zip(mask.split(bank, dim=1), score.split(bank, dim=1)):
        assert (part.sum(1) == kept_of(part.shape[1], Fraction(3, 8))).all()
        if not part.all():
            assert (scores.masked_fill(~part, 9).amin(1) >= scores.masked_fill(part, -9).amax(1)).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grow", ["random", "gradient"])
@pytest.mark.parametrize("block", [8, [4, 6]])
def test_dynamic_masks_move_at_constant_density_and_balance(shape, block, grow):
    said = {"method": "dynamic", "block": block, "keep": "1/4", "drop": 0.5, "grow": grow}
    method = read_plan(said | {"start_epoch": 0, "end_epoch": 2}, ALL_MASKS).method
    mask, pair = method.make(shape, seeded()), (block, block) if isinstance(block, int) else tuple(block)
    score, growth = torch.rand(shape, generator=seeded(1)), torch.rand(shape, generator=seeded(2))
    after = method.step(mask, score, growth, 1.0, seeded(3))
    assert not torch.equal(after, mask)
    check_levels(after, [pair], ["1/4"])
    assert after.sum() == mask.sum() and torch.equal(after.sum(1), mask.sum(1))
    assert torch.equal(method.step(mask, score, growth, 0.0, seeded(3)), mask)
    assert torch.equal(after, method.step(mask, score, growth, 1.0, seeded(3)))


@pytest.mark.parametrize(("shape", "block", "keep"), [((512, 440), 32, "1/16"), ((512, 440), 128, "1/4")])
def test_a_row_that_drew_the_narrow_block_does_not_keep_others_from_moving(shape, block, keep):
    said = {"method": "dynamic", "block": block, "keep": keep, "drop": 0.6, "start_epoch": 0, "end_epoch": 2}
    method = read_plan(said, ALL_MASKS).method
    for seed in range(20):
        mask = method.make(shape, seeded(seed))
        after = method.step(mask, torch.rand(shape, generator=seeded(1)), torch.rand(shape), 1.0, None)
        stays = mask[:, shape[1] // block * block :].any(1)
        assert torch.equal(after.sum(1), mask.sum(1))
        assert torch.equal((after != mask).any(1), ~stays)


def test_dynamic_drops_the_smallest_and_grows_where_the_gradient_is_largest():
    said = {"method": "dynamic", "block": 1, "keep": "1/2", "drop": 0.5, "start_epoch": 0, "end_epoch": 1}
    mask = torch.tensor([[True, True, False, False]])
    score, growth = torch.tensor([[5.0, 1, 0, 0]]), torch.tensor([[0.0, 9, 2, 3]])
    after = read_plan(said, ALL_MASKS).method.step(mask, score, growth, 1.0, None)
    assert after.tolist() == [[True, False, False, True]]


def pressed(method, shape=(148, 50), gates=4, seed=0, **more):
    press = LayerPress(8, mask={"method": method, **METHODS[method], **more})
    matrix = PressedWeight(shape, press, gates, seeded(seed))
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(shape, generator=seeded(7)))
    if matrix.plan.method.by_weight:
        assert matrix.mask.all()
        matrix.mask.copy_(matrix.plan.choose(matrix.weight, gates, seeded(seed)))
    return matrix


@pytest.mark.parametrize("shape", [(440, 40), (1928, 16)])
def test_balanced_columns_keep_as_many_of_every_stretch_of_rows(shape):
    said = {"method": "bank", "bank": 32, "along": "column", "keep": "2/32", "after_epoch": 0}
    score = torch.rand(shape, generator=seeded(1))
    mask = read_plan(said, ALL_MASKS).method.make(shape, None, score)
    for stretch, values in zip(mask.split(32), score.split(32)):
        kept = max(1, math.floor(len(stretch) / 16 + 0.5))
        assert (stretch.sum(0) == kept).all()
        least = values.masked_fill(~stretch, 2.0).amin(0)
        assert (values.masked_fill(stretch, -1.0).amax(0) <= least).all()


def test_targeted_dropout_keeps_what_is_worth_most_and_removes_more_and_more_of_the_rest():
    said = {"method": "bank", "bank": 32, "keep": "2/32", "start_epoch": 0, "end_epoch": 2, "targeted": True}
    plan, score = read_plan(said, ALL_MASKS), torch.rand(64, 96, generator=seeded(1))
    last = plan.choose(score, 1, seeded(2))
    for progress in (0.0, 0.3, 0.9):
        mask = plan.choose(score, 1, seeded(2), progress)
        assert mask[last].all()
        assert float(mask[~last].float().mean()) == pytest.approx(1 - progress, abs=0.02)
    assert torch.equal(plan.choose(score, 1, seeded(2), 1.0), last) and int(last.sum()) == 64 * 6


def test_every_method_is_tested():
    assert set(METHODS) == set(ALL_MASKS)


@pytest.mark.parametrize("method", METHODS)
def test_seed_and_weights_reproduce_a_mask(method):
    assert torch.equal(pressed(method).mask, pressed(method).mask)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [True, False])
def test_gates_share_a_mask_or_do_not(method, share):
    if method == "cell" and not share:
        with pytest.raises(UserError, match="all its gates or none"):
            pressed(method, share_gates=share)
        return
    matrix = pressed(method, share_gates=share)
    assert matrix.mask.shape == ((37, 50) if share else (148, 50))
    gates = matrix.full_mask().view(4, 37, 50)
    assert all(torch.equal(gates[0], gate) for gate in gates) == share
    assert len({int(gate.sum()) for gate in gates}) <= 4
    assert torch.equal(matrix() != 0, matrix.full_mask() & (matrix() != 0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gates, share", [(4, True), (4, False), (1, True)])
def test_the_index_that_is_charged_can_be_written_and_read_back(method, gates, share):
    share = share or method == "cell"
    matrix = pressed(method, gates=gates, share_gates=share)
    size, masks = matrix_size("w", matrix), [m.numpy() for m in matrix.mask.split(148 // gates)]
    assert size.kept == int(matrix.full_mask().sum())
    for name in ("bitmap", "csr", "coo", "run_length"):
        out = BitWriter()
        for mask in masks:
            make_index_code(name).write(mask, out)
        assert size.index_bits <= out.bits
    charged = matrix_codings(matrix)[0][size.index_code]
    written = BitWriter()
    for mask, code in charged.streams:
        code.write(mask, written)
    source = BitReader(written.to_bytes())
    back = [INDEX_CODES[size.index_code].read(*mask.shape, source) for mask, _ in charged.streams]
    assert written.bits == size.index_bits and source.left < 8
    assert np.array_equal(np.concatenate(back), matrix.mask.numpy())


@pytest.mark.parametrize("method", [m for m in METHODS if ALL_MASKS[m].gradual])
def test_gradual_densities_follow_the_cube(method):
    plan = pressed(method, share_gates=True).plan
    weight = torch.randn(148, 50, generator=seeded(5))
    last = 1.0
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        density = float(plan.choose(weight, 4, seeded(), progress).float().mean())
        wanted = plan.method.asked_density + (1 - plan.method.asked_density) * (1 - progress) ** 3
        assert density <= last and abs(density - wanted) < 0.2  # blocks are few
        last = density
    assert torch.equal(plan.choose(weight, 4, seeded(), 0.0), torch.ones(37, 50, dtype=torch.bool))


@pytest.mark.parametrize(
    "said, words",
    [
        ({"method": "magic"}, "mask.method: unknown 'magic'.* \\(known: hcgs, "),
        ({"keep": 0.5}, "mask: method is missing; use one of hcgs, "),
        ({"method": "magnitude", "after_epoch": 1}, "magnitude: keep is missing"),
        ({"method": "magnitude", "keep": 0.5}, "it goes by the weights; say when, with after_epoch"),
        ({"method": "magnitude", "keep": 0, "after_epoch": 1}, "above 0"),
        ({"method": "magnitude", "keep": 2, "after_epoch": 1}, "at most 1"),
        ({"method": "magnitude", "keep": "x", "after_epoch": 1}, "not a fraction"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "bank": 4}, "unknown option 'bank'"),
        ({"method": "magnitude", "keep": 0.5, "aftr_epoch": 1}, "'aftr_epoch', did you mean 'after_epoch'.*lasso"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "end_epoch": 2}, "either after_epoch, or"),
        ({"method": "magnitude", "keep": 0.5, "end_epoch": 2}, "start_epoch is missing"),
        ({"method": "magnitude", "keep": 0.5, "start_epoch": 2, "end_epoch": 2}, "the start must come first"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": -1}, "at least 0"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "every": 0}, "no interval"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "every": "batch"}, "no interval"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 0, "lasso": 1e-4}, "before the first step"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "lasso": -1.0}, "at least 0"),
        ({"method": "bank", "bank": 8, "along": "x", "keep": 0.5, "after_epoch": 1}, "along: unknown 'x'"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "score": "size"}, "score: unknown 'size'"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 0, "score": "taylor"}, "chooses before the first step"),
        ({"method": "magnitude", "keep": 0.5, "after_epoch": 1, "targeted": True}, "targeted: acts between"),
        ({"method": "hcgs", "blocks": [8], "keep": [0.5], "score": "taylor"}, "score: nothing is chosen"),
        ({"method": "hcgs", "blocks": [8], "keep": [0.5], "after_epoch": 1}, "fixed before training"),
        ({"method": "hcgs", "blocks": [8], "keep": [0.5], "lasso": 0.1}, "there is none"),
        ({"method": "hcgs", "blocks": [8, 2], "keep": [0.5]}, "one each per level"),
        ({"method": "hcgs", "blocks": [8, [16, 2]], "keep": [0.5, 0.5]}, "lies inside"),
        ({"method": "hcgs", "blocks": [0], "keep": [0.5]}, "is no block"),
        ({"method": "hcgs", "blocks": [[8, 2, 1]], "keep": [0.5]}, "is no block"),
        ({"method": "hcgs", "blocks": [128], "keep": [0.5]}, "128 x 128 is larger than the matrix of 64 x 50"),
        ({"method": "block", "block": [65, 2], "keep": 0.5, "after_epoch": 1}, "65 x 2 is larger than the matrix"),
        ({"method": "bank", "bank": 64, "keep": 0.5, "after_epoch": 1}, "1 x 64 is larger than the matrix"),
        ({"method": "bank", "bank": 1, "keep": 0.5, "after_epoch": 1}, "no bank"),
        ({"method": "dynamic", "block": 8, "keep": 0.5}, "with start_epoch and end_epoch"),
        ({"method": "dynamic", "block": 8, "keep": 0.5, "after_epoch": 1}, "use start_epoch and end_epoch"),
        ({"method": "dynamic", "block": 8, "keep": 0.5, "drop": 1.5, "start_epoch": 0, "end_epoch": 1}, "below 1"),
        (
            {"method": "dynamic", "block": 8, "keep": "1/7", "start_epoch": 0, "end_epoch": 1},
            "0.3 of the 1 in 7",
        ),
        ({"method": "dynamic", "block": 8, "keep": 1, "start_epoch": 0, "end_epoch": 1}, "drop: 0.3 of the 7 in 7"),
        (
            {"method": "dynamic", "block": 32, "keep": 0.5, "drop": 0.5, "start_epoch": 0, "end_epoch": 1},
            "drop: 0.5 of the 1 in 2 blocks",
        ),
        ({"method": ["dynamic"], "block": 8}, r"mask.method: unknown \['dynamic'\]"),
        ({"method": "dynamic", "block": 8, "keep": 0.5, "grow": "x", "start_epoch": 0, "end_epoch": 1}, "known: grad"),
    ],
)
def test_what_cannot_be_is_one_clear_line(said, words):
    with pytest.raises(UserError, match=words) as error:
        PressedWeight((64, 50), LayerPress(8, mask=said))
    assert "\n" not in str(error.value)


def test_hcgs_is_short_for_the_mask_of_that_name():
    # Blocks of 32 on 16 rows too, and defaults.
    for said in ({"blocks": [32, 2], "keep": ["1/2", "1/4"]}, {"blocks": [8], "keep": [0.5], "share_gates": False}, {}):
        short = LayerPress(8, hcgs=HierarchyMask(**said))
        long = LayerPress(8, mask={"method": "hcgs", **said})
        one, other = (PressedWeight((64, 64), press, 4, seeded()) for press in (short, long))
        assert torch.equal(one.mask, other.mask) and one.plan == other.plan
    assert one.plan.method.blocks == (32, 2) and one.asked_density == 1 / 16


def test_one_mask_for_a_matrix():
    with pytest.raises(UserError, match="one mask for a matrix"):
        LayerPress(8, hcgs=HierarchyMask(), mask={"method": "magnitude", "keep": 0.5, "after_epoch": 1})
