"""What `frenchpress check` says of models that one starts or learns from, before anything is trained."""

import sys

import pytest

from frenchpress.common import UserError
from frenchpress.nnet import check

FLOAT = (
    "model: {lstm: {layers: 1, cells: 8}}\ncompress: {lstm0: {mask: {method: magnitude, keep: 1/2, after_epoch: 1}}}"
)


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys):
    """Check a child of `float.cfg` that says so; what was printed."""

    def run(said, *options, float=FLOAT):
        (tmp_path / "float.cfg").write_text(float)
        (tmp_path / "child.cfg").write_text(f"base: float.cfg\n{said}\n")
        words = ["check", "--pdfs", 6, "--phones", 3, "--exp", tmp_path / "exp", tmp_path / "child.cfg", *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        monkeypatch.chdir(tmp_path)
        check.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "said",
    [
        "train: {init: float, mask_from: float, distill: {teacher: float}}",
        "train: {init: float}\ncompress: {lstm0: {factors: {rank: 2}, mask: null}}",
        "train: {init: 'float_seed{seed}'}",
    ],
)
def test_what_its_cfg_trains_first_is_sound(checked, said):
    assert "child.cfg: " in checked(said) and "weights kept" in checked(said, "--seeds", "1", "2")


def test_it_is_said_what_is_trained_first(checked, tmp_path):
    line = f"{tmp_path / 'exp' / 'float_seed{}'}: not trained yet; {tmp_path / 'float.cfg'} is trained first"
    said = "train: {init: 'float_seed{seed}'}"
    assert checked(said, "--seeds", "1", "2").splitlines()[1:] == [line.format(1), line.format(2)]
    assert len(checked(said, "--no-parents").splitlines()) == len(checked("").splitlines()) == 1


def test_the_plan_has_what_is_trained_first(checked, tmp_path):
    lines = checked("train: {init: 'float_seed{seed}'}", "--plan", "--seeds", "3").splitlines()
    paths = [tmp_path / name for name in ("float.cfg", "child.cfg")]
    assert lines == [f"{paths[0]}\t3\tfloat_seed3", f"{paths[1]}\t3\tchild_seed3"]
    assert checked("", "--plan") == f"{paths[1]}\tdefault\tchild\n"
    assert checked("train: {init: float}", "--plan", "--no-parents") == f"{paths[1]}\tdefault\tchild\n"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "train: {init: flaot}",
            r"child\.cfg: train\.init: \S+exp/flaot is not trained, and there is no \S+flaot\.cfg",
        ),
        ("train: {mask_from: none}", r"child\.cfg: train\.mask_from: \S+none is not trained"),
        ("train: {distill: {teacher: [float, x]}}", r"child\.cfg: train\.distill\.teacher\.2: \S+x is not trained"),
        (
            "model: {lstm: {cells: 9}}\ntrain: {init: float}",
            r"child\.cfg: train\.init: \S+exp/float: lstm\.lstm0\.\S+: \[32, 440\], and this model has \[36, 440\]; ",
        ),
        ("model: {lstm: {layers: 2}}\ntrain: {init: float}", r"train\.init: .*: none, and this model has \[32"),
        (
            "model: {context: [5, 5], time_stride: 5}\ntrain: {init: float}",
            r"child\.cfg: train\.init: \S+float: has other model\.context or model\.time_stride, frames: -5, -4, -3, "
            r"-2, -1, 0, 1, 2, 3, 4, 5, and this model has -5, 0, 5$",
        ),
        (
            "compress: {lstm0: {mask: {method: bank, bank: 4, keep: 1/2}}}\ntrain: {mask_from: float}",
            r"child\.cfg: train\.mask_from: \S+float: lstm\.lstm0\.input_matrix: mask magnitude, and this model has",
        ),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_one_line(checked, said, message):
    with pytest.raises(UserError, match=message) as error:
        checked(said)
    assert "\n" not in str(error.value)
    checked(said, "--no-parents")


def test_a_trained_one_counts_by_what_it_was_trained_with(checked, tmp_path):
    place = tmp_path / "exp/float"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(FLOAT)
    (place / "final.pt").touch()
    wider = FLOAT.replace("cells: 8", "cells: 9")
    with pytest.raises(UserError, match=r"\[32, 440\], and this model has \[36, 440\]"):
        checked("train: {init: float}", float=wider)
    (place / "config.yaml").write_text(wider)
    checked("train: {init: float}", float=wider)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "train: {workers: 2, device: cpu}\ncompress: {lstm0: {act_bits: 8, act_quantizer: dynamic, mask: null}}",
            "child.cfg:3: compress.lstm0.act_quantizer: dynamic takes its range from a whole batch, a worker has",
        ),
        (
            "train: {workers: 2, device: cpu}\ncompress: {lstm0: {weight_bits: 2, quantizer: kmeans, "
            "quantizer_options: {hessian: 9}, mask: null}}",
            "child.cfg:3: compress.lstm0.quantizer: kmeans: hessian goes by gradients of a whole batch, a worker",
        ),
        (
            "train: {init: float, mask_from: float}\ncompress: {lstm0: {mask: {lasso: 0.1}}}",
            "child.cfg:3: compress.lstm0.mask.lasso: prepares the choice of a mask, which is given",
        ),
        (
            "train: {init: float, epochs: 0}\ncompress: {lstm0: {mask: null, admm: {weight_bits: 2}}}",
            "child.cfg:3: compress.lstm0.admm: pulls while training goes on, and there are no epochs",
        ),
        (
            "train: {init: float, mask_from: float}\ncompress: {lstm0: {mask: null}}",
            "child.cfg: train.mask_from: would do nothing: no layer has a mask",
        ),
    ],
)
def test_what_training_would_refuse_is_refused(checked, said, line):
    with pytest.raises(UserError, match=line):
        checked(said)


def test_all_files_are_looked_at(checked, tmp_path, capsys):
    bad = [tmp_path / f"{name}.cfg" for name in "ab"]
    for path in bad:
        path.write_text("train: {epoch: 3}")
    with pytest.raises(UserError) as found:
        checked("train: {epochs: 2}", *bad)
    assert str(found.value).count("did you mean epochs?") == 2 and "weights kept" in capsys.readouterr().out
