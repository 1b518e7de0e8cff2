"""A trained model as an ONNX file: `python -m frenchpress.export.to_onnx exp/<name> [--out model.onnx]`.

Inputs of the graph, float32: `features` [T, 1, inputs], spliced as in training (metadata: context, time_stride,
feat_dim, and features, which says what kind they are), any T; optionally `h0`, `c0` [layers, 1, cells], zeros unless
given. Outputs: `log_posteriors` [T, 1, tied states], `log_posteriors_mono` [T, 1, phones], and `hn`, `cn`, which the
next call takes as `h0`, `c0`: so it streams.

Each layer is one `LSTM` operator. Its matrices are the model's own, masked and quantized, as float32; the batch norm
of evaluation is folded into the input matrix and the bias. Activations: inputs of layers and heads are rounded as in
the model where their range is static. The `LSTM` operator cannot round h on its way to the next time step; the model
with quantized activations does, and differs from the graph by that. A range taken from the tensor (`dynamic`) would
make a frame's result depend on the call that it comes in; those activations stay float in the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, atomic_path, run_main
from frenchpress.compress import ActQuantizer
from frenchpress.export.graph import Floats, GraphBuilder, Grid, LstmArrays, add_lstm_stack, add_rounding
from frenchpress.export.packages import require
from frenchpress.export.session import open_session
from frenchpress.nnet.linear import PressedLinear
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel, load_model
from frenchpress.nnet.task import Task

if TYPE_CHECKING:
    import onnx

OUTPUTS = {"cd": "log_posteriors", "mono": "log_posteriors_mono"}
"""The model's heads and what the graph calls their outputs."""

_COMPARED_FRAMES = 20, 300


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().float().cpu().numpy()


def static_grid(quantizer: ActQuantizer) -> Grid | None:
    """Grid of an activation quantizer whose range is known, or found; None if it is float or goes by the tensor."""
    grid = None if quantizer.is_float else quantizer.grid(torch.float32)
    return None if grid is None else Grid(quantizer.bits, float(grid[1]))


@torch.no_grad()
def lstm_arrays(layer: QuantLSTMLayer) -> LstmArrays:
    """What a layer in evaluation multiplies with and adds, its batch norm folded in (in float64, rounded once)."""
    if layer.delta is not None:
        raise UserError("delta: the LSTM operator of ONNX cannot hold inputs and outputs back")
    weight, recurrent, norm = layer.input_matrix().double(), layer.recurrent_matrix(), layer.norm
    if norm is None:
        bias = layer.bias
    else:
        gain = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
        weight, bias = weight * gain.unsqueeze(1), norm.bias - gain * norm.running_mean
    return LstmArrays(_array(weight), _array(recurrent), _array(bias), static_grid(layer.act_in))


@torch.no_grad()
def _add_head(graph: GraphBuilder, name: str, x: str, head: PressedLinear, output: str) -> None:
    """Log posteriors [T, 1, outputs] of a head as the graph's output `output`."""
    x = add_rounding(graph, x, static_grid(head.act), f"{name}_in")
    weight = graph.constant(f"{name}_weight", np.ascontiguousarray(_array(head.matrix()).T))
    logits = graph.node("MatMul", [x, weight], f"{name}_product")
    logits = graph.node("Add", [logits, graph.constant(f"{name}_bias", _array(head.bias))], f"{name}_logits")
    graph.output(graph.node("LogSoftmax", [logits], output, axis=-1), ("T", 1, head.outputs))


def export_model(model: AcousticModel, name: str, features: str | None = None) -> onnx.ModelProto:
    """The graph of a trained model as it is in evaluation, checked; `name` and kind of `features` go into the file."""
    graph = GraphBuilder()
    inputs = len(model.input_mean)
    x = graph.input("features", ("T", 1, inputs))
    x = graph.node("Sub", [x, graph.constant("input_mean", _array(model.input_mean))], "centred")
    x = graph.node("Mul", [x, graph.constant("input_scale", _array(model.input_scale))], "normalised")
    x = add_lstm_stack(graph, x, {key: lstm_arrays(layer) for key, layer in model.lstm.items()})
    for head, output in OUTPUTS.items():
        _add_head(graph, f"head_{head}", x, getattr(model, f"head_{head}"), output)
    said = {"context_left": -model.offsets[0], "context_right": model.offsets[-1], "time_stride": model.offsets.step}
    metadata = {key: str(value) for key, value in said.items()} | {"feat_dim": str(model.sizes.feat_dim)}
    metadata |= {"features": features} if features else {}
    return graph.model(name, " ".join(differences(model)), metadata)


def differences(model: AcousticModel) -> list[str]:
    """One line on each rounding of activations that the model does and its graph does not."""
    lines = []
    for name, layer in model.lstm.items():
        if not layer.act_out.is_float:
            lines.append(f"{name}: outputs are not rounded to {layer.act_out.bits} bits inside the recurrence.")
    acts = {name: layer.act_in for name, layer in model.lstm.items()}
    acts |= {f"head_{head}": getattr(model, f"head_{head}").act for head in OUTPUTS}
    for name, act in acts.items():
        if not act.is_float and static_grid(act) is None:
            lines.append(f"{name}: inputs are not rounded to {act.bits} bits, having no static range.")
    return lines


@torch.no_grad()
def largest_difference(model: AcousticModel, exported: bytes, frames: int, seed: int = 0) -> float:
    """Between the log posteriors of `model` and of onnxruntime on its graph, over both heads, for normal features."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(1, frames, len(model.input_mean), generator=random) / model.input_scale + model.input_mean
    expected = model.eval()(features, torch.tensor([frames]))
    session = open_session(exported)
    found = session.run(list(OUTPUTS.values()), {"features": features.transpose(0, 1).numpy()})
    pairs = zip(found, (expected[head].log_softmax(-1) for head in OUTPUTS))
    return max(float(np.abs(ours[:, 0] - theirs.numpy()).max()) for ours, theirs in pairs)


def _comparison(model: AcousticModel, exported: bytes) -> str:
    try:
        require("onnxruntime")
    except UserError as error:
        return f"not compared with the model: {error}"
    found = (f"{largest_difference(model, exported, n):.1e} ({n} frames)" for n in _COMPARED_FRAMES)
    return f"largest difference of log posteriors to the model, random features: {', '.join(found)}"


def _features(directory: Path) -> str | None:
    """The kind of features that the model was trained on, where its task is still there."""
    try:
        return Task.of(directory, None).features
    except UserError:
        return None


def main() -> None:
    """Command line."""
    args = parse("to-onnx")
    out = args.out or args.experiment / "model.onnx"
    if out.is_dir():
        raise UserError(f"--out: {out} is a directory, expected a file to write")
    require("onnx")
    model = load_model(args.experiment)
    exported = export_model(model, args.experiment.resolve().name, _features(args.experiment)).SerializeToString()
    with atomic_path(out) as temporary:
        temporary.write_bytes(exported)
    print(f"{out}: {len(exported) / 2**20:.1f} MiB")
    for line in differences(model):
        print(line)
    print(_comparison(model, exported))


if __name__ == "__main__":
    run_main(main)
