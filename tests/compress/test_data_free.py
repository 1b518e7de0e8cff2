"""Equal ranges are the same function, corrected biases bring means back, ranges from batch norm are those of draws."""

import pytest
import torch
from torch import nn

import frenchpress.compress as fp
from frenchpress.common import UserError


def net():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 3)
    )
    with torch.no_grad():
        sizes = torch.logspace(-2, 2, 6)
        model[0].weight.mul_(sizes.view(-1, 1, 1, 1)), model[0].bias.mul_(sizes)
        model[2].weight.div_(sizes.view(1, -1, 1, 1))
    return model.eval()


def test_equalized_layers_are_the_same_function_with_rows_of_equal_range():
    model, x = net(), torch.randn(4, 2, 8, 8)
    before, uneven = model(x), model[0].weight.abs().flatten(1).amax(1)
    fp.equalize(model, [("0", "2")])
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)
    rows, columns = model[0].weight.abs().flatten(1).amax(1), model[2].weight.abs().amax((0, 2, 3))
    torch.testing.assert_close(rows, columns, rtol=1e-2, atol=0)
    assert uneven.max() / uneven.min() > 1000 and rows.max() / rows.min() < 2


def test_equalizing_helps_one_scale_per_matrix():
    def error(model):
        x = torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(1))
        exact = model(x).detach()
        rule = fp.Press(8, quantizer_options={"per_row": False})
        return float((fp.press(model, {"0": rule, "2": rule})(x).detach() - exact).norm() / exact.norm())

    assert error(fp.equalize(net(), [("0", "2")])) < 0.1 * error(net())


@pytest.mark.parametrize("shape", ["linear", "conv", "grouped", "depthwise"])
def test_corrected_biases_bring_the_mean_of_every_output_back(shape):
    torch.manual_seed(1)
    groups = {"grouped": 3, "depthwise": 12}.get(shape, 1)
    outputs = 12 if groups > 1 else 5
    convolution = nn.Conv1d(12, outputs, 3, padding=1, padding_mode="circular", groups=groups)
    layer = nn.Linear(12, 5) if shape == "linear" else convolution
    model = nn.Sequential(layer)
    x = torch.rand(200, 12) if shape == "linear" else torch.rand(50, 12, 9)
    others = (0,) if shape == "linear" else (0, 2)
    exact = model(x).mean(others)
    fp.press(model, {"0": fp.Press(2)})
    off = (model(x).mean(others) - exact).abs().max()
    fp.correct_bias(model, fp.input_means(model, x.split(25)))
    assert (model(x).mean(others) - exact).abs().max() < 1e-5 < 0.05 < off


def test_means_behind_a_batch_norm_are_those_of_draws():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, 0.5])), model[0].bias.copy_(torch.tensor([0.0, -1.0, 3.0]))
    draws = torch.randn(200000, 3, generator=torch.Generator().manual_seed(0)) * model[0].weight + model[0].bias
    found = fp.norm_means(model, {"2": "0"})["2"]
    torch.testing.assert_close(found, draws.relu().mean(0).double(), atol=0.02, rtol=0)
    assert fp.norm_means(model, {"2": "0"}, relu=False)["2"].tolist() == [0, -1, 3]
    fp.press(model, {"2": fp.Press(4, act_bits=8)})
    fp.norm_ranges(model, {"2": "0"})
    assert float(model[2].pressed_input.limit) == 13.0 and not model[2].pressed_input.train().observing


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: fp.equalize(m, [("0", "5")]), "equalize: 0 gives 6 outputs, 5 reads 80"),
        (lambda m: fp.equalize(m, [("0", "1")]), "equalize: 1: expected a Linear or a convolution"),
        (lambda m: fp.equalize(m, [("0", "7")]), "equalize: unknown module '7'"),
        (lambda m: fp.norm_means(m, {"2": "1"}), "norms: 2: 1 is no batch norm with gain and bias; without one data"),
        (lambda m: fp.norm_ranges(m, {}), "norms: names no layer behind a batch norm"),
        (lambda m: fp.correct_bias(m, {"0": torch.zeros(2)}), "correct_bias: unknown pressed layer '0'"),
    ],
)
def test_what_cannot_be_is_one_line(call, words):
    with pytest.raises(UserError, match=words) as error:
        call(net())
    assert "\n" not in str(error.value)
