"""The loop: one pass over train and one over dev per epoch, from wherever a run stands to its last epoch."""

from __future__ import annotations

import itertools
import math
import time

import torch

from frenchpress.common import UserError, blaming
from frenchpress.common.progress import Meter
from frenchpress.compress import ActQuantizer, holding
from frenchpress.compress.errors import activation_errors, weight_errors
from frenchpress.compress.traffic import Count
from frenchpress.nnet import checkpoint
from frenchpress.nnet.augment import hide
from frenchpress.nnet.data import Batch
from frenchpress.nnet.losses import evaluate, mixed_losses
from frenchpress.nnet.mixup import mix
from frenchpress.nnet.model import FINAL, not_finite, read_weights
from frenchpress.nnet.optimizer import decay_weights, parameter_groups
from frenchpress.nnet.rates import next_halved, rate_at, relative_gain
from frenchpress.nnet.train import pipeline
from frenchpress.nnet.train.logs import write_logs
from frenchpress.nnet.train.pipeline import gather
from frenchpress.nnet.train.run import Progress, Run, restore, save, write_model

_ERROR_UTTERANCES = 8


def train(run: Run) -> None:
    """Train from wherever the run stands to its last epoch, and write the final model."""
    run.workers.wrap(run.model, run.config.train.traffic, run.config.seed)
    restore(run)
    write_logs(run)
    if not run.config.train.epochs:
        press_untrained(run)
    while run.progress.epoch < run.config.train.epochs:
        train_epoch(run)
        gather(run)
        with run.workers.sharing():
            loss, error_cd, error_mono = evaluate(run.result, run.dev)
        end_epoch(run, loss, error_cd, error_mono)
    if run.workers.first:
        write_model(run, run.out / FINAL, read_weights(run.out / checkpoint.BEST)["model"])


def press_untrained(run: Run) -> None:
    """Choose the masks of a model that is not trained, find the ranges that it has none for, and keep it."""
    run.masks.before_step(0, 0, 1)
    calibrate(run)
    checkpoint.write_tensors(run.out / checkpoint.BEST, {"model": run.model.state_dict()})


@torch.no_grad()
def calibrate(run: Run) -> None:
    """Show the model whole utterances of train, as it will be used, until every range is found; nothing else moves."""
    quantizers = [m for m in run.model.modules() if isinstance(m, ActQuantizer) and not m.is_float]
    longest = int(run.train.lengths.max())
    run.model.eval()
    for round_ in itertools.count():
        for rows in run.train.epoch_order(longest, run.config.train.batch, run.config.seed, round_):
            for quantizer in quantizers:
                quantizer.train()
            if not any(quantizer.observing for quantizer in quantizers):
                return
            batch = run.train.batch(rows, run.model.offsets)
            run.model(batch.inputs, batch.lengths)


def train_epoch(run: Run) -> None:
    """Take the steps of this epoch that are not done yet."""
    config, progress, model = run.config.train, run.progress, run.model
    longest = config.sequence_length.at(progress.epoch)
    batches = run.train.epoch_order(longest, config.batch, run.config.seed, progress.epoch)
    run.workers.check(batches)
    first = [group["lr"] for group in parameter_groups(model, config)]
    model.train()
    number, last = progress.epoch + 1, config.epochs
    mine = run.workers.mine
    bar = Meter(f"epoch {number} of {last}", len(batches), progress.step, then=last - number)
    saved, started = time.monotonic(), clocks()
    for rows in batches[progress.step :]:
        batch = run.train.batch(rows, model.offsets, mine)
        if config.augment is not None:
            at = (run.config.seed, progress.epoch, progress.step)
            hide(batch, model.offsets, model.input_mean, config.augment, at)
        rate = rate_at(config, progress.epoch, progress.step / len(batches), progress.rate)
        for group, lr in zip(run.optimizer.param_groups, first):
            group["lr"] = lr * rate
        run.masks.before_step(progress.epoch, progress.step, len(batches))
        with run.workers.sharing(len(rows)):
            step(run, batch)
        now = clocks()
        progress.seconds += now[0] - started[0]
        progress.processor += now[1] - started[1]
        started = now
        bar.update()
        if run.workers.as_first(now[0] - saved >= run.checkpoint_seconds):
            gather(run)
            save(run)
            saved, started = time.monotonic(), clocks()
    bar.close()


