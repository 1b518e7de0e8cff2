"""Gradients of workers, through DistributedDataParallel: means, what is left out, what is kept for the next step."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from worker_processes import call_as

from frenchpress.compress.traffic import make_traffic, multi_step, top_k

METHODS = {
    "whole": None,
    "fp16": "fp16",
    "top_k": {"method": "top_k", "ratio": "1/8"},
    "multi_step": {"method": "multi_step", "ratio": "1/4", "partitions": 4, "bits": 3},
    "coarse": {"method": "multi_step", "ratio": 1, "partitions": 1, "bits": 1, "feedback": False},
    "qsgd": {"method": "qsgd", "levels": 3, "bucket": 32},
    "power_sgd": {"method": "power_sgd", "rank": 2, "start": 2},
}
STEPS, SHAPE = 6, (24, 16)


class Given(nn.Module):
    """Its weight has the gradient that it is called with."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SHAPE))

    def forward(self, grad):
        return (self.weight * grad).sum()


def gradient(step, rank):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(100 * step + rank))


def exchange(again_after=None):
    """Of each method: mean gradients of the steps, what was sent in each, and what is kept at the end.

    `again_after`: so many steps, from there on a new wrapper goes on from what the first one kept.
    """
    return {name: _exchange(said, again_after) for name, said in METHODS.items()}


def _exchange(said, again_after):
    means, sizes, kept = [], [], None
    for step in range(STEPS):
        if step in (0, again_after):
            model = DistributedDataParallel(Given(), find_unused_parameters=True)
            traffic = make_traffic(said, seed=3)
            model.register_comm_hook(None, traffic.hook)
            if kept is not None:
                traffic.load_state_dict(kept)
        model.zero_grad()
        model(gradient(step, dist.get_rank())).backward()
        means.append(model.module.weight.grad.clone())
        sizes.append(traffic.take())
        kept = copy.deepcopy(traffic.state_dict())
    return means, sizes, kept


@pytest.fixture(scope="module")
def exchanged():
    return call_as(3, exchange)


def expected(step):
    return torch.stack([gradient(step, rank) for rank in range(3)]).mean(0)


def same(one, other):
    """Of trees of plain values and tensors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("name", METHODS)
def test_all_workers_have_the_same_to_the_bit(exchanged, name):
    means, *others = [answers[name][0] for answers in exchanged]
    assert all(same(means, other) for other in others)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_goes_on_has_the_same_to_the_bit(exchanged, name, again):
    assert all(same(one[name], other[name]) for one, other in zip(exchanged, again))


@pytest.fixture(scope="module")
def again():
    return call_as(3, exchange, 4)


def test_what_is_sent_whole_is_the_mean(exchanged):
    found = {name: answer[0] for name, answer in exchanged[0].items()}
    for step in range(STEPS):
        torch.testing.assert_close(found["whole"][step], expected(step))
        torch.testing.assert_close(found["fp16"][step], expected(step), rtol=0.01, atol=0.01)
    for step in range(2):
        torch.testing.assert_close(found["power_sgd"][step], expected(step))


def test_top_k_adds_what_it_did_not_send(exchanged):
    left = [torch.zeros(SHAPE)] * 3
    for step, mean in enumerate(exchanged[0]["top_k"][0]):
        whole = [gradient(step, rank) + left[rank] for rank in range(3)]
        sent = [top_k(x, 1 / 8).decoded for x in whole]
        left = [x - s for x, s in zip(whole, sent)]
        torch.testing.assert_close(mean, torch.stack(sent).mean(0))


def test_without_feedback_each_step_is_alone(exchanged):
    for step, mean in enumerate(exchanged[0]["coarse"][0]):
        sent = [multi_step(gradient(step, rank), 1, 1, 1).decoded for rank in range(3)]
        torch.testing.assert_close(mean, torch.stack(sent).mean(0))
    assert exchanged[0]["coarse"][2]["left"] == {}


@pytest.mark.parametrize(("name", "key"), [("top_k", "left"), ("multi_step", "left"), ("power_sgd", "error_dict")])
def test_with_feedback_nothing_is_lost(exchanged, name, key):
    kept = torch.stack([answers[name][2][key][0].view(SHAPE) for answers in exchanged]).mean(0)
    count, own = exchanged[1][name][1][-1], exchanged[1][name][2][key][0]
    assert count.missed == pytest.approx(float(own.square().sum())) and count.missed < count.whole
    arrived = torch.stack(exchanged[0][name][0]).sum(0)
    whole = torch.stack([expected(step) for step in range(STEPS)]).sum(0)
    torch.testing.assert_close(arrived + kept, whole, rtol=1e-5, atol=1e-5)
    assert kept.norm() > 0.1


def test_workers_draw_numbers_of_their_own(exchanged):
    states = [answers["qsgd"][2]["random"] for answers in exchanged]
    assert not torch.equal(states[0], states[1])


def test_bytes_by_hand(exchanged):
    count = SHAPE[0] * SHAPE[1]
    sizes = {name: [count.bytes for count in answer[1]] for name, answer in exchanged[0].items()}
    ring = 2 * 2 / 3
    x = gradient(0, 0)
    expected_sizes = {
        "whole": count * 4 * ring,
        "fp16": count * 2 * ring,
        "top_k": 2 * top_k(x, 1 / 8).bytes,
        "multi_step": 2 * multi_step(x, 1 / 4, 4, 3).bytes,
        "coarse": 2 * (count // 8 + 8),
        "qsgd": 2 * (count * 3 // 8 + count // 32 * 4),
    }
    for name, size in expected_sizes.items():
        assert sizes[name] == [pytest.approx(size)] * STEPS
    thin = (SHAPE[0] + SHAPE[1]) * 2 * 4 * ring
    assert sizes["power_sgd"] == pytest.approx([count * 4 * ring] * 2 + [thin] * 4)
