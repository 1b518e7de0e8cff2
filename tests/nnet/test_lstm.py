"""The pressed LSTM layer against a plain loop over time steps with autograd, and what padding may not do."""

import itertools

import pytest
import torch
from mask_cases import hcgs_of
from plain_lstm import reference

from frenchpress.compress.quantizers import straight_through
from frenchpress.config.press import LayerPress
from frenchpress.kernels.recurrence import lstm_recurrence
from frenchpress.nnet.lstm import QuantLSTMLayer

SHARED = hcgs_of((8, 2), ("1/4", "1/2"))
OWN = hcgs_of((8, 4), ("1/4", "1/2"), share_gates=False)
ONE_LEVEL = hcgs_of((4,), (0.25,))
FINE = hcgs_of((1,), (0.9,))  # too dense for the block product


def make(cells, inputs, press, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    layer = QuantLSTMLayer(inputs, cells, press, generator=generator, **options).double()
    layer.act_in.limit.fill_(2.5)
    layer.act_in.seen.fill_(layer.act_in.batches)
    return layer, generator


PRESSES = [
    LayerPress(),
    LayerPress(8, 16),
    LayerPress(3, 4),
    LayerPress(1, 3),
    LayerPress(6, 32, quantizer="ceil"),
    LayerPress(8, 16, hcgs=SHARED),
    LayerPress(1, 13, hcgs=SHARED),
    LayerPress(6, 13, hcgs=OWN),
    LayerPress(8, 16, hcgs=ONE_LEVEL),
    LayerPress(8, 16, hcgs=FINE),
]
SHAPES = [
    (16, 24, [5, 5, 5], True),
    (16, 24, [3, 7, 1, 7], False),
    (13, 21, [6, 2], True),  # nothing divides
    (128, 9, [4, 2, 3], True),  # the chunked dense product
    (12, 10, [4], False),
]


@pytest.mark.parametrize("press, shape", list(itertools.product(PRESSES, SHAPES)))
def test_layer_equals_reference(press, shape):
    cells, inputs, lengths, norm = shape
    layer, generator = make(cells, inputs, press, batch_norm=norm)
    x = torch.randn(len(lengths), max(lengths) + 1, inputs, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    lengths = torch.tensor(lengths)
    weights = torch.randn(len(lengths), x.shape[1], cells, generator=generator, dtype=torch.float64)
    results = []
    for run in (layer, lambda *a: reference(layer, *a)):
        layer.zero_grad()
        y = run(x, lengths)
        grads = torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()])
        results.append((y.detach(), *grads))
    for got, wanted in zip(*results):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("hcgs", [None, hcgs_of((2,), (0.5,))])
def test_gradcheck_of_the_smooth_path(hcgs):
    layer, generator = make(4, 4, LayerPress(hcgs=hcgs))
    x = torch.randn(3, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 3, 1])
    parameters = tuple(layer.parameters())

    def f(x, *values):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, values)), (x, lengths))

    assert torch.autograd.gradcheck(f, (x, *parameters), atol=1e-6)


