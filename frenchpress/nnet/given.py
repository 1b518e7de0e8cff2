"""Trained models that a run is given: the one it starts from (`train.init`), the one whose masks it has
(`train.mask_from`), the one it learns from (`train.distill`).

Each is named by the directory of its experiment, seen from the one that the run is written beside: `lstm512` is
exp/lstm512 for exp/x. `{seed}` in a name stands for the seed of the run. One teacher stands under the key
`train.distill.teacher`, several under `train.distill.teacher.1` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from frenchpress.common import UserError, digest
from frenchpress.compress import BitQuantizer, FactoredWeight, PressedWeight, low_rank, pressed_tensors
from frenchpress.config import Config
from frenchpress.nnet.checkpoint import CONFIG, POSTERIORS, read_header
from frenchpress.nnet.clean import readable, size_of
from frenchpress.nnet.data import Frames
from frenchpress.nnet.distill import Teacher, ask
from frenchpress.nnet.model import FINAL, AcousticModel, load_model

INIT, MASKS, TEACHER = "train.init", "train.mask_from", "train.distill.teacher"


def given_names(config: Config) -> dict[str, str]:
    """The models that a run of `config` is given, as the configuration names them, by key."""
    train = config.train
    return named(train.init, train.mask_from, train.distill and train.distill.teacher)


def named(init: str | None, masks: str | None, teacher: str | Sequence[str] | None) -> dict[str, str]:
    """The models to start from, to have the masks of, and to learn from by key, none where it is None."""
    if isinstance(teacher, (str, type(None))):
        names = {TEACHER: teacher}
    else:
        names = {f"{TEACHER}.{number}": name for number, name in enumerate(teacher, 1)}
    return {key: name for key, name in ({INIT: init, MASKS: masks} | names).items() if name}


def given_places(config: Config, out: Path) -> dict[str, Path]:
    """Directories of the models that the run in `out` is given, by key."""
    names = given_names(config).items()
    return {key: out.parent / name.replace("{seed}", str(config.seed)) for key, name in names}


def is_trained(place: Path) -> bool:
    """Whether there is a trained model in the directory of an experiment."""
    return (place / FINAL).is_file()


def given_digests(config: Config, out: Path) -> dict[str, str]:
    """What tells the models that the run in `out` is given from others; UserError for one that is not trained."""
    places = given_places(config, out)
    for key, place in places.items():
        if not is_trained(place):
            raise UserError(f"{key}: {place}: no trained model ({FINAL}); train it first")
    return {key: digest(place / FINAL) for key, place in places.items()}


def use_given(config: Config, out: Path, model: AcousticModel, task_digest: str) -> dict[Path, AcousticModel]:
    """Let `model` start from, and have the masks of, those that the configuration names; its teachers by directory."""
    teachers = {}
    for key, place in given_places(config, out).items():
        found = load_given(key, place, model, task_digest)
        give(key, place, model, found)
        if key not in (INIT, MASKS):
            teachers[place] = found
    return teachers


def give(key: str, place: Path, model: AcousticModel, given: AcousticModel) -> None:
    """Let `model` start from, or have the masks of, the model `given` in `place`; what teaches it changes nothing.

    UserError unless that fits: the same features, states and phones; and unless it only teaches, the same frames in a
    splice, and the same layers or masks.
    """
    sizes = ("features, tied states and phones", vars(model.sizes).values(), vars(given.sizes).values())
    frames = ("model.context or model.time_stride, frames", model.offsets, given.offsets)
    for what, *both in [sizes, frames] if key in (INIT, MASKS) else [sizes]:
        ours, theirs = (", ".join(map(str, numbers)) for numbers in both)
        if ours != theirs:
            raise UserError(f"{key}: {place}: has other {what}: {theirs}, and this model has {ours}")
    if key == INIT:
        start_from(model, given, place)
    elif key == MASKS:
        take_masks(model, given, place, scratch=model.config.train.init is None)


def make_teacher(config: Config, models: Mapping[Path, AcousticModel], frames: Frames, task_digest: str) -> Teacher:
    """What the teachers of a run, loaded as `models`, say of `frames`, asked or found beside each."""
    said = [
        ask(model, frames, place / POSTERIORS, {"model": digest(place / FINAL), "task": task_digest})
        for place, model in models.items()
    ]
    return Teacher(said, config.train.distill.weight, config.train.distill.temperature)


def kept_for_others(teacher: Path, out: Path) -> str:
    """That a teacher's posteriors are still there when the run in `out` is over, how large, and how they go."""
    said = teacher / POSTERIORS
    return (
        f"{said}: {readable(size_of(said))}, kept for other runs that learn from the same model; "
        f"frenchpress clean {out.parent} lists what can be removed"
    )


