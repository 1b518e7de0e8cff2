"""A run whose layers are trained by several processes (`stages`): a step of it, what is gathered, what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from frenchpress.common import blaming
from frenchpress.compress.errors import ErrorSums
from frenchpress.nnet.data import Batch
from frenchpress.nnet.train.run import Progress, Run


def gradients(run: Run, batch: Batch, where: str) -> list[float]:
    """Let this stage have the gradients of `batch`; total, tied-state and monophone loss per frame of it.

    UserError, which begins with `where`, for what a layer here refuses.
    """
    progress, stages = run.progress, run.stages
    with blaming(f"{run.out}: {where}"):
        parts = stages.pass_through(batch, (run.config.seed, progress.epoch, progress.step))
    penalty = run.masks.penalty()
    if penalty is not None and penalty.requires_grad:  # of a layer here
        penalty.backward()
    for way, sums in stages.stage.take().items():
        before = progress.boundaries.get(way, [0.0] * len(sums))
        progress.boundaries[way] = [a + b for a, b in zip(before, sums)]
    with stages.sharing():
        return stages.means(parts, batch)


@torch.no_grad()
def gather(run: Run) -> None:
    """Let every process have what each stage has trained, so that all stand where one process would; without stages
    nothing is to be done.
    """
    if run.stages is None:
        return
    parameters = dict(run.model.named_parameters())
    models = {"model": run.model.state_dict(), "average": {} if run.average is None else run.result.state_dict()}
    optimizer = {name: run.optimizer.state[p] for name, p in parameters.items() if p in run.optimizer.state}
    whole = {**models, "masks": run.masks.state_dict(), "optimizer": optimizer, "boundaries": run.progress.boundaries}
    run.progress.boundaries = {}
    for theirs in run.stages.everyones({what: _own(run, values) for what, values in whole.items()}):
        for what, state in models.items():
            for name, value in theirs[what].items():
                state[name].copy_(value)
        run.masks.load_state_dict(theirs["masks"])
        run.optimizer.state.update({parameters[name]: state for name, state in theirs["optimizer"].items()})
        run.progress.boundaries |= theirs["boundaries"]


def _own(run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if run.stages.stage.owns(name)}


def boundary_figures(progress: Progress) -> dict[str, dict[str, float | None]]:
    """Of each way across a boundary in this epoch: bytes per step, and how far what arrives is from what was sent."""
    return {
        way: {"bytes_per_step": round(sent / progress.step), **ErrorSums(sums).figures()}
        for way, (sent, *sums) in progress.boundaries.items()
    }
