"""Training speed: the compressed layers beside torch.nn.LSTM, forward and backward."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from frenchpress.bench.gpu import gpu_subjects
from frenchpress.bench.layers import TRAINED, pressed_layers
from frenchpress.bench.timing import Subject, interleave
from frenchpress.bench.training_run import torch_alone, training_run
from frenchpress.config import LayerPress
from frenchpress.kernels import native
from frenchpress.kernels.recurrence import lstm_recurrence


def _recurrence_run(
    forward: Callable[[], Tensor], leaves: tuple[Tensor, Tensor], weights: Tensor
) -> Callable[[], None]:
    def run() -> None:
        torch.autograd.grad((forward() * weights).sum(), leaves)

    return run


def _layers(args: argparse.Namespace, press: LayerPress, norm: bool = True) -> nn.Sequential:
    return pressed_layers(args.inputs, args.cells, args.layers, press, args.seed, norm)


def training_subjects(args: argparse.Namespace) -> list[Subject]:
    """Forward and backward of the whole stack; the first subject is torch.nn.LSTM."""
    torch.manual_seed(args.seed)
    x = torch.randn(args.batch, args.steps, args.inputs)
    weights = torch.randn(args.batch, args.steps, args.cells)
    frames = args.batch * args.steps
    theirs = nn.LSTM(args.inputs, args.cells, args.layers, batch_first=True)
    subjects = [Subject("torch.nn.LSTM", training_run(lambda: theirs(x)[0], theirs, weights), frames)]
    models = {name: _layers(args, press) for name, press in TRAINED.items()}
    models["lstm (float), no batch norm"] = _layers(args, LayerPress(), norm=False)
    runs = {name: training_run(lambda model=model: model(x), model, weights) for name, model in models.items()}
    if native.library() is not None:
        subjects += [Subject(f"{name}, compiled", run, frames) for name, run in runs.items()]
    subjects += [Subject(f"{name}, torch alone", torch_alone()(run), frames) for name, run in runs.items()]
    return subjects


def recurrence_subjects(args: argparse.Namespace) -> list[Subject]:
    """The torch recurrence of one layer alone, forward and backward, its input projections given."""
    subjects = []
    for name, press in TRAINED.items():
        layer = _layers(args, press)[0]
        matrix, sizes = layer.recurrent_matrix, [args.batch] * args.steps
        structure = matrix.structure
        weight = (matrix() if structure is None else matrix.compact(structure)).detach().requires_grad_()
        given = torch.randn(args.batch * args.steps, 4 * args.cells, requires_grad=True)
        weights = torch.randn(len(given), args.cells)

        forward = partial(lstm_recurrence, given, weight, sizes, structure, layer.act_out)
        run = _recurrence_run(forward, (given, weight), weights)
        subjects.append(Subject(f"recurrence, {name}, torch alone", run, len(given)))
    return subjects


def _print(title: str, subjects: list[Subject], others: Sequence[Subject] = ()) -> None:
    """A table; the first of `subjects`, then `others`, are what the ratios are to."""
    bases = (subjects[0], *others)
    print(f"\n{title} (ratio: to {', and to '.join(base.name for base in bases)})")
    for s in subjects:
        ratios = " ".join(f"{s.ratio(base):6.2f}x" for base in bases)
        print(f"  {s.name:44s} {s.frames_per_second:9.0f} frames/s {1e3 * s.seconds:8.1f} ms {ratios}")


def run_training(args: argparse.Namespace) -> None:
    """Time it and print the tables."""
    training, recurrence = training_subjects(args), recurrence_subjects(args)
    interleave([*training, *recurrence], args.repeats)
    size = f"{args.batch} x {args.steps} frames"
    _print(f"training, forward and backward, {size}", training)
    _print(f"one recurrence, forward and backward, {size}", recurrence)
    if torch.cuda.is_available():
        run_gpu_training(args, torch.device("cuda"), torch.cuda.get_device_name())


def run_gpu_training(args: argparse.Namespace, device: torch.device, name: str) -> None:
    """The same on `device`, which is called `name`."""
    subjects = gpu_subjects(args, device)
    interleave(subjects, args.repeats)
    _print(f"training, forward and backward, {args.batch} x {args.steps} frames, {name}", subjects, subjects[-1:])
