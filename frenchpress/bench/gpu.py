"""Training speed on a GPU: the compressed layers on their kernels beside cuDNN's LSTM and a loop over time steps."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from frenchpress.bench.layers import PRESSES, pressed_layers
from frenchpress.bench.timing import Subject
from frenchpress.bench.training_run import torch_alone, training_run
from frenchpress.kernels.gpu import why_not
from frenchpress.kernels.reference import shift
from frenchpress.nnet.lstm import QuantLSTMLayer

LOOP = "w8a16_hcgs16x, loop over time steps"


class TimeStepLoop(nn.Module):
    """A stack of layers written down plainly: a loop over time steps, dense masked matrices, autograd."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T, cells]."""
        for layer in self.layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: QuantLSTMLayer, x: Tensor) -> Tensor:
        given = layer.act_in(x).flatten(0, 1) @ layer.input_matrix().t()
        given = shift(layer.parts, given).unflatten(0, x.shape[:2])
        weight = layer.recurrent_matrix()
        h = c = x.new_zeros(len(x), layer.cells)
        out = []
        for t in range(x.shape[1]):
            i, f, g, o = (given[:, t] + h @ weight.t()).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = layer.act_out(o.sigmoid() * c.tanh())
            out.append(h)
        return torch.stack(out, dim=1)


def gpu_subjects(args: argparse.Namespace, device: torch.device) -> list[Subject]:
    """Forward and backward of the whole stack on `device`; the first subject is torch.nn.LSTM, the last `LOOP`."""
    torch.manual_seed(args.seed)
    x = torch.randn(args.batch, args.steps, args.inputs, device=device)
    weights = torch.randn(args.batch, args.steps, args.cells, device=device)
    frames = args.batch * args.steps
    theirs = nn.LSTM(args.inputs, args.cells, args.layers, batch_first=True).to(device)
    subjects = [Subject("torch.nn.LSTM (cuDNN)", training_run(lambda: theirs(x)[0], theirs, weights), frames)]
    models = {
        name: pressed_layers(args.inputs, args.cells, args.layers, press, args.seed).to(device)
        for name, press in PRESSES.items()
    }
    loop = TimeStepLoop(models["w8a16_hcgs16x"])
    runs = {name: training_run(lambda model=model: model(x), model, weights) for name, model in models.items()}
    if why_not(device) is None:
        subjects += [Subject(f"{name}, GPU kernels", run, frames) for name, run in runs.items()]
    subjects += [Subject(f"{name}, torch alone", torch_alone()(run), frames) for name, run in runs.items()]
    return [*subjects, Subject(LOOP, training_run(lambda: loop(x), loop, weights), frames)]
