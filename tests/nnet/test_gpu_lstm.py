"""The layer on the GPU's kernels (interpreted where there is no GPU) against the layer on torch alone."""

import copy

import pytest
import torch
from interpreted_triton import DEVICE, INTERPRET
from mask_cases import hcgs_of

from frenchpress.config.press import LayerPress
from frenchpress.kernels.gpu import backend as gpu_lstm
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.nnet.lstm import QuantLSTMLayer

SHARED = hcgs_of((8, 2), ("1/4", "1/2"))
PRESSES = [
    LayerPress(),
    LayerPress(6, 13, hcgs=SHARED),
    LayerPress(8, 16, hcgs=hcgs_of((8, 4), ("1/4", "1/2"), share_gates=False)),
    LayerPress(6, 16, quantizer="ceil", hcgs=hcgs_of((1,), (0.9,))),
]


@pytest.fixture(autouse=True)
def no_other_kernels(monkeypatch):
    monkeypatch.setenv(*INTERPRET)
    monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    monkeypatch.setattr(gpu_lstm, "why_not", lambda device: None)


def outcome(layer, x, lengths, upstream):
    x = x.clone().requires_grad_()
    y = layer(x, lengths)
    gradients = torch.autograd.grad((y * upstream).sum(), [x, *layer.parameters()])
    return y.detach(), gradients, [b.clone() for b in layer.buffers()]


@pytest.mark.parametrize("batch, batch_norm", [(3, True), (11, False)])
@pytest.mark.parametrize("press", PRESSES, ids=str)
def test_equals_torch_path(press, batch, batch_norm, monkeypatch):
    generator = torch.Generator().manual_seed(batch)
    layer = QuantLSTMLayer(21, 34, press, batch_norm, generator=generator).to(DEVICE)
    other = copy.deepcopy(layer)
    x = torch.randn(batch, 5, 21, generator=generator).to(DEVICE)
    lengths = torch.randint(1, 6, (batch,), generator=generator)
    lengths[0] = 5
    upstream = torch.randn(batch, 5, 34, generator=generator).to(DEVICE)
    assert gpu_lstm.serves(layer.parts, x)
    y, gradients, buffers = outcome(layer, x, lengths, upstream)
    assert layer.recurrent_matrix in gpu_lstm.TILES
    monkeypatch.setattr(gpu_lstm, "serves", lambda parts, x: False)
    y2, gradients2, buffers2 = outcome(other, x, lengths, upstream)
    assert other.recurrent_matrix not in gpu_lstm.TILES
    # An output on the edge of two steps may fall to either side, and the recurrence carries it on.
    step = 0.0 if press.act_bits == 32 else 2.0 ** (1 - press.act_bits)
    torch.testing.assert_close(y, y2, rtol=1e-4, atol=1e-5 + 2 * step)
    for a, b in zip(gradients, gradients2):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 + 20 * step)
    for a, b in zip(buffers, buffers2):
        torch.testing.assert_close(a, b)


def test_a_changed_mask_is_followed():
    layer = QuantLSTMLayer(16, 16, LayerPress(hcgs=SHARED), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    x = torch.randn(4, 3, 16, device=DEVICE)
    before = layer(x)
    with torch.no_grad():
        layer.recurrent_matrix.mask.copy_(layer.recurrent_matrix.mask.roll(8, dims=1))
    assert not torch.equal(before, layer(x))


def test_probed_weights_have_gradients_and_change_nothing():
    layer = QuantLSTMLayer(16, 16, LayerPress(hcgs=SHARED), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    x, matrix = torch.randn(4, 3, 16, device=DEVICE), layer.recurrent_matrix
    before = layer(x)
    matrix.probing = True
    y = layer(x)
    torch.testing.assert_close(y, before)
    y.square().sum().backward()
    assert matrix.weight.grad[~matrix.full_mask()].any()


@pytest.mark.parametrize(
    "press",
    [LayerPress(8, 16, act_quantizer="dynamic"), LayerPress(8, 24), LayerPress(8, 1), LayerPress(8, 8, cell_bits=8)],
    ids=str,
)
def test_what_the_kernels_cannot_round_goes_to_torch(press):
    assert not gpu_lstm.serves(QuantLSTMLayer(4, 4, press).parts, torch.zeros(8, 16))


def test_only_float32_is_taken():
    layer = QuantLSTMLayer(4, 4)
    assert gpu_lstm.serves(layer.parts, torch.zeros(8, 16))
    assert not gpu_lstm.serves(layer.parts, torch.zeros(8, 16).double())
