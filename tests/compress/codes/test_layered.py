"""A mask inside of another, or over patterns: bits by hand, what is read back, damage refused."""

import numpy as np
import pytest
import torch

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter
from frenchpress.compress.codes import INDEX_CODES, decode, encode, encode_parts, index_codings, make_index_code
from frenchpress.compress.codes.index import Origin
from frenchpress.compress.codes.layered import _OUTER, Layered
from frenchpress.compress.codes.shared import shared_patterns
from frenchpress.compress.sparsity import MASKS
from frenchpress.compress.sparsity.plan import read_plan

SHAPES = [(32, 48), (37, 50), (1, 9), (9, 1), (33, 31)]


def index_bits(mask, **options):
    return encode_parts(np.zeros(mask.shape, np.int64), mask, make_index_code("layered", **options)).index_bits


def read_back(code, mask):
    integers = np.where(mask, 3, 0)
    back, back_mask = decode(encode(integers, mask, code))
    return np.array_equal(back, integers) and np.array_equal(back_mask, mask)


def example(name, shape):
    """A layer that code `name` can hold, and the code."""
    mask = np.random.default_rng(0).random(shape) < 0.4
    mask = np.add.outer(mask[:, 0], mask[0]) if name == "lines" else mask
    mask = mask[:, :1] & mask[:1] if name == "lines" else mask
    if name == "hcgs":
        options = {"blocks": [[4, 2], 1], "keep": ["1/2", "1/2"]} if min(shape) > 4 else {"blocks": [1], "keep": [0.5]}
        method = MASKS["hcgs"](**options)
        return method.make(shape, torch.Generator().manual_seed(0)).numpy(), make_index_code(name, blocks=method.blocks)
    return mask, make_index_code(name).fit(mask)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outer", [kind.name for kind in _OUTER])
@pytest.mark.parametrize("copies", [1, 4])
def test_layers_in_every_code_with_exceptions_inside_and_outside(shape, outer, copies):
    layer, code = example(outer, shape)
    layered, rng, full = make_index_code("layered", outer=code, layer=layer), np.random.default_rng(1), None
    full = np.tile(layer, (copies, 1))
    for inside in (0, 0.02, 0.3, 0.7, 0.98, 1):
        for outside in (0, 0.02, 0.6, 1):
            draw = rng.random(full.shape)
            assert read_back(layered, np.where(full, draw < inside, draw < outside))


