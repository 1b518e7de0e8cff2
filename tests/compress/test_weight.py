"""The pressed matrix: its chain, its compact form, and the bits it takes."""

import pytest
import torch
from hcgs_index import hcgs_index_bits
from mask_cases import hcgs_mask, hcgs_of
from torch import nn

from frenchpress.compress import PressedWeight, size_report
from frenchpress.compress.codes import encode_parts, make_index_code
from frenchpress.compress.size import matrix_size
from frenchpress.config.press import LayerPress
from frenchpress.kernels.blocks import block_linear

SHARED = hcgs_of((8, 2), ("1/4", "1/2"))
OWN = hcgs_of((8, 4), ("1/4", "1/2"), share_gates=False)


def make(shape, press, gates=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matrix = PressedWeight(shape, press, gates, generator).double()
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(shape, generator=generator))
    return matrix


def test_chain_is_quantize_of_mask_times_weight():
    matrix = make((16, 32), LayerPress(4, hcgs=SHARED))
    w = matrix()
    mask = matrix.full_mask()
    assert torch.equal(w != 0, mask & (w != 0))
    assert torch.equal(w, matrix.quantizer(matrix.weight * mask))
    integers, scale = matrix.integers()
    assert torch.equal(integers * scale, w)


def test_a_removed_weight_changes_nothing_and_learns_nothing():
    matrix = make((16, 32), LayerPress(4, hcgs=SHARED))
    before, removed = matrix().detach().clone(), ~matrix.full_mask()
    matrix().sum().backward()
    assert not matrix.weight.grad[removed].any()
    assert (matrix.weight.grad[~removed] == 1).all()
    with torch.no_grad():
        matrix.weight[removed] = 1e3
    assert torch.equal(matrix(), before)


def test_one_bit_leaves_removed_weights_at_zero():
    matrix = make((16, 32), LayerPress(1, hcgs=SHARED))
    assert torch.equal(matrix() != 0, matrix.full_mask())


@pytest.mark.parametrize("hcgs", [SHARED, OWN, hcgs_of((8,), (0.2,)), hcgs_of((16, 3), ("1/4", "1/2"))])
@pytest.mark.parametrize("bits", [1, 6, 32])
@pytest.mark.parametrize("shape, gates", [((64, 32), 4), ((52, 44), 4), ((48, 44), 4), ((37, 50), 1), ((8, 64), 1)])
def test_block_product_equals_dense(shape, gates, hcgs, bits):
    matrix = make(shape, LayerPress(bits, hcgs=hcgs), gates)
    structure = matrix.structure
    if structure is None:
        pytest.skip("small blocks of a small matrix leave nothing to gain")
    x = torch.randn(7, shape[1], dtype=torch.float64, requires_grad=True)
    up = torch.randn(7, shape[0], dtype=torch.float64)
    results = []
    for y in (block_linear(x, matrix.compact(structure), structure), x @ matrix().t()):
        results.append((y, *torch.autograd.grad((y * up).sum(), (x, matrix.weight))))
    for got, wanted in zip(*results):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_block_product_computes_the_coarse_blocks_alone():
    matrix = make((2048, 512), LayerPress(8, hcgs=hcgs_of((32, 2), ("4/16", "4/16"))), 4)
    assert matrix.structure.computed_fraction == 0.25
    assert make((64, 64), LayerPress(hcgs=hcgs_of((8,), (0.9,)))).structure is None
    assert make((64, 64), LayerPress()).structure is None


def test_uneven_masks_work_too():
    matrix = make((16, 32), LayerPress(hcgs=SHARED))
    matrix.mask.zero_()
    matrix.mask[0, 3] = matrix.mask[9, 30] = matrix.mask[10, 1] = True
    x = torch.randn(4, 32, dtype=torch.float64)
    s = matrix.structure
    torch.testing.assert_close(block_linear(x, matrix.compact(s), s), x @ matrix().t())


