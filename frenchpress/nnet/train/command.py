"""Train an acoustic model: `python -m frenchpress.nnet.train --config conf/x.cfg --task exp/task exp/x`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from frenchpress.common import UserError, digest, locked_dir, mark_done, run_main
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import load_config
from frenchpress.nnet import checkpoint
from frenchpress.nnet.average import AveragedModel
from frenchpress.nnet.check import build_model
from frenchpress.nnet.data import Frames
from frenchpress.nnet.device import choose_device, make_deterministic
from frenchpress.nnet.given import given_digests, kept_for_others, make_teacher, use_given
from frenchpress.nnet.model import Sizes, load_model
from frenchpress.nnet.optimizer import make_optimizer
from frenchpress.nnet.task import Task
from frenchpress.nnet.train.events import open_events
from frenchpress.nnet.train.logs import write_summary
from frenchpress.nnet.train.loop import train
from frenchpress.nnet.train.run import Run


def read_frames(task: Task, split: str, device: torch.device) -> Frames:
    """All frames of a split; UserError, naming it, where they do not fit together."""
    try:
        return Frames(task.split(split), device)
    except UserError as error:
        raise UserError(f"{task.path}, {split}: {error}") from None


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train an acoustic model; interrupted, the same command goes on.")
    parser.add_argument("--config", type=Path, required=True, help="conf/x.cfg")
    parser.add_argument("--task", type=Path, required=True, help="directory of features, targets and graph")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. train.epochs=2")
    parser.add_argument("--seed", type=int, help="short for --set seed=N")
    parser.add_argument("--restart", action="store_true", help="throw away an earlier run in the directory")
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, help="time between checkpoints")
    parser.add_argument("out", type=Path, help="exp/x")
    return parser.parse_args()


def main() -> None:
    """Command line."""
    arguments = parse_arguments()
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    config = load_config(arguments.config, [*arguments.set, *seed])
    make_deterministic(config)
    device = choose_device(config.train.device)
    task = Task.load(arguments.task)
    model = build_model(arguments.config, config, Sizes(task.feat_dim, task.num_pdfs, task.num_phones)).to(device)
    # Before another model's weights take the place of the first.
    masks = MaskSchedule(model, config.seed, model.units, given=config.train.mask_from is not None)
    identity, given = digest(arguments.task), given_digests(config, arguments.out)
    teachers = use_given(config, arguments.out, model, identity)
    with locked_dir(arguments.out) as out:
        if arguments.restart:
            checkpoint.forget(out)
        if checkpoint.begin(out, config, identity, given):
            print(f"{out} is up to date")
            return
        splits = [read_frames(task, name, device) for name in ("train", "dev")]
        if config.train.init is None:
            model.normalise_inputs(splits[0])
        optimizer = make_optimizer(model, config.train)
        run = Run(config, out, model, optimizer, *splits, masks, arguments.checkpoint_seconds)
        if teachers:
            run.teacher = make_teacher(config, teachers, run.train, identity)
        if config.train.average and config.train.epochs:
            run.average = AveragedModel(model, config.train.average)
        if config.train.tensorboard:
            run.events = open_events(out)
        train(run)
        trained = load_model(out)
        checkpoint.write_yaml(out / "size.yaml", size_report(trained, trained.constants, huffman=True))
        write_summary(run, arguments, device)
        mark_done(out, checkpoint.stamp(config, identity, given))
        for name in (checkpoint.BEST, checkpoint.CHECKPOINT):
            (out / name).unlink(missing_ok=True)
        for teacher in teachers:
            print(kept_for_others(teacher, out))


if __name__ == "__main__":
    run_main(main)
