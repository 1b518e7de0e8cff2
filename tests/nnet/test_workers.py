"""Several workers train what one process trains, to rounding; what goes wrong among them is said in one line."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_cfg import write_cfg
from small_task import make_task
from worker_processes import train_as

from frenchpress.common import mark_done
from frenchpress.nnet.model import load_model, read_weights

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "sequence_length: {start: 20}, average: 0.9, warmup: 0.5, threads: 1, device: cpu"
KERNELS = f"""
model: {{context: [1, 1], lstm: {{cells: 16, dropout: 0.2}}}}
compress: {{default: {{weight_bits: 8, act_bits: 16, hcgs: {{blocks: [8, 2], keep: [1/2, 1/2]}}}}}}
train: {{epochs: 3, batch: 6, augment: {{time_masks: 2, time_width: 4}}, weight_decay: 0.01, clip: 5, {TRAIN}}}
"""
# Ranges that are found and learned, cells that are rounded, masks that are thinned: none of it by compiled kernels.
TORCH = f"""
model: {{context: [0, 0], lstm: {{layers: 2, cells: 8, dropout: 0.2, dropout_over: sequence}}}}
compress:
  default: {{weight_bits: 8, act_bits: 8, act_quantizer: fixed, act_options: {{range: percentile, batches: 3}}}}
  lstm0: {{weight_bits: 8, act_bits: 8, act_quantizer: lsq, cell_bits: 8}}
  lstm1:
    weight_bits: 8
    act_bits: 8
    act_quantizer: pact
    mask: {{method: row, keep: 1/2, after_epoch: 1, score: taylor}}
