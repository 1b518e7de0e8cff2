"""Properties of every activation quantizer once it knows its range; how ranges are found; what is refused."""

import copy

import pytest
import torch

from frenchpress.common import UserError
from frenchpress.compress import act_quantizer_of, make_act_quantizer
from frenchpress.compress.activations import ACT_QUANTIZERS, RANGES
from frenchpress.compress.quantizers.ranges import BINS, Histogram
from frenchpress.config.press import LayerPress

METHODS = [
    ("fixed", {}),
    ("fixed", {"range": "minmax", "batches": 3}),
    ("fixed", {"range": "percentile", "percentile": 99.0}),
    ("fixed", {"range": "mse"}),
    ("fixed", {"range": "kl"}),
    ("fixed", {"range": "sigma"}),
    ("dynamic", {}),
    ("pact", {}),
    ("pact", {"decay": 0.0}),
    ("lsq", {}),
]
EACH = [
    pytest.param(name, options, bits, id=f"{name}-{bits}-{options}")
    for name, options in METHODS
    for bits in (1, 2, 4, 8, 16)
    if bits in ACT_QUANTIZERS[name].takes and not (options.get("range") == "kl" and not 4 <= bits <= 10)
]
READY = {}
each = pytest.mark.parametrize("name, options, bits", EACH)
seeds = pytest.mark.parametrize("seed, size", [(0, 30.0), (1, 1e-4)])


def batch(seed, size=1.0, dtype=torch.float32):
    return torch.randn(40, 32, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


def ready(name, options, bits, seed=0, size=1.0):
    """A quantizer that has been trained with a few batches, in evaluation."""
    key = repr((name, options, bits, seed, size))
    if key not in READY:
        q = READY[key] = make_act_quantizer(name, bits, **options)
        for i in range(3):
            q(batch(100 * seed + i, size))
    return copy.deepcopy(READY[key]).eval()


def test_every_method_and_range_is_tested_here():
    assert {name for name, _ in METHODS} == set(ACT_QUANTIZERS)
    assert {o.get("range") for _, o in METHODS} >= set(RANGES)


@each
@seeds
def test_idempotent(name, options, bits, seed, size):
    q = ready(name, options, bits, seed, size)
    once = q(batch(seed, size))
    assert torch.equal(q(once), once)


@each
@seeds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_integers_times_scale_are_the_output_to_the_bit(name, options, bits, seed, size, dtype):
    q, x = ready(name, options, bits, seed, size), batch(seed, size, dtype)
    integers, scale = q.integers(x)
    y = q(x)
    assert integers.dtype == torch.int64 and y.dtype == dtype
    assert torch.equal(integers * scale, y)
    assert len(integers.unique()) <= q.levels <= 2**q.stored_bits


@each
@seeds
def test_monotone_and_symmetric(name, options, bits, seed, size):
    q, x = ready(name, options, bits, seed, size), batch(seed, 2 * size).flatten().sort().values
    assert (q(x).diff() >= 0).all()
    assert torch.equal(q(-x), -q(x))


@each
@seeds
def test_on_grid_input_is_a_fixed_point(name, options, bits, seed, size):
    q = ready(name, options, bits, seed, size)
    integers, scale = q.integers(batch(seed, size))
    grid = integers.flatten().unique() * scale
    assert torch.equal(q(grid), grid)


@each
def test_gradient_stops_outside_the_range(name, options, bits):
    q = ready(name, options, bits)
    x = batch(5, 3.0).requires_grad_()
    q(x).sum().backward()
    limit = q.range_of(x.detach())
    assert torch.equal(x.grad, (x.abs() <= limit).float())


@each
def test_all_that_is_known_travels_in_the_state(name, options, bits):
    q, other = ready(name, options, bits), make_act_quantizer(name, bits, **options).eval()
    other.load_state_dict(q.state_dict())
    assert torch.equal(other(batch(9)), q(batch(9)))
    assert torch.equal(copy.deepcopy(q)(batch(9)), q(batch(9)))


@each
def test_evaluation_before_training_remembers_nothing(name, options, bits):
    q = make_act_quantizer(name, bits, **options).eval()
    before = {k: v.clone() for k, v in q.state_dict().items()}
    assert not q(batch(3)).isnan().any()
    assert all(torch.equal(v, before[k]) for k, v in q.state_dict().items())


@each
def test_zeros_alone_do_no_harm(name, options, bits):
    q = make_act_quantizer(name, bits, **options)
    y = q(torch.zeros(4, 8))
    assert not y.isnan().any()
    assert not q(batch(1)).isnan().any()


def test_calibration_ends_after_its_batches():
    q = make_act_quantizer("fixed", 8, range="mse", batches=2)
    for size in (1.0, 2.0):
        q(batch(1, size))
    limit = float(q.limit)
    q(batch(2, 50.0))
    assert float(q.limit) == limit and int(q.seen) == 2


def test_an_interrupted_calibration_goes_on():
    whole = make_act_quantizer("fixed", 6, range="percentile", percentile=99.5, batches=4)
    first = make_act_quantizer("fixed", 6, range="percentile", percentile=99.5, batches=4)
    for i in range(4):
        whole(batch(i, 1.0 + i))
        if i == 2:
            second = make_act_quantizer("fixed", 6, range="percentile", percentile=99.5, batches=4)
            second.load_state_dict(first.state_dict())
            first = second
        first(batch(i, 1.0 + i))
    assert float(first.limit) == float(whole.limit)


def test_percentile_leaves_that_much_out():
    q = make_act_quantizer("fixed", 8, range="percentile", percentile=95.0, batches=1)
    x = batch(1)
    q(x)
    assert float((x.abs() > q.limit).float().mean()) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 12])
