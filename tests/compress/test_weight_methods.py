"""Properties of every weight quantizer, at all bits it takes, over random matrices; and what is particular to each."""

import itertools

import pytest
import torch
from mask_cases import hcgs_of

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight, make_quantizer, quantizer_of, size_report
from frenchpress.compress.quantizers import QUANTIZERS, LsqQuantizer
from frenchpress.compress.size import matrix_size
from frenchpress.config.press import LayerPress

# Methods, their options, and the bits to try them with.
CASES = [
    ("uniform", {}, (1, 2, 4, 8, 16)),
    ("uniform", {"per_row": False}, (1, 2, 4, 8, 16)),
    ("ceil", {}, (1, 2, 4, 8, 16)),
    ("balanced", {}, tuple(range(1, 9))),
    ("lsq", {}, (2, 3, 4, 8, 16)),
    ("binary", {}, (1,)),
    ("binary", {"per_row": False}, (1,)),
    ("binary", {"stochastic": True}, (1,)),
    ("ternary", {}, (2,)),
    ("ternary", {"per_row": False}, (2,)),
    ("pot", {}, tuple(range(2, 7))),
    ("apot", {}, tuple(range(3, 9))),
]
EACH = [pytest.param(n, o, b, id=f"{n}-{b}-{o}") for n, o, bits in CASES for b in bits]
each = pytest.mark.parametrize("name, options, bits", EACH)
seeds = pytest.mark.parametrize("seed, size", [(0, 40.0), (1, 1e-5)])


