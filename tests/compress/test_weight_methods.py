"""Properties of every weight quantizer, at all bits it takes, over random matrices; and what is particular to each."""

import itertools

import pytest
import torch
from mask_cases import hcgs_of
from torch.nn.utils.parametrize import register_parametrization

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight, holding, make_quantizer, pressed_tensors, quantizer_of, size_report
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.quantizers import QUANTIZERS, LsqQuantizer
from frenchpress.compress.quantizers.clusters import cluster
from frenchpress.compress.size import matrix_size
from frenchpress.compress.weight import Parametrization
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
    ("uniform", {"range": "sigma"}, (2, 8)),
    ("uniform", {"range": "mse", "per_row": False}, (3,)),
    ("uniform", {"range": "percentile", "percentile": 99.0}, (4,)),
    ("uniform", {"stochastic": True}, (2, 16)),
    ("affine", {}, (2, 3, 5, 8)),
    ("affine", {"per_row": False}, (4,)),
    ("affine", {"range": "sigma"}, (4,)),
    ("fixed_point", {}, (2, 4, 16)),
    ("fixed_point", {"per_row": True}, (8,)),
    ("fixed_point", {"exponent": -4}, (4,)),
    ("block_float", {}, (2, 8)),
    ("block_float", {"columns": 5}, (4,)),
    ("apot", {"terms": 2}, (5, 7)),
    ("kmeans", {}, (1, 3, 4)),
    ("kmeans", {"fixed": True}, (2,)),
    ("kmeans", {"entropy": 0.05}, (3,)),
    ("abc", {}, (1, 2, 4)),
    ("dorefa", {}, (2, 4)),
    ("inq", {}, (2, 4)),
]
EACH = [pytest.param(n, o, b, id=f"{n}-{b}-{o}") for n, o, bits in CASES for b in bits]
each = pytest.mark.parametrize("name, options, bits", EACH)
seeds = pytest.mark.parametrize("seed, size", [(0, 40.0), (1, 1e-5)])


def matrix(seed, size=0.3, dtype=torch.float32):
    return torch.randn(8, 64, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


def settles(name, options):
    """Whether quantizing twice is quantizing once: not where what was clipped changes the range that is found next."""
    return options.get("range") in (None, "minmax") and "entropy" not in options and name not in ("abc", "dorefa")


def mirrored(name):
    """Whether the levels of -x are those of x with the other sign, ties and the last bit of a mean included."""
    return name not in ("affine", "kmeans", "abc", "dorefa")


def make(name, options, bits):
    return make_quantizer(name, bits, **options).eval()


def test_every_registered_method_is_tested_here():
    assert {name for name, _, _ in CASES} == set(QUANTIZERS) - {"none"}


@each
@seeds
def test_idempotent(name, options, bits, seed, size):
    q = make(name, options, bits)
    once = q(matrix(seed, size))
    assert torch.equal(q(once), once) or not settles(name, options)


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
    q, x = make(name, options, bits), matrix(seed, size).sort().values
    assert (q(x).diff() >= 0).all() or not q.granularity.whole_rows  # each block has steps of its own


@each
@seeds
def test_symmetric_in_sign(name, options, bits, seed, size):
    q, x = make(name, options, bits), matrix(seed, size)
    assert torch.equal(q(-x), -q(x)) or not mirrored(name)


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
        assert (q(x.sort().values).diff() >= 0).all() or not q.granularity.whole_rows, seed
        if name != "balanced":  # whose parts are of the same size only where no two weights are equal
            if name != "kmeans" or y[x != 0].all():  # beside an outlier a level may be zero, which would be left out
                assert torch.equal(q(y), y) or not settles(name, options), seed
            assert torch.equal(q(-x)[x != 0], -y[x != 0]) or not mirrored(name), seed


@each
def test_levels_fit_the_bits(name, options, bits):
    q = make(name, options, bits)
    if name == "lsq":
        q.step.data.fill_(1 / (2 ** (bits - 1) - 1))
    x = torch.linspace(-1, 1, 2**15 + 1).expand(2, -1).clone()
    found = len(q.integers(x)[0].unique())
    assert found <= q.levels <= 2**q.stored_bits
    if "entropy" in options:  # which drops levels
        return
    # The smallest levels of pot lie below one part in 2^15; a power of two as step need not reach the last level at 1.
    if bits <= 8 and not (name == "pot" and bits > 4) and name not in ("fixed_point", "block_float"):
        assert found == q.levels
    assert q.stored_bits == {"ceil": bits + 1, "abc": bits.bit_length()}.get(name, bits)


@each
@seeds
def test_on_grid_input_is_a_fixed_point(name, options, bits, seed, size):
    """Any matrix with the same scale made of the levels, not only what the quantizer gave."""
    q = make(name, options, bits)
    integers, scale = q.integers(matrix(seed, size))
    q(matrix(seed, size))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed + 9))
    if scale.shape[-1] > 1:  # of blocks of columns, which stay where they are
        order = torch.arange(64)
    grid = integers[:, order] * scale
    assert torch.equal(q(grid), grid) or not settles(name, options)


