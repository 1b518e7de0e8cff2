"""What several processes that train one model cannot share out."""

from __future__ import annotations

from frenchpress.common import UserError
from frenchpress.compress import ActQuantizer, pressed_tensors
from frenchpress.nnet.model import AcousticModel


def check_shared(model: AcousticModel) -> None:
    """UserError for what goes by more than one of the processes has that `train.workers` or `train.pipeline` asks for:
    by a whole batch, or by layers of several stages.
    """
    train = model.config.train
    if train.workers and train.epochs:  # without epochs nothing is trained, and one process does it
        _check_ranges(model, "a worker has a share of it; use fixed, or train without workers")
        for matrix in pressed_tensors(model):
            if matrix.chain.quantizer.sees_gradients:
                raise UserError(
                    f"{matrix.name}: quantizer: {matrix.chain.press.quantizer}: hessian goes by gradients of a whole "
                    "batch, a worker has a share of it; use 0, or train without workers"
                )
    if train.pipeline is None:
        return
    if train.pipeline.microbatches > 1:
        _check_ranges(model, "which goes through in parts; use fixed, or train.pipeline.microbatches: 1")
    if model.units:
        raise UserError(
            "compress: mask: cell goes by the layer that reads the cells too, which another stage may train; use row, "
            "or train without train.pipeline"
        )


def _check_ranges(model: AcousticModel, problem: str) -> None:
    for name, module in model.named_modules():
        if isinstance(module, ActQuantizer) and not module.is_float and module.per_call:
            raise UserError(f"{name}: act_quantizer: dynamic takes its range from a whole batch, {problem}")
