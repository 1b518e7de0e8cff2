"""Training on a small made task: it learns, repeats to the byte, survives every interruption, refuses what is wrong."""

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from made_cfg import write_cfg
from stopped import run_stopped
from train_command import run, run_once

from frenchpress.common import UserError, locked_dir, mark_done
from frenchpress.compress import make_act_quantizer
from frenchpress.nnet.average import AveragedModel
from frenchpress.nnet.model import load_model
from frenchpress.nnet.train import loop as module

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
model: {context: [1, 1], lstm: {cells: 16, dropout: 0.2}}
compress: {default: {weight_bits: 8, act_bits: 16, hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}}}
train:
  {epochs: 3, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9, warmup: 0.5,
  augment: {time_masks: 2, time_width: 4}, weight_decay: 0.01}
"""


@pytest.fixture
def config(tmp_path):
    return write_cfg(tmp_path, SMALL)


@pytest.fixture(scope="module")
def undisturbed_run(made_task, tmp_path_factory):
    """A run that nothing disturbs, made once."""
    place = tmp_path_factory.mktemp("undisturbed")
    return run_once(write_cfg(place, SMALL), made_task, place / "x")


@pytest.fixture
def undisturbed(undisturbed_run):
    return (undisturbed_run / "final.pt").read_bytes()


@pytest.fixture
def finished(undisturbed_run, tmp_path):
    """A copy of the undisturbed run's directory."""
    return shutil.copytree(undisturbed_run, tmp_path / "finished")


def test_it_learns_and_leaves_its_records(monkeypatch, config, made_task, tmp_path, capsys):
    out = tmp_path / "x"
    run(monkeypatch, config, made_task, out, "--set", "train.epochs=12", "--seed", "3")
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs] == list(range(1, 13))
    assert [e["sequence_length"] for e in epochs[:4]] == [20, 40, 80, 160]
    assert epochs[-1]["dev_frame_error_mono"] < 0.7 * epochs[0]["dev_frame_error_mono"]
    assert epochs[-1]["loss_cd"] < epochs[0]["loss_cd"]
    assert len((out / "train.log").read_text().splitlines()) == 13
    summary = yaml.safe_load((out / "train.yaml").read_text())
    assert summary["seed"] == 3 and summary["epochs"] == 12 and summary["frames_per_second"] > 0
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["epochs"] == 12
    assert (out / "size.yaml").exists()
    assert load_model(out).log_posteriors(torch.zeros(5, 40)).shape == (5, 12)
    capsys.readouterr()
    run(monkeypatch, config, made_task, out, "--set", "train.epochs=12", "--seed", "3")
    assert capsys.readouterr().out == f"{out} is up to date\n"


def test_the_seed_decides_every_byte(monkeypatch, config, made_task, tmp_path, undisturbed):
    run(monkeypatch, config, made_task, tmp_path / "again")
    assert (tmp_path / "again" / "final.pt").read_bytes() == undisturbed
    run(monkeypatch, config, made_task, tmp_path / "other", "--seed", "1")
    assert (tmp_path / "other" / "final.pt").read_bytes() != undisturbed


@pytest.mark.parametrize("every", [1, 4, 9])
def test_stopped_after_every_few_steps_ends_with_the_same_bytes(
    monkeypatch, config, made_task, tmp_path, undisturbed, every
):
    out = tmp_path / "x"
    run_stopped(monkeypatch, config, made_task, out, every)
    assert (out / "final.pt").read_bytes() == undisturbed
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3


def test_steps_after_the_last_checkpoint_are_taken_again(monkeypatch, config, made_task, tmp_path, undisturbed):
    evaluate, out = module.evaluate, tmp_path / "x"

    def dying(*_):
        raise KeyboardInterrupt

    for _ in range(3):
        monkeypatch.setattr(module, "evaluate", dying)
        with pytest.raises(KeyboardInterrupt):
            run(monkeypatch, config, made_task, out)
    monkeypatch.setattr(module, "evaluate", evaluate)
    run(monkeypatch, config, made_task, out)
    assert (out / "final.pt").read_bytes() == undisturbed


