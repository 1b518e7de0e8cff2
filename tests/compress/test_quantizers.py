"""Properties that every quantizer has, over bits, shapes and seeds."""

import pytest
import torch

from frenchpress.common import UserError
from frenchpress.compress import make_act_quantizer, make_quantizer
from frenchpress.compress.quantizers import QUANTIZERS, round_scale, scale_bits

BITS = [1, 2, 3, 4, 6, 8, 9, 13, 16, 20]


def uniform(bits):
    return make_quantizer("uniform", bits)


def per_tensor(bits):
    return make_quantizer("uniform", bits, per_row=False)


def ceil(bits):
    return make_quantizer("ceil", bits)


def fixed(bits):
    return make_act_quantizer("fixed", bits, limit=2.0)


def dynamic(bits):
    return make_act_quantizer("dynamic", bits)


MAKERS = [uniform, per_tensor, ceil, fixed, dynamic]
every = pytest.mark.parametrize("make", MAKERS)
at_all_bits = pytest.mark.parametrize("bits", BITS)


def matrix(seed, dtype=torch.float32, scale=0.3):
    return torch.randn(5, 64, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale


@every
@at_all_bits
@pytest.mark.parametrize("scale", [1e-6, 0.3, 7.0])
def test_idempotent(make, bits, scale):
    q = make(bits)
    once = q(matrix(bits, scale=scale))
    assert torch.equal(q(once), once)


@every
@at_all_bits
def test_integers_times_scale_are_the_output_to_the_bit(make, bits):
    q, x = make(bits), matrix(bits)
    integers, scale = q.integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(integers * scale, q(x))


@every
@at_all_bits
def test_levels_and_the_bits_they_need(make, bits):
    q = make(bits)
    x = (torch.arange(-10000, 10001) / 5000).expand(2, -1)
    integers, _ = q.integers(x)
    assert len(integers.unique()) <= q.levels <= 2**q.stored_bits
    if bits <= 9:
        assert len(integers.unique()) == q.levels
    if bits > 1:
        half = 2 ** (q.stored_bits - 1)
        assert -half <= integers.min() and integers.max() <= half - 1


@every
@at_all_bits
def test_sign_symmetric(make, bits):
    q, x = make(bits), matrix(bits)
    assert torch.equal(q(-x), -q(x))


@every
@at_all_bits
def test_monotone(make, bits):
    x = matrix(bits).sort().values
    y = make(bits)(x)
    assert (y.diff() >= 0).all()


@every
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_grid_points_are_fixed(make, bits):
    q = make(bits)
    integers, scale = q.integers(matrix(3))
    top = int(integers.abs().max())
    grid = torch.arange(-top, top + 1).expand(len(integers), -1) * scale
    assert torch.equal(q(grid), grid)


@pytest.mark.parametrize("make", [uniform, per_tensor])
@pytest.mark.parametrize("bits", [2, 4, 6, 8, 16])
def test_uniform_is_off_by_half_a_step_at_most(make, bits):
    q, x = make(bits), matrix(4, torch.float64)
    _, scale = q.integers(x)
    assert ((q(x) - x).abs() <= scale * 0.5 + 2 ** -(8 if bits <= 8 else 20) * x.abs().amax()).all()


def test_a_scale_per_row_keeps_small_rows():
    x = matrix(5)
    x[0] *= 1e-3
    assert (uniform(6)(x)[0] - x[0]).norm() / x[0].norm() < 0.05
    assert not per_tensor(6)(x)[0].any()


def test_six_bits_are_near_float():
    x = matrix(6)
    assert (uniform(6)(x) - x).norm() / x.norm() < 0.05


def test_one_bit_is_the_mean_magnitude_of_what_is_there():
    x = torch.tensor([[0.5, -1.0, 0.0, 0.0]])
    assert uniform(1)(x).tolist() == [[0.75, -0.75, 0.75, 0.75]]


def test_ceil_as_published():
    x = torch.tensor([[0.01, -0.01, 0.5, 0.51, -3.0, 0.0]])
    q = ceil(3)
    assert q(x).tolist() == [[0.25, -0.25, 0.5, 0.75, -1.0, 0.0]]
    assert (q.levels, q.stored_bits) == (9, 4)


@every
def test_zeros_stay_zero(make):
    x = torch.zeros(2, 3)
    assert not make(8)(x).isnan().any()
    assert not make(8)(x).any()


@pytest.mark.parametrize("make", [uniform, per_tensor, dynamic])
def test_gradient_passes_straight_through(make):
    x = matrix(7).requires_grad_()
    up = torch.randn(5, 64)
    (make(4)(x) * up).sum().backward()
    assert torch.equal(x.grad, up)


@pytest.mark.parametrize("make, limit", [(ceil, 1.0), (fixed, 2.0)])
def test_gradient_stops_where_the_value_is_clipped(make, limit):
    x = (matrix(8) * 10).requires_grad_()
    make(4)(x).sum().backward()
    assert torch.equal(x.grad, (x.abs() <= limit).float())
    assert 0 < x.grad.mean() < 1


@every
def test_32_bits_are_float(make):
    q, x = make(32), matrix(9)
    assert q(x) is x and q.is_float
    with pytest.raises(UserError):
        q.integers(x)


def test_none_is_float_whatever_the_bits():
    q = make_quantizer("none", 4)
    assert q.is_float and q.stored_bits == 32


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("bits", [0, 33, -1, 2.5, True, "8"])
def test_bits_out_of_range(name, bits):
    with pytest.raises(UserError, match="bits"):
        make_quantizer(name, bits)


def test_unknown_names():
    with pytest.raises(UserError, match="uniform, ceil, none"):
        make_quantizer("lqs", 8)
    with pytest.raises(UserError, match="fixed, dynamic"):
        make_act_quantizer("static", 8)
    with pytest.raises(UserError, match="above 0"):
        make_act_quantizer("fixed", 8, limit=0.0)


@pytest.mark.parametrize("bits", [4, 8])
def test_coarse_scales_are_bfloat16(bits):
    scale = round_scale(torch.rand(100) + 1e-3, bits)
    assert torch.equal(scale, scale.bfloat16().float())
    assert scale_bits(bits) == 16 and scale_bits(9) == 32


def test_dynamic_depends_on_the_batch_and_fixed_does_not():
    x = matrix(10)
    beside = torch.cat([x, 20 * x])
    assert not torch.equal(dynamic(8)(beside)[:5], dynamic(8)(x))
    assert torch.equal(fixed(8)(beside)[:5], fixed(8)(x))


def test_fixed_calibrates_over_the_first_training_calls_only():
    q = make_act_quantizer("fixed", 8, batches=2)
    q.eval()
    q(torch.tensor([5.0]))
    assert float(q.limit) == 0 and int(q.seen) == 0
    q.train()
    for peak in (1.0, 4.0, 8.0):
        q(torch.tensor([-peak, 0.5]))
    assert float(q.limit) == 4
    assert float(q(torch.tensor([100.0]))) == pytest.approx(4, rel=0.01)
