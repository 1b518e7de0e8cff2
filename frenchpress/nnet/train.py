"""Train an acoustic model: `python -m frenchpress.nnet.train --config conf/x.cfg --task exp/task exp/x`.

One pass over train and one over dev per epoch. Everything that the next step depends on is in the
checkpoint, or follows from the seed, the epoch and the configuration.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError, blaming, digest, locked_dir, mark_done, run_main
from frenchpress.common.progress import Meter, left
from frenchpress.compress import ActQuantizer
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import Config, config_to_dict, load_config
from frenchpress.nnet import checkpoint
from frenchpress.nnet.augment import hide
from frenchpress.nnet.average import AveragedModel
from frenchpress.nnet.check import build_model
from frenchpress.nnet.data import Batch, Frames, epoch_order
from frenchpress.nnet.distill import Teacher
from frenchpress.nnet.given import given_digests, kept_for_others, make_teacher, use_given
from frenchpress.nnet.kernel_line import kernel_line
from frenchpress.nnet.losses import evaluate, losses
from frenchpress.nnet.model import FINAL, AcousticModel, Sizes, load_model, not_finite, read_weights
from frenchpress.nnet.optimizer import decay_weights, make_optimizer, parameter_groups
from frenchpress.nnet.rates import next_halved, rate_at
from frenchpress.nnet.task import Task


@dataclass
class Progress:
    """Where a run stands; all of it goes into the checkpoint."""

    epoch: int = 0
    step: int = 0  # batches of this epoch that are done
    frames: int = 0  # in this epoch, as are the sums of losses over frames
    loss_cd: float = 0.0
    loss_mono: float = 0.0
    seconds: float = 0.0  # of training in this epoch
    rate: float = 1.0  # what the learning rates are multiplied by
    error: float = math.inf  # dev frame error of the epoch before
    best: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Run:
    """One training run: what is trained, on what, and where it is kept."""

    config: Config
    out: Path
    model: AcousticModel
    optimizer: torch.optim.Optimizer
    train: Frames
    dev: Frames
    masks: MaskSchedule
    checkpoint_seconds: float
    progress: Progress = field(default_factory=Progress)
    average: AveragedModel | None = None
    teacher: Teacher | None = None

    @property
    def result(self) -> AcousticModel:
        """What is evaluated and kept: the average of the weights, where one is asked for."""
        return self.model if self.average is None else self.average.model


def train(run: Run) -> None:
    """Train from wherever the run stands to its last epoch, and write the final model."""
    restore(run)
    if not run.config.train.epochs:
        press_untrained(run)
    while run.progress.epoch < run.config.train.epochs:
        train_epoch(run)
        loss, error_cd, error_mono = evaluate(run.result, run.dev)
        end_epoch(run, loss, error_cd, error_mono)
    write_model(run, run.out / FINAL, read_weights(run.out / checkpoint.BEST)["model"])


def write_model(run: Run, path: Path, weights: dict[str, Tensor]) -> None:
    """Write a model that can be loaded."""
    model = {"config": config_to_dict(run.config), "sizes": run.model.description(), "model": weights}
    checkpoint.write_tensors(path, model)


def press_untrained(run: Run) -> None:
    """Choose the masks of a model that is not trained, find the ranges that it has none for, and keep it."""
    run.masks.before_step(0, 0, 1)
    calibrate(run)
    checkpoint.write_tensors(run.out / checkpoint.BEST, {"model": run.model.state_dict()})


@torch.no_grad()
def calibrate(run: Run) -> None:
    """Show the model whole utterances of train, as it will be used, until every range is found; nothing else moves."""
    quantizers = [m for m in run.model.modules() if isinstance(m, ActQuantizer) and not m.is_float]
    pieces = run.train.pieces(int(run.train.lengths.max()))
    run.model.eval()
    for round_ in itertools.count():
        for rows in epoch_order(pieces, run.config.train.batch, run.config.seed, round_):
            for quantizer in quantizers:
                quantizer.train()
            if not any(quantizer.observing for quantizer in quantizers):
                return
            batch = run.train.batch(rows, run.model.context)
            run.model(batch.inputs, batch.lengths)


def train_epoch(run: Run) -> None:
    """Take the steps of this epoch that are not done yet."""
    config, progress, model = run.config.train, run.progress, run.model
    pieces = run.train.pieces(config.sequence_length.at(progress.epoch))
    batches = epoch_order(pieces, config.batch, run.config.seed, progress.epoch)
    first = [group["lr"] for group in parameter_groups(model, config)]
    model.train()
    number, last = progress.epoch + 1, config.epochs
    bar = Meter(f"epoch {number} of {last}", len(batches), progress.step, then=last - number)
    saved = started = time.monotonic()
    for rows in batches[progress.step :]:
        batch = run.train.batch(rows, model.context)
        if config.augment is not None:
            at = (run.config.seed, progress.epoch, progress.step)
            hide(batch, model.context, model.input_mean, config.augment, at)
        rate = rate_at(config, progress.epoch, progress.step / len(batches), progress.rate)
        for group, lr in zip(run.optimizer.param_groups, first):
            group["lr"] = lr * rate
        run.masks.before_step(progress.epoch, progress.step, len(batches))
        step(run, batch)
        now = time.monotonic()
        progress.seconds, started = progress.seconds + now - started, now
        bar.update()
        if now - saved >= run.checkpoint_seconds:
            save(run)
            saved = started = time.monotonic()
    bar.close()


def step(run: Run, batch: Batch) -> None:
    """One update of the weights; UserError, and no update, where the loss is not a number."""
    config, progress, model = run.config.train, run.progress, run.model
    where = f"epoch {progress.epoch + 1}, step {progress.step + 1}, on {' '.join(batch.utts)}"
    with blaming(f"{run.out}: {where}"):
        logits = model(batch.inputs, batch.lengths)
    loss, loss_cd, loss_mono = losses(logits, batch, config.l2_cd_output, run.teacher)
    if not math.isfinite(loss.item()):
        bad = not_finite(model)
        raise UserError(
            f"{run.out}: the loss is {loss.item()} at {where}; {f'{bad}; ' if bad else ''}"
            "look at these utterances, or lower train.lr, or set train.clip"
        )
    penalty = run.masks.penalty()
    run.optimizer.zero_grad(set_to_none=True)
    (loss if penalty is None else loss + penalty).backward()
    run.masks.after_backward()
    if config.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    if config.weight_decay:
        decay_weights(model, run.optimizer, config.weight_decay)
    run.optimizer.step()
    if run.average is not None:
        run.average.update(model)
    progress.step += 1
    progress.frames += batch.frames
    progress.loss_cd += loss_cd.item() * batch.frames
    progress.loss_mono += loss_mono.item() * batch.frames


def end_epoch(run: Run, dev_loss: float, error_cd: float, error_mono: float) -> None:
    """Note the epoch's figures, keep the best model, halve the rates if dev gained too little."""
    config, progress, density = run.config.train, run.progress, run.masks.density
    progress.history.append(
        {
            "epoch": progress.epoch + 1,
            "sequence_length": config.sequence_length.at(progress.epoch),
            "steps": progress.step,
            "loss_cd": progress.loss_cd / progress.frames,
            "loss_mono": progress.loss_mono / progress.frames,
            "dev_loss": dev_loss,
            "dev_frame_error_cd": error_cd,
            "dev_frame_error_mono": error_mono,
            "lr_lstm": run.optimizer.param_groups[0]["lr"],
            "seconds": round(progress.seconds, 2),
            "frames_per_second": round(progress.frames / max(progress.seconds, 1e-9), 1),
            **({} if density is None else {"density": density}),
        }
    )
    # A model that is denser than asked for is no result, and its error no measure for the next one's.
    settled, thinned = run.masks.settled(progress.epoch), run.masks.thinned(progress.epoch)
    if settled and error_cd < progress.best:
        checkpoint.write_tensors(run.out / checkpoint.BEST, {"model": run.result.state_dict()})
    if settled and config.keep_epochs:
        write_model(run, run.out / checkpoint.EPOCHS / f"{progress.epoch + 1}" / FINAL, run.result.state_dict())
    comparable = math.isfinite(progress.error) and not thinned
    gain = (progress.error - error_cd) / progress.error if comparable else 1.0
    run.progress = Progress(
        epoch=progress.epoch + 1,
        rate=next_halved(config, progress.rate, gain),
        error=error_cd,
        best=min(progress.best, error_cd) if settled else progress.best,
        history=progress.history,
    )
    save(run)
    write_logs(run)


