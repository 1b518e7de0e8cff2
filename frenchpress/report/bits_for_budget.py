"""Bits for each matrix, so that a model fits so many bytes: `frenchpress bits-for-budget exp/<name> --bytes 400kB`.

Each matrix of a trained float model is rounded to each number of bits, and what that does is set against the bytes that
it saves. Writes a `.cfg` with the bits, that starts from the experiment, and a table. Nothing is trained.

--by says what harm is: `loss`, the rise of the loss on dev with that matrix alone rounded; `hessian`, the squared error
times the mean curvature of the loss (Dong et al. 2020, arXiv 1911.03852; the trace by Hutchinson's estimator);
`sqnr`, the squared error over the sum of squares of the matrix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, atomic_path, run_main
from frenchpress.common.progress import progress
from frenchpress.compress import PressedWeight, Quantizer, make_quantizer, size_report
from frenchpress.compress.options import FLOAT_BITS
from frenchpress.compress.size import bytes_of, matrix_size
from frenchpress.config import Config, MatrixPress, config_to_yaml, layer_presses
from frenchpress.config.load import HEADS
from frenchpress.config.press import MATRICES
from frenchpress.nnet.data import Frames, in_order
from frenchpress.nnet.losses import evaluate, losses
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.task import Task
from frenchpress.report.markdown import markdown

_STEP = 0.01


@dataclass(frozen=True)
class Choice:
    """What a number of bits costs in one place: `harm`, in any unit that adds up, and `size` in bits stored."""

    harm: float
    size: int


@dataclass(frozen=True)
class Place:
    """A key of a `.cfg`: a layer, of an LSTM layer one of its two matrices, and what stands there."""

    layer: str
    matrix: str | None
    weights: tuple[PressedWeight, ...]

    @property
    def name(self) -> str:
        """`lstm0.input`, `head_cd`."""
        return self.layer if self.matrix is None else f"{self.layer}.{self.matrix}"


def places(model: AcousticModel) -> list[Place]:
    """Where bits can be said of `model`."""
    found = [(name, key, getattr(layer, f"{key}_matrix")) for name, layer in model.lstm.items() for key in MATRICES]
    found += [(name, None, getattr(model, name).matrix) for name in HEADS]
    return [Place(a, b, tuple(w for w in m.modules() if isinstance(w, PressedWeight))) for a, b, m in found]


def allocate(choices: Sequence[Mapping[int, Choice]], budget: int) -> list[int]:
    """Bits for each place, the sum of whose sizes is at most `budget` bits: from the least on, the step that takes most
    harm away for its bits, while one fits. UserError where the least does not.
    """
    chosen = [min(place) for place in choices]
    used = sum(place[bits].size for place, bits in zip(choices, chosen))
    if used > budget:
        raise UserError(f"needs at least {used - budget} bits more with the fewest bits everywhere")
    while True:
        steps = []
        for i, place in enumerate(choices):
            now = place[chosen[i]]
            for bits, then in place.items():
                more, gain = then.size - now.size, now.harm - then.harm
                if more > 0 and gain > 0 and used + more <= budget:
                    steps.append((gain / more, -i, bits, more))
        if not steps:
            return chosen
        _, i, bits, more = max(steps)
        chosen[-i], used = bits, used + more


@contextmanager
def rounded(weights: Sequence[PressedWeight], quantizer: Quantizer) -> Iterator[None]:
    """Let `weights` be rounded by `quantizer` for a while."""
    own = [w.quantizer for w in weights]
    for weight in weights:
        weight.quantizer = quantizer
    try:
        yield
    finally:
        for weight, quantizer in zip(weights, own):
            weight.quantizer = quantizer


def traces(model: AcousticModel, frames: Frames, samples: int, seed: int = 0) -> dict[PressedWeight, float]:
    """Trace of the Hessian of the loss per frame, by matrix, over the weights that masks keep.

    Hutchinson's estimator, the mean of z' H z over `samples` random signs z, of all matrices at once since the parts of
    different ones average out. H z is a difference of gradients, one hundredth of a matrix's deviation apart.
    """
    weights = [w for w in model.modules() if isinstance(w, PressedWeight)]
    generator, found = torch.Generator().manual_seed(seed), dict.fromkeys(weights, 0.0)
    for _ in range(samples):
        signs = [torch.randint(0, 2, w.shape, generator=generator).mul_(2).sub_(1).float() for w in weights]
        signs = [z if w.mask is None else z * w.full_mask() for z, w in zip(signs, weights)]
        steps = [_STEP * float(w.weight.detach().std()) for w in weights]
        # All weights move by the same step, so that the cross terms are those of one z.
        step = sum(steps) / len(steps)
        up, down = (_gradients(model, frames, weights, signs, sign * step) for sign in (1, -1))
        for w, z, a, b in zip(weights, signs, up, down):
            found[w] += float((z * (a - b)).sum()) / (2 * step) / samples
    model.zero_grad(set_to_none=True)
    return found


def _gradients(
    model: AcousticModel, frames: Frames, weights: Sequence[PressedWeight], signs: Sequence[Tensor], step: float
) -> list[Tensor]:
    """Of the loss per frame, with weights moved by `step` along `signs`."""
    before = [w.weight.detach().clone() for w in weights]
    model.zero_grad(set_to_none=True)
    try:
        with torch.no_grad():
            for w, z in zip(weights, signs):
                w.weight.add_(step * z)
        for rows in in_order(frames.pieces(int(frames.lengths.max())), 32):
            batch = frames.batch(rows, model.offsets)
            total, _, _ = losses(model(batch.inputs, batch.lengths), batch, 0.0)
            (total * batch.frames / len(frames)).backward()
        return [w.weight.grad.clone() for w in weights]
    finally:
        with torch.no_grad():
            for w, old in zip(weights, before):
                w.weight.copy_(old)


def sizes_of(model: AcousticModel, bits: Sequence[int], quantizer: str) -> list[dict[int, int]]:
    """Bits that each place of `model` would take in a file with each number of bits for a weight."""

    def size(place: Place) -> int:
        return sum(matrix_size("", weight).stored_bits for weight in place.weights)

    return [{number: size(place) for number in rounding(place, bits, quantizer)} for place in places(model)]


def rounding(place: Place, bits: Sequence[int], quantizer: str) -> Iterator[int]:
    """The numbers of bits, with the weights of `place` rounded to each."""
    for number in bits:
        with rounded(place.weights, make_quantizer(quantizer, number).eval()):
            yield number


def choices_of(
    model: AcousticModel, frames: Frames, by: str, sizes: Sequence[Mapping[int, int]], quantizer: str, samples: int = 4
) -> list[dict[int, Choice]]:
    """What each number of bits costs in each place of `model`, whose weights are float; `by` as said above."""
    curvature = traces(model, frames, samples) if by == "hessian" else {}
    whole = evaluate(model, frames)[0] if by == "loss" else 0.0
    found = []
    for place, size in zip(places(model), progress(sizes, "rounding each matrix alone")):
        options = {}
        for number in rounding(place, list(size), quantizer):
            if by == "loss":
                harm = evaluate(model, frames)[0] - whole
            else:
                harm = sum(_error(w, curvature.get(w)) for w in place.weights)
            options[number] = Choice(harm, size[number])
        found.append(options)
    return found


@torch.no_grad()
def _error(matrix: PressedWeight, trace: float | None) -> float:
    """By how much the loss rises, to second order, if the curvature is the same everywhere; without a `trace`: squared
    error over squares.
    """
    mask = matrix.full_mask()
    kept = matrix.weight if mask is None else matrix.weight * mask
    error, squares = float((matrix() - kept).square().sum()), float(kept.square().sum())
    if trace is None:
        return error / max(squares, 1e-30)
    return max(trace, 0.0) * error / (2 * (kept.numel() if mask is None else max(1, int(mask.sum()))))


def with_bits(model: AcousticModel, bits: Sequence[int], quantizer: str, init: str) -> Config:
    """The configuration of `model` with so many bits in each place, that starts from the experiment `init`."""
    presses = layer_presses(model.config)
    for place, number in zip(places(model), bits):
        said = {"weight_bits": number, "quantizer": quantizer, "quantizer_options": None}
        press = presses[place.layer]
        if place.matrix is not None:
            said = {place.matrix: replace(getattr(press, place.matrix) or MatrixPress(), **said)}
        presses[place.layer] = replace(press, **said)
    return replace(model.config, compress=presses, train=replace(model.config.train, init=init))


def check_budget(sizes: Sequence[Mapping[int, int]], other: int, budget: int) -> None:
    """UserError where `budget` is below the least that the model takes; in bytes, with `other` beside its matrices."""
    least = other + bytes_of(sum(place[min(place)] for place in sizes))
    if budget < least:
        raise UserError(
            f"--bytes: {budget} is below {least}, which the model takes with the fewest bits everywhere; "
            "prune it first, or take fewer cells"
        )


def main() -> None:
    """Command line."""
    arguments = parse("bits-for-budget")
    model = load_model(arguments.experiment)
    task = Task.of(arguments.experiment, arguments.task)
    if Sizes(task.feat_dim, task.num_pdfs, task.num_phones) != model.sizes:
        raise UserError(f"{task.path}: not the task of {arguments.experiment}: other features, tied states or phones")
    frames = Frames(islice(task.split("dev"), 0, None, arguments.every))
    quantizer, weights = arguments.quantizer, [w for place in places(model) for w in place.weights]
    other = size_report(model, model.constants)["other_bytes"]
    with rounded(weights, make_quantizer("none", FLOAT_BITS)):
        sizes = sizes_of(model, sorted(set(arguments.bits)), quantizer)
        check_budget(sizes, other, arguments.bytes)
        choices = choices_of(model, frames, arguments.by, sizes, quantizer)
    bits = allocate(choices, 8 * (arguments.bytes - other))
    size = other + bytes_of(sum(place[number].size for place, number in zip(choices, bits)))
    out = arguments.out or arguments.experiment / "bits.cfg"
    config = with_bits(model, bits, quantizer, arguments.experiment.resolve().name)
    with atomic_path(out) as temporary:
        temporary.write_text(f"# {size} bytes: {' '.join(sys.argv[1:])}\n{config_to_yaml(config)}", "utf-8")
    head = ["matrix", "bits", "bytes", *(f"harm at {number}" for number in choices[0])]
    rows = [
        [place.name, str(number), str(bytes_of(options[number].size)), *(f"{c.harm:.3g}" for c in options.values())]
        for place, number, options in zip(places(model), bits, choices)
    ]
    print(*markdown(head, rows), "", f"{out}: {size} bytes of {arguments.bytes}; train it:", sep="\n")
    print(f"    ./run.sh --stage 4 --exp {arguments.experiment.parent} --conf {out}")


if __name__ == "__main__":
    run_main(main)
