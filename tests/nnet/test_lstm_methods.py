"""The LSTM layer with other quantizers, bits per matrix and a quantized cell state, against a plain loop."""

import copy

import pytest
import torch
from mask_cases import hcgs_of
from plain_lstm import reference

from frenchpress.common import UserError
from frenchpress.config.press import LayerPress, MatrixPress
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.nnet.linear import PressedLinear
from frenchpress.nnet.lstm import QuantLSTMLayer

CELLS, INPUTS, LENGTHS = 12, 9, [6, 3, 5]
MSE = {"range": "mse", "batches": 1}
NO_DECAY = {"decay": 0.0}  # the loop would add it at every time step
RECURRENT = MatrixPress(2, 5, "ternary", "pact", act_options=NO_DECAY)
PRESSES = {
    "cell fixed": LayerPress(8, 8, cell_bits=4),
    "cell alone": LayerPress(cell_bits=3),
    "cell one bit": LayerPress(cell_bits=1, act_bits=3),
    "calibrated": LayerPress(8, 3, act_options=MSE, cell_bits=4),
    "percentile": LayerPress(8, 4, act_options={"range": "percentile", "percentile": 80.0, "batches": 1}, cell_bits=5),
    "pact": LayerPress(8, 3, act_quantizer="pact", act_options=NO_DECAY, cell_bits=4),
    "lsq": LayerPress(4, 3, "lsq", "lsq", cell_bits=3),
    "matrices": LayerPress(
        8, 8, input=MatrixPress(4, 3), recurrent=MatrixPress(2, 5, "ternary", "pact", act_options=NO_DECAY)
    ),
    "binary": LayerPress(1, 8, "binary", cell_bits=8, hcgs=hcgs_of((4, 2), ("1/3", "1/2"))),
    "apot": LayerPress(4, 8, "apot", hcgs=hcgs_of((4, 2), ("1/3", "1/2"))),
}