def test_bits_by_hand():
    layer = np.zeros((4, 8), np.bool_)
    layer[:, :4] = True
    options = {"outer": make_index_code("lines"), "layer": layer}
    # 4 bits of code, a byte that says how often, the layer, and 2 bits each that say how the rest differs.
    head = 4 + 8 + 12 + 2 + 2
    assert index_bits(layer, **options) == head
    assert index_bits(np.tile(layer, (3, 1)), **options) == head
    mask = layer.copy()
    mask[:2, :4] = False
    mask[1, 1:3] = True
    # 2 rows inside of 4 kept ones alternate with removed ones: a bit for each of 16 is the shortest.
    mask[2:, :4] = [[True, False, True, True], [False, True, False, True]]
    assert index_bits(mask, **options) == head + 16
    lone = layer.copy()
    lone[3, 7] = True
    # Outside a run of 15: 5 bits of width and 5 of the count of 16 + 1, then the best width for 15, once 4 bits + 4.
    assert index_bits(lone, **options) == head + min(5 + 5 + w * (1 + 15 // (2**w - 1)) for w in range(1, 6))
    lone = layer.copy()
    lone[3, 3] = False
    assert index_bits(lone, **options) == index_bits(layer, **options) + 15


def test_what_does_not_fit_is_one_clear_line():
    layer, code = example("bitmap", (4, 6))
    refusals = [
        (lambda: encode(layer.astype(int), layer, make_index_code("layered")), "say which mask lies beneath"),
        (lambda: make_index_code("layered", outer=code), "takes a layer, a mask, and outer"),
        (lambda: make_index_code("layered", layer=layer), "takes a layer, a mask, and outer"),
        (lambda: make_index_code("layered", outer=Layered(code, layer), layer=layer), "takes a layer, a mask"),
        (lambda: index_bits(np.ones((6, 6), np.bool_), outer=code, layer=layer), r"\[4, 6\] does not fit .* \[6, 6\]"),
        (lambda: index_bits(np.ones((4, 5), np.bool_), outer=code, layer=layer), r"\[4, 6\] does not fit .* \[4, 5\]"),
        (lambda: index_bits(np.ones((2, 6), np.bool_), outer=code, layer=layer), r"\[4, 6\] does not fit .* \[2, 6\]"),
    ]
    for call, line in refusals:
        with pytest.raises(UserError, match=line) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number, copies", [(9, 1), (15, 1), (0, 0), (0, 3), (0, 5), (0, 2**40)])
def test_damaged_heads(number, copies):
    out = BitWriter()
    out.put(number, 4)
    out.put_varint(copies)
    out.put(0, 60)
    with pytest.raises(UserError, match="damaged .layer of code"):
        Layered.read(4, 6, BitReader(out.to_bytes()))


def patterned(shape, block=(8, 8), nonzeros=8, count=16, dictionary="random"):
    said = {"method": "pattern_coo", "block": list(block), "nonzeros": nonzeros, "count": count}
    method = read_plan(said | {"dictionary": dictionary, "after_epoch": 1}, MASKS).method
    score = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    return method, method.make(shape, torch.Generator().manual_seed(4), score).numpy()


def test_patterns_that_blocks_share_are_found():
    method, mask = patterned((512, 256))
    patterns = shared_patterns(mask, *method.origin.shared)
    # The method draws its dictionary first.
    drawn = method._patterns((512, 256), torch.Generator().manual_seed(4), None).view(-1, 8, 8).numpy()
    assert {p.tobytes() for p in patterns} == {p.tobytes() for p in drawn} and len(patterns) == 16


@pytest.mark.parametrize("shape", [(512, 256), (130, 133)])
@pytest.mark.parametrize("block, nonzeros", [((8, 8), 8), ((4, 8), 5), ((3, 5), 4)])
@pytest.mark.parametrize("dictionary", ["random", "search", "kmeans"])
def test_patterns_and_left_overs_take_fewer_bits_than_a_mask_without_structure(shape, block, nonzeros, dictionary):
    method, mask = patterned(shape, block, nonzeros, 4, dictionary)
    found, _ = index_codings([mask], [method.origin])
    assert read_back(found["layered"].streams[0][1], mask)
    if shape == (512, 256):
        assert min(found, key=lambda name: found[name].bits) == "layered"
    if (*shape, *block) == (512, 256, 8, 8):
        # 2 bits of pattern for each of 2048 blocks, and 4 of the other 60 places: no more than plain places of 6 bits.
        assert found["layered"].bits < 2048 * (2 + 4 * 6) + 4 * 64 + 100 < found["run_length"].bits


def test_masks_without_shared_patterns_are_refused_or_read_back():
    for mask in (np.zeros((32, 32), np.bool_), np.ones((32, 32), np.bool_), np.eye(7, dtype=np.bool_)):
        found, refused = index_codings([mask], [Origin(shared=(8, 8, 4))])
        assert "layered" in refused and set(found) | set(refused) == set(INDEX_CODES)
    mask = np.random.default_rng(0).random((64, 64)) < 0.1
    found, _ = index_codings([mask], [Origin(shared=(8, 8, 4))])
    assert "layered" not in found or read_back(found["layered"].streams[0][1], mask)
    assert "layered" in index_codings([mask], [Origin(shared=(128, 8, 4))])[1]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("keep", [0.05, 0.3, 0.9, 1])
def test_thinned_structures_take_the_structure_and_a_bit_or_less_for_what_it_keeps(share, keep):
    method, rng = MASKS["hcgs"](blocks=[[16, 8], 2], keep=["1/2", "1/2"]), np.random.default_rng(2)
    layers = [method.make((67, 45), torch.Generator().manual_seed(n)).numpy() for n in range(1 if share else 4)]
    full = np.concatenate(layers * (4 // len(layers)))
    mask = full & (rng.random(full.shape) < keep)
    masks = [mask] if share else np.split(mask, 4)
    origins = [Origin(structure=layer, structure_origin=method.origin) for layer in layers]
    layered = index_codings(masks, origins)[0]["layered"]
    outer = index_codings(layers, [method.origin] * len(layers))[0]
    heads = len(layers) * (4 + 8 + 2 + 2)
    assert outer["hcgs"].bits + heads <= layered.bits <= outer["hcgs"].bits + heads + np.count_nonzero(full)
    if keep == 1:
        assert layered.bits == outer["hcgs"].bits + heads
    assert all(code.options == "hcgs 16 x 8, 2" and read_back(code, one) for one, code in layered.streams)