@each
def test_zeros_stay_zero_and_nothing_is_nan(name, options, bits):
    q = make(name, options, bits)
    y = q(torch.zeros(3, 8))
    assert not y.isnan().any()
    if bits > 1 and name != "dorefa":  # where no level is zero
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
    assert (structure is not None) == weight.quantizer.movable
    if structure is not None:
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
    if options.get("fixed"):
        assert x.grad is None
    elif name != "dorefa":
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


def test_affine_by_hand():
    q = make("affine", {"per_row": False}, 2)
    x = torch.tensor([[-1.0, 0.4, 1.1, 2.0]])
    codes = q.encode(x)
    assert codes.scale.item() == 1.0 and codes.zero.tolist() == [[-1]]
    assert codes.codes.tolist() == [[-2, -1, 0, 1]] and q(x).tolist() == [[-1.0, 0.0, 1.0, 2.0]]
    assert q(torch.tensor([[0.0, 1.0, 2.0, 6.0]])).tolist() == [[0.0, 2.0, 2.0, 6.0]]  # nothing below zero: from 0 up
    assert q.side_bits(1, 4) == 16 + 2


def test_affine_has_half_the_step_where_weights_have_one_sign():
    x = matrix(5).abs()
    assert float((make("affine", {}, 4)(x) - x).norm()) < 0.6 * float((make("uniform", {}, 4)(x) - x).norm())


def test_affine_sigma_is_about_the_mean():
    x = matrix(5) + 2.0
    q = make("affine", {"per_row": False, "range": "sigma"}, 8)
    scale, low, high = q.grid(x)
    assert float(high * scale) == pytest.approx(float(x.mean() + 3 * x.std()), rel=0.02)


@pytest.mark.parametrize("name, bits", [("uniform", 4), ("affine", 3), ("block_float", 4)])
def test_draws_have_the_right_mean_and_only_in_training(name, bits):
    q, x = make_quantizer(name, bits, stochastic=True), matrix(2)
    torch.manual_seed(1)
    mean = torch.stack([q(x) for _ in range(2000)]).mean(0)
    step = q.encode(x).scale
    inner = x.abs() < 0.4 * x.abs().amax(1, keepdim=True)  # beyond it the ends of a grid that has none there clip
    assert ((mean - x).abs() < 0.06 * step)[inner].all() and not torch.equal(q(x), q(x))
    assert torch.equal(q.eval()(x), make(name, {}, bits)(x))


def test_what_a_range_clips_has_no_gradient():
    x = matrix(3)
    x[0, 0] = 30.0
    x.requires_grad_()
    q = make("uniform", {"range": "sigma", "per_row": False}, 4)
    y = q(x)
    y.sum().backward()
    assert y[0, 0] < 10 and x.grad[0, 0] == 0 and (x.grad == 1).sum() > 500


def test_one_part_for_all_rows_whatever_their_sizes():
    x = matrix(4)
    q = make("uniform", {"range": "mse"}, 3)
    sizes = 2.0 ** torch.arange(-3, 5).unsqueeze(1)
    assert torch.equal(q(x * sizes), q(x) * sizes)
    assert float((q(x) - x).norm()) < float((make("uniform", {}, 3)(x) - x).norm())


