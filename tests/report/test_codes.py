import pytest
import torch
from mask_cases import ALL_MASKS, METHODS, hcgs_of

from frenchpress.common import UserError
from frenchpress.common.bits import BitWriter
from frenchpress.compress import PressedWeight, size_report
from frenchpress.compress.codes.codebook import put_levels
from frenchpress.compress.quantizers import QUANTIZERS
from frenchpress.compress.size import matrix_codings, matrix_size
from frenchpress.config.press import LayerPress
from frenchpress.report import codes, figure


def pressed(shape=(64, 48), gates=4, hcgs=hcgs_of((8, 2), (0.5, 0.5)), bits=6, quantizer="uniform"):  # noqa: B008
    generator = torch.Generator().manual_seed(0)
    matrix = PressedWeight(shape, LayerPress(weight_bits=bits, hcgs=hcgs, quantizer=quantizer), gates, generator)
    torch.nn.init.normal_(matrix.weight, generator=generator)
    return matrix


EVERY_QUANTIZER = [
    (name, bits)
    for name, kind in QUANTIZERS.items()
    for bits in (1, 2, 3, 4, 6, 7, 8, 16)
    if name != "none" and bits in kind.takes
]


class Model(torch.nn.Module):
    def __init__(self, **matrices):
        super().__init__()
        for name, matrix in matrices.items():
            self.add_module(name, matrix)


