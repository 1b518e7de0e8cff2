"""Decode and score dev and test with a packed model.

    frenchpress decode-packed exp/w8a16_hcgs16x

Writes exp/x/packed/{PER,decode_dev,decode_test} (of words: WER) as stage 5 writes those of the trained model. Prints
how many utterances have other phones or words than the trained model's and the first of them, and the time of the
network alone, at 100 frames a second.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, digest, run_main
from frenchpress.export.pack import PACKED
from frenchpress.feats.unadapted import ADAPTED
from frenchpress.nnet.decode import decode_experiment, trained_config
from frenchpress.nnet.task import Task
from frenchpress.packed.runtime import LEVELS, Runtime, log_softmax
from frenchpress.score.transcripts import read_transcripts

_FRAMES_PER_SECOND = 100
_NAMED = 8
"""Utterances whose names are printed."""


class Network:
    """The runtime as the decoder wants its models; counts its `frames`, and the `seconds` of a processor for them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.frames, self.seconds = 0, 0.0

    def __call__(self, utterances: list[Tensor]) -> list[Tensor]:
        """Features float32 [T, dim] of each utterance -> log posteriors [T, outputs]."""
        start = time.process_time()
        logits = [self._runtime.logits(feats.numpy()) for feats in utterances]
        self.seconds += time.process_time() - start
        self.frames += sum(map(len, logits))
        return [torch.from_numpy(log_softmax(each)) for each in logits]

    def __str__(self) -> str:
        each = self.seconds / self.frames
        factor = each * _FRAMES_PER_SECOND
        return f"{self.frames} frames, {1e6 * each:.1f} us of processor time each, {factor:.4f} of real time"


def differing(one: Path, other: Path) -> list[str]:
    """Utterances that two decode directories transcribe differently."""
    mine, theirs = (read_transcripts(directory / "hyp.txt") for directory in (one, other))
    return sorted(utt for utt in mine.keys() | theirs.keys() if mine.get(utt) != theirs.get(utt))


def difference_line(name: str, others: list[str]) -> str:
    """How many utterances of a set differ, and the names of the first of them."""
    more = [f"and {len(others) - _NAMED} more, see hyp.txt of both"] if len(others) > _NAMED else []
    return " ".join([f"{name}: {len(others)} utterances differ from the trained model's", *others[:_NAMED], *more])


def main() -> None:
    """Command line."""
    args = parse("decode-packed")
    task, runtime = Task.of(args.place, args.task), Runtime.load(args.place / PACKED)
    features = runtime.model.meta.get("features", ADAPTED)
    fits = (runtime.model.outputs, runtime.model.input.dim) == (task.num_pdfs, task.feat_dim)
    if not fits or features != task.features:
        raise UserError(f"{args.place / PACKED}: made for another task than {task.path}")
    print(f"{args.place / PACKED}: {'numpy' if runtime.level is None else LEVELS[runtime.level]}")
    out, options = args.place / "packed", trained_config(args.place).decode
    out.mkdir(exist_ok=True)
    key, network = digest(args.place / PACKED), Network(runtime)
    text = decode_experiment(out, task, network, options, key, args.nj)
    print(f"{out}/{task.unit.rate} is up to date" if text is None else text.rstrip())
    if network.frames:
        print(f"network: {network}")
    for name in ("decode_dev", "decode_test"):
        if not (args.place / name).is_dir():
            continue
        print(difference_line(name, differing(out / name, args.place / name)))


if __name__ == "__main__":
    run_main(main)