def test_fixed_point_by_hand():
    q = make("fixed_point", {}, 4)
    assert q(torch.tensor([[1.74, -0.3, 0.1]])).tolist() == [[1.75, -0.25, 0.0]]  # 7 steps of 1/4
    assert q(torch.tensor([[1.76, 0.3, 0.1]])).tolist() == [[2.0, 0.5, 0.0]]
    x = torch.tensor([[1.76, -0.3]], requires_grad=True)
    y = make("fixed_point", {"exponent": -2}, 4)(x)
    y.sum().backward()
    assert y.tolist() == [[1.75, -0.25]] and x.grad.tolist() == [[0.0, 1.0]]
    assert q.side_bits(100, 100) == 8


def test_blocks_have_exponents_of_their_own():
    q = make("block_float", {"columns": 2}, 3)
    x = torch.tensor([[3.0, 1.0, 0.7, 0.3, 0.01]])
    assert q(x).tolist() == [[3.0, 1.0, 0.75, 0.25, 0.01171875]]  # steps of 1, 1/4 and 2^-8
    assert q.side_bits(10, 5) == 10 * 3 * 8


def test_kmeans_levels_are_the_means_of_what_they_stand_for():
    q, x = make_quantizer("kmeans", 3), matrix(6)
    y = q(x)
    assert len(y.unique()) == 8
    for level in y.detach().unique():
        assert float(level) == pytest.approx(float(x[y == level].mean()), abs=1e-4)
    assert float((y - x).norm()) < float((make("uniform", {}, 3)(x) - x).norm())
    assert q.side_bits(8, 64) == 32 + 8 * 16


def test_kmeans_from_equal_distances_by_hand():
    centres, edges = cluster(torch.tensor([9.0, 0.0, 1.0, 10.0, 4.0]), None, 2)
    assert centres.tolist() == pytest.approx([5 / 3, 9.5]) and edges.tolist() == pytest.approx([(5 / 3 + 9.5) / 2])
    weighted, _ = cluster(torch.tensor([9.0, 0.0, 1.0, 10.0, 4.0]), torch.tensor([1.0, 1, 3, 1, 0]), 2)
    assert weighted.tolist() == pytest.approx([0.75, 9.5])


def test_entropy_drops_levels_and_moves_edges_to_the_rare_side():
    x = matrix(6).flatten()
    plain, few = cluster(x, None, 8), cluster(x, None, 8, 0.2)
    assert len(few[0]) < len(plain[0]) == 8
    lengths = -torch.tensor([0.9, 0.1]).log2()
    values = torch.cat([torch.zeros(90), torch.ones(10)]) + 1e-3 * matrix(1).flatten()[:100]
    _, edges = cluster(values, None, 2, 0.1)
    shift = 0.1 * float(values.var(correction=0)) * float(lengths.diff()) / 2
    assert float(edges) == pytest.approx(0.5 + shift, abs=0.01) and shift > 0.01


def test_levels_that_nothing_needs_are_no_infinite_numbers():
    for x, options in ((matrix(1).sign(), {}), (matrix(1), {"entropy": 0.2})):
        q = make_quantizer("kmeans", 4, **options)
        y = q(x)
        assert len(y.unique()) < 16 and all(value.isfinite().all() for value in q.state_dict().values())
        assert torch.equal(q.eval()(x), y)


def test_levels_go_over_to_a_model_that_finds_them_in_the_same_way():
    q, same, other = (make_quantizer("kmeans", bits) for bits in (3, 3, 2))
    q(matrix(1))
    same.take_over(q), other.take_over(q)
    assert torch.equal(same(matrix(2)), q(matrix(2))) and not other.calls


