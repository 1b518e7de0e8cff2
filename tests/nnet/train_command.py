"""The training command, run in this process."""

import sys

import pytest
import torch

from frenchpress.nnet.train import command as module


def run(monkeypatch, config, task, out, *more):
    """`python -m frenchpress.nnet.train`; what it sets in torch is undone."""
    command = ["train", "--config", config, "--task", task, *more, out]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    threads = torch.get_num_threads()
    try:
        module.main()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


def run_once(config, task, out, *more):
    """The same outside of a test, for fixtures that several tests share; returns `out`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, config, task, out, *more)
    return out
