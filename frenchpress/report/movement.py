"""How much of the feature maps moves: `frenchpress movement exp/<name>`.

What has not moved since the frame before is a zero of the feature map (frenchpress.kernels.delta). Of each map: the
share of its columns that move in a frame, the operations that are left of the matrices that read it, and how evenly
the columns that move are spread over the banks of a memory. With `--try`, also what each threshold gains and costs: the
model, not trained anew, with one of them larger or smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.common.progress import progress
from frenchpress.compress import PressedWeight, Weight
from frenchpress.nnet.checkpoint import write_yaml
from frenchpress.nnet.data import Frames, in_order
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel
from frenchpress.report.experiment import model_and_task
from frenchpress.report.markdown import markdown

MOVEMENT = "movement.yaml"


@dataclass
class FeatureMap:
    """What was seen of one, and the matrices that read it. `moved`: frames in which each column moved, [columns].
    `busiest`: over all frames, the columns that moved in the bank with the most.
    """

    name: str
    readers: list[PressedWeight]
    banks: int
    frames: int = 0
    moved: Tensor | int = 0
    busiest: int = 0

    def see(self, x: Tensor, lengths: Tensor) -> None:
        """Values [B, T, columns] as they are sent on, zeros before the first."""
        real = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
        moves = (torch.diff(x, dim=1, prepend=torch.zeros_like(x[:, :1])) != 0)[real]
        self.frames += len(moves)
        self.moved = self.moved + moves.sum(0)
        by_bank = nn.functional.pad(moves, (0, -moves.shape[1] % self.banks)).view(len(moves), -1, self.banks).sum(1)
        self.busiest += int(by_bank.amax(1).sum())

    @property
    def share(self) -> float:
        """Columns that move in a frame over all, on average."""
        return float(self.moved.double().mean()) / self.frames

    @property
    def balance(self) -> float:
        """Work over the time that the busiest bank takes for it, 1 where all have the same."""
        return float(self.moved.sum()) / (self.banks * max(1, self.busiest))

    @property
    def operations(self) -> tuple[int, int, float]:
        """Multiply-accumulates of a frame: of the dense matrices, of their kept weights, and of those in columns that
        move."""
        masks = [(m.full_mask(), m.shape) for m in self.readers]
        kept = sum(torch.full(s[1:], s[0]) if mask is None else mask.sum(0) for mask, s in masks)
        dense = sum(shape[0] * shape[1] for _, shape in masks)
        return dense, int(kept.sum()), float((kept * self.moved.double()).sum()) / self.frames


@dataclass
class Watch:
    """The feature maps of a model, filled by its calls; columns are dealt out to `banks` one after the other."""

    model: AcousticModel
    banks: int
    maps: list[FeatureMap] = field(default_factory=list)

    @contextmanager
    def on(self) -> Iterator[None]:
        """See every call of the model."""
        layers, heads = list(self.model.lstm.items()), [self.model.head_cd, self.model.head_mono]
        hooks = []
        for number, (name, layer) in enumerate(layers):
            inputs = self._map(f"{name} inputs", [layer.input_matrix])
            outputs = self._map(f"{name} outputs", [layer.recurrent_matrix])
            last = self._map("outputs to the heads", [h.matrix for h in heads]) if number + 1 == len(layers) else None

            def see(
                layer: QuantLSTMLayer, given: tuple[Tensor, Tensor], out: Tensor,
                inputs: FeatureMap = inputs, outputs: FeatureMap = outputs, last: FeatureMap | None = last,
            ) -> None:  # fmt: skip
                x, lengths = given
                inputs.see(layer.parts.seen_inputs(layer.act_in(x)), lengths)
                outputs.see(out, lengths)
                if last is not None:
                    last.see(heads[0].act(out), lengths)

            hooks.append(layer.register_forward_hook(see))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _map(self, name: str, readers: list[Weight]) -> FeatureMap:
        for matrix in readers:
            if not isinstance(matrix, PressedWeight):
                raise UserError(f"{name}: read by factors, whose operations are not counted here")
        self.maps.append(FeatureMap(name, readers, self.banks))
        return self.maps[-1]


@torch.no_grad()
def measure(model: AcousticModel, frames: Frames, banks: int) -> list[FeatureMap]:
    """The feature maps of `model` over `frames`, utterance by utterance."""
    watch = Watch(model.eval(), banks)
    with watch.on():
        for rows in progress(in_order(frames.pieces(int(frames.lengths.max())), 16), "frames"):
            batch = frames.batch(rows, model.offsets)
            model(batch.inputs, batch.lengths)
    return watch.maps


def summary(maps: list[FeatureMap]) -> dict[str, object]:
    """As plain values."""
    operations = [m.operations for m in maps]
    dense, kept, left = (sum(column) for column in zip(*operations))
    each = [
        {"name": m.name, "moved": m.share, "balance": m.balance, "macs_kept": k, "macs_left": x}
        for m, (_, k, x) in zip(maps, operations)
    ]
    own = [maps[0], *maps[1:-1:2]]  # inputs of the model and outputs of its layers, each once
    sent = sum(m.share * len(m.moved) for m in own) / sum(len(m.moved) for m in own)
    totals = {"sent": sent, "macs_dense": dense, "macs_kept": kept, "macs_left": left}
    return {"banks": maps[0].banks, "maps": each} | totals


@contextmanager
def with_threshold(layer: QuantLSTMLayer, which: str, value: float) -> Iterator[None]:
    """Let `layer` hold its `input` or `output` back by `value` for a while."""
    before = layer.delta
    layer.delta = (value, before[1]) if which == "input" else (before[0], value)
    try:
        yield
    finally:
        layer.delta = before


@dataclass(frozen=True)
class Trial:
    """A model with one threshold in place of its own: `sent`, the share of its inputs and outputs that is sent on;
    `operations`, multiply-accumulates of a frame that are left; `loss`, per frame.
    """

    threshold: str
    value: float
    sent: float
    operations: float
    loss: float


def trials(model: AcousticModel, frames: Frames, factors: Sequence[float]) -> Iterator[Trial]:
    """Each threshold of `model` in turn, times 1 and `factors`, the others as they are; nothing is trained."""
    layers = [(name, layer) for name, layer in model.lstm.items() if layer.delta is not None]
    pairs = [(name, layer, *pair) for name, layer in layers for pair in zip(("input", "output"), layer.delta)]
    every = [(*pair, factor) for pair in pairs if pair[-1] for factor in sorted({1.0, *factors})]
    for name, layer, which, value, factor in progress(every, "thresholds"):
        watch = Watch(model, 1)
        with with_threshold(layer, which, factor * value), watch.on():
            loss, _, _ = evaluate(model, frames)
        found = summary(watch.maps)
        yield Trial(f"{name}: {which}", factor * value, found["sent"], found["macs_left"], loss)


def print_trials(model: AcousticModel, frames: Frames, factors: Sequence[float]) -> None:
    """What each threshold gains and costs, as a table."""
    rows = [
        [t.threshold, f"{t.value:g}", f"{100 * t.sent:.1f} %", f"{t.operations:.0f}", f"{t.loss:.4f}"]
        for t in trials(model, frames, factors)
    ]
    print(f"\nOne threshold at a time, not trained anew ({len(frames.lengths)} utterances of dev)\n")
    print(*markdown(["threshold", "value", "sent", "MACs left", "loss"], rows), sep="\n")


def main() -> None:
    """Command line."""
    args = parse("movement")
    if args.every > 1 and not args.factors:
        raise UserError(f"--every {args.every}: only --try leaves utterances out; give --try 1/2 3/2 too")
    model, task = model_and_task(args.experiment, args.task)
    if args.factors and not any(any(layer.delta or ()) for layer in model.lstm.values()):
        raise UserError("--try: the model has no threshold; give its layers delta")
    found = summary(measure(model, Frames(task.split("dev")), args.banks))
    write_yaml(args.experiment / MOVEMENT, found)
    rows = [
        [m["name"], f"{100 * m['moved']:.1f} %", f"{m['balance']:.2f}", f"{m['macs_kept']}", f"{m['macs_left']:.0f}"]
        for m in found["maps"]
    ]
    head = ["feature map", "columns that move", f"balance over {args.banks} banks", "MACs", "MACs left"]
    print(*markdown(head, rows), sep="\n")
    print(f"{100 * found['sent']:.1f} % of the model's inputs and its layers' outputs are sent on in a frame")
    dense, left = found["macs_dense"], found["macs_left"]
    print(f"{left:.0f} of {dense} multiply-accumulates a frame are left, 1/{dense / max(left, 1):.1f}")
    if args.factors:
        print_trials(model, Frames(islice(task.split("dev"), 0, None, args.every)), args.factors)


if __name__ == "__main__":
    run_main(main)
