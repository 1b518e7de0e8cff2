"""A net in fixed point: grids, gradients, its table in a file, and sums that fit their bits."""

import pytest
import torch
from torch import nn

import frenchpress.compress as fp
from frenchpress.common import UserError
from frenchpress.compress.fixed_net import (
    FixedGrid,
    FixedPoint,
    accumulators,
    read_table,
    settled,
    table_text,
    write_table,
)


def net(**bits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    return fp.use_fixed_point(model, fp.fixed_table(model, **bits))


def on_grid(x, bits, exponent):
    integers = x.double() * 2.0**-exponent
    return torch.equal(integers, integers.round()) and integers.abs().max() < 2 ** (bits - 1)


def test_by_hand():
    grid = FixedGrid(FixedPoint("auto", 4))
    x = torch.tensor([1.8, -0.3, 0.1], requires_grad=True)
    assert grid(x).tolist() == [2.0, -0.5, 0.0] and grid.now == FixedPoint("auto", 4, -1)
    assert grid.eval()(10 * x.detach()).tolist() == [3.5, -3.0, 1.0]  # the step stays, and 18 is clipped
    grid(torch.cat([x, x * 10])).sum().backward()
    assert x.grad.tolist() == [1.0, 11.0, 11.0]
    assert FixedGrid(FixedPoint("none"))(x) is x
    assert FixedGrid(FixedPoint("fixed", 4, -2))(x).tolist() == [1.75, -0.25, 0.0]


def test_every_tensor_is_on_its_grid_and_what_is_none_stays_float():
    model, x = net(gradient=8), torch.randn(5, 2, 6, 6)
    given, back = [], []
    model[3].register_forward_pre_hook(lambda m, inputs: given.append(inputs[0]))
    model[3].register_full_backward_hook(lambda m, inputs, outputs: back.append(outputs[0]))
    model(x).square().sum().backward()
    table = fp.fixed_point_of(model)
    assert list(table) == ["0", "3"] and table["3"]["bias"].bits == 16
    assert on_grid(model[3].weight.detach(), 8, table["3"]["weight"].exponent)
    assert on_grid(model[0].bias.detach(), 16, table["0"]["bias"].exponent)
    assert model[0].parametrizations.weight.original.grad.abs().sum() > 0
    # The gradient of the bias is the sum of those of the outputs, each on the grid.
    assert on_grid(model[3].parametrizations.bias.original.grad, 8 + 3, table["3"]["gradient"].exponent)
    plain = net(weight=None, bias=None, input=None)
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    assert torch.equal(plain(x), exact(x))


def test_table_is_printed_stored_and_loaded(tmp_path):
    model, x = net(), torch.randn(5, 2, 6, 6)
    model(x)
    table = fp.fixed_point_of(model)
    assert "  input: {method: auto, bits: 8, exponent: -" in table_text(table)
    write_table(tmp_path / "fixed.yaml", settled(table))
    read = read_table(tmp_path / "fixed.yaml")
    assert read["0"]["weight"].method == "fixed" and read["0"]["gradient"] == FixedPoint("none")
    torch.manual_seed(0)
    other = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    fp.use_fixed_point(other, read)
    assert torch.equal(other(x), model.eval()(x))
    other.load_state_dict(model.state_dict())
    assert fp.fixed_point_of(other)["0"]["weight"].exponent == table["0"]["weight"].exponent


def test_accumulators_hold_the_sums_and_are_no_wider_than_they_may_be():
    model, x = net(), torch.randn(50, 2, 6, 6)
    model(x)
    first, second = accumulators(model, x)
    assert (first.products, second.products) == (18, 64)
    assert first.fan_in == (18 * 127 * 127).bit_length() + 1 and second.fan_in == (64 * 127**2).bit_length() + 1
    for one in (first, second):
        assert one.seen <= one.weights <= one.fan_in and one.seen > 8
    worst = net(bias=None)
    with torch.no_grad():
        worst[3].parametrizations.weight.original.fill_(127 / 128)
        worst[3].pressed_input.exponent.fill_(0), worst[3].pressed_input.known.fill_(True)
    found = accumulators(worst[3], torch.full((1, 64), 127.0))[0]
    assert found.seen == found.weights == found.fan_in == 21
    assert not accumulators(net(weight=None), x)


@pytest.mark.parametrize(
    "text, words",
    [
        ("'9': {weight: {bits: 8}}", "fixed point: unknown layer '9'"),
        ("'0': {wieght: {bits: 8}}", "0: unknown 'wieght', did you mean 'weight'"),
        ("'0': {weight: {method: often}}", "fixed.yaml: 0: weight: method: unknown 'often'"),
        ("'0': {weight: {method: fixed}}", "0: weight: method: fixed needs an exponent"),
        ("'0': {weight: {bits: 1}}", "bits: 1 is out of range"),
        ("'0': {weight: {bit: 1}}", "unknown option 'bit', did you mean 'bits'"),
        ("'0': 8", "expected parts such as weight"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, words):
    (tmp_path / "fixed.yaml").write_text(text + "\n")
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(UserError, match=words) as error:
        fp.use_fixed_point(model, read_table(tmp_path / "fixed.yaml"))
    assert "\n" not in str(error.value) and type(model[0]) is nn.Linear


def test_compressed_twice_is_refused():
    model = net()
    with pytest.raises(UserError, match="fixed point: 0: is compressed already"):
        fp.use_fixed_point(model, fp.fixed_table(model))
