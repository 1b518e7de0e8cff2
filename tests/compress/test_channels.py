"""Convolutions: which structure prunes filters, channels, kernels and patterns; channels that are taken out."""

from itertools import combinations

import pytest
import torch
from torch import nn

import frenchpress.compress as fp
from frenchpress.common import UserError
from frenchpress.compress.channels import (
    Channels,
    inputs_of,
    keep_channels,
    largest_scales,
    refit,
    scale_penalty,
    thinet,
)

FIRST, SECOND = Channels("0", "3", "1"), Channels("3", "6")


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 4),
    ).eval()  # fmt: skip


def kernels_of(mask):
    """What a mask keeps of the second convolution: by filters, by channels, weights of each kernel."""
    kept = {"3": fp.Press(mask={**mask, "after_epoch": 0})}
    model = fp.press(net(), kept)
    fp.schedule(model).before_step(0, 0, 1)
    there = model[3].weight != 0
    return there.flatten(1).any(1), there.flatten(2).any(2).any(0), there.flatten(2).sum(2)


def test_structures_of_convolutions_are_masks_of_the_matrix():
    filters, _, _ = kernels_of({"method": "row", "keep": "1/2"})
    assert filters.sum() == 3
    _, channels, counts = kernels_of({"method": "block", "block": [6, 9], "keep": "1/2"})
    assert channels.sum() == 4 and set(counts.unique().tolist()) == {0, 9}
    _, _, counts = kernels_of({"method": "block", "block": [1, 9], "keep": "1/4"})  # connectivity
    assert (counts == 9).sum() == 12 and (counts == 0).sum() == 36
    _, _, counts = kernels_of({"method": "pattern", "block": [1, 9], "nonzeros": 4, "count": 8, "dictionary": "search"})
    assert (counts == 4).all()


def test_channels_that_are_zero_are_taken_out_and_nothing_changes():
    model, x = net(), torch.randn(2, 3, 9, 9)
    first, second = torch.arange(8) % 2 == 0, torch.arange(6) < 4
    with torch.no_grad():
        model[1].weight[~first], model[1].bias[~first] = 0, 0
        model[3].weight[~second], model[3].bias[~second] = 0, 0
    before = model(x)
    keep_channels(model, FIRST, first)
    keep_channels(model, SECOND, second)
    assert model[3].weight.shape == (4, 4, 3, 3) and model[6].in_features == 36 and model[1].num_features == 4
    torch.testing.assert_close(model(x), before)
    model.train()(x).sum().backward()
    assert model[0].weight.grad.shape == (4, 3, 3, 3)


def test_slimming_goes_by_the_gains_of_all_layers():
    model = net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.1, -3.0, 0.2, 1.0, 0.0, 2.0, 0.3, 0.4]))
    assert float(scale_penalty(model).detach()) == pytest.approx(7.0)
    (kept,) = largest_scales(model, [FIRST], "3/8")
    assert kept.nonzero().squeeze(1).tolist() == [1, 3, 5]
    model[1].weight.data.zero_()
    both = largest_scales(nn.Sequential(*model, nn.BatchNorm1d(4)), [FIRST, Channels("6", "6", "7")], "1/3")
    assert [int(kept.sum()) for kept in both] == [1, 4]


def test_thinet_finds_what_the_outputs_need_least():
    torch.manual_seed(1)
    x, layer = torch.randn(4, 5, 6, 6), nn.Conv2d(5, 7, 3, padding=1)
    inputs, weight = inputs_of(x, layer), layer.weight.flatten(2)
    whole = torch.einsum("nck,ock->no", inputs, weight)
    torch.testing.assert_close(whole, (layer(x) - layer.bias.view(-1, 1, 1)).flatten(2).transpose(1, 2).flatten(0, 1))

    def error(kept, weight):
        return (torch.einsum("nck,ock->no", inputs[:, kept], weight) - whole).square().sum().item()

    kept = thinet(inputs, weight, 4)
    best = min(combinations(range(5), 4), key=lambda c: error(list(c), weight[:, list(c)]))
    assert kept.nonzero().squeeze(1).tolist() == list(best)
    kept = thinet(inputs, weight, 2)
    fitted = refit(inputs, weight, kept)
    assert kept.sum() == 2 and fitted.shape == (7, 2, 9) and error(kept, fitted) < error(kept, weight[:, kept])
    # A channel that repeats another one is not needed at all.
    twice = inputs.clone()
    twice[:, 4] = twice[:, 0]
    kept = torch.tensor([True, True, True, True, False])
    repaired = torch.einsum("nck,ock->no", twice[:, kept], refit(twice, weight, kept))
    torch.testing.assert_close(repaired, torch.einsum("nck,ock->no", twice, weight), atol=1e-3, rtol=1e-3)
    assert inputs_of(torch.randn(3, 4, 10), nn.Linear(10, 2)).shape == (12, 10, 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scale_penalty(nn.Linear(2, 2)), "no batch norm with a gain"),
        (lambda: largest_scales(net(), [SECOND], 0.5), "3: no batch norm was named"),
        (lambda: keep_channels(net(), FIRST, torch.ones(7, dtype=torch.bool)), "7 channels, 7 kept, do not fit 0 with"),
        (lambda: keep_channels(net(), Channels("1", "3"), torch.ones(8) > 0), "1: BatchNorm2d.* is no linear layer"),
        (lambda: thinet(torch.ones(1, 3, 1), torch.ones(2, 3, 1), 4), "thinet: 4 is out of range; it must be 1 to 3"),
        (lambda: inputs_of(torch.ones(1, 3), nn.ReLU()), "is no linear layer or two-dimensional convolution"),
    ],
)
def test_what_cannot_be_is_one_clear_line(call, words):
    with pytest.raises(UserError, match=words):
        call()