train: {{epochs: 2, batch: 6, {TRAIN}}}
"""


@pytest.fixture(autouse=True)
def _small(one_thread):
    """Forks of a process of many threads may wait for those that they have not."""


def line(config, task, out, *more):
    return ["--config", config, "--task", task, "--patience", "20", *more, out]


@pytest.fixture(scope="module")
def trained(made_task, tmp_path_factory):
    """Directories of the same experiment by one process and by two workers, and the losses of their steps."""
    place = tmp_path_factory.mktemp("workers")
    config = write_cfg(place, KERNELS)
    losses = [train_as(*[line(config, made_task, place / name)] * n) for name, n in (("one", 1), ("two", 2))]
    assert [error for answers in losses for _, error in answers] == [None] * 3
    return place, [answers[0][0] for answers in losses]


def follow(two, one):
    """Within rounding; where a weight lies between two integers rounding may choose the other one, later on."""
    np.testing.assert_allclose(two[:5], one[:5], rtol=1e-6)
    np.testing.assert_allclose(two, one, rtol=2e-4)


def test_losses_follow_those_of_one_process(trained):
    _, (one, two) = trained
    assert len(one) == len(two) > 15
    follow(two, one)


def test_so_they_do_where_torch_computes(made_task, tmp_path):
    config = write_cfg(tmp_path, TORCH)
    (one, failed), *_ = train_as(line(config, made_task, tmp_path / "one"))
    (two, failed_0), (other, failed_1) = train_as(*[line(config, made_task, tmp_path / "two")] * 2)
    assert (failed, failed_0, failed_1) == (None, None, None)
    assert other == two
    follow(two, one)


def test_the_first_writes_what_one_process_would(trained):
    one, two = (trained[0] / name for name in ("one", "two"))
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    assert "workers: 2" in (two / "config.yaml").read_text() and "workers" not in (one / "config.yaml").read_text()
    assert len((two / "train.log").read_text().splitlines()) == 4


def test_a_worker_that_is_killed_stops_all_with_one_line(trained, made_task, tmp_path):
    config, out = write_cfg(tmp_path, KERNELS), tmp_path / "x"
    arguments = [sys.executable, "-m", "frenchpress.nnet.train"]
    arguments += map(str, line(config, made_task, out, "--workers", "2", "--checkpoint-seconds", "0"))
    # On the way to an end that does not come.
    endless = [*arguments[:-1], "--set", "train.epochs=100000", arguments[-1]]
    process = subprocess.Popen(endless, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoint.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said == (
        f"error: {out}: worker 1 of 2 was stopped by SIGKILL, and so were the others; the same command goes on from "
        "the last checkpoint\n"
    )
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(made_task, tmp_path):
    config = write_cfg(tmp_path, KERNELS.replace("epochs: 3", "epochs: 1"))
    whole = line(config, made_task, tmp_path / "whole")
    stopped = line(config, made_task, tmp_path / "x", "--checkpoint-seconds", "0")
    # Three numbers can be added in another order; two cannot.
    assert [error for _, error in train_as(whole, whole, whole)] == [None] * 3
    assert [error for _, error in train_as(stopped, stopped, stopped, stop=4)] == ["stopped here"] * 3
    (rest, error), *_ = train_as(stopped, stopped, stopped)
    assert error is None and rest
    assert (tmp_path / "x" / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()


SENT = {
    "top_k": {"method": "top_k", "ratio": "1/16"},
    "power_sgd": {"method": "power_sgd", "rank": 2, "start": 2},
}


@pytest.mark.parametrize("name", SENT)
def test_so_it_does_where_each_worker_keeps_something_of_its_own(name, made_task, tmp_path):
    config = write_cfg(tmp_path, KERNELS.replace("epochs: 3", "epochs: 1"))
    said = ("--set", f"train.traffic={json.dumps(SENT[name])}")
    whole = line(config, made_task, tmp_path / "whole", *said)
    stopped = line(config, made_task, tmp_path / "x", "--checkpoint-seconds", "0", *said)
    [(losses, error), (_, other)] = train_as(whole, whole)
    assert error is other is None
    assert [error for _, error in train_as(stopped, stopped, stop=4)] == ["stopped here"] * 2
    kept = read_weights(tmp_path / "x/checkpoint.pt")["traffic"]
    assert len(kept) == 2 and str(kept[0]) != str(kept[1])
    (rest, error), *_ = train_as(stopped, stopped)
    assert error is None and rest == losses[4:]
    assert (tmp_path / "x/final.pt").read_bytes() == (tmp_path / "whole/final.pt").read_bytes()
    assert yaml.safe_load((tmp_path / "x/train.yaml").read_text())["sent_bytes_per_step"] > 0


def test_halves_are_sent_in_half_the_bytes(trained, made_task, tmp_path):
    place, (one, _) = trained
    mine = line(write_cfg(tmp_path, KERNELS), made_task, tmp_path / "x", "--set", "train.traffic=fp16")
    (halves, error), *_ = train_as(mine, mine)
    assert error is None
    # The first step is by weights that no gradient has reached.
    assert halves[0] == pytest.approx(one[0], rel=1e-6) and halves != one
    np.testing.assert_allclose(halves, one, rtol=0.02)
    numbers = sum(p.numel() for p in load_model(place / "two").parameters())
    for out, size in ((place / "two", 4), (tmp_path / "x", 2)):
        epochs = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]
        assert [e["sent_bytes_per_step"] for e in epochs] == [numbers * size] * 3  # two workers: 2 (2 - 1) / 2 = 1
        assert f"sent {numbers * size / 1e6:.3f} MB a step" in (out / "train.log").read_text()
    [(_, error)] = train_as(mine)
    assert error == "train.traffic: would do nothing with one worker; give --workers N"


def test_another_number_of_workers_is_refused(trained, made_task, tmp_path):
    out = shutil.copytree(trained[0] / "two", tmp_path / "two")
    config = write_cfg(tmp_path, KERNELS)
    [(_, error)] = train_as(line(config, made_task, out))
    assert "begun with train.workers = 2, the configuration now says absent" in error


def refused(*commands, **more):
    """The error that all of them end with."""
    first, *others = [error for _, error in train_as(*commands, **more)]
    assert first and "\n" not in first and all(other == first for other in others)
    return first


def test_workers_with_another_cfg_task_or_data_are_named(made_task, tmp_path):
    config, out = write_cfg(tmp_path, KERNELS), tmp_path / "x"
    mine = line(config, made_task, out)
    other = line(config, made_task, out, "--set", "train.lr.lstm=0.1")
    assert refused(mine, other) == "worker 1 has train.lr.lstm = 0.1, worker 0 has 0.0016"
    copy = shutil.copytree(made_task, tmp_path / "copy")
    mark_done(copy, {"made": "anew"})
    assert "worker 1 has task = " in refused(mine, line(config, copy, out))
    task = make_task(tmp_path / "task", seed=1)
    shutil.copy(made_task / ".done", task)
    assert "worker 1 has utterances of train = " in refused(mine, line(config, task, out))
    same = shutil.copytree(made_task, tmp_path / "same")
    ark = same / "train/feats.ark"
    ark.write_bytes(ark.read_bytes()[:-4] + np.float32(3).tobytes())
    scp = (same / "train/feats.scp").read_text().replace(str(made_task), str(same))
    (same / "train/feats.scp").write_text(scp)
    assert "worker 1 has features or first weights = " in refused(mine, line(config, same, out))


def test_a_port_in_use_and_a_worker_that_does_not_come_are_said(made_task, tmp_path):
    mine = line(write_cfg(tmp_path, KERNELS), made_task, tmp_path / "x")
    mine[mine.index("20")] = "2"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        [(_, error)] = train_as(mine, size=2, port=taken.getsockname()[1])
    assert error.endswith("the port is in use; choose another one")
    [(_, error)] = train_as(mine, size=2)
    assert "not all of 2 workers came within 2 s" in error and "\n" not in error