def save(run: Run) -> None:
    """Write the checkpoint: everything that the next step depends on."""
    content = {
        "config": checkpoint.training_config(run.config),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
        "masks": run.masks.state_dict(),
        "progress": asdict(run.progress),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    checkpoint.write_tensors(run.out / checkpoint.CHECKPOINT, content)


def restore(run: Run) -> None:
    """Go on from the checkpoint, if there is one."""
    path = run.out / checkpoint.CHECKPOINT
    if not path.exists():
        write_logs(run)
        return
    saved = read_weights(path)
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    if run.average is not None:
        run.average.load_state_dict(saved["average"])
    run.masks.load_state_dict(saved.get("masks", {}))  # an older state of the program kept none
    run.progress = Progress(**saved["progress"])
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    print(f"{run.out}: going on from epoch {run.progress.epoch + 1}, step {run.progress.step + 1}")
    write_logs(run)


def write_logs(run: Run) -> None:
    """Write `metrics.jsonl` and `train.log` anew, so that an interruption leaves no line double or half."""
    history = run.progress.history
    records = "".join(json.dumps(entry) + "\n" for entry in history)
    checkpoint.write_bytes(run.out / "metrics.jsonl", records.encode())
    lines = [kernel_line(run.model.lstm, run.model.input_mean.device), *map(epoch_line, history)]
    checkpoint.write_bytes(run.out / "train.log", "".join(line + "\n" for line in lines).encode())
    print(lines[-1] + left(sum(e["seconds"] for e in history), len(history), run.config.train.epochs), flush=True)


def epoch_line(entry: dict[str, float]) -> str:
    """One epoch of `metrics.jsonl` for the eye."""
    error_cd, error_mono = 100 * entry["dev_frame_error_cd"], 100 * entry["dev_frame_error_mono"]
    density = f", density {100 * entry['density']:.2f} %" if "density" in entry else ""
    return (
        f"epoch {entry['epoch']:2}: loss cd {entry['loss_cd']:.4f} mono {entry['loss_mono']:.4f}, "
        f"dev loss {entry['dev_loss']:.4f} frame error cd {error_cd:.2f} % mono {error_mono:.2f} %, "
        f"lr {entry['lr_lstm']:.2e}, {entry['seconds']:.0f} s, {entry['frames_per_second']:.0f} frames/s{density}"
    )


def choose_device(wanted: str) -> torch.device:
    """`auto`: the GPU when there is one. UserError for a GPU that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device: cuda, but PyTorch sees no GPU; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def write_summary(run: Run, arguments: argparse.Namespace, device: torch.device) -> None:
    """Write what was run with what, and how long it took."""
    history = run.progress.history
    seconds = sum(e["seconds"] for e in history)
    if history:
        best = min((e for e in history if run.masks.settled(e["epoch"] - 1)), key=lambda e: e["dev_frame_error_cd"])
    else:
        _, error_cd, error_mono = evaluate(run.result, run.dev)
        best = {"epoch": 0, "dev_frame_error_cd": error_cd, "dev_frame_error_mono": error_mono}
    summary: dict[str, Any] = {
        "command": " ".join(sys.argv),
        "config": str(arguments.config),
        "task": str(arguments.task),
        "seed": run.config.seed,
        "epochs": len(history),
        "chosen_epoch": best["epoch"],
        "dev_frame_error_cd": best["dev_frame_error_cd"],
        "dev_frame_error_mono": best["dev_frame_error_mono"],
        "seconds": round(seconds, 1),
        "frames_per_second": round(len(history) * len(run.train) / max(seconds, 1e-9), 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "versions": {
            "frenchpress": version("frenchpress"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    }
    checkpoint.write_yaml(run.out / checkpoint.SUMMARY, summary)


def read_frames(task: Task, split: str, device: torch.device) -> Frames:
    """All frames of a split; UserError, naming it, where they do not fit together."""
    try:
        return Frames(task.split(split), device)
    except UserError as error:
        raise UserError(f"{task.path}, {split}: {error}") from None


def make_deterministic(config: Config) -> None:
    """Same seed, same machine, same bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # The switch above also fills every fresh tensor with NaN; ours are all written before they are read.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # More threads than cores would wait for each other at every time step.
    torch.set_num_threads(min(config.train.threads, len(os.sched_getaffinity(0))))
    torch.manual_seed(config.seed)


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
    masks = MaskSchedule(model, config.seed, model.units)  # before another model's weights take the place of the first
    identity, given = digest(arguments.task), given_digests(config, arguments.out)
    teacher = use_given(config, arguments.out, model, identity)
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
        if teacher is not None:
            run.teacher = make_teacher(config, out, teacher, run.train, identity)
        if config.train.average and config.train.epochs:
            run.average = AveragedModel(model, config.train.average)
        train(run)
        trained = load_model(out)
        checkpoint.write_yaml(out / "size.yaml", size_report(trained, trained.constants))
        write_summary(run, arguments, device)
        mark_done(out, checkpoint.stamp(config, identity, given))
        for name in (checkpoint.BEST, checkpoint.CHECKPOINT):
            (out / name).unlink(missing_ok=True)
        if run.teacher is not None:
            print(kept_for_others(config, out))


if __name__ == "__main__":
    run_main(main)
