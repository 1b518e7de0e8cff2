"""What is sent between devices: the schemes against plain loops, their bytes by hand, their gradients."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from frenchpress.common import UserError
from frenchpress.compress.sparsity.base import keep_largest
from frenchpress.compress.traffic import Link, MultiStep, TopGradient, make_link, multi_step, qsgd, top_k
from frenchpress.compress.traffic.compressors import elias_length, largest_of, round_sorted


def plain_round_sorted(values, partitions, bits):
    """As the scheme is told: sort, cut, round each part, put back."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    parts, result = min(partitions, len(values)), [0.0] * len(values)
    for p in range(parts):
        part = order[p * len(values) // parts : (p + 1) * len(values) // parts]
        low, high = values[part[-1]], values[part[0]]
        for i in part:
            step = (high - low) / (2**bits - 1)
            result[i] = low + step * round((values[i] - low) / step) if step else low
    return result


@pytest.mark.parametrize("grid", [None, 0.5, 100])
@pytest.mark.parametrize(("partitions", "bits"), [(1, 1), (3, 2), (4, 4), (1000, 3)])
def test_sorted_parts_are_rounded_as_told(partitions, bits, grid):
    """On a coarse `grid` equals lie in two parts and more."""
    values = torch.randn(101, generator=torch.Generator().manual_seed(1))
    values = values if grid is None else (values / grid).round() * grid
    plain = torch.tensor(plain_round_sorted(values.tolist(), partitions, bits))
    torch.testing.assert_close(round_sorted(values, partitions, bits), plain)


def test_multi_step_by_hand():
    x = torch.tensor([[0.1, -4.0, 2.0], [3.0, -0.2, 1.4], [-1.0, 0.0, 5.0]])
    # Kept 6: 5, 3, 2 | 1.4, -1, -4. One bit: the ends of each part.
    bytes_sent, decoded = multi_step(x, 6 / 9, partitions=2, bits=1)
    assert decoded.tolist() == [[0, -4, 2], [2, 0, pytest.approx(1.4)], [pytest.approx(1.4), 0, 5]]
    # Bitmap 9, part 6 x 1, level 6 x 1, ends 2 x 64.
    assert bytes_sent == math.ceil((9 + 6 + 6 + 128) / 8)
    # One of 1024: its place, 10 bits, beats the bitmap.
    assert multi_step(torch.randn(1024), 1 / 1024, 8, 4).bytes == math.ceil((10 + 4 + 64) / 8)


def test_what_is_kept_and_how_far_off_it_is():
    x = torch.randn(4, 500)
    decoded = multi_step(x, 0.25, 8, 6).decoded
    kept = decoded != 0
    assert kept.sum() == 500 and x[~kept].abs().max() <= x[kept].abs().min()
    coarse = [(x - multi_step(x, 1.0, 8, bits).decoded).abs().max() for bits in (2, 4, 8)]
    assert coarse[0] > coarse[1] > coarse[2]
    whole = multi_step(x, 1.0, 2000, 1)  # a part for each number
    assert torch.equal(whole.decoded, x)


@pytest.mark.parametrize("ratio", [0.001, 0.3, 0.5, 1])
def test_the_first_of_equals_are_kept(ratio):
    x = torch.randn(37, 20, generator=torch.Generator().manual_seed(4)).mul(4).round()
    x[3, 5], x[7] = torch.inf, 0
    plain = keep_largest(x.abs().flatten(), math.floor(ratio * 740 + 0.5)).view(37, 20)
    assert torch.equal(largest_of(x, ratio), plain)
    x[3, 6] = -torch.nan
    assert largest_of(x, ratio)[3, 6] or ratio == 0.001


def test_the_gradient_goes_the_same_way_back():
    layer = MultiStep(0.5, 2, 2)
    x = torch.randn(6, 10, requires_grad=True)
    grad = torch.randn(6, 10)
    grad[0] = 0
    out = layer(x)
    out.backward(grad)
    kept = (out != 0) & (grad != 0)
    assert torch.equal(x.grad != 0, kept)
    plain = torch.tensor(plain_round_sorted(grad[kept].tolist(), 2, 2))
    torch.testing.assert_close(x.grad[kept], plain)
    count = int(kept.sum())
    zeros = 30 if count < 30 else 0  # of the 30 that were sent, which have a gradient
    assert layer.backward_bytes == math.ceil((zeros + count + 2 * count + 128) / 8) < layer.forward_bytes


def through(link):
    """What a link makes of an output and of its gradient, with both, and what whoever watches is told."""
    told, x, grad = [], torch.randn(6, 10, requires_grad=True), torch.randn(6, 10)
    link.watch = lambda way, given, sent: told.append((way, given, sent))
    out = link(x)
    out.backward(grad)
    assert [way for way, *_ in told] == ["forward", "backward"]
    assert torch.equal(told[0][1], x) and torch.equal(told[0][2].decoded, out)
    assert torch.equal(told[1][1], grad) and torch.equal(told[1][2].decoded, x.grad)
    assert [sent.bytes for *_, sent in told] == [link.forward_bytes, link.backward_bytes]
    return x.detach(), out.detach(), grad, x.grad


def test_links_send_outputs_and_gradients():
    link = Link()
    x, out, grad, back = through(link)
    assert torch.equal(out, x) and torch.equal(back, grad) and link.forward_bytes == link.backward_bytes == 4 * 60
    link = make_link({"method": "top_k", "ratio": "1/4"})
    x, out, grad, back = through(link)
    assert torch.equal(out, top_k(x, 0.25).decoded) and torch.equal(back, grad * (out != 0))
    assert link.forward_bytes == top_k(x, 0.25).bytes and link.backward_bytes == 4 * 15
    torch.manual_seed(3)
    x, out, grad, back = through(make_link({"method": "qsgd", "levels": 3, "bucket": None}))
    assert (out != x).any() and (back != grad).any() and (out * x >= 0).all() and (back * grad >= 0).all()
    assert isinstance(make_link({"method": "multi_step", "ratio": 1, "partitions": 2, "bits": 4}), MultiStep)


def test_a_net_learns_through_it():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), MultiStep(0.25, 4, 4), nn.Linear(32, 1))
    x = torch.randn(64, 8)
    target, optimizer = x[:, :1] * x[:, 1:2], torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    for _ in range(150):
        loss = (net(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_qsgd_is_unbiased_within_its_bound():
    x = torch.randn(3, 100, generator=torch.Generator().manual_seed(2))
    generator, levels = torch.Generator().manual_seed(3), 4
    draws = torch.stack([qsgd(x, levels, 300, generator).decoded for _ in range(2000)])
    variance = (draws - x).square().sum((1, 2)).mean()
    assert variance <= min(300 / levels**2, 300**0.5 / levels) * x.square().sum()  # lemma 3.1
    assert (draws.mean(0) - x).abs().max() < 5 * draws.std(0).max() / 2000**0.5
    steps = draws[0] * levels / x.norm()
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)


def test_qsgd_bytes_by_hand():
    assert elias_length(torch.arange(1, 18)).tolist() == [1, 3, 3, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 11, 11]
    x = torch.zeros(100)
    x[9] = -2.0  # alone in its bucket: always at the top level
    sent = qsgd(x, 1, 50)
    assert torch.equal(sent.decoded, x)
    # Two norms; distance 10, level 1, sign; the numbers of those that are not zero, 1 and 0, plus one.
    assert sent.bytes == math.ceil((2 * 32 + 7 + 1 + 1 + 3 + 1) / 8)
    full = qsgd(torch.ones(64), 16, 64)  # each at level 2: the code of 3, and a sign
    assert full.bytes == math.ceil((32 + 64 * 4) / 8)
    assert qsgd(torch.zeros(8), 4).decoded.abs().max() == 0


def test_top_k_by_hand():
    sent = top_k(torch.tensor([1.0, -3.0, 2.0, 0.5]), 0.5)
    assert sent.decoded.tolist() == [0, -3, 2, 0] and sent.bytes == math.ceil((2 * 32 + 4) / 8)
    assert top_k(torch.ones(4), 1.0).bytes == 16


def test_meprop_keeps_the_largest_gradients_of_each_vector():
    x = torch.zeros(2, 4, requires_grad=True)
    y = TopGradient(0.5)(x)
    y.backward(torch.tensor([[1.0, -2.0, 3.0, 0.0], [0.1, 0.2, -0.3, 0.4]]))
    assert torch.equal(y, x)
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, -2.0, 3.0, 0.0], [0.0, 0.0, -0.3, 0.4]]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiStep(0.0, 2, 2), "ratio: 0.0 is out of range"),
        (lambda: MultiStep(0.5, 0, 2), "partitions: 0"),
        (lambda: multi_step(torch.ones(3), 0.5, 1, 17), "bits: 17 is out of range; it must be 1 to 16"),
        (lambda: qsgd(torch.ones(3), 0), "levels: 0"),
        (lambda: qsgd(torch.ones(3), 1, 0), "bucket: 0"),
        (lambda: top_k(torch.ones(3), 1.5), "ratio: 1.5"),
        (lambda: TopGradient(2.0), "keep: 2.0"),
    ],
)
def test_options_out_of_range_are_one_clear_line(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_the_table_of_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs/traffic.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+\(x.*\))` \| (\d+) \| (0\.\d+) \|$", page, re.M)
    assert len(rows) == 5
    x = torch.randn(8, 512, generator=torch.Generator().manual_seed(1))
    names = {"x": x, "top_k": top_k, "multi_step": multi_step}
    names["qsgd"] = lambda *args: qsgd(*args, generator=torch.Generator().manual_seed(1))
    for call, count, error in rows:
        sent = eval(call, names)  # the page is ours
        assert sent.bytes == int(count)
        assert float((x - sent.decoded).norm() / x.norm()) == pytest.approx(float(error), abs=6e-4)


def test_the_table_of_signs_of_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs/traffic.md").read_text("utf-8")
    rows = re.findall(r"^\| `multi_step\(y, (\d), (\d), (\d+)\)` \| ([\d.]+) % \| ([\d.]+) \|$", page, re.M)
    assert len(rows) == 9
    y = torch.randn(100_000, generator=torch.Generator().manual_seed(1)) ** 5
    for ratio, partitions, bits, wrong, push in rows:
        decoded = multi_step(y, float(ratio), int(partitions), int(bits)).decoded
        signs = 100 * (decoded.sign() != y.sign()).float().mean()
        assert float(signs) == pytest.approx(float(wrong), abs=0.06)
        assert float((decoded - y).mean() / y.abs().mean()) == pytest.approx(float(push), abs=6e-4)
