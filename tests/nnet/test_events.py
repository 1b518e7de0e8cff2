"""Events for TensorBoard: the figures of metrics.jsonl, each epoch once; one line where the package is missing."""

import json
import sys

import pytest
from made_cfg import write_cfg
from train_command import run

from frenchpress.nnet.train import loop

SMALL = """
model: {context: [1, 1], lstm: {cells: 8, layers: 1}}
train: {epochs: 3, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}}
"""
ASKED = ("--set", "train.tensorboard=true")


def shown(out):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(out / "tensorboard")).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_events_have_the_figures_of_every_epoch_once(monkeypatch, made_task, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    config, out, evaluate, calls = write_cfg(tmp_path, SMALL), tmp_path / "x", loop.evaluate, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "evaluate", dying)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, config, made_task, out)  # begun without events
    run(monkeypatch, config, made_task, out, *ASKED)
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    events = shown(out)
    assert set(events) == set(epochs[0]) - {"epoch", "steps"}
    for tag, values in events.items():
        assert [step for step, _ in values] == [1, 2, 3]
        assert [value for _, value in values] == pytest.approx([e[tag] for e in epochs], rel=1e-6)


def test_without_tensorboard_one_line_says_so(monkeypatch, made_task, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run(monkeypatch, write_cfg(tmp_path, SMALL), made_task, tmp_path / "x", *ASKED)
    said = [line for line in capsys.readouterr().out.splitlines() if "tensorboard" in line]
    assert len(said) == 1 and "not installed (pip install -e '.[tensorboard]')" in said[0]
    assert (tmp_path / "x" / "final.pt").exists() and not (tmp_path / "x" / "tensorboard").exists()
