"""The acoustic model as a whole: shapes, padding, normalisation, what it refuses, what it is stored as."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cfg import write_cfg
from small_task import PHONES, STATES, make_task

from frenchpress.common import UserError
from frenchpress.compress import size_report
from frenchpress.config import config_from_dict, config_to_dict, load_config
from frenchpress.nnet import check
from frenchpress.nnet.check import check_lines
from frenchpress.nnet.data import Frames
from frenchpress.nnet.model import AcousticModel, Sizes, load_model

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
SIZES = Sizes(feat_dim=40, num_pdfs=30, num_phones=7)
SMALL = {"model": {"lstm": {"cells": 32}}}
PRESSED = {
    **SMALL,
    "compress": {
        "lstm*": {"weight_bits": 8, "act_bits": 16, "hcgs": {"blocks": [8, 2], "keep": ["1/2", "1/2"]}},
        "head_*": {"weight_bits": 4, "act_bits": 8},
    },
}


def make(values, sizes=SIZES):
    torch.manual_seed(0)
    return AcousticModel(config_from_dict(values, "test"), sizes)


@pytest.mark.parametrize("values", [SMALL, PRESSED], ids=["float", "pressed"])
def test_logits_of_real_frames_only(values):
    model = make(values)
    lengths = torch.tensor([9, 4, 6])
    logits = model(torch.randn(3, 9, 440), lengths)
    assert logits["cd"].shape == (19, 30) and logits["mono"].shape == (19, 7)
    (logits["cd"].sum() + logits["mono"].sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("values", [SMALL, PRESSED], ids=["float", "pressed"])
def test_an_utterance_does_not_depend_on_its_batch(values):
    model = make(values)
    model(torch.randn(4, 50, 440), torch.full((4,), 50))  # calibrates activation ranges, batch norm
    feats = [torch.randn(n, 40) for n in (5, 17, 1)]
    together = model.batch_log_posteriors(feats)
    for one, part in zip(feats, together):
        alone = model.log_posteriors(one)
        assert alone.shape == (len(one), 30)
        torch.testing.assert_close(alone, part, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone.exp().sum(1), torch.ones(len(one)))


def test_training_and_decoding_see_the_same_inputs():
    model = make(SMALL).eval()
    feats = np.random.default_rng(0).normal(size=(23, 40)).astype(np.float32)
    frames = Frames([("u", feats, np.zeros(23, int), np.zeros(23, int))])
    batch = frames.batch(frames.pieces(1000), model.offsets)
    with torch.no_grad():
        cd = model(batch.inputs, batch.lengths)["cd"].log_softmax(-1)
    torch.testing.assert_close(model.log_posteriors(torch.from_numpy(feats)), cd)


def test_of_the_context_every_so_many_th_frame_is_seen():
    model = make({"model": {"context": [6, 3], "time_stride": 3, "lstm": {"layers": 1, "cells": 8}}}).eval()
    assert (model.offsets, len(model.input_mean)) == (range(-6, 4, 3), 4 * 40)
    feats = torch.randn(30, 40)
    before = model.log_posteriors(feats)
    for frame, first in ((20, 17), (28, 25)):
        changed = feats.clone()
        changed[frame] += 1
        after = model.log_posteriors(changed)
        assert torch.equal(before[:first], after[:first]) and not torch.equal(before[first], after[first])


def test_the_frame_itself_need_not_be_seen():
    model = make({"model": {"context": [-5, 5], "lstm": {"layers": 1, "cells": 8}}}).eval()
    assert ([*model.offsets], len(model.input_mean)) == ([5], 40)
    feats = torch.randn(30, 40)
    before = model.log_posteriors(feats)
    for frame, first in ((20, 15), (4, 30), (5, 0)):
        changed = feats.clone()
        changed[frame] += 1
        after = model.log_posteriors(changed)
        assert torch.equal(before[:first], after[:first])
        assert first == 30 or not torch.equal(before[first], after[first])


def test_no_frame_hears_the_future_beyond_its_context():
    model = make(SMALL).eval()
    feats = torch.randn(30, 40)
    changed = feats.clone()
    changed[20:] += 1
    before, after = model.log_posteriors(feats), model.log_posteriors(changed)
    assert torch.equal(before[:15], after[:15]) and not torch.equal(before[15], after[15])


def test_inputs_are_normalised():
    model = make(SMALL)
    feats = np.random.default_rng(0).normal(3, 7, size=(500, 40)).astype(np.float32)
    model.normalise_inputs(Frames([("u", feats, np.zeros(500, int), np.zeros(500, int))]))
    wide = torch.from_numpy(np.tile(feats, 11))
    normal = (wide - model.input_mean) * model.input_scale
    torch.testing.assert_close(normal.mean(0), torch.zeros(440), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(0), torch.ones(440), atol=1e-3, rtol=0)


def test_published_size():
    model = AcousticModel(load_config(ROOT / "conf/lstm512.cfg"), Sizes(40, 1900, 48))
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert matrices == 4 * 512 * (440 + 512) + 4 * 512 * (512 + 512) + 512 * 1900 + 512 * 48


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.cfg")), ids=lambda p: p.stem)
def test_every_shipped_file_makes_a_model(path):
    model = AcousticModel(load_config(path), Sizes(40, 960, 36))
    assert model(torch.randn(1, 3, 440), torch.tensor([3]))["cd"].shape == (3, 960)


@pytest.mark.parametrize(
    "press, words",
    [
        ({"quantizer": "unifrom", "weight_bits": 8}, "unifrom.*uniform"),
        ({"act_quantizer": "static", "act_bits": 8}, "static.*fixed"),
        ({"hcgs": {"blocks": [64, 2], "keep": [0.5, 0.5]}}, "blocks: 64 x 64 is larger than the matrix"),
    ],
)
def test_what_does_not_fit_is_refused_by_layer(press, words):
    with pytest.raises(UserError, match=f"lstm1.*{words}") as error:
        make({**SMALL, "compress": {"lstm1": press}})
    assert "\n" not in str(error.value)


def save(path, model, **changes):
    content = {"config": config_to_dict(model.config), "sizes": model.description(), "model": model.state_dict()}
    torch.save({**content, **changes}, path)


@pytest.mark.parametrize("values", [SMALL, PRESSED], ids=["float", "pressed"])
def test_a_stored_model_comes_back(tmp_path, values):
    model = make(values)
    model(torch.randn(2, 20, 440), torch.tensor([20, 20]))
    save(tmp_path / "final.pt", model)
    torch.manual_seed(99)
    feats = torch.randn(11, 40)
    assert torch.equal(load_model(tmp_path).log_posteriors(feats), model.log_posteriors(feats))


def test_bad_model_files(tmp_path):
    with pytest.raises(UserError, match="final.pt: no such file"):
        load_model(tmp_path)
    save(tmp_path / "final.pt", make(SMALL), sizes={"feat_dim": 40, "num_pdfs": 31, "num_phones": 7})
    with pytest.raises(UserError, match="final.pt: not a model of this program"):
        load_model(tmp_path)
    whole = (tmp_path / "final.pt").read_bytes()
    (tmp_path / "final.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="final.pt: not a whole model file"):
        load_model(tmp_path)


def test_a_stored_model_with_a_nan_names_the_matrix(tmp_path):
    model = make(SMALL)
    with torch.no_grad():
        model.lstm["lstm0"].recurrent_matrix.weight[2, :3] = float("nan")
    save(tmp_path / "final.pt", model)
    with pytest.raises(UserError, match=r"final.pt: lstm.lstm0.recurrent_matrix.weight: 3 of 4096 numbers are NaN or"):
        load_model(tmp_path)


def test_mean_and_gain_of_the_features_count_as_stored():
    model = make(PRESSED)
    plain, whole = size_report(model), size_report(model, model.constants)
    for key in ("stored_bytes", "dense_bytes", "other_bytes"):
        assert whole[key] - plain[key] == 4 * 2 * 40, key
    assert {k: v for k, v in whole.items() if "bytes" not in k} == {k: v for k, v in plain.items() if "bytes" not in k}


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_model_file_is_never_run(tmp_path):
    torch.save(Evil(tmp_path / "touched"), tmp_path / "final.pt")
    with pytest.raises(UserError, match="not a whole model file"):
        load_model(tmp_path)
    (tmp_path / "final.pt").write_bytes(pickle.dumps(Evil(tmp_path / "touched")))
    with pytest.raises(UserError, match="not a whole model file"):
        load_model(tmp_path)
    assert not (tmp_path / "touched").exists()


def test_check_says_the_size_before_anything_is_trained(tmp_path):
    (line,) = check_lines(ROOT / "conf/tiny.cfg", Sizes(40, 1000, 48))
    assert "107520 of 228864 weights kept" in line and "compression 8.1x" in line


def test_check_says_what_each_matrix_keeps_and_where_that_is_more_than_asked_for(tmp_path):
    (tmp_path / "x.cfg").write_text(
        "model: {context: [0, 0], lstm: {layers: 1, cells: 32}}\n"
        "compress:\n"
        "  lstm0: {weight_bits: 4, act_bits: 8, mask: {method: bank, bank: 8, keep: 1/64, after_epoch: 0}}\n"
    )
    total, *matrices, inputs, recurrent = check_lines(tmp_path / "x.cfg", Sizes(40, 30, 7), matrices=True)
    assert "weights kept" in total and len(matrices) == 4
    said = f"{tmp_path}/x.cfg: lstm.lstm0.input_matrix of 128 x 40: 4 bits, keeps 12.50 % (1.56 % asked for), "
    assert inputs.startswith(said) and inputs.endswith("cannot keep so few") and "recurrent_matrix" in recurrent
    assert matrices[-1] == "head_mono.matrix of 7 x 32: 32 bits, keeps 100.00 %, 0.9 kB"


def test_check_takes_the_sizes_of_the_task_where_there_is_one(tmp_path, monkeypatch, capsys):
    cfg = ROOT / "conf/tiny.cfg"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check", str(cfg)])
    check.main()
    said = capsys.readouterr().out
    assert said.startswith("no exp/task yet, so 1000 tied states and 48 phones") and "0.121 MB" in said
    make_task(tmp_path / "exp/task")
    check.main()
    assert f"{STATES} tied states and {PHONES} phones" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check", "--pdfs", "77", str(cfg)])
    check.main()
    assert f"77 tied states and {PHONES} phones" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check", "--pdfs", "0", str(cfg)])
    with pytest.raises(UserError, match="--pdfs: '0', expected a number from 1 up"):
        check.main()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "head_cd: {hcgs: {blocks: [1024, 2], keep: [0.5, 0.5]}}",
            r"x\.cfg:2: compress\.head_cd\.hcgs\.blocks: 1024 x 1024 is larger than the matrix of 1000 x 512",
        ),
        (
            "'lstm*': {hcgs: {blocks: [512], keep: [0.5]}}",
            r"x\.cfg:2: compress\.lstm\*\.hcgs\.blocks: 512 x 512 is larger .* 512 x 440 \(layer lstm0\)$",
        ),
        (
            "lstm1: {input: {mask: {method: block, block: 1024, keep: 0.5, after_epoch: 1}}}",
            r"x\.cfg:2: compress\.lstm1\.input\.mask\.block: 1024 x 1024 is larger",
        ),
        (
            "'*': {mask: {method: magnitude, keep: 0.5, after_epoch: 9}}",
            r"x\.cfg:2: compress\.\*\.mask\.after_epoch: 9 of 8 epochs; .* \(layer lstm0\)$",
        ),
        ("head_mono: {cell_bits: 8}", r"x\.cfg:2: compress\.head_mono\.cell_bits: only an LSTM layer"),
    ],
)
def test_what_does_not_fit_the_model_is_named_with_its_line(tmp_path, said, message):
    path = write_cfg(tmp_path, f"compress:\n  {said}\n")
    with pytest.raises(UserError, match=message):
        check_lines(path, Sizes(40, 1000, 48))
