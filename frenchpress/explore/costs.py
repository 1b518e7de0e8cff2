"""What a design costs: before training, from its untrained model; after it, from the experiment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from frenchpress.common import UserError, read_yaml
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import Config
from frenchpress.explore.space import Space
from frenchpress.export.pack import PACKED, pack_experiment, pack_model
from frenchpress.hardware.chip import Chip
from frenchpress.hardware.cost import frame_cost
from frenchpress.hardware.totals import frame_energy
from frenchpress.nnet.check import build_model
from frenchpress.nnet.checkpoint import SUMMARY
from frenchpress.nnet.given import INIT, give, given_places, is_trained, load_given
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task
from frenchpress.packed.model import PackedModel
from frenchpress.packed.runtime import Runtime

Found = dict[str, float]
_FRAMES, _TIMES = 400, 5


def before_training(space: Space, config: Config, out: Path, task: Task, identity: str) -> Iterator[Found]:
    """What the design of `config`, to be trained in `out`, costs: bytes and MACs first, then what a chip takes.

    Its masks are chosen as training will choose them, at once and from the weights that it starts from. `identity`:
    digest of the task. UserError for a design that cannot be built, or that the chip cannot hold.
    """
    model = build_model(space.path, config, Sizes(task.feat_dim, task.num_pdfs, task.num_phones))
    masks = MaskSchedule(model, config.seed, model.units)
    place = given_places(config, out).get(INIT)
    if place is not None and is_trained(place):
        give(INIT, place, model, load_given(INIT, place, model, identity))
    masks.finish()
    size = size_report(model, model.constants)
    yield {"stored_bytes": float(size["stored_bytes"]), "macs": float(size["macs_kept"])}
    if space.chip is not None:
        _find_ranges(model)
        yield on_chip(pack_model(model, task.pdf_counts, {}), space.chip)


@torch.no_grad()
def _find_ranges(model: AcousticModel) -> None:
    """Give ranges that are calibrated some value. Costs do not depend on it."""
    model.train()
    inputs = torch.randn(1, 4, len(model.input_mean), generator=torch.Generator().manual_seed(0))
    model(inputs, torch.tensor([4]))
    model.eval()


def on_chip(packed: PackedModel, chip: Chip) -> Found:
    """Of a frame; energy where a table describes the chip."""
    cost = frame_cost(packed, chip)
    found = {"cycles": float(cost.cycles), "microseconds": cost.microseconds}
    return found | ({"energy_uj": sum(frame_energy(cost).values()) / 1e6} if cost.has_energy else {})


def after_training(space: Space, place: Path, task: Task) -> Found:
    """What the trained experiment in `place` has come to, test left out."""
    size, training = read_yaml(place / "size.yaml"), read_yaml(place / SUMMARY)
    found = {"stored_bytes": float(size["stored_bytes"]), "macs": float(size["macs_kept"])}
    found["dev_frame_error"] = 100.0 * training["dev_frame_error_cd"]
    dev = place / "decode_dev/stats.yaml"
    if dev.is_file():
        found["dev_per"] = float(read_yaml(dev)["per"])
    if space.chip is not None or "measured_us" in space.asked:
        packed, _ = pack_experiment(place, task)
        if space.chip is not None:
            found |= on_chip(packed, space.chip)
    if "measured_us" in space.asked:
        found["measured_us"] = measured_us(place / PACKED, task.feat_dim)
    if missing := space.asked - set(found) - {"dev_per"}:
        raise UserError(f"{place}: {', '.join(sorted(missing))}: not known; {space.file.chip} has none")
    return found


def measured_us(packed: Path, dim: int) -> float:
    """Microseconds of a frame of a packed model in the runtime: the best of some calls, on one core."""
    runtime = Runtime.load(packed)
    feats = np.random.default_rng(0).normal(size=(_FRAMES, dim)).astype(np.float32)
    times = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        runtime.logits(feats)
        times.append(time.perf_counter() - begun)
    return 1e6 * min(times) / _FRAMES
