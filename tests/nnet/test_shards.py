"""A split in shards: the same frames and batches as in memory, some of them at a time."""

import json

import numpy as np
import pytest
import torch
from made_cfg import write_cfg
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.nnet.data import Frames
from frenchpress.nnet.distill import Teacher
from frenchpress.nnet.model import load_model
from frenchpress.nnet.shards import ShardedFrames
from frenchpress.nnet.task import Task
from frenchpress.nnet.train.command import read_frames

SMALL = """
model: {context: [1, 1], lstm: {layers: 1, cells: 8}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}}
"""


@pytest.fixture
def split(made_task):
    return Task.load(made_task).split("train")


@pytest.fixture
def both(split):
    return Frames(split), ShardedFrames(split, 200)


def test_an_epoch_has_every_piece_once_shard_after_shard(both):
    whole, sharded = both
    order = sharded.epoch_order(20, 4, 5, 0)
    assert sorted(map(tuple, np.concatenate(order))) == sorted(map(tuple, whole.pieces(20)))
    shards = sharded.shards([5, 0])
    assert len(shards) > 3 and all(sharded.lengths[utts].sum() <= 200 for utts in shards)
    number = {utt: k for k, utts in enumerate(shards) for utt in utts}
    seen = [{number[u] for u in rows[:, 0]} for rows in order]
    assert all(len(numbers) == 1 for numbers in seen) and [min(n) for n in seen] == sorted(min(n) for n in seen)
    again, later = sharded.epoch_order(20, 4, 5, 0), sharded.epoch_order(20, 4, 5, 1)
    assert all(np.array_equal(a, b) for a, b in zip(order, again))
    assert not all(np.array_equal(a, b) for a, b in zip(order, later))


def test_batches_are_those_of_frames_in_memory(both):
    whole, sharded = both
    for rows in [*sharded.epoch_order(20, 4, 5, 3), *sharded.in_order(3)]:
        ours, theirs = sharded.batch(rows, range(-2, 2)), whole.batch(rows, range(-2, 2))
        for name in ("inputs", "lengths", "cd", "mono", "rows"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert len(sharded.feats) <= 200
    assert len(sharded) == len(whole)


def test_moments_are_those_of_all_frames(both):
    whole, sharded = both
    for ours, theirs in zip(sharded.moments(), whole.moments()):
        torch.testing.assert_close(ours, theirs)


def test_moments_of_single_frames():
    one = [(name, np.full((1, 2), value, np.float32), *2 * [np.zeros(1, int)]) for name, value in (("a", 1), ("b", 3))]

    class OneByOne(Frames):
        def parts(self):
            return (Frames([utterance]) for utterance in one)

    mean, deviation = OneByOne(one).moments()
    assert mean.tolist() == [2, 2] and deviation.tolist() == pytest.approx([2**0.5] * 2)
    assert Frames(one[:1]).moments()[1].tolist() == [0, 0]


def test_an_utterance_that_is_longer_than_a_shard_is_one(split):
    sharded = ShardedFrames(split, 1)
    assert [len(utts) for utts in sharded.shards(None)] == [1] * len(sharded.utts)


def test_what_fits_in_one_shard_is_all_in_memory(made_task):
    task = Task.load(made_task)
    assert type(read_frames(task, "train", "cpu")) is Frames
    assert type(read_frames(task, "train", "cpu", 300)) is ShardedFrames


def test_training_in_shards_learns_and_repeats_to_the_byte(monkeypatch, made_task, tmp_path):
    config = write_cfg(tmp_path, SMALL)
    outs = [run_once(config, made_task, tmp_path / name, "--set", "train.shard=300") for name in ("x", "y")]
    once, again = ((out / "final.pt").read_bytes() for out in outs)
    assert once == again
    epochs = [json.loads(line) for line in (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()]
    assert epochs[1]["loss_cd"] < epochs[0]["loss_cd"]
    assert load_model(tmp_path / "x").config.train.shard == 300
    with pytest.raises(UserError, match="begun with train.shard = 300"):
        run(monkeypatch, config, made_task, tmp_path / "x")


def test_a_shard_that_is_cut_short_is_named(made_task, tmp_path, split):
    sharded = ShardedFrames(split, 200)
    last = split.aligned[-1]
    split.reader.entries[last] = str(tmp_path / "short.ark")
    entry = (made_task / "train/feats.ark").read_bytes()
    (tmp_path / "short.ark").write_bytes(entry[entry.index(b" ") + 1 :][:100])
    with pytest.raises(UserError, match=f"feats.scp: {last} .*cut short"):
        list(sharded.parts())


def test_what_a_teacher_says_of_a_shard_is_read_from_its_file(both, tmp_path):
    whole, sharded = both
    said = np.random.default_rng(0).normal(size=(len(whole), 3)).astype(np.float16)
    np.save(tmp_path / "cd.npy", said)
    teacher = Teacher([{"cd": np.load(tmp_path / "cd.npy", mmap_mode="r")}], 0.5, 1.0)
    for rows in sharded.epoch_order(20, 4, 5, 0):
        batch = sharded.batch(rows, range(1))
        np.testing.assert_array_equal(teacher.of("cd", batch, torch.zeros(1)), said[batch.rows].astype(np.float32))