def test_a_shared_level_has_the_sum_of_its_weights_gradients():
    x = torch.tensor([[1.0, 1.1, -1.0, -1.2, 0.0]], requires_grad=True)
    q = make_quantizer("kmeans", 1, fixed=True)
    q(x).backward(torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0]]))  # the zero was removed by a mask
    assert q.centre.grad.tolist() == [7.0, 3.0] and x.grad is None
    with torch.no_grad():
        q.centre.copy_(torch.tensor([-3.0, -4.0]))  # levels may pass each other; every weight stays with its own
    torch.testing.assert_close(q(x)[0, :4].detach(), torch.tensor([-4.0, -4, -3, -3]), atol=1e-3, rtol=0)


def test_weights_that_matter_draw_the_levels():
    weight = PressedWeight((8, 64), LayerPress(2, quantizer="kmeans", quantizer_options={"hessian": 2}))
    with torch.no_grad():
        weight.weight.copy_(matrix(3))
    matter = torch.ones(8, 64)
    matter[weight.weight > 0.3] = 100.0
    first = weight().detach()
    for _ in range(3):
        (weight() * matter).sum().backward()
    error = (weight() - weight.weight).square() * matter.square()
    assert error.sum() < 0.7 * ((first - weight.weight).square() * matter.square()).sum()
    assert int(weight.quantizer.calls) == 3 and not weight.quantizer.movable