def test_equals_torch_lstm():
    layer, generator = make(10, 7, LayerPress(), batch_norm=False)
    theirs = torch.nn.LSTM(7, 10, batch_first=True).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.input_matrix.weight)
        theirs.weight_hh_l0.copy_(layer.recurrent_matrix.weight)
        theirs.bias_ih_l0.copy_(layer.bias)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(3, 9, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(x), theirs(x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the compiled kernels serve float32
@pytest.mark.parametrize("press", [LayerPress(), LayerPress(8, 16, hcgs=SHARED)])
def test_padding_has_no_influence(press, dtype):
    layer, generator = make(16, 24, press)
    layer.to(dtype)
    x = torch.randn(3, 6, 24, generator=generator, dtype=dtype)
    lengths = torch.tensor([3, 6, 5])
    padded = x.clone()
    padded[0, 3:] = float("nan")
    y = layer(x, lengths)
    assert torch.equal(layer(padded, lengths), y)
    assert not y[0, 3:].any()
    longer = torch.cat([x, x.new_full((3, 5, 24), 1e9)], dim=1)
    assert torch.equal(layer(longer, lengths)[:, :6], y)


def test_evaluation_of_one_sequence_does_not_depend_on_the_batch():
    layer, generator = make(16, 24, LayerPress(8, 16, hcgs=SHARED))
    x = torch.randn(4, 6, 24, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([3, 6, 2, 5])
    layer(x, lengths)
    layer.eval()
    together = layer(x, lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(layer(x[b : b + 1, :n])[0], together[b, :n])


def test_outputs_lie_on_the_grid():
    layer, generator = make(16, 24, LayerPress(8, 5))
    y = layer(torch.randn(2, 6, 24, generator=generator, dtype=torch.float64) * 20)
    integers, scale = layer.act_out.integers(y)
    assert torch.equal(integers * scale, y)
    assert 2 < len(integers.unique()) <= 31


def test_dynamic_range_is_that_of_the_time_step():
    generator = torch.Generator().manual_seed(3)
    layer = QuantLSTMLayer(4, 6, LayerPress(act_bits=4, act_quantizer="dynamic"), generator=generator)
    layer.act_in.bits = 32
    x = torch.randn(5, 3, 4, generator=generator)
    y = layer(x)
    for t in range(3):
        grid = y[:, t] / y[:, t].abs().max() * 7
        torch.testing.assert_close(grid, grid.round(), atol=1e-4, rtol=0)
        assert len(grid.round().unique()) > 3


def test_calibration_freezes_and_travels_in_the_state():
    layer = QuantLSTMLayer(3, 4, LayerPress(8, 8))
    layer.act_in.batches = 2
    for peak in (1.0, 3.0, 9.0):
        layer(torch.full((2, 2, 3), peak))
    assert float(layer.act_in.limit) == 3.0
    other = QuantLSTMLayer(3, 4, LayerPress(8, 8))
    other.load_state_dict(layer.state_dict())
    assert float(other.act_in.limit) == 3.0 and int(other.act_in.seen) == 2


def test_batch_norm_statistics_leave_out_padding():
    layer, generator = make(4, 3, LayerPress())
    x = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    x[1, 2:] = 1e6
    layer(x, torch.tensor([5, 2]))
    assert float(layer.norm.running_mean.abs().max()) < 10


def test_one_frame_trains():
    layer, generator = make(4, 3, LayerPress())
    y = layer(torch.randn(1, 1, 3, generator=generator, dtype=torch.float64))
    y.sum().backward()
    assert torch.isfinite(layer.input_matrix.weight.grad).all()


def test_loaded_mask_is_the_one_computed_with():
    a, generator = make(16, 24, LayerPress(hcgs=SHARED), seed=1)
    b, _ = make(16, 24, LayerPress(hcgs=SHARED), seed=2)
    x = torch.randn(2, 3, 24, generator=generator, dtype=torch.float64)
    b(x)
    assert not torch.equal(a.recurrent_matrix.mask, b.recurrent_matrix.mask)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(x), b(x))


def test_recurrent_start_is_orthogonal_and_the_forget_gate_open():
    layer, _ = make(8, 3, LayerPress())
    for gate in layer.recurrent_matrix.weight.view(4, 8, 8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8, dtype=torch.float64), atol=1e-5, rtol=0)
    assert layer.norm.bias.view(4, 8).sum(1).tolist() == [0, 8, 0, 0]


def test_dropout_is_off_in_evaluation():
    layer, generator = make(64, 3, LayerPress(), dropout=0.5)
    x = torch.randn(1, 9, 3, generator=generator, dtype=torch.float64)
    share = (layer(x) == 0).double().mean()
    assert 0.3 < share < 0.7
    layer.eval()
    assert (layer(x) != 0).all()


def test_dropout_over_a_sequence_zeroes_the_same_outputs_in_all_its_frames():
    layer, generator = make(64, 3, LayerPress(), batch_norm=False, dropout=0.5, dropout_over="sequence")
    x = torch.randn(3, 9, 3, generator=generator, dtype=torch.float64)
    y, whole = layer(x), layer.eval()(x)
    kept = y != 0
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert not torch.equal(kept[0], kept[1])
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(y[kept], 2 * whole[kept])


@pytest.mark.parametrize("lengths", [[0, 2], [3, 1], [2]])
def test_lengths_that_do_not_fit(lengths):
    layer = QuantLSTMLayer(3, 4)
    with pytest.raises(ValueError, match="do not fit"):
        layer(torch.zeros(2, 2, 3), torch.tensor(lengths))


def test_recurrence_backward_twice_gives_the_same():
    x = torch.randn(4, 8, requires_grad=True)
    w = torch.randn(8, 2, requires_grad=True)
    y = lstm_recurrence(x, w, [2, 2]).sum()
    first = torch.autograd.grad(y, (x, w), retain_graph=True)
    again = torch.autograd.grad(y, (x, w))
    assert all(torch.equal(a, b) for a, b in zip(first, again))


def test_straight_through_gradient_stops_outside():
    x = torch.tensor([0.5, 2.0], requires_grad=True)
    straight_through(x, torch.ones(2), x.detach() < 1).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]
