"""The layer on the compiled kernels against the layer on torch alone: outputs, gradients, running statistics."""

import copy

import pytest
import torch
from mask_cases import hcgs_of

from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.config.press import LayerPress
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.kernels.native import library
from frenchpress.nnet.lstm import QuantLSTMLayer

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels were not built")

SHARED = hcgs_of((8, 2), ("1/4", "1/2"))
PRESSES = [
    LayerPress(),
    LayerPress(8, 16),
    LayerPress(6, 13, hcgs=SHARED),
    LayerPress(8, 16, hcgs=hcgs_of((8, 4), ("1/4", "1/2"), share_gates=False)),
    LayerPress(32, 32, hcgs=hcgs_of((1,), (0.9,))),
    LayerPress(6, 16, quantizer="ceil", hcgs=SHARED),
    LayerPress(6, 13, mask={"method": "bank", "bank": 8, "keep": "1/8", "after_epoch": 0}),
    LayerPress(4, 13, quantizer="lsq", mask={"method": "magnitude", "keep": "1/16", "after_epoch": 0}),
]


def outcome(layer, x, lengths, upstream):
    x = x.clone().requires_grad_()
    y = layer(x, lengths)
    gradients = torch.autograd.grad((y * upstream).sum(), [x, *layer.parameters()])
    return y.detach(), gradients, [b.clone() for b in layer.buffers()]


@pytest.mark.parametrize("batch", [1, 3, 8, 11])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("press", PRESSES, ids=str)
def test_equals_torch_path(press, batch_norm, batch, monkeypatch):
    generator = torch.Generator().manual_seed(batch)
    layer = QuantLSTMLayer(21, 34, press, batch_norm, generator=generator)
    MaskSchedule(layer).finish()
    other = copy.deepcopy(layer)
    x = torch.randn(batch, 9, 21, generator=generator)
    lengths = torch.randint(1, 10, (batch,), generator=generator)
    lengths[0] = 9
    upstream = torch.randn(batch, 9, 34, generator=generator)
    assert native_lstm.serves(layer.parts, x)
    y, gradients, buffers = outcome(layer, x, lengths, upstream)
    monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    assert not native_lstm.serves(other.parts, x)
    y2, gradients2, buffers2 = outcome(other, x, lengths, upstream)
    # An output on the edge of two steps may fall to either side, and the recurrence carries it on.
    step = 0.0 if press.act_bits == 32 else 2.0 ** (1 - press.act_bits)
    torch.testing.assert_close(y, y2, rtol=1e-4, atol=1e-5 + 2 * step)
    for a, b in zip(gradients, gradients2):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 + 50 * step)
    for a, b in zip(buffers, buffers2):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("over", ["frame", "sequence"])
def test_dropout_leaves_the_layer_to_the_kernels(over, monkeypatch):
    layer = QuantLSTMLayer(5, 34, dropout=0.4, dropout_over=over, generator=torch.Generator().manual_seed(0))
    x, lengths = torch.randn(8, 9, 5), torch.tensor([9, 3, 1, 9, 8, 7, 9, 2])
    assert native_lstm.serves(layer.parts, x)
    results = []
    for native in (True, False):
        if not native:
            monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
        torch.manual_seed(1)
        results.append(layer(x, lengths))
    for result in results:
        assert 0.5 < (result[lengths == 9] != 0).float().mean() < 0.7
    if over == "sequence":
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_a_changed_mask_is_followed():
    layer = QuantLSTMLayer(16, 16, LayerPress(hcgs=SHARED), generator=torch.Generator().manual_seed(0))
    x = torch.randn(8, 3, 16)
    before = layer(x)
    with torch.no_grad():
        layer.recurrent_matrix.mask.copy_(layer.recurrent_matrix.mask.roll(8, dims=1))
    assert not torch.equal(before, layer(x))


@pytest.mark.parametrize(
    "press", [LayerPress(8, 16, act_quantizer="dynamic"), LayerPress(8, 24), LayerPress(8, 1)], ids=str
)
def test_what_the_kernels_cannot_round_goes_to_torch(press):
    layer = QuantLSTMLayer(4, 4, press)
    assert not native_lstm.serves(layer.parts, torch.zeros(8, 2, 4))
