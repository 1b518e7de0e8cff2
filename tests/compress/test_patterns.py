"""Masks of patterns: every block has one of the dictionary, wherever that comes from; and the largest of each block."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight
from frenchpress.compress.masks import kept_of
from frenchpress.compress.size import matrix_size
from frenchpress.compress.sparsity import MASKS
from frenchpress.compress.sparsity.dictionary import clustered_patterns, searched_patterns
from frenchpress.compress.sparsity.plan import read_plan
from frenchpress.config.press import LayerPress, MatrixPress, self_contained

SHAPES = [(482, 440), (37, 50)]
SOURCES = [
    {"dictionary": "random", "place": "random"},
    {"dictionary": "random", "after_epoch": 1},
    {"dictionary": "search", "after_epoch": 1},
    {"dictionary": "kmeans", "after_epoch": 1},
    {"dictionary": "kmeans", "place": "random", "after_epoch": 1},
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def method(name="pattern", **said):
    return read_plan({"method": name, **said}, MASKS).method


def whole_blocks(mask, height, width):
    down, across = mask.shape[0] // height, mask.shape[1] // width
    blocks = mask[: down * height, : across * width].reshape(down, height, across, width)
    return blocks.transpose(1, 2).reshape(-1, height * width)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("block", [4, [2, 6]])
def test_every_whole_block_has_a_pattern_of_the_dictionary(shape, source, block):
    made, score = method(block=block, nonzeros=3, count=5, **source), torch.rand(shape, generator=seeded(9))
    mask = made.make(shape, seeded(), score)
    assert mask.shape == shape and torch.equal(mask, made.make(shape, seeded(), score))
    blocks = whole_blocks(mask, *made.block)
    assert (blocks.sum(1) == 3).all()
    assert len(torch.unique(blocks, dim=0)) <= 5
    if source == SOURCES[0]:
        assert not torch.equal(mask, made.make(shape, seeded(1)))


def test_a_file_says_what_the_patterns_are(tmp_path):
    path = tmp_path / "shapes.npy"
    patterns = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]], np.int8)
    np.save(path, patterns)
    made = method(dictionary=str(path), place="random")
    blocks = whole_blocks(made.make((40, 33), seeded()), 2, 3)
    assert {tuple(b) for b in blocks.int().tolist()} == {tuple(p.reshape(-1)) for p in patterns}
    assert made.asked_density == 2 / 6
    half = method("pattern_coo", dictionary=str(path), after_epoch=1)
    blocks = whole_blocks(half.make((40, 33), None, torch.rand(40, 33)), 2, 3)
    assert (blocks.sum(1) == 4).all() and half.asked_density == 4 / 6


def test_patterns_that_are_spelt_out_are_those_of_the_file(tmp_path):
    path, spelt = tmp_path / "shapes.npy", ["100/010", "001/001"]
    np.save(path, np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]], np.int8))
    for place in ({"place": "random"}, {"place": "best", "after_epoch": 1}):
        said = {"method": "pattern", "dictionary": str(path), **place}
        press = LayerPress(8, mask=said, input=MatrixPress(mask=said), recurrent=MatrixPress(weight_bits=4))
        alone = self_contained(press)
        assert press.mask == said and alone.mask == alone.input.mask == said | {"dictionary": spelt}
        assert alone.recurrent == press.recurrent
        score = torch.rand(40, 33, generator=seeded(1))
        one, other = (read_plan(mask, MASKS).method for mask in (said, alone.mask))
        assert torch.equal(one.make((40, 33), seeded(), score), other.make((40, 33), seeded(), score))
    for same in (None, {"method": "magnitude", "keep": 0.5, "after_epoch": 0}, {"method": "pattern", **ONE}):
        assert self_contained(LayerPress(8, mask=same)).mask == same


def test_the_best_pattern_is_placed():
    made = method(block=2, nonzeros=2, count=6, after_epoch=0)
    score = torch.tensor([[5.0, 0, 0, 1], [4, 0, 1, 0]])
    assert made.make((2, 4), seeded(), score).int().tolist() == [[1, 0, 0, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize("find", [searched_patterns, lambda *a: clustered_patterns(*a, seeded(1))])
def test_patterns_that_are_there_are_found(find):
    true = torch.eye(4, dtype=torch.bool).repeat_interleave(2, 1)
    which = torch.randint(4, (400,), generator=seeded())
    blocks = true[which].float() + 0.01 * torch.rand(400, 8, generator=seeded(2))
    found = find(blocks, 2, 8)
    assert {tuple(p) for p in true.tolist()} <= {tuple(p) for p in found.tolist()}


def test_a_searched_dictionary_retains_more_than_a_random_one():
    score = torch.rand(64, 64, generator=seeded()) ** 4
    retained = {}
    for source in ("random", "search", "kmeans"):
        made = method(dictionary=source, block=2, nonzeros=2, count=3, after_epoch=1)
        retained[source] = float(score[made.make((64, 64), seeded(3), score)].sum())
    assert min(retained["search"], retained["kmeans"]) > retained["random"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block, nonzeros", [(8, 4), ([4, 16], 7), ([1, 6], 2), (3, 9)])
def test_coo_keeps_the_largest_of_every_block(shape, block, nonzeros):
    made, score = method("coo", block=block, nonzeros=nonzeros, after_epoch=1), torch.rand(shape, generator=seeded())
    mask, (height, width) = made.make(shape, None, score), made.block
    for rows, scores in zip(mask.split(height), score.split(height)):
        for part, values in zip(rows.split(width, dim=1), scores.split(width, dim=1)):
            assert int(part.sum()) == kept_of(part.numel(), Fraction(nonzeros, height * width))
            assert part.all() or values[part].min() >= values[~part].max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block, nonzeros", [(4, 5), ([2, 3], 6), ([8, 4], 8)])
@pytest.mark.parametrize("source", ["random", "search", "kmeans"])
def test_pattern_coo_is_half_of_each(shape, block, nonzeros, source):
    made = method("pattern_coo", block=block, nonzeros=nonzeros, count=1, dictionary=source, after_epoch=1)
    mask = made.make(shape, seeded(), torch.rand(shape, generator=seeded(4)))
    blocks = whole_blocks(mask, *made.block)
    assert (blocks.sum(1) == nonzeros).all()
    assert int(blocks.all(0).sum()) >= made.by_pattern == nonzeros - nonzeros // 2


def test_patterns_are_charged_dictionary_and_numbers():
    said = {"method": "pattern", "block": [4, 8], "nonzeros": 4, "count": 16, "place": "random"}
    matrix = PressedWeight((256, 128), LayerPress(8, mask=said), 4, seeded())
    size = matrix_size("w", matrix)
    assert size.index_code == "pattern" and size.density == size.asked_density == 1 / 8
    assert size.index_bits == 2 * 6 + 16 + 1 + 16 * 32 + 16 * 16 * 4  # sides, count, escape; dictionary; numbers
    own = matrix_size("w", PressedWeight((256, 128), LayerPress(8, mask=said | {"share_gates": False}), 4, seeded()))
    assert own.index_bits == 4 * size.index_bits


ONE = {"block": 4, "nonzeros": 2, "count": 4}


@pytest.mark.parametrize(
    "said, words",
    [
        ({"method": "pattern", **ONE}, "it goes by the weights; say when"),
        ({"method": "pattern", **ONE, "place": "random", "after_epoch": 1}, "fixed before training"),
        ({"method": "pattern", **ONE, "start_epoch": 0, "end_epoch": 1}, "cannot be reached gradually"),
        ({"method": "pattern", **ONE, "block": 64, "after_epoch": 1}, "64 x 64 is larger than the matrix of 63 x 50"),
        ({"method": "pattern", **ONE, "nonzeros": 17, "after_epoch": 1}, "17 do not fit a pattern of 4 x 4; use 1 to"),
        ({"method": "pattern", **ONE, "nonzeros": 0, "after_epoch": 1}, "use 1 to 16"),
        ({"method": "pattern", **ONE, "count": 121, "after_epoch": 1}, "121 patterns of 2 in 4 x 4; use 1 to 120"),
        ({"method": "pattern", **ONE, "place": "x", "after_epoch": 1}, "place: unknown .* .known: best, random\\)"),
        ({"method": "pattern", **ONE, "dictionary": "x", "after_epoch": 1}, "search, kmeans, a .npy file"),
        ({"method": "pattern", **ONE, "_file": 1, "after_epoch": 1}, "unknown option '_file'"),
        ({"method": "pattern", "block": 4, "count": 3, "after_epoch": 1}, "nonzeros is missing"),
        ({"method": "pattern", "dictionary": "no.npy", "after_epoch": 1}, "no.npy: no such file"),
        ({"method": "pattern", "dictionary": "no.npy", "count": 3, "after_epoch": 1}, "count: the file no.npy says"),
        (
            {"method": "pattern", "dictionary": ["10/01"], "count": 1, "after_epoch": 1},
            "count: the dictionary says",
        ),
        ({"method": "pattern", "dictionary": [], "after_epoch": 1}, "rows of 0 and 1, all of the same size"),
        ({"method": "pattern", "dictionary": ["10/0"], "after_epoch": 1}, "rows of 0 and 1, all of the same size"),
        ({"method": "pattern", "dictionary": ["10/02"], "after_epoch": 1}, "rows of 0 and 1, all of the same size"),
        ({"method": "pattern", "dictionary": ["10", 1], "after_epoch": 1}, "rows of 0 and 1, all of the same size"),
        ({"method": "pattern", "dictionary": ["10/01", "11/00", "10/00"], "after_epoch": 1}, r"of \[1, 2\] non-zeros"),
        ({"method": "pattern", "dictionary": 3, "after_epoch": 1}, "dictionary: 3 is no str or list"),
        ({"method": "coo", "block": 4, "nonzeros": 17, "after_epoch": 1}, "17 do not fit a block of 4 x 4"),
        ({"method": "coo", "block": [4, 51], "nonzeros": 1, "after_epoch": 1}, "4 x 51 is larger than the matrix"),
        ({"method": "pattern_coo", **ONE, "nonzeros": 1, "after_epoch": 1}, "half in a pattern and half free"),
    ],
)
def test_what_cannot_be_is_one_clear_line(said, words):
    with pytest.raises(UserError, match=words) as error:
        PressedWeight((63 if said.get("block") == 64 else 64, 50), LayerPress(8, mask=said))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (np.ones((4, 4)), r"shape \[4, 4\]; patterns are \[n, height, width\]"),
        (np.ones((0, 4, 4)), "shape"),
        (2 * np.ones((1, 2, 2)), "other values than 0 and 1"),
        (np.array([[[1, 0]], [[1, 1]]]), r"patterns of \[1, 2\] non-zeros"),
        (np.zeros((1, 2, 2)), r"patterns of \[0\] non-zeros"),
        (np.array([[[1, 0]], [[1, 0]]]), "there twice"),
        (np.array([{"a": 1}], dtype=object), "not a .npy file"),
        (b"nothing of the kind", "not a .npy file"),
        (b"PK\x03\x04 and no archive", "not a .npy file"),
        (np.zeros((1, 2, 2), dtype="m8[s]"), "other values than 0 and 1"),
        (np.ones((1, 2, 2), dtype=complex), "other values than 0 and 1"),
        (np.ones((1, 2, 99)), "2 x 99 is larger than the matrix of 64 x 50"),
    ],
    ids=range(12),
)
def test_a_file_that_is_none(tmp_path, content, words):
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=words) as error:
        PressedWeight((64, 50), LayerPress(8, mask={"method": "pattern", "dictionary": str(path), "place": "random"}))
    assert "\n" not in str(error.value)
