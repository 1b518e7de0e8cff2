"""Mixup: what is laid over what, by hand, and training with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_cfg import write_cfg
from stopped import run_stopped
from train_command import run

from frenchpress.common import UserError
from frenchpress.config import load_config
from frenchpress.nnet.data import Batch
from frenchpress.nnet.losses import losses, mixed_losses
from frenchpress.nnet.mixup import mix

LENGTHS = torch.tensor([3, 5, 2])


def made():
    frames = int(LENGTHS.sum())
    inputs = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(frames), torch.arange(frames) + 100, torch.arange(frames) + 200
    return Batch(inputs, LENGTHS, *targets, ["a"], LENGTHS.numpy(), slice(None))


def test_pieces_are_laid_over_each_other_frame_by_frame():
    for step in range(8):
        plain, batch = made(), made()
        other, share = mix(batch, 0.4, (1, 2, step))
        random = np.random.default_rng([1, 2, step, 1])
        assert share == random.beta(0.4, 0.4)
        order, starts, row = random.permutation(3), [0, 3, 8], 0
        for piece, partner in enumerate(order):
            for t in range(int(LENGTHS[piece])):
                x, target = plain.inputs[piece, t], row
                if t < LENGTHS[partner]:
                    x, target = share * x + (1 - share) * plain.inputs[partner, t], starts[partner] + t
                torch.testing.assert_close(batch.inputs[piece, t], x)
                assert [int(v[row]) for v in (other.cd, other.mono, other.rows)] == [target, target + 100, target + 200]
                row += 1
        assert torch.equal(batch.cd, plain.cd) and torch.equal(other.inputs, batch.inputs)


def test_the_loss_is_that_of_both():
    batch = made()
    logits = {"cd": torch.randn(10, 10), "mono": torch.randn(10, 110)}
    other = replace(batch, cd=batch.cd.flip(0), mono=batch.mono.flip(0))
    one, two = losses(logits, batch, 0.1), losses(logits, other, 0.1)
    for value, a, b in zip(mixed_losses(logits, batch, other, 0.3, 0.1), one, two):
        torch.testing.assert_close(value, 0.3 * a + 0.7 * b)
    assert mixed_losses(logits, batch, batch, 1.0, 0.1)[0] == one[0]


CONFIG = """
model: {context: [1, 1], lstm: {cells: 16}}
compress:
  "lstm*": {admm: {rho: 1e-2, every: 4, weight_bits: 2, quantizer: ternary, mask: {method: block, block: 2, keep: 1/2}}}
  head_cd: {admm: {weight_bits: 4}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, mixup: 0.2, average: 0.9}
"""


def test_with_admm_too_and_interrupted_it_ends_with_the_same_bytes(monkeypatch, made_task, tmp_path):
    path = write_cfg(tmp_path, CONFIG)
    run(monkeypatch, path, made_task, tmp_path / "whole")
    run_stopped(monkeypatch, path, made_task, tmp_path / "broken", 3)
    whole = (tmp_path / "whole/final.pt").read_bytes()
    assert (tmp_path / "broken/final.pt").read_bytes() == whole
    run(monkeypatch, path, made_task, tmp_path / "plain", "--set", "train.mixup=null")
    assert (tmp_path / "plain/metrics.jsonl").read_text() != (tmp_path / "whole/metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.mixup=0", "train.mixup: 0.0 is out of range; it must be above 0"),
        ("compress.head_cd.admm.weight_bits=32", "compress.head_cd.admm: pulls towards nothing"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path, override, words):
    with pytest.raises(UserError, match=words):
        load_config(write_cfg(tmp_path, CONFIG), [override])
