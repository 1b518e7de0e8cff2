"""Train an acoustic model: `python -m frenchpress.nnet.train --config conf/x.cfg --task exp/task exp/x`."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from typing import Any

import torch

from frenchpress.arguments import parse
from frenchpress.common import UserError, digest, locked_dir, mark_done, run_main
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import Config, load_config
from frenchpress.nnet import checkpoint
from frenchpress.nnet.average import AveragedModel
from frenchpress.nnet.check import build_model
from frenchpress.nnet.data import Frames
from frenchpress.nnet.device import choose_device, make_deterministic
from frenchpress.nnet.given import given_digests, kept_for_others, make_teacher, use_given
from frenchpress.nnet.model import Sizes, load_model
from frenchpress.nnet.optimizer import make_optimizer
from frenchpress.nnet.shards import SHARD, ShardedFrames
from frenchpress.nnet.task import Task
from frenchpress.nnet.train import agreement
from frenchpress.nnet.train.events import open_events
from frenchpress.nnet.train.launch import launch
from frenchpress.nnet.train.logs import write_summary
from frenchpress.nnet.train.loop import train
from frenchpress.nnet.train.run import Run
from frenchpress.nnet.train.stages import Stages
from frenchpress.nnet.train.workers import Workers, joined, started


def read_frames(task: Task, split: str, device: torch.device, most: int = SHARD) -> Frames:
    """All frames of a split, in shards where they are more than `most`.

    UserError, naming it, where they do not fit together.
    """
    try:
        found = task.split(split)
        small = sum(map(found.pdfs.length, found.aligned)) <= most
        return Frames(found, device) if small else ShardedFrames(found, most, device)
    except UserError as error:
        raise UserError(f"{task.path}, {split}: {error}") from None


def read_config(arguments: argparse.Namespace) -> Config:
    """What is to be trained, and by how many workers; UserError unless so many have been started, or this one alone."""
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    overrides = [*arguments.set, *seed]
    config = load_config(arguments.config, overrides)
    here = started()
    if config.train.pipeline is not None:
        if arguments.workers:
            raise UserError("--workers: train.pipeline has a process for each stage; leave one out")
        if here not in (1, config.train.pipeline.stages):
            raise UserError(f"{here} processes were started, but train.pipeline.stages: {config.train.pipeline.stages}")
        return config
    asked = (arguments.workers or config.train.workers or here) if config.train.epochs else 1
    if here not in (1, asked):
        why = "" if config.train.epochs else ": train.epochs: 0 trains nothing"
        raise UserError(f"{here} workers were started, and {asked} can be used{why}")
    if asked != (config.train.workers or 1):
        config = load_config(arguments.config, [*overrides, f"train.workers={'null' if asked == 1 else asked}"])
    if config.train.traffic and asked == 1:
        raise UserError("train.traffic: would do nothing with one worker; give --workers N")
    return config


def main() -> None:
    """Command line."""
    arguments = parse("train")
    config = read_config(arguments)
    pipeline = config.train.pipeline
    processes = config.train.workers if pipeline is None else pipeline.stages
    if processes and started() == 1:
        launch(processes, arguments.out)
        return
    with joined(arguments.patience, Workers if pipeline is None else Stages) as workers:
        train_experiment(arguments, config, workers)


def train_experiment(arguments: argparse.Namespace, config: Config, workers: Workers) -> None:
    """Train, or go on, or say that it is done; files are written, and the directory is held, by the first worker."""
    make_deterministic(config)
    device = choose_device("cpu" if started() > 1 else config.train.device)
    task = Task.load(arguments.task)
    model = build_model(arguments.config, config, Sizes(task.feat_dim, task.num_pdfs, task.num_phones)).to(device)
    # Before another model's weights take the place of the first.
    masks = MaskSchedule(model, config.seed, model.units, given=config.train.mask_from is not None)
    identity, given = digest(arguments.task), given_digests(config, arguments.out)
    settings = checkpoint.training_config(config)
    workers.agree(lambda: {**settings, "task": identity, **given, **agreement.programs()})
    teachers = use_given(config, arguments.out, model, identity)
    with locked_dir(arguments.out) if workers.first else nullcontext(arguments.out) as out:
        if arguments.restart and workers.first:
            checkpoint.forget(out)
        if workers.same(lambda: checkpoint.begin(out, config, identity, given)):
            workers.say(f"{out} is up to date")
            return
        splits = [read_frames(task, name, device, config.train.shard or SHARD) for name in ("train", "dev")]
        if config.train.init is None:
            model.normalise_inputs(splits[0])
        workers.agree(lambda: agreement.data(*splits, model))
        optimizer = make_optimizer(model, config.train)
        run = Run(config, out, model, optimizer, *splits, masks, arguments.checkpoint_seconds, workers=workers)
        if teachers:
            run.teacher = make_teacher(config, teachers, run.train, identity)
        if config.train.average and config.train.epochs:
            run.average = AveragedModel(model, config.train.average)
        if config.train.tensorboard and workers.first:
            run.events = open_events(out)
        train(run)
        if workers.first:
            finish(run, arguments, checkpoint.stamp(config, identity, given))
            for teacher in teachers:
                print(kept_for_others(teacher, out))


def finish(run: Run, arguments: argparse.Namespace, stamp: dict[str, Any]) -> None:
    """Write what is said of a run that is over, and that it is; remove what only a run under way needs."""
    out, trained = run.out, load_model(run.out)
    checkpoint.write_yaml(out / "size.yaml", size_report(trained, trained.constants, huffman=True))
    write_summary(run, arguments, run.train.device)
    mark_done(out, stamp)
    for name in (checkpoint.BEST, checkpoint.CHECKPOINT):
        (out / name).unlink(missing_ok=True)


if __name__ == "__main__":
    run_main(main)
