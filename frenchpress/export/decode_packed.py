"""Decode and score dev and test with a packed model.

    python -m frenchpress.export.decode_packed exp/w8a16_hcgs16x

Writes exp/x/packed/{PER,decode_dev,decode_test} as stage 5 writes those of the trained model, and says utterance by
utterance what came out otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from frenchpress.common import UserError, digest, run_main
from frenchpress.export.pack import PACKED
from frenchpress.nnet.decode import LogPosteriors, decode_experiment
from frenchpress.nnet.model import load_model
from frenchpress.nnet.task import Task
from frenchpress.packed.runtime import LEVELS, Runtime
from frenchpress.score.transcripts import read_transcripts


def log_posteriors(runtime: Runtime) -> LogPosteriors:
    """The runtime as the decoder wants its models."""

    def run(utterances: list[Tensor]) -> list[Tensor]:
        return [torch.from_numpy(runtime.log_posteriors(feats.numpy())) for feats in utterances]

    return run


def differing(one: Path, other: Path) -> list[str]:
    """Utterances that two decode directories transcribe differently."""
    mine, theirs = (read_transcripts(directory / "hyp.txt") for directory in (one, other))
    return sorted(utt for utt in mine.keys() | theirs.keys() if mine.get(utt) != theirs.get(utt))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", type=Path, help="the task that the model was trained on (as its train.yaml says)")
    parser.add_argument("--nj", type=int, default=1, help="processes that search (1)")
    parser.add_argument("experiment", type=Path, help="exp/x, with model.press in it")
    args = parser.parse_args()
    task, runtime = Task.of(args.experiment, args.task), Runtime.load(args.experiment / PACKED)
    if runtime.model.outputs != task.num_pdfs or runtime.model.input.dim != task.feat_dim:
        raise UserError(f"{args.experiment / PACKED}: made for another task than {task.path}")
    print(f"{args.experiment / PACKED}: {'numpy' if runtime.level is None else LEVELS[runtime.level]}")
    out, options = args.experiment / "packed", load_model(args.experiment).config.decode
    out.mkdir(exist_ok=True)
    key = digest(args.experiment / PACKED)
    text = decode_experiment(out, task, log_posteriors(runtime), options, key, args.nj)
    print(f"{out}/PER is up to date" if text is None else text.rstrip())
    for name in ("decode_dev", "decode_test"):
        if not (args.experiment / name).is_dir():
            continue
        others = differing(out / name, args.experiment / name)
        print(" ".join([f"{name}: {len(others)} utterances differ from the trained model's", *others]))


if __name__ == "__main__":
    run_main(main)
