"""Stages of a pipeline train what one process trains; what goes between them is counted; what cannot be is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from made_cfg import write_cfg
from worker_processes import train_as

from frenchpress.common import UserError
from frenchpress.config import load_config
from frenchpress.nnet.check import build_model
from frenchpress.nnet.data import Batch
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.task import Task
from frenchpress.nnet.train.command import read_frames
from frenchpress.nnet.train.stages import Stage, Stages, microbatches

CASES = {
    "gpipe": (
        2,
        """
        model: {context: [1, 1], lstm: {cells: 16, batch_norm: false}}
        compress:
          default: {weight_bits: 8, act_bits: 16, hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}}
          lstm1: {weight_bits: 8, act_bits: 8, mask: {method: row, keep: 1/2, after_epoch: 1, score: taylor}}
        train: {epochs: 2, clip: 0.5, weight_decay: 0.01, augment: {time_masks: 2, time_width: 4}, COMMON}
        """,
    ),
    "1f1b": (
        3,
        """
        model: {context: [0, 0], lstm: {layers: 3, cells: 8, batch_norm: false}}
        compress:
          default: {weight_bits: 4, act_bits: 8, quantizer: lsq, admm: {rho: 0.01, weight_bits: 2}}
          lstm0: {weight_bits: 8, act_bits: 32, mask: {method: block, block: 4, keep: 1/2, after_epoch: 1, lasso: 1e-3}}
        train: {epochs: 2, COMMON}
        """,
    ),
    "norm": (
        2,
        """
        model: {context: [0, 0], lstm: {cells: 8}}
        compress: {default: {weight_bits: 8, act_bits: 8, act_quantizer: lsq}}
        train: {epochs: 1, COMMON}
        """,
    ),
}
SHORT = ("compress.lstm1.mask.after_epoch=0", "compress.lstm1.mask.score=magnitude", "train.epochs=1")
COMMON = "batch: 6, sequence_length: {start: 20}, average: 0.9, warmup: 0.5, threads: 1, device: cpu"


@pytest.fixture(autouse=True)
def _small(one_thread):
    """Forks of a process of many threads may wait for those that they have not."""


def write_case(place, name):
    return write_cfg(place, CASES[name][1].replace("COMMON", COMMON))


def line(config, task, out, *settings, more=()):
    said = [part for setting in settings for part in ("--set", f"train.pipeline.{setting}")]
    return ["--config", config, "--task", task, "--patience", "60", *more, *said, out]


def epochs_of(out):
    return [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "parts"), [("gpipe", 4), ("1f1b", 3), ("norm", 1)])
def test_losses_and_model_follow_those_of_one_process(made_task, tmp_path, name, parts):
    config, stages = write_case(tmp_path, name), CASES[name][0]
    [(one, failed)] = train_as(line(config, made_task, tmp_path / "one"))
    schedule = "1f1b" if name == "1f1b" else "gpipe"
    said = (f"stages={stages}", f"schedule={schedule}", f"microbatches={parts}")
    answers = train_as(*[line(config, made_task, tmp_path / "all", *said)] * stages)
    assert [failed, *(error for _, error in answers)] == [None] * (stages + 1)
    found = answers[0][0]
    assert all(other == found for other, _ in answers) and len(found) == len(one)
    np.testing.assert_allclose(found[:5], one[:5], rtol=2e-6)
    np.testing.assert_allclose(found, one, rtol=1e-3)
    ours, theirs = (load_model(tmp_path / out).state_dict() for out in ("all", "one"))
    for key, value in ours.items():
        if not key.endswith("weight"):
            continue  # ranges are found over microbatches
        off = (value.double() - theirs[key].double()).abs()
        assert float((off > 0.02).double().mean()) < 0.02, key
    assert {p.name for p in (tmp_path / "all").iterdir()} == {p.name for p in (tmp_path / "one").iterdir()}


def test_what_is_sent_is_counted_and_a_run_that_was_stopped_ends_the_same(made_task, tmp_path):
    config = write_case(tmp_path, "gpipe")
    method = ("stages=2", "microbatches=2", "boundary={method: multi_step, ratio: 1/4, partitions: 4, bits: 8}")
    short = [part for said in SHORT for part in ("--set", said)]
    noise = (*short, "--set", "model.lstm.dropout=0.2", "--checkpoint-seconds", "0")
    plain = line(config, made_task, tmp_path / "plain", *method[:2], more=short)
    whole = line(config, made_task, tmp_path / "whole", *method, more=noise)
    stopped = line(config, made_task, tmp_path / "x", *method, more=noise)
    assert [error for _, error in train_as(plain, plain)] == [None] * 2
    assert [error for _, error in train_as(whole, whole)] == [None] * 2
    assert [error for _, error in train_as(stopped, stopped, stop=4)] == ["stopped here"] * 2
    assert [error for _, error in train_as(stopped, stopped)] == [None] * 2
    assert (tmp_path / "x" / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()
    sent, all_of_it = epochs_of(tmp_path / "whole"), epochs_of(tmp_path / "plain")
    assert [e["boundaries"] for e in epochs_of(tmp_path / "x")] == [e["boundaries"] for e in sent]
    frames = load_frames(made_task)
    for epoch, plain in zip(sent, all_of_it):
        for way in ("lstm0 to lstm1", "lstm1 to lstm0"):
            assert plain["boundaries"][way]["bytes_per_step"] == round(4 * 16 * frames / plain["steps"])
            assert plain["boundaries"][way]["sqnr"] is None and plain["boundaries"][way]["l1"] == 0
            figures = epoch["boundaries"][way]
            assert 0 < figures["bytes_per_step"] < plain["boundaries"][way]["bytes_per_step"] / 4
            assert 1 < figures["sqnr"] < 20 and 0.4 < figures["cosine"] < 1 and 0 < figures["l1"] < 1
    per_step = [sum(figures["bytes_per_step"] for figures in e["boundaries"].values()) * e["steps"] for e in sent]
    total = yaml.safe_load((tmp_path / "x/train.yaml").read_text())["sent_bytes_per_step"]
    assert total == round(sum(per_step) / sum(e["steps"] for e in sent))
    assert " at " in (tmp_path / "x" / "train.log").read_text().splitlines()[1]


def load_frames(task):
    return len(read_frames(Task.load(task), "train", torch.device("cpu")))


@pytest.mark.parametrize(("pieces", "parts"), [(6, 4), (5, 4), (4, 2), (3, 3), (7, 1)])
def test_microbatches_have_one_shape_and_every_frame_once(pieces, parts):
    lengths = torch.arange(2, 2 + pieces)
    frames, longest = int(lengths.sum()), int(lengths.max())
    inputs, targets = torch.randn(pieces, longest, 3), torch.arange(frames)
    batch = Batch(inputs, lengths, targets, targets + 1, targets, [""] * pieces, lengths.numpy(), slice(None))
    found, sizes, cut = microbatches(batch, parts)
    assert len(cut) == parts and len(found) == len(sizes) == parts * -(-pieces // parts)
    assert torch.equal(sizes[sizes > 0], lengths) and torch.equal(found[sizes > 0], inputs)
    assert torch.equal(torch.cat([part.cd for part in cut]), targets)
    assert [part.frames for part in cut] == [int(s.sum()) for s in sizes.chunk(parts)]


def test_stages_one_after_the_other_are_the_model(tmp_path):
    config = load_config(write_case(tmp_path, "1f1b"), ["train.pipeline={stages: 3, microbatches: 3}"])
    model = AcousticModel(config, Sizes(4, 6, 3)).eval()
    stages = [Stage(model, rank, 3) for rank in range(3)]
    for name, _ in model.named_parameters():
        assert sum(stage.owns(name) for stage in stages) == 1
    x, lengths = torch.randn(2, 5, 4), torch.tensor([5, 3])
    out = x
    for stage in stages:
        out = stage(out, lengths)
    for ours, theirs in zip(out, model(x, lengths).values()):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("stages: 3", "train.pipeline.stages: 3, but model.lstm.layers: 2; each needs a layer"),
        ("microbatches: 7", "train.pipeline.microbatches: 7, but batch: 6; each needs a piece"),
        ("schedule: 1f1b, microbatches: 1", "train.pipeline.microbatches: 1, but 1f1b needs one for each of 2 stages"),
        ("boundary: {method: topk}", "train.pipeline.boundary.method: unknown 'topk', did you mean 'top_k'?"),
        ("boundary: {ratio: 1/4}", "train.pipeline.boundary: method is missing; use one of multi_step, top_k, qsgd"),
        (
            "boundary: {method: top_k}",
            "train.pipeline.boundary: top_k: ratio is missing; write {method: top_k, ",
        ),
        ("boundary: {method: top_k, ratio: 2}", "boundary.ratio: 2 is out of range; it must be above 0 and at most 1"),
        ("boundary: {method: qsgd, bits: 2}", "unknown option 'bits'"),
        ("boundary: {method: multi_step, ratio: 1, partitions: 8, bits: 40}", "bits: 40 is out of range"),
    ],
)
def test_what_cannot_be_said_is_one_line(tmp_path, settings, said):
    with pytest.raises(UserError) as error:
        load_config(write_case(tmp_path, "gpipe"), [f"train.pipeline={{{settings}}}"])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.workers=2", "train.workers: does not go with pipeline; leave one out"),
        ("train.mixup=0.5", "train.mixup: does not go with pipeline"),
        ("train.distill={teacher: x}", "train.distill: does not go with pipeline"),
        ("train.movement=0.5", "train.movement: does not go with pipeline"),
        ("train.device=cuda", "train.pipeline: its processes train on CPUs"),
        ("model.lstm.batch_norm=true", "microbatches: 4, but batch norm takes mean and variance over a whole batch"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(tmp_path, setting, said):
    with pytest.raises(UserError) as error:
        load_config(write_case(tmp_path, "gpipe"), ["train.pipeline={stages: 2}", setting])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            "act_quantizer: dynamic",
            "compress.lstm0.act_quantizer: dynamic takes its range from a whole batch, which goes",
        ),
        ("mask: {method: cell, keep: 1/2, after_epoch: 1}", "compress: mask: cell goes by the layer that reads"),
    ],
)
def test_what_a_stage_cannot_know_is_refused(tmp_path, layer, said):
    text = f"""
    model: {{lstm: {{cells: 8, batch_norm: false}}}}
    compress: {{lstm0: {{act_bits: 8, {layer}}}}}
    train: {{pipeline: {{stages: 2}}}}
    """
    path = write_cfg(tmp_path, text)
    with pytest.raises(UserError, match=said):
        build_model(path, load_config(path), Sizes(4, 6, 3))


def test_a_batch_of_few_pieces_is_refused(tmp_path):
    stages = Stages(0, 2, config=SimpleNamespace(pipeline=SimpleNamespace(microbatches=4)))
    stages.check([np.zeros((4, 3))])
    with pytest.raises(UserError, match="microbatches: 4, but a batch of only 3 pieces"):
        stages.check([np.zeros((4, 3)), np.zeros((3, 3))])