def matrix(seed, size=0.3, dtype=torch.float32):
    return torch.randn(8, 64, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


def make(name, options, bits):
    return make_quantizer(name, bits, **options).eval()


def test_every_registered_method_is_tested_here():
    assert {name for name, _, _ in CASES} == set(QUANTIZERS) - {"none"}


@each
@seeds
def test_idempotent(name, options, bits, seed, size):
    q = make(name, options, bits)
    once = q(matrix(seed, size))
    assert torch.equal(q(once), once)


@each
@seeds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_integers_times_scale_are_the_output_to_the_bit(name, options, bits, seed, size, dtype):
    q, x = make(name, options, bits), matrix(seed, size, dtype)
    y = q(x)
    integers, scale = q.integers(x)
    assert integers.dtype == torch.int64 and y.dtype == dtype and y.shape == x.shape
    assert torch.equal(integers * scale, y)


@each
@seeds
def test_monotone(name, options, bits, seed, size):
    x = matrix(seed, size).sort().values
    assert (make(name, options, bits)(x).diff() >= 0).all()


@each
@seeds
def test_symmetric_in_sign(name, options, bits, seed, size):
    q, x = make(name, options, bits), matrix(seed, size)
    assert torch.equal(q(-x), -q(x))


def odd_matrix(seed):
    """Any shape and size; as it is, or with equal weights, many zeros, or one that is far larger than the rest."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns, kind = (int(torch.randint(1, n, (), generator=generator)) for n in (9, 80, 5))
    x = torch.randn(rows, columns, generator=generator) * 10.0 ** float(torch.rand((), generator=generator) * 8 - 5)
    if kind == 1:
        x = (x / x.abs().max() * 3).round()
    if kind == 2:
        x = x * (torch.rand(x.shape, generator=generator) < 0.1)
    if kind == 3:
        x[0, 0] = 1000 * x.abs().max()
    return x


@each
def test_odd_matrices_too(name, options, bits):
    for seed in range(40):
        q, x = make(name, options, bits), odd_matrix(seed)
        y = q(x)
        integers, scale = q.integers(x)
        assert torch.equal(integers * scale, y) and y.isfinite().all(), seed
        assert (q(x.sort().values).diff() >= 0).all(), seed
        if name != "balanced":  # whose parts are of the same size only where no two weights are equal
            assert torch.equal(q(y), y), seed
            assert torch.equal(q(-x)[x != 0], -y[x != 0]), seed


@each
def test_levels_fit_the_bits(name, options, bits):
    q = make(name, options, bits)
    if name == "lsq":
        q.step.data.fill_(1 / (2 ** (bits - 1) - 1))
    x = torch.linspace(-1, 1, 2**15 + 1).expand(2, -1).clone()
    found = len(q.integers(x)[0].unique())
    assert found <= q.levels <= 2**q.stored_bits
    if bits <= 8 and not (name == "pot" and bits > 4):  # whose smallest levels lie below one part in 2^15
        assert found == q.levels
    assert q.stored_bits == bits + (name == "ceil")


@each
@seeds
def test_on_grid_input_is_a_fixed_point(name, options, bits, seed, size):
    """Any matrix with the same scale made of the levels, not only what the quantizer gave."""
    q = make(name, options, bits)
    integers, scale = q.integers(matrix(seed, size))
    q(matrix(seed, size))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed + 9))
    grid = integers[:, order] * scale
    assert torch.equal(q(grid), grid)


@each
def test_zeros_stay_zero_and_nothing_is_nan(name, options, bits):
    q = make(name, options, bits)
    y = q(torch.zeros(3, 8))
    assert not y.isnan().any()
    if bits > 1:
        assert not y.any()
    few = torch.zeros(3, 8)
    few[0, 0], few[1, 2] = 1.0, 3.0
    assert q(few)[1, 2] > 0


@each
def test_masked_matrix_is_the_same_dense_and_compact(name, options, bits):
    press = LayerPress(bits, quantizer=name, quantizer_options=options, hcgs=hcgs_of((8, 2), ("1/4", "1/2")))
    weight = PressedWeight((32, 64), press, 4, torch.Generator().manual_seed(0)).eval()
    torch.nn.init.normal_(weight.weight, generator=torch.Generator().manual_seed(bits))
    structure = weight.structure
    y = weight()
    compact = weight.compact(structure)
    assert torch.equal(compact.flatten()[structure.source], y.flatten()[structure.target])
    assert not y[~weight.full_mask()].any()
    integers, scale = weight.integers()
    assert torch.equal(integers * scale, y)


@each
def test_gradient_reaches_the_weights(name, options, bits):
    x = (matrix(7) / 4).requires_grad_()
    up = torch.randn(8, 64)
    (make(name, options, bits)(x) * up).sum().backward()
    passed = x.grad == up
    assert passed.float().mean() > 0.7 and not x.grad[~passed].any()


def test_balanced_levels_are_equally_often_used():
    integers, _ = make("balanced", {}, 3).integers(torch.randn(16, 100, generator=torch.Generator().manual_seed(1)))
    values, counts = integers.unique(return_counts=True)
    assert values.tolist() == [-7, -5, -3, -1, 1, 3, 5, 7]
    assert counts.tolist() == [200] * 8


def test_balanced_leaves_removed_weights_out_of_the_count():
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(2))
    x[:, 32:] = 0
    integers, _ = make("balanced", {}, 2).integers(x)
    assert integers[:, :32].unique(return_counts=True)[1].tolist() == [32] * 4


def test_lsq_starts_at_the_published_step():
    x = matrix(3)
    q = LsqQuantizer(4)
    q(x)
    assert q.step.item() == pytest.approx(2 * float(x.abs().mean()) / 7**0.5)
    before = q.step.item()
    q(10 * x)
    assert q.step.item() == before


def test_lsq_gradients_are_the_published_ones():
    x = torch.tensor([[0.26, -0.9, 0.1, 0.0]], requires_grad=True)
    q = LsqQuantizer(3)
    q.step.data.fill_(0.25)
    y = q(x)
    assert y.tolist() == [[0.25, -0.75, 0.0, 0.0]]
    y.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert x.grad.tolist() == [[1.0, 0.0, 3.0, 4.0]]
    slopes = 1 * (1 - 0.26 / 0.25) + 2 * -3 + 3 * (0 - 0.1 / 0.25)
    assert q.step.grad.item() == pytest.approx(slopes / (3 * 3) ** 0.5, rel=1e-5)  # three weights, largest integer 3


def test_lsq_learns_a_better_step_than_it_starts_with():
    x, q = matrix(4, 1.0), LsqQuantizer(3)
    q(x)
    first = (q(x) - x).square().mean().item()
    optimizer = torch.optim.SGD([q.step], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (q(x) - x).square().mean().mul(len(x.flatten()) ** 0.5).backward()
        optimizer.step()
    assert (q(x) - x).square().mean().item() < first


def test_lsq_step_never_turns_negative_in_use():
    q = LsqQuantizer(4)
    q.step.data.fill_(-1.0)
    assert float(q.scale(matrix(1))) > 0


def test_lsq_step_counts_as_the_scale_of_its_matrix():
    weight = PressedWeight((8, 8), LayerPress(4, quantizer="lsq"))
    assert matrix_size("w", weight).scale_bits == 16
    assert size_report(weight)["parameters"] == 64 and size_report(weight)["other_bytes"] == 0


def test_binary_draws_have_the_right_mean_and_repeat():
    q = make_quantizer("binary", 1, stochastic=True)
    x = torch.tensor([[0.5, -0.5, 1.5, -1.5, 0.0, 1.0]])  # mean magnitude of the others: 1
    torch.manual_seed(3)
    draws = torch.cat([q(x) for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), x[0].clamp(-1, 1), atol=0.06, rtol=0)
    assert (draws[:, 2] == 1).all() and (draws[:, 3] == -1).all()
    state = torch.get_rng_state()
    once = q(x)
    torch.set_rng_state(state)
    assert torch.equal(q(x), once)
    q.eval()
    state = torch.get_rng_state()
    assert q(x).sign().tolist() == [[1, -1, 1, -1, 1, 1]]
    assert torch.equal(torch.get_rng_state(), state)


def test_ternary_as_published():
    x = torch.tensor([[1.0, -2.0, 3.0, -0.5, 0.5, -1.4]])
    q = make("ternary", {}, 2)
    # mean 1.4, threshold 0.98; mean of 1, 2, 3 and 1.4 is 1.85, on 8 bits of mantissa 1.8515625
    assert q.integers(x)[0].tolist() == [[1, -1, 1, 0, 0, -1]]
    assert float(q.integers(x)[1]) == pytest.approx(1.85, rel=2**-8)


def test_powers_are_powers():
    q = make("pot", {}, 4)
    assert q.level.tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    assert q(torch.tensor([[1.0, 0.76, 0.74, -0.3, 0.001]])).tolist() == [[1.0, 1.0, 0.5, -0.25, 0.0]]


def published_terms(magnitude_bits):
    """Exponents of each term of the paper: eq. 5 with k = 2, and for odd bits as its figure 2 has them at 3 bits."""
    return {
        2: [[0, 1, 2]],
        3: [[1, 2, 4], [3]],
        4: [[0, 2, 4], [1, 3, 5]],
        5: [[1, 3, 6], [2, 4, 7], [5]],
        6: [[0, 3, 6], [1, 4, 7], [2, 5, 8]],
        7: [[1, 4, 8], [2, 5, 9], [3, 6, 10], [7]],
    }[magnitude_bits]


@pytest.mark.parametrize("bits", range(3, 9))
def test_sums_of_powers_as_published(bits):
    terms = [[0.0, *(2.0**-e for e in exponents)] for exponents in published_terms(bits - 1)]
    sums = torch.tensor(sorted(map(sum, itertools.product(*terms))), dtype=torch.float64)
    level = make("apot", {}, bits).level
    assert len(level) == 2 ** (bits - 1)
    torch.testing.assert_close(level / level[-1], sums / sums[-1])


def test_sums_of_powers_of_three_bits_and_a_sign():
    assert make("apot", {}, 4).level.div(10).tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]  # figure 2


@pytest.mark.parametrize("name, options, bits", [c for c in EACH if c.values[0] in ("pot", "apot")])
def test_nearest_level_is_taken(name, options, bits):
    q, x = make(name, options, bits), matrix(11, dtype=torch.float64)
    integers, scale = q.integers(x)
    distance = (x.abs().unsqueeze(-1) - q.level * scale.unsqueeze(-1)).abs()
    torch.testing.assert_close((x - integers * scale).abs(), distance.amin(-1))


def test_tables_are_not_in_the_state():
    assert not make("apot", {}, 4).state_dict() and not make("pot", {}, 4).state_dict()


@pytest.mark.parametrize(
    "press, words",
    [
        (LayerPress(4, quantizer="binary"), "weight_bits: 4: quantizer binary takes 1 bit$"),
        (LayerPress(1, quantizer="ternary"), "ternary takes 2 bits"),
        (LayerPress(8, quantizer="pot"), "pot takes 2 to 6 bits"),
        (LayerPress(24), "weight_bits: 24: quantizer uniform takes 1 to 20 bits, or 32 for float"),
        (LayerPress(32, quantizer="lsq"), "lsq takes 2 to 16 bits"),
        (LayerPress(32, quantizer="ceil"), "quantizer: ceil would do nothing"),
        (LayerPress(8, quantizer="none"), "weight_bits: 8 would do nothing"),
        (LayerPress(32, quantizer_options={"per_row": True}), "quantizer_options would do nothing"),
        (LayerPress(8, quantizer_options={"per_rwo": True}), "unknown option 'per_rwo', did you mean 'per_row'"),
        (LayerPress(8, quantizer_options={"per_row": 1}), "per_row: 1 is no bool"),
        (LayerPress(4, quantizer="lsq", quantizer_options={"per_row": True}), "lsq: unknown option.*takes no options"),
    ],
)
def test_what_would_do_nothing_is_refused(press, words):
    with pytest.raises(UserError, match=words) as error:
        quantizer_of(press)
    assert "\n" not in str(error.value)
