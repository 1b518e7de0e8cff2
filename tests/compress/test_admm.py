"""ADMM: its steps against plain arithmetic, what it does to weights, and what is refused."""

import pytest
import torch
from torch import nn

import frenchpress.compress as fp
from frenchpress.common import UserError
from frenchpress.compress.admm import Admm

BLOCKS = {"rho": 0.5, "mask": {"method": "block", "block": 2, "keep": "1/4"}}


def plain_blocks(weight):
    """The quarter of the 2 x 2 blocks with the largest mean magnitudes, the others zero."""
    kept = torch.zeros_like(weight)
    places = [(r, c) for r in range(0, weight.shape[0], 2) for c in range(0, weight.shape[1], 2)]
    places.sort(key=lambda at: -weight[at[0] : at[0] + 2, at[1] : at[1] + 2].abs().mean())
    for r, c in places[: len(places) // 4]:
        kept[r : r + 2, c : c + 2] = weight[r : r + 2, c : c + 2]
    return kept


def test_targets_and_memory_follow_the_formulas():
    torch.manual_seed(0)
    admm, generator = Admm(BLOCKS, (4, 8), 1), torch.Generator()
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    admm.update(first, generator)
    z = plain_blocks(first)
    torch.testing.assert_close(admm.state, torch.stack([z, torch.zeros(4, 8)]))
    admm.update(second, generator)
    z = plain_blocks(second)
    u = second - z
    torch.testing.assert_close(admm.state, torch.stack([z, u]))
    admm.update(first, generator)
    z = plain_blocks(first + u)
    torch.testing.assert_close(admm.state, torch.stack([z, u + first - z]))
    weight = torch.randn(4, 8, requires_grad=True)
    penalty = admm.penalty(weight)
    penalty.backward()
    torch.testing.assert_close(penalty, 0.25 * (weight - z + u + first - z).square().sum())
    torch.testing.assert_close(weight.grad, 0.5 * (weight.detach() - z + u + first - z))


def test_of_bits_and_structure_the_target_has_both():
    said = {"weight_bits": 2, "mask": {"method": "row", "keep": "1/2"}}
    weight = torch.randn(8, 6)
    target = Admm(said, (8, 6), 2).project(weight, torch.Generator())
    assert (target.abs().sum(1) > 0).sum() == 4 and max(len(row.unique()) for row in target) == 3
    assert torch.equal(target.abs().sum(1)[:4] > 0, target.abs().sum(1)[4:] > 0)  # gates share rows


@pytest.mark.parametrize("said", [{"weight_bits": 2, "quantizer": "kmeans"}, {"weight_bits": 3, "quantizer": "lsq"}])
def test_a_target_goes_by_the_weights_at_hand_alone(said):
    one, other, generator = Admm(said, (8, 6), 1), Admm(said, (8, 6), 1), torch.Generator()
    weight = torch.randn(8, 6)
    one.project(torch.randn(8, 6), generator)
    assert torch.equal(one.project(weight, generator), other.project(weight, generator))


def trained(press):
    """A small regression; the float weight that comes out."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    y = x @ torch.randn(8, 8) + 0.1 * torch.randn(256, 8)
    net = fp.press(nn.Sequential(nn.Linear(8, 8, bias=False)), {"0": press})
    schedule, optimizer = fp.schedule(net), torch.optim.SGD(net.parameters(), 0.4)
    for epoch in range(80):
        for step in range(5):
            schedule.before_step(epoch, step, 5)
            penalty = schedule.penalty()
            loss = (net(x) - y).square().mean()
            optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
    return fp.pressed_tensors(net)[0].matrix.detach()


@pytest.mark.parametrize("target", [BLOCKS | {"rho": 1.0}, {"rho": 1.0, "weight_bits": 2, "quantizer": "ternary"}])
def test_weights_come_to_what_they_are_pulled_towards(target):
    def distance(weight):
        pressed = Admm(target, (8, 8), 1).project(weight, torch.Generator())
        return float((weight - pressed).norm() / weight.norm())

    assert distance(trained(fp.Press(admm=target))) < 0.3 * distance(trained(fp.Press()))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "admm: pulls towards nothing; say weight_bits, or a mask, or both"),
        ({"weight_bits": 4, "rho": 0.0}, "admm: rho: 0.0 is out of range"),
        ({"weight_bits": 4, "roh": 1.0}, "admm: unknown option 'roh', did you mean 'rho'"),
        ({"weight_bits": 4, "every": "week"}, "admm: every: 'week' is no interval"),
        ({"mask": {"method": "row", "keep": "1/2", "after_epoch": 1}}, "admm: mask: after_epoch: it is chosen with"),
        ({"mask": {"method": "row", "keep": "1/2", "score": "gained"}}, "admm: mask: score: would do nothing"),
        ({"mask": {"method": "row", "keep": "1/2", "lasso": 0.1}}, "admm: mask: lasso: would do nothing"),
        ({"mask": {"method": "hcgs", "blocks": [2], "keep": [0.5]}}, "admm: mask: hcgs: does not go by the weights"),
        ({"mask": {"method": "block", "block": 9, "keep": "1/2"}}, "admm: mask: block: .*larger than the matrix"),
        ({"weight_bits": 4, "quantizer": "ternary"}, "admm: weight_bits: 4: quantizer ternary takes 2 bits"),
    ],
)
def test_what_cannot_be_is_one_clear_line(said, words):
    net = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(UserError, match=words) as error:
        fp.schedule(fp.press(net, {"0": fp.Press(admm=said)}))
    assert "\n" not in str(error.value)