def test_size_of_the_published_point():
    press = LayerPress(8, 16, hcgs=hcgs_of((32, 2), ("4/16", "4/16")))
    size = matrix_size("w", make((2048, 512), press, 4))
    assert size.kept == 65536 and size.density == size.asked_density == 1 / 16
    assert size.value_bits == 65536 * 8
    # Once for the four gates: the block numbers, and what the code says of itself: a byte each for the number of masks
    # and of levels and for both sides, 5 bits each for how many of 16 blocks a row keeps.
    assert (size.index_code, size.index_bits) == ("hcgs", 16 * 4 * 4 + 64 * 16 * 4 * 4 + 4 * 8 + 2 * 5)
    assert size.scale_bits == 2048 * 16
    assert size.as_dict()["stored_bytes"] == -(-(65536 * 8 + 16682 + 32768) // 8)


@pytest.mark.parametrize(
    "shape, blocks, keep",
    [
        ((2048, 512), (32, 2), ("1/4", "1/4")),
        ((2048, 512), (64, 4), ("3/4", "3/4")),
        ((192, 512), (32, 1), ("1/2", "1/2")),
        ((148, 50), (8,), ("1/4",)),
    ],
)
@pytest.mark.parametrize("share", [True, False])
def test_hcgs_is_charged_what_the_mask_method_of_that_name_is(shape, blocks, keep, share):
    hcgs = matrix_size("w", make(shape, LayerPress(8, hcgs=hcgs_of(blocks, keep, share)), 4))
    said = {"method": "hcgs", "blocks": list(blocks), "keep": list(keep), "share_gates": share}
    mask = matrix_size("w", make(shape, LayerPress(8, mask=said), 4))
    assert hcgs == mask
    # Where numbers of blocks are many, a bit per weight is fewer.
    assert hcgs.index_bits <= shape[0] // 4 * shape[1] * (1 if share else 4)
    if shape == (148, 50) or blocks == (32, 2):
        one = hcgs_mask((shape[0] // 4, shape[1]), blocks, keep, torch.Generator().manual_seed(0))
        assert 0 < hcgs.index_bits // (1 if share else 4) - hcgs_index_bits(one, blocks) < 64


def test_size_of_gates_with_masks_of_their_own_counts_four_indices():
    shared, own = (
        matrix_size("w", make((64, 32), LayerPress(8, hcgs=hcgs_of((8,), (0.25,), share_gates=s)), 4))
        for s in (True, False)
    )
    assert own.kept == shared.kept and own.index_bits == 4 * shared.index_bits


def test_ceil_is_charged_the_bits_it_needs():
    assert matrix_size("w", make((4, 4), LayerPress(6, quantizer="ceil"))).stored_bits == 16 * 7
    assert matrix_size("w", make((4, 4), LayerPress())).stored_bits == 16 * 32


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 20])
def test_value_bits_are_what_the_fixed_code_writes_of_values(bits):
    matrix = make((64, 32), LayerPress(bits, hcgs=SHARED), 4)
    integers, mask = matrix.integers()[0].numpy(), matrix.mask.numpy()
    parts = encode_parts(integers, mask, make_index_code("bitmap"), "fixed", bits)
    # 5 bits say how many bits a value has.
    assert len(parts.values) == -(-(5 + matrix_size("w", matrix).value_bits) // 8)


def test_report_adds_up():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = make((64, 32), LayerPress(8, hcgs=SHARED))
            self.b = make((10, 32), LayerPress())
            self.bias = nn.Parameter(torch.zeros(10))

    report = size_report(Model())
    a, b = report["matrices"]
    assert [a["name"], b["name"]] == ["a", "b"]
    assert report["parameters"] == 64 * 32 + 320 + 10
    assert report["kept"] == a["kept"] + 320 == report["macs_kept"]
    assert report["stored_bytes"] == a["stored_bytes"] + b["stored_bytes"] + 40
    bits = a["value_bits"] + a["index_bits"] + a["scale_bits"] + 320 * 32
    assert report["compression_ratio"] == pytest.approx(32 * (64 * 32 + 320) / bits)
    assert report["weight_ratio"] == pytest.approx((64 * 32 + 320) / report["kept"])


def test_matrices_that_nothing_presses_are_counted():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = make((16, 32), LayerPress(8))
            self.plain = nn.Linear(32, 10)
            self.conv = nn.Conv2d(3, 6, 5)

    report = size_report(Model())
    assert [(m["name"], tuple(m["shape"]), m["weight_bits"]) for m in report["matrices"]] == [
        ("a", (16, 32), 8), ("plain.weight", (10, 32), 32), ("conv.weight", (6, 75), 32)
    ]  # fmt: skip
    assert report["other_bytes"] == 4 * 16 and report["macs_dense"] == 16 * 32 + 320 + 450
    stored = 16 * 32 * 8 + 16 * 16 + 32 * (320 + 450)
    assert report["compression_ratio"] == pytest.approx(32 * (16 * 32 + 320 + 450) / stored)


def test_dense_float_model_has_ratio_one():
    assert size_report(make((8, 8), LayerPress()))["compression_ratio"] == 1


def test_unknown_quantizer_is_refused_when_built():
    from frenchpress.common import UserError

    with pytest.raises(UserError, match="lsq"):
        PressedWeight((4, 4), LayerPress(quantizer="lsq"))


def test_the_structure_is_that_of_the_mask_at_hand():
    """Whether it was changed in place, or another tensor, maybe where a former one lay, has taken its place."""
    weight = PressedWeight((64, 64), LayerPress(mask={"method": "block", "block": 8, "keep": "1/4", "after_epoch": 0}))
    generator = torch.Generator().manual_seed(0)

    def drawn():
        return (torch.rand(8, 8, generator=generator) < 0.25).repeat_interleave(8, 0).repeat_interleave(8, 1)

    for turn in range(20):
        if turn % 2:
            weight.mask.copy_(drawn())
        else:
            del weight.mask
            weight.register_buffer("mask", drawn())
        found = torch.zeros(64 * 64, dtype=torch.bool)
        if weight.structure is None:  # too many blocks in a row
            continue
        found[weight.structure.target] = True
        assert torch.equal(found.view(64, 64), weight.mask)