def command(config, task, out, *more):
    parts = [sys.executable, "-m", "frenchpress.nnet.train", "--config", config, "--task", task, *more, out]
    return [str(part) for part in parts]


def test_it_starts_without_what_takes_as_long_as_torch(config, made_task, tmp_path):
    arguments = command(config, made_task, tmp_path / "x", "--set", "train.epochs=1")[3:]
    late = {"torch._dynamo", "torch._inductor", "torch.distributed.pipelining"}
    code = f"import sys; from frenchpress.nnet.train.command import main; main(); print({late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["set()"], done.stderr


@pytest.mark.slow
def test_killed_at_random_moments_ends_with_the_same_bytes(config, made_task, tmp_path):
    more = ["--checkpoint-seconds", "0", "--set", "train.epochs=60"]
    subprocess.run(command(config, made_task, tmp_path / "undisturbed", *more), cwd=ROOT, check=True)
    generator, out, killed = random.Random(5), tmp_path / "x", 0
    while killed < 5:
        process = subprocess.Popen(command(config, made_task, out, *more), cwd=ROOT)
        checkpoint, begun = out / "checkpoint.pt", time.time()
        while not (checkpoint.exists() and checkpoint.stat().st_mtime > begun) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.4))
        assert process.poll() is None, "finished before it could be killed; train longer"
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    subprocess.run(command(config, made_task, out, *more), cwd=ROOT, check=True)
    assert (out / "final.pt").read_bytes() == (tmp_path / "undisturbed" / "final.pt").read_bytes()


def test_full_disk_is_one_clear_line_and_can_be_gone_on_from(config, made_task, tmp_path, undisturbed):
    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    parts = command(config, made_task, tmp_path / "x")
    failed = subprocess.run(parts, cwd=ROOT, preexec_fn=no_room, capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert ".pt: File too large" in failed.stderr and "make room" in failed.stderr
    assert not list((tmp_path / "x").glob("*.pt")) and not list((tmp_path / "x").glob(".tmp*"))
    subprocess.run(parts, cwd=ROOT, check=True)
    assert (tmp_path / "x" / "final.pt").read_bytes() == undisturbed


def test_a_second_run_into_the_same_directory_is_refused(monkeypatch, config, made_task, tmp_path):
    monkeypatch.setattr("frenchpress.common.files.LOCK_PATIENCE", 0.0)
    with locked_dir(tmp_path / "x"), pytest.raises(UserError, match="another run is writing here"):
        run(monkeypatch, config, made_task, tmp_path / "x")


def test_a_changed_configuration_is_refused_by_key_and_values(monkeypatch, config, made_task, finished, undisturbed):
    out = finished
    with pytest.raises(UserError, match=r"begun with train.batch = 4, the configuration now says 5; .* --restart"):
        run(monkeypatch, config, made_task, out, "--set", "train.batch=5")
    with pytest.raises(UserError, match=r"begun with compress.default.weight_bits = 8, .* now says 7;"):
        run(monkeypatch, config, made_task, out, "--set", "compress.default.weight_bits=7")
    with pytest.raises(UserError, match=r"begun with compress.lstm0 = absent,"):
        run(monkeypatch, config, made_task, out, "--set", "compress.lstm0.weight_bits=7")
    assert (out / "final.pt").read_bytes() == undisturbed
    run(monkeypatch, config, made_task, out, "--set", "train.batch=5", "--restart")
    assert (out / "final.pt").read_bytes() != undisturbed


def test_how_to_decode_may_change(monkeypatch, config, made_task, finished, undisturbed):
    out = finished
    run(monkeypatch, config, made_task, out, "--set", "decode.beam=9")
    assert yaml.safe_load((out / "config.yaml").read_text())["decode"]["beam"] == 9
    assert (out / "final.pt").read_bytes() == undisturbed


def test_another_task_is_refused(monkeypatch, config, made_task, tmp_path, finished):
    other = shutil.copytree(made_task, tmp_path / "other")
    mark_done(other, {"made": "anew"})
    with pytest.raises(UserError, match="begun on another task"):
        run(monkeypatch, config, other, finished)


def test_a_loss_that_is_no_number_names_step_and_utterances(monkeypatch, config, made_task, tmp_path):
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at epoch 1, step \d+, on spk\d-train\d\d ") as error:
        run(monkeypatch, config, made_task, tmp_path / "x", "--set", "train.lr.head_cd=1e38")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override, words",
    [
        ("compress.default.hcgs.blocks=[64, 2]", "blocks: 64 x 64 is larger than the matrix"),
        ("compress.default.quantizer=magic", "magic.*uniform"),
        ("compress.default.weight_bits=0", "1 to 32"),
        ("train.epoch=1", "did you mean epochs"),
        ("train.device=cuda", "sees no GPU"),
    ],
)
def test_bad_configurations_start_nothing(monkeypatch, config, made_task, tmp_path, override, words):
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=words):
        run(monkeypatch, config, made_task, tmp_path / "x", "--set", override)
    assert not (tmp_path / "x").exists()


