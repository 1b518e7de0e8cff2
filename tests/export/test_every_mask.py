"""Masks survive export: whatever method made them, a packed model and an ONNX file have the model's own weights."""

import numpy as np
import pytest
import torch
from mask_cases import ALL_MASKS
from test_pack import COUNTS, HCGS, W8A16, check, make

from frenchpress.common import UserError
from frenchpress.compress.size import matrix_size
from frenchpress.export.pack import pack_model
from frenchpress.packed import reference
from frenchpress.packed.format import parse_model
from frenchpress.packed.runtime import Runtime
from frenchpress.packed.write import model_bytes

pytestmark = pytest.mark.usefixtures("one_thread")

LATER = {"after_epoch": 1}
PATTERN = {"block": 4, "nonzeros": 4, "count": 6}
METHODS = {
    "hcgs": {"blocks": [[4, 2], [2, 2]], "keep": ["1/2", "1/2"]},
    "guided": {"blocks": [4, 2], "keep": ["1/2", "1/2"], **LATER},
    "dynamic": {"block": 4, "keep": "1/2", "start_epoch": 0, "end_epoch": 1},
    "magnitude": {"keep": "1/8", **LATER},
    "block": {"block": [4, 2], "keep": "1/4", **LATER},
    "row": {"keep": "1/4", **LATER},
    "column": {"keep": "1/4", **LATER},
    "cell": {"keep": "1/2", **LATER},
    "bank": {"bank": 6, "keep": "1/3", **LATER},
    "pattern": {**PATTERN, "dictionary": "kmeans", **LATER},
    "coo": {"block": [4, 8], "nonzeros": 3, **LATER},
    "pattern_coo": {**PATTERN, **LATER},
}
PRESSES = {
    **{name: {"mask": {"method": name, **options}} for name, options in METHODS.items()},
    "magnitude of all gates": {"mask": {"method": "magnitude", "keep": "1/4", "share_gates": True, **LATER}},
    "guided rectangles": {"mask": {"method": "guided", "blocks": [[4, 2], [2, 1]], "keep": ["1/2", "1/2"], **LATER}},
    "drawn patterns": {"mask": {"method": "pattern", **PATTERN, "place": "random"}},
    "hcgs option": {"hcgs": HCGS},
    "pruned hcgs": {"hcgs": HCGS, "prune": {"keep": "1/2", **LATER}},
    "pruned": {"prune": {"keep": "1/4", **LATER}},
    "uneven": {
        "input": {"mask": {"method": "magnitude", "keep": "1/20", **LATER}},
        "recurrent": {"mask": {"method": "magnitude", "keep": "1/60", **LATER}},
    },
}
HIERARCHIES = "guided", "dynamic", "hcgs option"


def test_every_method_is_here():
    assert set(METHODS) == set(ALL_MASKS)


def masked(name, **press):
    """A small model whose layers have the masks; its heads too, where they have no gates and cells to ask for."""
    wide = {**press, **PRESSES[name]}
    alone = press if name in ("cell", "uneven") else wide
    return make({"lstm*": wide, "default": alone})


def matrices(model):
    """Those that are exported, in the order of the packed file."""
    layers = [m for layer in model.lstm.values() for m in (layer.input_matrix, layer.recurrent_matrix)]
    return [*layers, model.head_cd.matrix]


def integers(matrix):
    """Of the quantizer, times the mask: int64 [rows, columns] and bool of the same shape."""
    mask = torch.ones(matrix.shape, dtype=torch.bool) if matrix.mask is None else matrix.full_mask()
    return (matrix.quantizer.integers(matrix.weight * mask)[0] * mask).numpy(), mask.numpy()


@pytest.mark.parametrize("name", PRESSES)
def test_packed_integers_are_those_of_quantizer_and_mask(name):
    model = masked(name, **W8A16)
    packed = pack_model(model, COUNTS, {})
    back = parse_model(model_bytes(packed))
    for matrix, one, other in zip(matrices(model), packed.matrices, back.matrices):
        expected, mask = integers(matrix)
        for found in (one, other):
            assert np.array_equal(found.values, expected) and np.array_equal(found.mask, mask)
            assert found.kept == mask.sum() and bool(found.levels) == (name in HIERARCHIES)
    assert 0 < packed.layers[1].recurrent_matrix.mask.mean() < 0.6
    content = -(-packed.content_bits // 8)
    # Headers and padding: 17 masks of 8 bytes at most.
    assert content <= len(model_bytes(packed)) < content + 500


@pytest.mark.parametrize("name", PRESSES)
def test_the_runtime_gives_the_logits_of_the_reference(name):
    packed = pack_model(masked(name, **W8A16), COUNTS, {})
    feats = np.random.default_rng(5).normal(0, 2, (40, 6)).astype(np.float32)
    assert np.array_equal(Runtime(model_bytes(packed)).logits(feats), reference.run(packed, feats))


@pytest.mark.parametrize("name", PRESSES)
def test_packed_agrees_with_the_training_graph(name):
    check(masked(name, **W8A16), 0.005)


@pytest.mark.parametrize("name", ["bank"])
def test_size_charges_and_file_holds_the_numbers_of_combinations(name):
    """The code has the sizes of blocks before its numbers, for every gate; the file has them once."""
    model = masked(name, **W8A16)
    packed = pack_model(model, COUNTS, {})
    assert model_bytes(packed)[8] == 3
    for matrix, found in zip(matrices(model), packed.matrices):
        size, numbers = matrix_size(name, matrix), sum(map(len, found.index))
        assert size.index_code == "combination" and found.counted is not None
        assert numbers < size.index_bits <= numbers + len(found.masks) * (8 + 8 + 4 * 6)


@pytest.mark.parametrize("bits", [1, 3])
def test_few_bits(bits):
    """A kept weight of one bit is never 0; of more it may be."""
    model = masked("magnitude", weight_bits=bits, act_bits=16)
    packed = pack_model(model, COUNTS, {})
    for matrix, found in zip(matrices(model), parse_model(model_bytes(packed)).matrices):
        assert np.array_equal(found.values, integers(matrix)[0])
    check(model, 0.01)


def test_a_mask_that_keeps_everything_is_none():
    model = masked("magnitude", **W8A16)
    for matrix in matrices(model):
        matrix.mask.fill_(True)
    packed = pack_model(model, COUNTS, {})
    assert not any(m.masks for m in packed.matrices) and model_bytes(packed)[8] == 1


def test_a_hierarchy_that_is_none_is_refused():
    model = masked("guided", **W8A16)
    model.lstm["lstm1"].input_matrix.mask[0] = True
    with pytest.raises(UserError, match="mask: "):
        model_bytes(pack_model(model, COUNTS, {}))


@pytest.mark.parametrize("name", PRESSES)
def test_onnx_has_the_masked_matrices(name):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from frenchpress.export.graph import to_onnx_gates
    from frenchpress.export.to_onnx import export_model, largest_difference

    model = masked(name, weight_bits=8)
    exported = export_model(model, "test")
    assert largest_difference(model, exported.SerializeToString(), 20) < 1e-5
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in exported.graph.initializer}
    for key, layer in model.lstm.items():
        for matrix, array in ((layer.input_matrix, found[f"{key}_W"]), (layer.recurrent_matrix, found[f"{key}_R"])):
            assert np.array_equal(array[0] != 0, to_onnx_gates(integers(matrix)[0] != 0))
    assert np.array_equal(found["head_cd_weight"].T != 0, integers(model.head_cd.matrix)[0] != 0)
