"""Delta networks: values that are sent on only when they moved, in every backend as in a plain loop."""

import math

import pytest
import torch
from plain_lstm import reference

from frenchpress.common import UserError
from frenchpress.config.press import Delta, LayerPress
from frenchpress.kernels.delta import held, margin_of, movement
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.kernels.native import library
from frenchpress.nnet.lstm import QuantLSTMLayer

pytestmark = pytest.mark.usefixtures("one_thread")

BACKENDS = [False, pytest.param(True, marks=pytest.mark.skipif(library() is None, reason="no compiled kernels"))]


def layer_of(delta, bits=9, cells=34, **more):
    press = LayerPress(8, bits, delta=delta, **more)
    generator = torch.Generator().manual_seed(3)
    return QuantLSTMLayer(6, cells, press, batch_norm=False, input_limit=1.0, generator=generator)


def test_a_value_stays_what_was_sent_until_it_has_moved_by_more():
    x = torch.tensor([0.1, 0.25, 0.45, 0.5, 0.24, 0.05])[:, None]
    seen = held(x, [1] * 6, 0.2)
    assert seen.flatten().tolist() == pytest.approx([0.0, 0.25, 0.25, 0.5, 0.24, 0.24])
    # Two sequences, of which the second ends first.
    both = held(torch.tensor([0.3, 0.1, 0.4, 0.3, 0.9])[:, None], [2, 2, 1], 0.2)
    assert both.flatten().tolist() == pytest.approx([0.3, 0.0, 0.3, 0.3, 0.9])


@pytest.mark.parametrize(
    ("threshold", "step", "sent", "kept"),
    [(0.0, 0.1, 1, 0), (0.3, 0.1, 4, 3), (0.35, 0.1, 4, 3), (0.02, 1 / 4095, 82, 81)],
)
def test_on_a_grid_the_margin_lies_between_two_steps(threshold, step, sent, kept):
    margin = margin_of(threshold, torch.tensor(step))
    assert kept * step < margin < sent * step and (kept <= threshold / step + 1e-5 < sent)
    assert margin_of(threshold, None) == threshold


def test_gradients_go_straight_through():
    x = torch.randn(12, 5, requires_grad=True)
    up = torch.randn(12, 5)
    (grad,) = torch.autograd.grad((held(x, [4, 4, 4], 0.5) * up).sum(), x)
    assert torch.equal(grad, up)


def outcome(layer, x, lengths, upstream):
    y = layer(x, lengths)
    return y.detach(), torch.autograd.grad((y * upstream).sum(), list(layer.parameters()))


@pytest.mark.parametrize("native", BACKENDS)
@pytest.mark.parametrize("delta", [Delta(0.1, 0.0), Delta(0.0, 0.05), Delta(0.25, 0.1)])
def test_equals_a_plain_loop(delta, native, monkeypatch):
    layer = layer_of(delta)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(5, 12, 6, generator=generator) * 2 - 1
    lengths = torch.tensor([12, 3, 9, 1, 12])
    upstream = torch.randn(5, 12, 34, generator=generator)
    if not native:
        monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    assert native_lstm.serves(layer.parts, x) is native
    y, gradients = outcome(layer, x, lengths, upstream)
    wanted = reference(layer, x, lengths)
    torch.testing.assert_close(y, wanted.detach(), rtol=0, atol=1e-5)
    expected = torch.autograd.grad((wanted * upstream).sum(), list(layer.parameters()))
    for got, right in zip(gradients, expected):
        torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-4)
    moved = y[0, 1:] != y[0, :-1]
    assert (moved.float().mean() < 0.9) == (delta.output > 0)


@pytest.mark.parametrize("native", BACKENDS)
@pytest.mark.parametrize("bits", [32, 9])
def test_what_moves_is_sent_where_the_threshold_is_next_to_nothing(bits, native, monkeypatch):
    if not native:
        monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    x = torch.rand(8, 12, 6, generator=torch.Generator().manual_seed(1))
    lengths = torch.full((8,), 12)
    same = layer_of(Delta(1e-30, 1e-30), bits)(x, lengths)
    assert torch.equal(same, layer_of(None, bits)(x, lengths))


@pytest.mark.parametrize("native", BACKENDS)
def test_a_nan_is_sent(native, monkeypatch):
    if not native:
        monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    layer = layer_of(Delta(0.1, 0.1), bits=32)
    with torch.no_grad():
        layer.bias[0] = math.nan
    assert layer(torch.rand(8, 4, 6))[:, :, 0].isnan().all()


def test_movement_is_the_mean_over_real_frames():
    x = torch.tensor([[[1.0, -2.0], [1.5, -2.0], [9.0, 9.0]], [[0.5, 0.5], [0.5, 0.0], [0.5, 0.5]]])
    assert float(movement(x, torch.tensor([2, 3]))) == pytest.approx((3.0 + 0.5 + 1.0 + 0.5 + 0.5) / 5)


def test_a_cost_of_movement_has_a_gradient_that_slows_outputs():
    layer = layer_of(Delta(0.0, 0.02)).train()
    layer.watches_movement = True
    x = torch.rand(8, 20, 6, generator=torch.Generator().manual_seed(1))
    moved = []
    for _ in range(40):
        layer(x)
        moved.append(layer.moved.item())
        gradients = torch.autograd.grad(layer.moved, list(layer.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(layer.parameters(), gradients):
                parameter -= 0.1 * grad
    assert moved[-1] < 0.7 * moved[0]
    layer.eval()(x)
    assert layer.moved is None


def test_thresholds_that_hold_nothing_back_are_refused():
    with pytest.raises(UserError, match="delta: input and output are both 0"):
        Delta()