def test_rates_are_halved_when_dev_gains_too_little(monkeypatch, config, made_task, tmp_path):
    errors = iter([0.5, 0.4, 0.4, 0.39999, 0.3])
    monkeypatch.setattr(module, "evaluate", lambda *_: (1.0, next(errors), 0.1))
    run(monkeypatch, config, made_task, tmp_path / "x", "--set", "train.epochs=5")
    epochs = [json.loads(line) for line in (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()]
    assert [e["lr_lstm"] / 0.0016 for e in epochs] == [1, 1, 1, 0.5, 0.25]


def test_the_best_epoch_on_dev_is_kept(monkeypatch, config, made_task, tmp_path):
    errors = iter([0.5, 0.3, 0.4])
    monkeypatch.setattr(module, "evaluate", lambda *_: (1.0, next(errors), 0.1))
    run(monkeypatch, config, made_task, tmp_path / "three")
    errors = iter([0.5, 0.3])
    run(monkeypatch, config, made_task, tmp_path / "two", "--set", "train.epochs=2")
    three, two = (load_model(tmp_path / name).state_dict() for name in ("three", "two"))
    assert all(torch.equal(three[key], two[key]) for key in three)
    assert yaml.safe_load((tmp_path / "three" / "train.yaml").read_text())["chosen_epoch"] == 2


def test_the_average_is_what_it_says():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = AveragedModel(model, 0.5)
    mean = model[0].weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model[0].weight.add_(1.0)
        model(torch.randn(4, 3))
        average.update(model)
        keep = min(0.5, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * model[0].weight
    torch.testing.assert_close(average.model[0].weight, mean)
    assert average.model[1].num_batches_tracked == 5
    assert not torch.equal(average.model[1].running_mean, model[1].running_mean)


def test_a_calibration_that_goes_on_is_not_averaged():
    torch.manual_seed(0)
    model = torch.nn.Sequential(make_act_quantizer("fixed", 8, range="mse"))
    average = AveragedModel(model, 0.5)
    for size in (1.0, 3.0, 2.0):
        model(size * torch.randn(50, 4))
        average.update(model)
    then, now = (m.state_dict() for m in (average.model, model))
    assert int(now["0.seen"]) == 3 and int(now["0.histogram.counts"].sum()) == 600
    assert all(torch.equal(then[key], now[key]) for key in now)


def test_the_step_trains_with_overrides_and_says_what_is_missing(config, made_task, tmp_path):
    def step(*parts):
        parts = ["steps/train_am.sh", *map(str, parts)]
        return subprocess.run(parts, cwd=ROOT, capture_output=True, text=True)

    done = step("--seed", 5, "--set", "train.epochs=1 train.batch=8", config, made_task, tmp_path / "x")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())
    assert (written["seed"], written["train"]["epochs"], written["train"]["batch"]) == (5, 1, 8)
    for parts, words in (
        ((config, made_task), "usage: "),
        ((tmp_path / "no.cfg", made_task, tmp_path / "y"), "no.cfg: no such file"),
        ((config, tmp_path, tmp_path / "y"), "is no task"),
        (("--sede", 5, config, made_task, tmp_path / "y"), "no option --sede"),
    ):
        failed = step(*parts)
        assert failed.returncode == 1 and words in failed.stderr
    assert not (tmp_path / "y").exists()