def clocks() -> tuple[float, float]:
    """Seconds on the clock, and of processor time that this process took."""
    return time.monotonic(), time.process_time()


def step(run: Run, batch: Batch) -> None:
    """One update of the weights; UserError, and no update, where the loss is not a number."""
    config, progress, model = run.config.train, run.progress, run.model
    where = f"epoch {progress.epoch + 1}, step {progress.step + 1}, on {' '.join(batch.utts)}"
    run.optimizer.zero_grad(set_to_none=True)
    loss, loss_cd, loss_mono = (gradients if run.stages is None else pipeline.gradients)(run, batch, where)
    if not math.isfinite(loss):
        gather(run)
        bad = not_finite(model)
        raise UserError(
            f"{run.out}: the loss is {loss} at {where}; {f'{bad}; ' if bad else ''}"
            "look at these utterances, or lower train.lr, or set train.clip"
        )
    run.masks.after_backward()
    progress.count(Count() if run.workers.traffic is None else run.workers.traffic.take())
    if config.clip is not None:
        run.workers.clip(model.parameters(), config.clip)
    with holding(model):
        if config.weight_decay:
            decay_weights(model, run.optimizer, config.weight_decay)
        run.optimizer.step()
    if run.average is not None:
        run.average.update(model)
    progress.step += 1
    progress.frames += batch.whole_frames
    progress.loss_cd += loss_cd * batch.whole_frames
    progress.loss_mono += loss_mono * batch.whole_frames


def gradients(run: Run, batch: Batch, where: str) -> list[float]:
    """Let the model have the gradients of `batch`; total, tied-state and monophone loss per frame of the whole batch.

    Where the loss is not a number there are none. UserError, which begins with `where`, for what a layer refuses.
    """
    config, progress, model = run.config.train, run.progress, run.model
    at = (run.config.seed, progress.epoch, progress.step)
    mixed = (batch, 1.0) if config.mixup is None else mix(batch, config.mixup, at)
    with blaming(f"{run.out}: {where}"):
        logits = (run.workers.model or model)(batch.inputs, batch.lengths)
    parts = mixed_losses(logits, batch, *mixed, config.l2_cd_output, run.teacher)
    found = run.workers.means(parts, batch)
    if math.isfinite(found[0]):
        penalty, moved = run.masks.penalty(), model.movement()
        own = run.workers.weighted(parts[0], batch)
        own = own if penalty is None else own + penalty
        own = own if moved is None else own + config.movement * moved
        own.backward()
    return found


@torch.no_grad()
def quantization_errors(run: Run) -> dict[str, dict[str, float | None]]:
    """How far the quantized weights are from what they are, and the activations of the first utterances of dev."""
    rows, model = run.dev.pieces(int(run.dev.lengths.max()))[:_ERROR_UTTERANCES], run.result
    model.eval()
    batch = run.dev.batch(rows, model.offsets)
    with activation_errors(model) as found:
        model(batch.inputs, batch.lengths)
    return weight_errors(model) | found


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
            "processor_seconds": round(progress.processor, 2),
            "frames_per_second": round(progress.frames / max(progress.seconds, 1e-9), 1),
            **({} if density is None else {"density": density}),
            **({"sent_bytes_per_step": round(progress.sent / progress.step)} if progress.sent else {}),
            **({"sent_error": math.sqrt(progress.missed / progress.to_send)} if progress.to_send else {}),
            **({"boundaries": pipeline.boundary_figures(progress)} if progress.boundaries else {}),
            **({"errors": quantization_errors(run)} if config.errors else {}),
        }
    )
    # A model that is denser than asked for is no result, and its error no measure for the next one's.
    settled, thinned = run.masks.settled(progress.epoch), run.masks.thinned(progress.epoch)
    if settled and error_cd < progress.best and run.workers.first:
        checkpoint.write_tensors(run.out / checkpoint.BEST, {"model": run.result.state_dict()})
    if settled and config.keep_epochs:
        write_model(run, run.out / checkpoint.EPOCHS / f"{progress.epoch + 1}" / FINAL, run.result.state_dict())
    gain = 1.0 if thinned else relative_gain(progress.error, error_cd)
    run.progress = Progress(
        epoch=progress.epoch + 1,
        rate=next_halved(config, progress.rate, gain),
        error=error_cd,
        best=min(progress.best, error_cd) if settled else progress.best,
        history=progress.history,
    )
    save(run)
    write_logs(run)
