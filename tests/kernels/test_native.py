"""The compiled kernels against plain float64 torch: values and gradients over random shapes, masks and rounding."""

import pytest
import torch

from frenchpress.kernels import native

pytestmark = pytest.mark.skipif(native.library() is None, reason="the compiled kernels were not built")

LAYOUTS = [native.Tiles, native.Singles]
CASES = [(1, 1, 4, 3), (5, 1, 6, 7), (9, 2, 8, 5), (13, 1, 34, 20)]  # steps, groups, cells, inputs


def random_mask(rows, columns, density, generator):
    return torch.rand(rows, columns, generator=generator) < density


def reference(pre, gain, bias, weight, rounding):
    """Outputs by a loop over time steps, autograd's gradients, straight-through rounding."""
    steps, groups, rows, lanes = pre.shape
    cells = rows // 4
    hidden = cell = pre.new_zeros(groups, cells, lanes)
    out = []
    for t in range(steps):
        gates = pre[t] * gain[:, None] + bias[:, None] + weight @ hidden
        i, f, z, o = gates.view(groups, 4, cells, lanes).unbind(1)
        cell = f.sigmoid() * cell + i.sigmoid() * z.tanh()
        hidden = o.sigmoid() * cell.tanh()
        if rounding.step:
            rounded = (hidden / rounding.step).round().clamp(rounding.low, rounding.high) * rounding.step
            hidden = hidden + (rounded - hidden).detach()
        out.append(hidden)
    return torch.stack(out)


def normalise(pre, mask):
    count = mask.sum()
    mean = (pre * mask[:, :, None]).sum((0, 1, 3)) / count
    var = ((pre - mean[:, None]).square() * mask[:, :, None]).sum((0, 1, 3)) / count
    return (pre - mean[:, None]) / (var[:, None] + 1e-5).sqrt()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize(("steps", "groups", "cells", "inputs"), [*CASES, (35, 1, 8, 1100)])