def test_mse_range_is_the_best_there_is(bits):
    x = torch.randn(200, 100, generator=torch.Generator().manual_seed(1))
    q = make_act_quantizer("fixed", bits, range="mse", batches=1)
    q(x)

    def error(limit):
        return float((make_act_quantizer("fixed", bits, limit=float(limit))(x) - x).square().mean())

    best = min(error(limit) for limit in torch.linspace(0.2, 5, 150))
    assert error(q.limit) <= 1.03 * best


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_kl_range_lies_between_the_bulk_and_the_outliers(bits):
    x = torch.randn(200, 100, generator=torch.Generator().manual_seed(1))
    x[0, :3] = 30.0
    q = make_act_quantizer("fixed", bits, range="kl", batches=1)
    q(x)
    assert 1.5 < float(q.limit) < 12


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_kl_range_of_values_on_a_grid_is_not_next_to_nothing(bits):
    q = make_act_quantizer("fixed", bits, range="kl")
    for i in range(10):
        before = make_act_quantizer("fixed", bits, limit=0.8 + 0.02 * i)
        q(before(batch(i).tanh()))
    assert 0.6 < float(q.limit) <= 1.0


def test_histogram_widens_without_losing_anything_in_any_order():
    a, b = Histogram(), Histogram()
    parts = [batch(i, size) for i, size in enumerate((0.01, 4.0, 0.3, 100.0))]
    for part in parts:
        a.add(part)
    for part in reversed(parts):
        b.add(part)
    assert int(a.counts.sum()) == sum(p.numel() for p in parts)
    assert torch.equal(a.width, b.width) and torch.equal(a.counts, b.counts)
    assert float(torch.cat(parts).abs().max()) <= float(a.width) and len(a.counts) == BINS


def test_what_is_not_finite_is_not_counted():
    histogram = Histogram()
    histogram.add(torch.tensor([0.0, 1.0, float("nan"), float("inf"), -float("inf")]))
    assert int(histogram.counts.sum()) == 1 and float(histogram.width) == 1


def test_pact_gradients_are_the_published_ones():
    q = make_act_quantizer("pact", 3, limit=1.0, decay=0.01)
    x = torch.tensor([0.4, 1.5, -2.0, -0.2], requires_grad=True)
    y = q(x)
    assert y.tolist() == pytest.approx([1 / 3, 1.0, -1.0, -1 / 3], rel=0.01)
    y.backward(torch.tensor([1.0, 2.0, 4.0, 8.0]))
    assert x.grad.tolist() == [1.0, 0.0, 0.0, 8.0]
    assert q.value.grad.item() == pytest.approx(2 - 4 + 0.01)


def test_pact_starts_at_the_largest_magnitude():
    q, x = make_act_quantizer("pact", 8), batch(1)
    q(x)
    assert q.value.item() == float(x.abs().max())


def test_lsq_starts_at_the_published_step():
    q, x = make_act_quantizer("lsq", 8), batch(1)
    q(x)
    assert q.value.item() == pytest.approx(2 * float(x.abs().mean()) / 127**0.5)
    q(x).sum().backward()
    assert torch.isfinite(q.value.grad)


@pytest.mark.parametrize("name", ["pact", "lsq"])
def test_learned_ranges_never_turn_negative_in_use(name):
    q = make_act_quantizer(name, 4)
    q.value.data.fill_(-0.5)
    limit, scale = q.grid(torch.float32)
    assert limit > 0 and scale > 0


@pytest.mark.parametrize(
    "press, words",
    [
        (LayerPress(act_bits=8, act_options={"range": "minimax"}), "range: unknown 'minimax', did you mean 'minmax'"),
        (LayerPress(act_bits=8, act_options={"percentile": 99.0}), "percentile: goes with range: percentile"),
        (LayerPress(act_bits=8, act_options={"range": "percentile", "percentile": 101}), "101 must be above 0"),
        (LayerPress(act_bits=8, act_options={"range": "mse", "batches": 0}), "batches: 0 must be at least 1"),
        (LayerPress(act_bits=8, act_options={"batches": 5}), "batches: the range is known here"),
        (LayerPress(act_bits=16, act_options={"range": "kl"}), "kl takes 4 to 10 bits, not 16"),
        (
            LayerPress(act_bits=8, act_quantizer="dynamic", act_options={"range": "kl"}),
            "dynamic: unknown option 'range'",
        ),
        (LayerPress(act_bits=8, act_quantizer="pact", act_options={"decay": "much"}), "decay: 'much' is no float"),
        (LayerPress(act_bits=8, act_quantizer="pact", act_options={"decay": -1.0}), "decay: -1.0 is out of range"),
        (LayerPress(act_bits=1, act_quantizer="pact"), "pact takes 2 to 16 bits"),
        (LayerPress(act_quantizer="pcat"), "unknown 'pcat', did you mean 'pact'"),
    ],
)
def test_what_does_not_apply_is_refused(press, words):
    with pytest.raises(UserError, match=words) as error:
        act_quantizer_of(press, limit=1.0)
    assert "\n" not in str(error.value)


def test_sigma_is_three_deviations_about_zero():
    q = make_act_quantizer("fixed", 8, range="sigma", batches=1)
    x = torch.cat([torch.full((90,), 1.0), torch.full((10,), -4.0)])  # mean square 0.9 + 1.6
    q(x)
    assert float(q.limit) == pytest.approx(3 * 2.5**0.5, rel=2e-3)
