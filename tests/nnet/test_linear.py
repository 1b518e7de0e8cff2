import pytest
import torch
import torch.nn.functional as F
from mask_cases import hcgs_of

from frenchpress.config.press import LayerPress
from frenchpress.nnet.linear import PressedLinear


def make(press, inputs=64, outputs=50, **options):
    return PressedLinear(inputs, outputs, press, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("bits", [6, 32])
@pytest.mark.parametrize("hcgs", [None, hcgs_of((8, 2), ("1/4", "1/2"))])
def test_equals_its_definition(bits, hcgs):
    layer = make(LayerPress(bits, 8, hcgs=hcgs), input_limit=1.0)
    x = torch.rand(3, 5, 64) * 2 - 1
    with torch.no_grad():
        layer.bias.uniform_()
    y = layer(x)
    assert y.shape == (3, 5, 50)
    torch.testing.assert_close(y, F.linear(layer.act(x), layer.matrix(), layer.bias))
    assert len(layer.act.integers(x)[0].unique()) > 200


def test_inputs_of_unknown_range_are_calibrated():
    layer = make(LayerPress(8, 8))
    layer(torch.full((2, 64), 3.0))
    assert float(layer.act.limit) == 3


def test_start_is_scaled_to_the_inputs_that_are_left():
    def peak(hcgs):
        return float(make(LayerPress(hcgs=hcgs), 512, 32).matrix.weight.detach().abs().max())

    assert peak(hcgs_of((32, 2), ("4/16", "4/16"))) > 2 * peak(None)


def test_same_generator_same_layer():
    press = LayerPress(hcgs=hcgs_of((8,), (0.5,)))
    assert all(torch.equal(a, b) for a, b in zip(make(press).state_dict().values(), make(press).state_dict().values()))


def test_gradients_reach_weight_bias_and_input():
    layer = make(LayerPress(4, 8, hcgs=hcgs_of((8, 2), ("1/4", "1/2"))), input_limit=1.0)
    x = (torch.rand(6, 64) - 0.5).requires_grad_()
    layer(x).square().sum().backward()
    kept = layer.matrix.full_mask()
    assert layer.matrix.weight.grad[kept].any() and not layer.matrix.weight.grad[~kept].any()
    assert layer.bias.grad.all() and x.grad.any()
