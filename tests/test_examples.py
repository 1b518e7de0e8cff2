"""The examples run as they are shown, and what they press is as they ask for."""

import runpy
from pathlib import Path

import pytest
import torch

import frenchpress.compress as fp

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name):
    """The variables of an example after it has run, with its model baked and equal."""
    if name == "digits_cnn":
        pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    x = {"digits_cnn": (8, 1, 8, 8), "linear_net": (8, 2), "lstm_sums": (8, 5, 1)}[name]
    x = torch.randn(x)
    assert torch.equal(found["plain"](x), found["model"](x)) and found["plain"](x).std() > 0
    for tensor in fp.pressed_tensors(found["model"]):
        values = found["plain"].get_parameter(tensor.name).detach().flatten(1)
        mask = tensor.chain.full_mask()
        assert mask is None or not values[~mask].any()
        levels = 2**tensor.chain.quantizer.bits - 1
        assert all(len(row.unique()) <= levels for row in values)
    return found, fp.describe(found["model"])


def test_no_example_is_long():
    short, given = {"digits_cnn", "linear_net", "lstm_sums"}, {"cifar10_mobilenet", "glue_roberta"}
    lengths = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(lengths) == short | given and all(lengths[name] <= 40 for name in short)


def test_digits_cnn(capsys):
    found, table = run("digits_cnn")
    assert [(table[f"{n}.weight"].bits, table[f"{n}.weight"].density) for n in (0, 2, 5)] == [
        (8, 1.0), (4, 0.25), (4, 0.25)
    ]  # fmt: skip
    assert [len(table[f"{n}.weight"].scales) for n in (0, 5)] == [16, 10] and table["0.weight"].bytes == 144 + 2 * 16
    # Values and scales, and an index of at most a bit for each weight.
    for name, rows, columns in (("2.weight", 32, 144), ("5.weight", 10, 512)):
        values = rows * columns // 4 // 2 + 2 * rows
        assert values < table[name].bytes <= values + rows * columns // 8 + 64
    said = capsys.readouterr().out
    assert [line.split()[-2] for line in said.splitlines() if line.startswith("epoch")][-1] == "26.1"
    assert found["right"] > 0.7


def test_linear_net():
    found, table = run("linear_net")
    assert (table["2.weight"].bits, table["2.weight"].density, len(table["2.weight"].scales)) == (2, 0.25, 1)
    assert table["4.weight"].bits == 8 and table["0.weight"].method == "float"
    assert 128 * 128 // 4 // 4 < table["2.weight"].bytes < 128 * 128 // 4 // 4 + 150  # the index of blocks is small
    assert found["loss"] < 0.2


def test_lstm_sums(capsys):
    found, table = run("lstm_sums")
    weight = found["plain"].lstm.weight_hh_l0.detach()
    assert ((weight != 0).view(128, 4, 8).sum(-1) <= 4).all() and table["lstm.weight_hh_l0"].density == 0.5
    assert table["lstm.weight_hh_l0"].bits == 6 and table["fc.weight"].bits == 4
    densities = [float(line.split()[-2]) for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert densities[0] == 100 > densities[2] > densities[-1]
    assert found["loss"] < 0.01
