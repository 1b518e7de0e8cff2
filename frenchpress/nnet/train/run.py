"""One training run: what is trained and where it stands. All that its next step depends on is in the checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.traffic import Count
from frenchpress.config import Config, config_to_dict
from frenchpress.nnet import checkpoint
from frenchpress.nnet.average import AveragedModel
from frenchpress.nnet.data import Frames
from frenchpress.nnet.distill import Teacher
from frenchpress.nnet.model import AcousticModel, read_weights
from frenchpress.nnet.train.events import Events
from frenchpress.nnet.train.stages import Stages
from frenchpress.nnet.train.workers import Workers


@dataclass
class Progress:
    """Where a run stands; all of it goes into the checkpoint."""

    epoch: int = 0
    step: int = 0  # batches of this epoch that are done
    frames: int = 0  # in this epoch, as are the sums of losses over frames
    loss_cd: float = 0.0
    loss_mono: float = 0.0
    seconds: float = 0.0  # of training in this epoch
    processor: float = 0.0  # seconds of processor time that this process took for it, all threads together
    sent: float = 0.0  # bytes of gradients in this epoch, by each worker
    missed: float = 0.0  # sum of squares of what the first one did not send of its gradients in this epoch
    to_send: float = 0.0  # and of what it was to send
    # Of each way between two stages in this epoch: bytes, and what `compress.errors` makes errors of.
    boundaries: dict[str, list[float]] = field(default_factory=dict)
    rate: float = 1.0  # what the learning rates are multiplied by
    error: float = math.inf  # dev frame error of the epoch before
    best: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)

    def count(self, sent: Count) -> None:
        """Add what was sent in a step."""
        self.sent += sent.bytes
        self.missed += sent.missed
        self.to_send += sent.whole


@dataclass
class Run:
    """One training run: what is trained, on what, and where it is kept."""

    config: Config
    out: Path
    model: AcousticModel
    optimizer: torch.optim.Optimizer
    train: Frames
    dev: Frames
    masks: MaskSchedule
    checkpoint_seconds: float
    progress: Progress = field(default_factory=Progress)
    average: AveragedModel | None = None
    teacher: Teacher | None = None
    events: Events | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def stages(self) -> Stages | None:
        """The workers, where each has some of the layers."""
        return self.workers if isinstance(self.workers, Stages) else None

    @property
    def result(self) -> AcousticModel:
        """What is evaluated and kept: the average of the weights, where one is asked for."""
        return self.model if self.average is None else self.average.model


def save(run: Run) -> None:
    """Write the checkpoint: everything that the next step depends on. Most is the same for all workers; what each keeps
    of the gradients that it sends is gathered, so all come here at the same step.
    """
    traffic = None if run.workers.traffic is None else run.workers.gathered(run.workers.traffic.state_dict())
    if not run.workers.first:
        return
    content = {
        "config": checkpoint.training_config(run.config),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
        "masks": run.masks.state_dict(),
        "progress": asdict(run.progress),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "traffic": traffic,
    }
    checkpoint.write_tensors(run.out / checkpoint.CHECKPOINT, content)


def restore(run: Run) -> None:
    """Go on from the checkpoint, if there is one."""
    path = run.out / checkpoint.CHECKPOINT
    saved = run.workers.same(lambda: read_weights(path) if path.exists() else None)
    if saved is None:
        return
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    if run.average is not None:
        run.average.load_state_dict(saved["average"])
    run.masks.load_state_dict(saved.get("masks", {}))  # an older state of the program kept none
    run.progress = Progress(**saved["progress"])
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    if run.workers.traffic is not None and saved.get("traffic"):  # here too
        run.workers.traffic.load_state_dict(saved["traffic"][run.workers.rank])
    run.workers.say(f"{run.out}: going on from epoch {run.progress.epoch + 1}, step {run.progress.step + 1}")


def write_model(run: Run, path: Path, weights: dict[str, Tensor]) -> None:
    """Write a model that can be loaded."""
    if not run.workers.first:
        return
    model = {"config": config_to_dict(run.config), "sizes": run.model.description(), "model": weights}
    checkpoint.write_tensors(path, model)