def test_bases_by_hand():
    x = torch.tensor([[-3.0, -1.0, 1.0, 3.0]])  # mean 0, deviation 5 ** 0.5: thresholds at it on both sides, and 0
    torch.testing.assert_close(make("abc", {}, 1)(x), torch.tensor([[-2.0, -2, 2, 2]]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(make("abc", {}, 3)(x), x, rtol=1e-4, atol=1e-4)
    # a = (1, 1, 1): the bases are (-1, 1, 1, 1), (-1, -1, 1, 1), (-1, -1, -1, 1)


def test_bases_are_the_least_squares_of_their_signs():
    x = matrix(8).double()
    q = make("abc", {}, 4)
    y = q(x)
    shifts = torch.linspace(-1, 1, 4, dtype=torch.float64)
    bases = torch.stack([torch.where(x - x.mean() + u * x.std(correction=0) >= 0, 1.0, -1.0) for u in shifts], -1)
    bases = bases.view(-1, 4).double()
    best = bases @ torch.linalg.lstsq(bases, x.view(-1, 1)).solution
    torch.testing.assert_close(y.view(-1, 1), best, atol=1e-4, rtol=1e-3)


def test_dorefa_as_published():
    x = torch.tensor([[0.5, -0.1, 0.2, -0.5]], requires_grad=True)
    bent = x.detach().tanh() / torch.tensor(0.5).tanh()
    expected = 2 * ((bent / 2 + 0.5) * 7).round() / 7 - 1
    y = make("dorefa", {}, 3)(x)
    torch.testing.assert_close(y.detach(), expected)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (1 - x.detach().tanh().square()) / torch.tensor(0.5).tanh())


def test_more_terms_spread_the_same_bits():
    assert make("apot", {"terms": 1}, 4).level.tolist() == make("pot", {}, 4).level.tolist()
    assert make("apot", {"terms": 3}, 4).level.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(make("apot", {"terms": 2}, 5).level, make("apot", {}, 5).level)


def test_shares_are_fixed_largest_first_and_stay():
    options = {"steps": 3, "every": 2}
    weight = PressedWeight((4, 8), LayerPress(4, quantizer="inq", quantizer_options=options))
    with torch.no_grad():
        weight.weight.copy_(matrix(3)[:4, :8])
    schedule, w = MaskSchedule(weight), weight.weight
    whole = make("pot", {}, 4)(w.detach())
    fixed = []
    for epoch in range(6):
        schedule.before_step(epoch, 0, 10)
        y = weight()
        y.sum().backward()
        frozen = weight.quantizer.frozen
        assert torch.equal(y == w, ~frozen) or epoch >= 4
        torch.testing.assert_close(w.grad, (~frozen).float())
        fixed.append(int(frozen.sum()))
        w.grad = None
        with torch.no_grad():
            w.add_((~frozen) * 0.01)  # as an optimizer would, which leaves what has no gradient
    assert fixed == [16, 16, 24, 24, 32, 32]
    largest = whole.abs().flatten().topk(16).indices
    assert torch.equal(weight().flatten()[largest], whole.flatten()[largest])
    integers, scale = weight.integers()
    assert torch.equal(integers * scale, weight())
    assert [schedule.settled(epoch) for epoch in (3, 4)] == [False, True]
    with pytest.raises(UserError, match="inq: quantizes its last weights after epoch 4 of 4"):
        schedule.check(4)


@pytest.mark.parametrize(
    "mask",
    [
        {"method": "block", "block": 2, "keep": "1/4", "after_epoch": 1},
        {"method": "row", "keep": "1/2", "after_epoch": 2},
        {"method": "dynamic", "block": 2, "keep": "1/2", "start_epoch": 0, "end_epoch": 2},
    ],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_shares_of_what_masks_leave_are_all_fixed_in_the_end(mask, steps):
    weight = PressedWeight((8, 8), LayerPress(4, quantizer="inq", quantizer_options={"steps": steps}, mask=mask))
    with torch.no_grad():
        weight.weight.copy_(matrix(3)[:8, :8])
    schedule = MaskSchedule(weight)
    if mask["method"] == "dynamic" and steps == 1:
        with pytest.raises(UserError, match="dynamic: end_epoch: 2: weights that come back after epoch 0 are fixed"):
            schedule.check(4)
        return
    schedule.check(4)
    for epoch in range(4):
        schedule.before_step(epoch, 0, 1)
        weight().square().sum().backward()
        schedule.after_backward()
        weight.weight.grad = None
    integers, scale = weight.integers()
    assert torch.equal(integers * scale, weight()) and schedule.settled(3)


FIXED = {"fixed": True}


@pytest.mark.parametrize("shape", [(4, 8), (4, 2, 2, 2)])
def test_what_is_held_stays_whatever_the_optimizer_does(shape):
    values = matrix(3)[:4, :8].reshape(shape)
    model = torch.nn.Module()
    for name, quantizer, options in (("free", "pot", {}), ("shares", "inq", {"steps": 2}), ("levels", "kmeans", FIXED)):
        setattr(model, name, torch.nn.Parameter(values.clone()))
        chain = Parametrization((4, 8), LayerPress(4, quantizer=quantizer, quantizer_options=options))
        register_parametrization(model, name, chain)
    MaskSchedule(model).before_step(0, 0, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    with holding(model):
        optimizer.step()
    free, shares, levels = (p.weight == values for p in pressed_tensors(model))
    assert not free.any() and levels.all()
    assert torch.equal(shares, model.parametrizations.shares[0].quantizer.frozen.view(shape)) and shares.sum() == 16


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
        (LayerPress(1, quantizer_options={"stochastic": True}), "weight_bits: 1: .* binary has stochastic"),
        (LayerPress(3, quantizer_options={"range": "kl"}), "range: kl takes 4 to 10 bits, not 3"),
        (LayerPress(3, quantizer_options={"range": "best"}), "range: unknown 'best'"),
        (
            LayerPress(4, quantizer="fixed_point", quantizer_options={"exponent": 3, "range": "mse"}),
            "range: the exponent is given",
        ),
        (LayerPress(4, quantizer="block_float", quantizer_options={"columns": 0}), "columns: 0 must be at least 1"),
        (LayerPress(5, quantizer="apot", quantizer_options={"terms": 3}), "terms: 3 do not share 4 bits.*use 1, 2, 4"),
        (LayerPress(2, quantizer="kmeans", quantizer_options={"entropy": -1.0}), "entropy: must be at least 0"),
        (
            LayerPress(2, quantizer="kmeans", quantizer_options={"entropy": 1.0, "hessian": 5}),
            "entropy: goes without hessian",
        ),
        (LayerPress(4, quantizer="inq", quantizer_options={"steps": 0}), "steps: 0 is out of range"),
        (LayerPress(4, quantizer="lsq", quantizer_options={"per_row": True}), "lsq: unknown option.*takes no options"),
    ],
)
def test_what_would_do_nothing_is_refused(press, words):
    with pytest.raises(UserError, match=words) as error:
        quantizer_of(press)
    assert "\n" not in str(error.value)
