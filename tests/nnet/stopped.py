"""A training that is stopped again and again."""

import pytest
from train_command import run

from frenchpress.nnet.train import loop


def run_stopped(monkeypatch: pytest.MonkeyPatch, config, task, out, every: int) -> None:
    """Train as `run`, interrupted after every `every` steps, until it is done."""
    step, taken = loop.step, []

    def stopping(current, batch):
        step(current, batch)
        taken.append(current.progress.step)
        if len(taken) % every == 0:
            loop.save(current)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", stopping)
        for _ in range(1000):
            try:
                run(patched, config, task, out)
                break
            except KeyboardInterrupt:
                pass
    assert len(taken) > every
