"""Factors of low rank: the best ones, their rank by energy, and layers of torch models in two."""

import pytest
import torch
from torch import nn

import frenchpress.compress as fp
from frenchpress.common import UserError


def of_rank(rows, columns, values):
    """A matrix with these singular values."""
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.linalg.qr(torch.randn(n, len(values), generator=generator))[0] for n in (rows, columns))
    return u @ torch.diag(torch.tensor(values)) @ v.t()


def test_factors_are_the_best_of_their_rank():
    weight = of_rank(12, 7, [4.0, 2.0, 1.0, 0.5])
    left, right = fp.low_rank(weight, 2)
    assert left.shape == (12, 2) and right.shape == (2, 7)
    assert float((weight - left @ right).square().sum()) == pytest.approx(1.0 + 0.25, rel=1e-4)  # Eckart and Young
    whole = fp.low_rank(weight, 4)
    torch.testing.assert_close(whole[0] @ whole[1], weight)


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.75, 1), (0.76, 2), (0.95, 3), (1.0, 4)])
def test_rank_by_energy_by_hand(energy, rank):
    # Squares 16, 4, 1, 0.25 of 21.25: 0.753, 0.941, 0.988, 1.
    assert fp.rank_of_energy(of_rank(12, 7, [4.0, 2.0, 1.0, 0.5]).double(), energy) == rank


def test_a_weight_of_two_factors_is_pressed_and_counted_as_such():
    weight = fp.FactoredWeight((16, 8), fp.Factors(keep="1/2"), fp.Press(weight_bits=8), gates=4)
    assert weight.rank == 2  # 64 of 128 weights would be 2.67
    weight.take(torch.randn(16, 8))
    assert len(weight.left().unique()) <= 255 and torch.equal(weight(), weight.left() @ weight.right())
    weight().square().sum().backward()
    assert weight.left.weight.grad.abs().sum() > 0 and weight.right.weight.grad.abs().sum() > 0
    model = nn.ModuleDict({"w": weight})
    size = fp.size_report(model)
    assert size["kept"] == size["macs_kept"] == 2 * (16 + 8) and size["macs_dense"] == 128
    assert [m["name"] for m in size["matrices"]] == ["w.left", "w.right"]
    assert size["dense_bytes"] == 4 * 128 and size["weight_ratio"] == pytest.approx(128 / 48)


def test_a_random_start_keeps_its_norm():
    weight = fp.FactoredWeight((32, 8), fp.Factors(rank=2), fp.Press())
    start = torch.randn(32, 8)
    weight.start(start)
    assert float(weight().detach().norm()) == pytest.approx(float(start.norm()), rel=1e-4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.Linear(16 * 16, 64), nn.ReLU(), nn.Linear(64, 10, bias=False))

    def forward(self, x):
        return self.deep(self.conv(x).relu().flatten(1))


def test_layers_become_two_and_with_all_the_energy_say_the_same():
    torch.manual_seed(0)
    net, x = Net(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        net.deep[0].weight.copy_(of_rank(64, 256, [3.0, 2.0, 1.0]))
        net.conv.weight.copy_(of_rank(16, 27, [2.0, 1.0]).view(16, 3, 3, 3))
        net.deep[2].weight.copy_(of_rank(10, 64, [1.0, 1.0]))
    before = net(x)
    fp.factorize(net, {"conv": 2, "deep.*": 0.9999999})
    assert net.conv[0].weight.shape == (2, 3, 3, 3) and net.conv[1].weight.shape == (16, 2, 1, 1)
    assert net.deep[0][0].weight.shape == (3, 256) and net.deep[2][1].bias is None
    torch.testing.assert_close(net(x), before, atol=1e-4, rtol=1e-4)
    fp.press(net, {"default": fp.Press(weight_bits=8)})  # each half by itself
    assert len(fp.pressed_tensors(net)) == 6


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ({"deep.0": 65}, "deep.0: rank: 65 is above that of the matrix: 64 x 256 has at most 64"),
        ({"conv": 11}, "conv: rank: 11: 16 x 11 and 11 x 27 are no fewer weights than 16 x 27; use at most 10"),
        ({"deep.0": 0}, "rank: 0 is out of range"),
        ({"cnv": 2}, "cnv: matches no module, did you mean 'conv'"),
        ({"conv": 2, "deep.2": 0.0}, "deep.2: energy: 0.0 is out of range"),
    ],
)
def test_ranks_that_cannot_be_change_nothing(ranks, words):
    net = Net()
    with pytest.raises(UserError, match=words) as error:
        fp.factorize(net, ranks)
    assert "\n" not in str(error.value) and isinstance(net.conv, nn.Conv2d)


def test_an_lstm_with_projections_says_the_same_where_they_lose_nothing():
    torch.manual_seed(1)
    lstm, reader = nn.LSTM(5, 12, 2, batch_first=True), nn.Linear(12, 3)
    with torch.no_grad():  # all that reads an output reads the same four directions of it
        for layer, after in ((0, lstm.weight_ih_l1), (1, reader.weight)):
            seen = torch.linalg.qr(torch.randn(12, 4))[0]
            for weight in (getattr(lstm, f"weight_hh_l{layer}"), after):
                weight.copy_(weight @ seen @ seen.t())
    x = torch.randn(2, 9, 5)
    small, behind = fp.project_lstm(lstm, 4, reader)
    assert small.proj_size == 4 and small.weight_hr_l0.shape == (4, 12)
    torch.testing.assert_close(behind(small(x)[0]), reader(lstm(x)[0]), atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="rank: 12 is out of range; it must be 1 to 11"):
        fp.project_lstm(lstm, 12, reader)
    with pytest.raises(UserError, match="an LSTM of one direction without projections"):
        fp.project_lstm(small, 2, behind)
