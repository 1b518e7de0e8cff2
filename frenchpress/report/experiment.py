"""A trained experiment and its task, for commands that look into a model."""

from __future__ import annotations

from pathlib import Path

from frenchpress.common import UserError
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.task import Task


def model_and_task(experiment: Path, task: Path | None) -> tuple[AcousticModel, Task]:
    """The model in `experiment`, and the task at `task` or else the one that it was trained on; UserError unless they
    belong together.
    """
    model, found = load_model(experiment), Task.of(experiment, task)
    if Sizes(found.feat_dim, found.num_pdfs, found.num_phones) != model.sizes:
        raise UserError(f"{found.path}: not the task of {experiment}: other features, tied states or phones")
    return model, found