def test_every_code_on_a_shared_mask():
    found = codes.compare("m", pressed())
    assert {size.code for size in found.sizes} == set(codes.INDEX_CODES) - {"full", "lines", "layered", "combination"}
    assert found.kept == 64 * 48 // 4 and found.dense == 4 * 64 * 48 and found.scales == 64 * 2
    hcgs = next(size for size in found.sizes if size.code == "hcgs")
    # Header 4 bytes, index, then 5 bits of width and 6 for each kept weight, a bfloat16 per row.
    assert hcgs.totals["fixed"] == hcgs.index + -(-(5 + 6 * found.kept) // 8) + 128
    assert hcgs.index < found.bound and hcgs.index > found.structure_bound


@pytest.mark.parametrize("quantizer, bits", EVERY_QUANTIZER)
def test_values_of_every_quantizer_take_the_bits_that_are_charged(quantizer, bits):
    matrix = pressed(bits=bits, quantizer=quantizer)
    found, size = codes.compare("m", matrix), matrix_size("m", matrix)
    # Every code was written and read back to the identical integers, or would be refused or an AssertionError.
    assert {size.code for size in found.sizes} == set(codes.INDEX_CODES) - {"full", "lines", "layered", "combination"}
    levels = matrix.to_written(matrix.weight.detach())[matrix.full_mask()].unique()
    table = BitWriter()
    if found.plain == "codebook":
        put_levels(levels.numpy(), table)
    assert found.plain == "fixed" or quantizer in ("balanced", "pot", "apot", "kmeans", "abc", "dorefa", "inq")
    for one in found.sizes:
        assert one.totals["fixed"] == one.index + -(-(5 + table.bits + size.value_bits) // 8) + found.scales
    assert size.value_bits == found.kept * matrix.quantizer.stored_bits


def test_shared_weights_in_a_huffman_code_are_what_size_says():
    matrix = pressed(bits=4, quantizer="kmeans")
    smallest = min(codes.compare("m", matrix).sizes, key=lambda size: size.index_bits)
    report = size_report(Model(m=matrix), huffman=True)
    # Headers, and the last byte of each part, are no part of size.yaml.
    saved = report["stored_bytes"] - report["huffman_bytes"]
    table = matrix.quantizer.table_bits // 8
    value_bits = matrix_size("m", matrix).value_bits
    assert saved == pytest.approx(value_bits / 8 + table - (smallest.totals["huffman"] - smallest.index - 4), abs=2)
    assert 0 < saved < report["stored_bytes"] - table


def test_levels_too_wide_for_their_bits_reach_the_report(tmp_path, monkeypatch, capsys):
    model = Model(a=pressed(bits=4, quantizer="apot"), b=pressed((16, 48), 1))
    monkeypatch.setattr(codes, "load_model", lambda directory: model)
    monkeypatch.setattr("sys.argv", ["codes", "exp/x", "--out", str(tmp_path)])
    codes.main()
    text = (tmp_path / "codes.md").read_text()
    assert text.count("Fixed values are written as `codebook`.") == 1
    total = {size.code: size for size in codes.together(codes.compare_model(tmp_path)[0])}
    assert set(total) == set(codes.INDEX_CODES) - {"full", "lines", "layered", "combination"}


def test_masks_of_gates_that_do_not_share_are_cut_one_by_one():
    options = hcgs_of((8, 2), (0.5, 0.5), share_gates=False)
    found = codes.compare("m", pressed((4 * 13, 20), 4, options))
    assert "hcgs" in {size.code for size in found.sizes}


# Patterns of a side that the code would not try by itself.
MASKS_OF_ALL_METHODS = METHODS | {
    "pattern": {"block": 5, "nonzeros": 4, "count": 6, "dictionary": "random", "after_epoch": 1}
}
PRUNE = {"keep": "3/10", "after_epoch": 1}


def masked(shape=(124, 50), gates=4, **press):
    generator = torch.Generator().manual_seed(0)
    matrix = PressedWeight(shape, LayerPress(weight_bits=4, **press), gates, generator)
    torch.nn.init.normal_(matrix.weight, generator=generator)
    if matrix.plan is not None and matrix.plan.timing is not None and not matrix.plan.method.regrows:
        within = {} if matrix.within is None else {"within": matrix.within}
        matrix.mask.copy_(matrix.plan.choose(matrix.weight, gates, generator, **within))
    return matrix


EVERY_MASK = [
    *({"mask": {"method": m, **said}} for m, said in MASKS_OF_ALL_METHODS.items()),
    *({"mask": {"method": m, "share_gates": False, **MASKS_OF_ALL_METHODS[m]}} for m in ("hcgs", "pattern", "guided")),
    {"mask": {"method": "magnitude", "share_gates": True, "keep": "1/8", "after_epoch": 1}},
    {"hcgs": hcgs_of((8, 2), ("1/2", "1/4"))},
    {"hcgs": hcgs_of((8, 2), ("1/2", "1/4"), share_gates=False)},
    {"hcgs": hcgs_of((8, 2), ("1/2", "1/4")), "prune": PRUNE},
    {"hcgs": hcgs_of((8, 2), ("1/2", "1/4"), share_gates=False), "prune": PRUNE},
    {"mask": {"method": "pattern", "place": "random", "block": 8, "nonzeros": 4, "count": 16}, "prune": PRUNE},
    {"prune": PRUNE},
    {},
]


@pytest.mark.parametrize("press", EVERY_MASK, ids=str)
@pytest.mark.parametrize("gates", [4, 1])
def test_report_and_size_agree_on_the_index(press, gates):
    assert set(MASKS_OF_ALL_METHODS) == set(ALL_MASKS)
    matrix = masked(gates=gates, **press)
    found, size = codes.compare("m", matrix), matrix_size("m", matrix)
    best = min(found.sizes, key=lambda one: one.index_bits)
    assert (best.index_bits, best.code) == (size.index_bits, size.index_code or "full")
    assert found.kept == size.kept and set(found.refused) == set(codes.INDEX_CODES) - {s.code for s in found.sizes}
    # In bytes: each stream has a header of 4 and fills up its last byte.
    streams = len(matrix_codings(matrix)[0][best.code].streams)
    assert 0 <= 8 * best.index - best.index_bits - streams * 8 * 4 < streams * 8
    values = 8 * (best.totals["fixed"] - best.index) - size.scale_bits
    assert 0 <= values - size.value_bits - 5 * streams < streams * 8


def test_dense_matrix_has_no_index():
    found = codes.compare("m", pressed(hcgs=None))
    assert "full" in {size.code for size in found.sizes} and "not made with HCGS" in found.refused["hcgs"]
    assert found.bound == pytest.approx(0, abs=1e-6)


def test_float_matrix_is_one_clear_line():
    with pytest.raises(UserError, match="^m: float weights have no integers to encode.*weight_bits below 32$"):
        codes.compare("m", pressed(bits=32))


def test_report_of_a_model(tmp_path, monkeypatch, capsys):
    model = Model(a=pressed(), b=pressed((16, 48), 1), c=pressed(bits=32))
    monkeypatch.setattr(codes, "load_model", lambda directory: model)
    monkeypatch.setattr("sys.argv", ["codes", "exp/x", "--out", str(tmp_path)])
    codes.main()
    text = (tmp_path / "codes.md").read_text()
    assert capsys.readouterr().out == text
    assert "# Index codes on x" in text and "## All 2 matrices" in text and "not counted: c: float" in text
    assert (tmp_path / "codes.svg").exists() == figure.available()
    matrices, _ = codes.compare_model(tmp_path)
    total = {size.code: size for size in codes.together(matrices)}
    assert total["csr"].index == sum(s.index for m in matrices for s in m.sizes if s.code == "csr")


def test_float_model_and_missing_model_are_one_clear_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such file"):
        codes.compare_model(tmp_path)
    monkeypatch.setattr(codes, "load_model", lambda directory: Model(a=pressed(bits=32)))
    with pytest.raises(UserError, match="all weights are float"):
        codes.compare_model(tmp_path)


def test_bars_are_as_long_as_their_bytes(draws):
    matrices = [codes.compare("a", pressed()), codes.compare("b", pressed((16, 48), 1))]
    axes = draws(codes.codes_picture("a < b", matrices))
    sizes = sorted(codes.together(matrices), key=lambda size: size.smallest)
    ends = [bar.get_x() + bar.get_width() for bar in axes.containers[-1]]
    assert ends == pytest.approx([size.smallest for size in sizes])
    assert axes.get_yticklabels()[0].get_text().startswith(sizes[0].code) and "a < b" in axes.get_title()


def test_without_matplotlib_there_is_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(codes, "load_model", lambda directory: Model(a=pressed()))
    monkeypatch.setattr(figure, "available", lambda: False)
    monkeypatch.setattr("sys.argv", ["codes", "exp/x", "--out", str(tmp_path)])
    codes.main()
    assert capsys.readouterr().out.endswith(figure.HOW_TO_GET + "\n")
    assert [path.name for path in tmp_path.iterdir()] == ["codes.md"]