def load_given(key: str, place: Path, model: AcousticModel, task_digest: str) -> AcousticModel:
    """The model in `place`, on the device of `model`; UserError unless it was trained on the task of this digest."""
    check_task(key, place, task_digest)
    return load_model(place, model.input_mean.device)


def check_task(key: str, place: Path, task_digest: str) -> None:
    """UserError unless the model in `place` was trained on the task of this digest."""
    if read_header(place / CONFIG).get("task") != task_digest:
        raise UserError(f"{key}: {place}: was trained on another task, or the task was made again since")


@torch.no_grad()
def start_from(model: AcousticModel, given: AcousticModel, place: Path) -> None:
    """Give `model` the weights of `given`, zero where that one removes them, biases and normalisation.

    Masks stay those of `model`. Factors take the best approximation of a matrix there. Ranges and step sizes are taken
    over where both find them in the same way for the same number of bits. UserError unless both have the same layers.
    """
    ours, theirs = _learnt(model), _learnt(given)
    for name, matrix in given.named_modules():
        if isinstance(matrix, PressedWeight) and matrix.mask is not None:
            theirs[f"{name}.weight"] = matrix.weight * matrix.full_mask()
    for name, matrix in model.named_modules():
        if isinstance(matrix, FactoredWeight) and f"{name}.weight" in theirs:
            factors = low_rank(theirs.pop(f"{name}.weight"), matrix.rank)
            theirs |= zip((f"{name}.left.weight", f"{name}.right.weight"), factors)
    for name in [*ours, *theirs]:
        shapes = [list(values[name].shape) if name in values else "none" for values in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{INIT}: {place}: {name}: {shapes[1]}, and this model has {shapes[0]}; layers must agree")
        ours[name].copy_(theirs[name])
    modules = dict(given.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, BitQuantizer) and name in modules:
            module.take_over(modules[name])


@torch.no_grad()
def take_masks(model: AcousticModel, given: AcousticModel, place: Path, scratch: bool) -> None:
    """Give `model` the masks of `given`. In one that starts from `scratch`, weights whose mask would have been chosen
    later grow by 1 / sqrt(kept inputs of a kept row / inputs), as those of a mask that is fixed before do.

    UserError unless both have masks of the same methods on the same matrices.
    """
    theirs = {p.name: p.chain for p in pressed_tensors(given)}
    for p in pressed_tensors(model):
        ours, other = p.chain, theirs.get(p.name)
        if other is None or ours.mask_method != other.mask_method or ours.shape != other.shape:
            found = "another layer" if other is None or ours.shape != other.shape else f"mask {other.mask_method}"
            raise UserError(
                f"{MASKS}: {place}: {p.name}: {found}, and this model has mask {ours.mask_method}; it needs the layers "
                "and the mask sections of that one"
            )
        if ours.mask is None:
            continue
        grows = scratch and bool(ours.mask.all())
        ours.mask.copy_(other.mask)
        if ours.within is not None:
            ours.within.copy_(other.within)
        if grows:
            kept = ours.full_mask()
            p.weight.div_((kept.sum() / (kept.any(1).sum() * kept.shape[1])).sqrt())


def _learnt(model: AcousticModel) -> dict[str, Tensor]:
    """The tensors of a model by name, those of masks and quantizers left out."""
    values = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, BitQuantizer):
            for key in module.state_dict():
                values.pop(f"{name}.{key}", None)
        elif isinstance(module, PressedWeight):
            for key in ("mask", "within"):
                values.pop(f"{name}.{key}", None)
    return values