def test_product(steps, groups, cells, inputs, density, layout):
    generator = torch.Generator().manual_seed(steps)
    mask = random_mask(4 * cells, inputs, density, generator)
    tiles = layout(mask)
    weight = (torch.randn(4 * cells, inputs, generator=generator) * mask).requires_grad_()
    x = torch.randn(steps * groups, inputs, 8, generator=generator, requires_grad=True)
    upstream = torch.randn(steps * groups, 4 * cells, 8, generator=generator)
    y = native.KeptProduct.apply(x, tiles.pack(weight), tiles)
    got = torch.autograd.grad(y, (x, weight), upstream)
    x64, weight64 = (v.detach().double().requires_grad_() for v in (x, weight))
    y64 = weight64 @ x64
    wanted = torch.autograd.grad(y64, (x64, weight64), upstream.double())
    torch.testing.assert_close(y.double(), y64, rtol=1e-5, atol=1e-5 + 1e-7 * inputs)
    torch.testing.assert_close(got[0].double(), wanted[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got[1].double() * mask, wanted[1] * mask, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("gates", [1, 4])
@pytest.mark.parametrize(("rows", "inputs", "density"), [(4, 3, 1.0), (8, 5, 0.5), (36, 40, 0.1), (52, 17, 0.3)])
def test_product_of_rows_that_fill_no_tile(rows, inputs, density, gates):
    generator = torch.Generator().manual_seed(rows)
    mask = random_mask(rows, inputs, density, generator)
    tiles = native.Tiles(mask, gates)
    weight = torch.randn(rows, inputs, generator=generator) * mask
    x = torch.randn(7, inputs, 8, generator=generator, requires_grad=True)
    upstream = torch.randn(7, rows, 8, generator=generator)
    values = tiles.pack(weight).requires_grad_()
    y = native.KeptProduct.apply(x, values, tiles)
    dx, dvalues = torch.autograd.grad(y, (x, values), upstream)
    torch.testing.assert_close(y, weight @ x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dx, weight.t() @ upstream, rtol=1e-5, atol=1e-5)
    wanted = tiles.pack(torch.einsum("nrl,nil->ri", upstream, x.detach()))
    torch.testing.assert_close(dvalues * (tiles.gather < mask.numel()), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rmsprop_is_that_of_torch(size):
    generator = torch.Generator().manual_seed(size)
    plain = torch.randn(size, generator=generator).requires_grad_()
    ours, square = plain.detach().clone(), torch.zeros(size)
    optimizer = torch.optim.RMSprop([plain], lr=0.01, alpha=0.9, eps=1e-8)
    for _ in range(5):
        plain.grad = torch.randn(size, generator=generator) * (torch.rand(size, generator=generator) < 0.7)
        optimizer.step()
        native.rmsprop_step(ours, plain.grad, square, 0.01, 0.9, 1e-8)
        torch.testing.assert_close(ours, plain.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(square, optimizer.state[plain]["square_avg"], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("bits", [0, 8])
@pytest.mark.parametrize(("steps", "groups", "cells", "inputs"), CASES)
def test_recurrence(steps, groups, cells, inputs, bits, normed, layout):
    generator = torch.Generator().manual_seed(steps + bits)
    weight_mask = random_mask(4 * cells, cells, 0.5, generator)
    tiles = layout(weight_mask)
    lengths = torch.randint(1, steps + 1, (groups, 8), generator=generator)
    mask = (torch.arange(steps)[:, None, None] < lengths).float()
    rounding = native.Rounding(2.0 ** (1 - bits), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    rounding = rounding if bits else native.Rounding()
    rand = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    inputs32 = [
        rand(steps, groups, 4 * cells, 8),
        rand(4 * cells) * 0.2 + 1,
        rand(4 * cells),
        rand(4 * cells, cells) * weight_mask / cells**0.5,
    ]
    upstream = rand(steps, groups, cells, 8) * mask[:, :, None]

    leaves = [v.clone().requires_grad_() for v in inputs32]
    norm = None
    if normed:
        count = float(mask.sum())
        mean, var = native.norm_stats(leaves[0].detach().view(-1, 4 * cells, 8), mask.view(-1, 8), count)
        norm = (mean, (var + 1e-5).rsqrt(), mask, count)
    out = native.Recurrence.apply(*leaves[:3], tiles.pack(leaves[3]), tiles, rounding, norm)
    got = torch.autograd.grad(out, leaves, upstream)

    wide = [v.double().requires_grad_() for v in inputs32]
    pre = normalise(wide[0], mask.double()) if normed else wide[0]
    out64 = reference(pre, *wide[1:], rounding)
    wanted = torch.autograd.grad(out64, wide, upstream.double())
    step = 1.01 * rounding.step if bits else 1e-5  # a value on the edge may round to either side
    real = mask[:, :, None].bool().expand_as(out)
    torch.testing.assert_close(out.double()[real], out64[real], rtol=0, atol=step)
    if bits == 0:
        for name, a, b in zip(("pre", "gain", "bias", "weight"), got, wanted):
            if name == "weight":
                a, b = a * weight_mask, b * weight_mask
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_single_weights_and_change_nothing(threads):
    generator = torch.Generator().manual_seed(3)
    mask = random_mask(72, 18, 0.3, generator)
    mask[:18], mask[20] = False, True  # no gate i keeps anything, and one row all
    layout = native.Singles(mask)
    pre = torch.randn(37, 1, 72, 8, generator=generator, requires_grad=True)
    values = layout.pack(torch.randn(72, 18, generator=generator)).requires_grad_()
    before, results = torch.get_num_threads(), []
    for count in (1, threads, threads):
        torch.set_num_threads(count)
        out = native.Recurrence.apply(pre, torch.ones(72), torch.zeros(72), values, layout, native.Rounding(), None)
        y = native.KeptProduct.apply(out.flatten(0, 1), values, layout)
        results.append((y.detach(), *torch.autograd.grad(out.square().sum() + y.square().sum(), (pre, values))))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_bits_every_time(layout):
    generator = torch.Generator().manual_seed(1)
    tiles = layout(torch.ones(64, 16, dtype=torch.bool))
    pre = torch.randn(50, 1, 64, 8, generator=generator, requires_grad=True)
    values = tiles.pack(torch.randn(64, 16, generator=generator)).requires_grad_()
    ones, zeros = torch.ones(64), torch.zeros(64)

    def once():
        out = native.Recurrence.apply(pre, ones, zeros, values, tiles, native.Rounding(), None)
        return torch.autograd.grad(out.square().sum(), (pre, values))

    first = once()
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, once()))


def test_a_nan_is_not_swallowed_by_rounding():
    tiles = native.Tiles(torch.ones(16, 4, dtype=torch.bool))
    pre = torch.full((2, 1, 16, 8), float("nan"))
    values = tiles.pack(torch.zeros(16, 4))
    rounding = native.Rounding(1 / 128, -128.0, 127.0)
    out = native.Recurrence.apply(pre, torch.ones(16), torch.zeros(16), values, tiles, rounding, None)
    assert out.isnan().all()