def make(press, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layer = QuantLSTMLayer(INPUTS, CELLS, press, generator=generator).to(dtype)
    x = 2 * torch.randn(len(LENGTHS), max(LENGTHS), INPUTS, generator=generator, dtype=dtype)
    return layer, x, generator


def settle(layer, x, lengths):
    """Train until every range is found, then narrow the learned and calibrated ones, so that something is clipped."""
    for _ in range(20):
        layer(x, lengths)
    with torch.no_grad():
        for q in (layer.act_in, layer.act_out, layer.act_cell):
            if q is not None and q.clips:
                (q.limit if q.learned is None else q.learned).mul_(0.6)


@pytest.mark.parametrize("press", PRESSES.values(), ids=PRESSES)
def test_layer_equals_reference(press):
    layer, x, generator = make(press)
    lengths = torch.tensor(LENGTHS)
    settle(layer, x, lengths)
    layer.norm.momentum = 0.0
    x.requires_grad_()
    up = torch.randn(len(LENGTHS), max(LENGTHS), CELLS, generator=generator, dtype=torch.float64)
    results = []
    for run in (layer, lambda *a: reference(layer, *a)):
        y = run(x, lengths)
        results.append((y.detach(), *torch.autograd.grad((y * up).sum(), [x, *layer.parameters()])))
    for got, wanted in zip(*results):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_cell_state_lies_on_its_grid(bits):
    """With gates wide open h = tanh(c), from which c can be read back."""
    layer, x, _ = make(LayerPress(cell_bits=bits))
    layer(x)
    with torch.no_grad():
        layer.norm.weight.view(4, CELLS)[3] = 0
        layer.norm.bias.view(4, CELLS)[3] = 100
        layer.recurrent_matrix.weight.view(4, CELLS, CELLS)[3] = 0
    layer.eval()
    c = layer(x).atanh()
    scale = layer.act_cell.grid(torch.float64)[1]
    torch.testing.assert_close(c / scale, (c / scale).round(), atol=1e-6, rtol=0)
    assert 1 < len((c / scale).round().unique()) <= layer.act_cell.levels


def test_before_anything_is_seen_the_cell_state_is_float():
    layer, x, _ = make(LayerPress(cell_bits=2))
    plain, _, _ = make(LayerPress())
    assert torch.equal(layer.eval()(x), plain.eval()(x))
    assert int(layer.act_cell.seen) == 0
    layer.train()(x)
    assert int(layer.act_cell.seen) == 1 and float(layer.act_cell.limit) > 0


def test_cell_range_is_that_of_the_unrounded_states():
    layer, x, _ = make(LayerPress(cell_bits=3, act_options={"range": "minmax", "batches": 3}))
    layer(x)
    first = float(layer.act_cell.limit)
    layer(10 * x)
    assert float(layer.act_cell.limit) >= first
    layer.act_cell.limit.fill_(1e-3)  # what was clipped to this would never let it grow
    layer(10 * x)
    assert float(layer.act_cell.limit) > 0.1


def test_dynamic_cell_range_is_that_of_the_time_step():
    layer, x, _ = make(LayerPress(cell_bits=3, act_quantizer="dynamic"))
    y = layer(x.requires_grad_())
    y.sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.any()


def test_bits_of_each_matrix_and_of_what_it_multiplies():
    layer, _, _ = make(PRESSES["matrices"])
    assert [m.quantizer.stored_bits for m in (layer.input_matrix, layer.recurrent_matrix)] == [4, 2]
    assert [type(m.quantizer).__name__ for m in (layer.input_matrix, layer.recurrent_matrix)] == [
        "UniformQuantizer",
        "TernaryQuantizer",
    ]
    assert (layer.act_in.bits, layer.act_out.bits, layer.act_cell) == (3, 5, None)


@pytest.mark.parametrize("name", ["cell fixed", "calibrated", "pact", "lsq", "matrices"])
def test_compiled_kernels_decline_what_they_do_not_do(name):
    layer, x, _ = make(PRESSES[name], torch.float32)
    assert not native_lstm.serves(layer.parts, x)


@pytest.mark.parametrize("quantizer, bits", [("lsq", 4), ("pot", 4), ("balanced", 3), ("ternary", 2), ("binary", 1)])
def test_other_weights_leave_the_compiled_kernels_in_use(quantizer, bits, monkeypatch):
    press = LayerPress(bits, 16, quantizer, hcgs=hcgs_of((4, 2), ("1/3", "1/2")))
    layer, x, _ = make(press, torch.float32)
    if not native_lstm.serves(layer.parts, x):
        pytest.skip("the compiled kernels were not built")
    other = copy.deepcopy(layer)
    results = [torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))]
    monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    results.append(torch.autograd.grad(other(x).square().sum(), list(other.parameters())))
    for got, wanted in zip(*results):
        torch.testing.assert_close(got, wanted, rtol=2e-3, atol=2e-3)


def test_the_default_state_has_no_new_entries():
    names = set(QuantLSTMLayer(3, 4, LayerPress(8, 16)).state_dict())
    assert not any("cell" in name or "histogram" in name or "quantizer" in name for name in names)


@pytest.mark.parametrize(
    "press, words",
    [
        (LayerPress(act_quantizer="dynamic"), "act_quantizer: dynamic would do nothing"),
        (LayerPress(8, act_options=MSE), "act_options would do nothing"),
        (LayerPress(8, 8, input=MatrixPress(act_bits=32, act_quantizer="pact")), "input: act_quantizer: pact would do"),
        (LayerPress(8, 8, recurrent=MatrixPress(quantizer="binary")), "recurrent.*binary takes 1 bit"),
    ],
)
def test_what_would_do_nothing_is_refused(press, words):
    with pytest.raises(UserError, match=words):
        QuantLSTMLayer(4, 4, press)


@pytest.mark.parametrize("press", [LayerPress(cell_bits=8), LayerPress(8, input=MatrixPress(4))])
def test_a_head_has_neither_cells_nor_two_matrices(press):
    with pytest.raises(UserError, match="(cell_bits|input): only an LSTM layer has this"):
        PressedLinear(4, 4, press)
