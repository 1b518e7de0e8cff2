"""Pack a trained model into one file of integers: `frenchpress pack exp/x`.

Writes `model.press` into the experiment's directory, with what turns audio into features, and the decoding graph into
`graph/` beside it. `frenchpress recognise` needs nothing else. The GMM system and the training set of the task are
expected where run.sh leaves them; --front and --train give other places.

Weights must have at most 8 bits, activations at most 16 and a range other than `dynamic`. The head of the monophones,
which only training needs, is left out. docs/packed_model.md describes the file.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, blaming, read_yaml, run_main
from frenchpress.common.combinations import Counted
from frenchpress.compress import FactoredWeight, PressedWeight, Weight
from frenchpress.compress.activations import ActQuantizer
from frenchpress.export.front import copy_graph, find_system, make_front
from frenchpress.kernels.delta import steps_of
from frenchpress.kernels.kept import Kept
from frenchpress.nnet.decode import log_priors
from frenchpress.nnet.linear import PressedLinear
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel, load_model
from frenchpress.nnet.task import Task
from frenchpress.packed.build import Floats, fixed_bias, fixed_point, out_multiplier, requantizer
from frenchpress.packed.index import Level
from frenchpress.packed.model import (
    GATE_BITS,
    GATES,
    MAX_HOLD,
    UNSEEN,
    PackedFront,
    PackedHead,
    PackedInput,
    PackedLstm,
    PackedMatrix,
    PackedModel,
)
from frenchpress.packed.runs import encode_runs
from frenchpress.packed.write import write_model

PACKED = "model.press"
_MAX_WEIGHT_BITS, _MAX_ACT_BITS = 8, 16


def pack_model(
    model: AcousticModel, pdf_counts: NDArray[np.int64], meta: dict[str, object], front: PackedFront | None = None
) -> PackedModel:
    """The integers of a trained model; UserError that names the layer when it has none."""
    layers = list(model.lstm.items())
    first = layers[0][1].act_in
    with blaming(layers[0][0]):
        step, bits = _step(first), first.bits
    given = _input(model, step, bits)
    packed = []
    for name, layer in layers:
        with blaming(name):
            packed.append(_lstm(layer, step, bits))
            step, bits = _step(layer.act_out), layer.act_out.bits
    with blaming("head_cd"):
        head = _head(model.head_cd, step, bits, log_priors(pdf_counts), pdf_counts)
    return PackedModel(given, tuple(packed), head, meta, front)


def _step(act: ActQuantizer) -> float:
    """What one integer of an activation is worth."""
    if act.per_call and not act.is_float:
        raise UserError("act_quantizer dynamic: its scale depends on the batch; integers need act_quantizer: fixed")
    if not 2 <= act.bits <= _MAX_ACT_BITS:
        raise UserError(f"act_bits {act.bits}: a packed model has 2 to {_MAX_ACT_BITS}")
    grid = act.grid(torch.float32)
    if grid is None:
        raise UserError(f"act_quantizer of {act.called}: its range was never calibrated; train the model first")
    return float(grid[1])


def _input(model: AcousticModel, step: float, bits: int) -> PackedInput:
    dim, offsets = model.sizes.feat_dim, model.offsets
    mean, gain = model.input_mean[:dim].numpy().copy(), (model.input_scale[:dim].double() / step).float().numpy()
    return PackedInput(-offsets[0], offsets[-1], bits, mean, gain, offsets.step)


def _matrix(matrix: Weight) -> tuple[PackedMatrix, Floats]:
    """Integers, and the scale of each row float64 [rows]."""
    if isinstance(matrix, FactoredWeight):
        raise UserError("factors: a packed model multiplies with one matrix, not with two; train it without factors")
    bits = matrix.quantizer.stored_bits
    if bits > _MAX_WEIGHT_BITS:
        raise UserError(f"weights take {bits} bits; a packed model has at most {_MAX_WEIGHT_BITS}")
    if not matrix.quantizer.granularity.whole_rows:
        raise UserError(
            f"quantizer {matrix.press.quantizer}: one scale for {matrix.quantizer.granularity}; a packed model has one "
            "for a row or for the matrix; use uniform or lsq"
        )
    values, scale = matrix.integers()
    low, high = int(values.min()), int(values.max())
    if bits > 1 and not -(1 << bits - 1) <= low <= high < 1 << bits - 1:
        raise UserError(
            f"quantizer {matrix.press.quantizer}: its integers, {low} to {high}, are codes of {bits} bits; "
            "a packed model has numbers; use uniform or lsq"
        )
    levels, masks = _masks(matrix)
    counted = None if levels else _counted(matrix, masks)
    packed = PackedMatrix(matrix.gates, bits, values.numpy().astype(np.int32), levels, masks, counted)
    return packed, scale.double().reshape(-1).expand(len(values)).numpy()


def _masks(matrix: PressedWeight) -> tuple[tuple[Level, ...], tuple[NDArray[np.bool_], ...]]:
    """Levels, where the mask has any, and masks; none where it keeps everything without being a hierarchy."""
    if matrix.mask is None or (not matrix.hierarchy and bool(matrix.mask.all())):
        return (), ()
    levels = tuple(Level(side, keep.numerator, keep.denominator) for side, keep in matrix.hierarchy)
    return levels, tuple(mask.numpy() for mask in Kept.of(matrix).streams)


def _counted(matrix: PressedWeight, masks: tuple[NDArray[np.bool_], ...]) -> Counted | None:
    """Blocks that keep equally many, the same in all masks, where the method makes such and their index is shorter."""
    method = matrix.outline_method
    if not masks or method is None or method.origin.counted is None or matrix.within is not None:
        return None
    try:
        forms = {Counted.of(mask, method.origin.counted) for mask in masks}
    except UserError:  # a mask on its way, or one that was changed
        return None
    form = forms.pop()
    lengths = (len(form.write(mask, highest_first=False)) - len(encode_runs(mask)) for mask in masks)
    return form if not forms and sum(lengths) < 0 else None


def _normalisation(layer: QuantLSTMLayer) -> tuple[Floats, Floats]:
    """Gain and bias of each row that batch norm comes to in evaluation."""
    n = layer.norm
    if n is None:
        bias = layer.bias.detach().double().numpy()
        return np.ones_like(bias), bias
    gain = _double(n.weight) / np.sqrt(_double(n.running_var) + n.eps)
    return gain, _double(n.bias) - gain * _double(n.running_mean)


def _double(tensor: Tensor) -> Floats:
    return tensor.detach().double().numpy()


def _lstm(layer: QuantLSTMLayer, given_step: float, given_bits: int) -> PackedLstm:
    if layer.act_cell is not None:
        raise UserError("cell_bits: a packed model keeps its cell state at 32 bits")
    step_in, step_out = _step(layer.act_in), _step(layer.act_out)
    along, along_scale = _matrix(layer.input_matrix)
    back, back_scale = _matrix(layer.recurrent_matrix)
    gain, bias = _normalisation(layer)
    # tanh(x) = 2 sigmoid(2 x) - 1: gate g comes doubled.
    twice = np.repeat([1.0, 1.0, 2.0, 1.0], layer.cells)
    shift, factors = fixed_point(twice * along_scale * step_in * gain, twice * back_scale * step_out)
    return PackedLstm(
        layer.act_in.bits, layer.act_out.bits, requantizer(given_step, given_bits, step_in, layer.act_in.bits),
        out_multiplier(step_out), shift, factors[0], factors[1], fixed_bias(twice * bias), along, back,
        *_holds(layer, step_in, step_out),
    )  # fmt: skip


def _holds(layer: QuantLSTMLayer, *steps: float) -> tuple[int, ...]:
    """The largest moves of inputs and outputs that are not sent on, in steps of their grids."""
    found = tuple(steps_of(threshold, step) for threshold, step in zip(layer.delta or (0.0, 0.0), steps))
    if max(found) > MAX_HOLD:
        raise UserError(f"delta: a threshold of {max(found)} steps of the grid, expected at most {MAX_HOLD}")
    return found


def _head(
    head: PressedLinear, given_step: float, given_bits: int, prior: NDArray[np.float32], counts: NDArray[np.int64]
) -> PackedHead:
    step = _step(head.act)
    matrix, scale = _matrix(head.matrix)
    shift, factors = fixed_point(scale * step)
    fixed_prior = np.where(np.asarray(counts) == 0, UNSEEN, np.rint(prior * 2.0**GATE_BITS)).astype(np.int32)
    requantized = requantizer(given_step, given_bits, step, head.act.bits)
    bias = fixed_bias(_double(head.bias))
    return PackedHead(head.act.bits, requantized, shift, factors[0], bias, fixed_prior, matrix)


def pack_experiment(directory: Path, task: Task, origin: tuple[Path, Path] | None = None) -> tuple[PackedModel, int]:
    """Pack the trained model in `directory` into its model.press: what was packed, and the bytes of the file.

    `origin`: GMM system and training set of the task; with them go the front end, and a copy of the graph.
    """
    model = load_model(directory)
    if model.sizes.num_pdfs != task.num_pdfs:
        raise UserError(f"{directory}: trained for {model.sizes.num_pdfs} tied states, {task.path} has {task.num_pdfs}")
    meta = {"experiment": directory.name, "phones": task.phones, "decode": asdict(model.config.decode)}
    meta |= {"features": task.features} | _chosen_weight(directory)
    front = None
    if origin is not None:
        front, meta["mfcc"] = make_front(*origin, task)
        copy_graph(origin[0] / "graph", directory / "graph")
    with blaming(directory):
        packed = pack_model(model, task.pdf_counts, meta, front)
    return packed, write_model(directory / PACKED, packed)


def _chosen_weight(directory: Path) -> dict[str, float]:
    """The LM weight that stage 5 chose on dev, if it has run."""
    stats = directory / "decode_dev/stats.yaml"
    if not stats.exists():
        return {}
    weight = read_yaml(stats).get("lm_weight")
    if not isinstance(weight, (int, float)):
        raise UserError(f"{stats}: no lm_weight; decode again (stage 5)")
    return {"lm_weight": float(weight)}


def _origin(task: Task, system: Path | None, train: Path | None) -> tuple[Path, Path] | None:
    """GMM system and training set, as given or as found."""
    if (system is None) != (train is None):
        raise UserError("give both --front and --train, or neither")
    origin = (system, train) if system and train else find_system(task)
    if origin is None:
        print("no front end: system and training set of the task are not where run.sh has them (--front, --train)")
    return origin


def main() -> None:
    """Command line."""
    args = parse("pack")
    task = Task.of(args.experiment, args.task)
    packed, size = pack_experiment(args.experiment, task, _origin(task, args.front, args.train_set))
    content = -(-packed.content_bits // 8)
    kept = sum(m.kept for m in packed.matrices)
    above = 100 * (size / content - 1)
    print(f"{args.experiment / PACKED}: {size} bytes, {above:.2f} % above the {content} of its contents")
    print(f"{kept} weights kept in {len(packed.layers)} layers of {GATES} gates and a head of {packed.outputs} outputs")
    if packed.front:
        print(f"{-(-packed.front.content_bits // 8)} bytes are the front end; {args.experiment}/graph has its graph")


if __name__ == "__main__":
    run_main(main)
