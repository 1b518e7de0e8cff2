"""What a `.cfg` may say: every key, its type, its default and its legal range."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from frenchpress.common import UserError
from frenchpress.common.document import Document
from frenchpress.common.typed import ranged
from frenchpress.compress.traffic import make_link, read_traffic
from frenchpress.config.press import LayerPress

LARGEST_SEED = 2**63 - 1


def rarely(low: float | None = None, high: float | None = None, above: float | None = None) -> Any:
    """A field that is left out of a configuration written down while nothing is said in it; bounds as in `ranged`."""
    return field(default=None, metadata={"rare": True, "low": low, "high": high, "above": above})


@dataclass(frozen=True)
class LstmConfig:
    """The stack of unidirectional LSTM layers. `dropout`: on each layer's output, while training. `dropout_over`: new
    zeros for every frame, or the same ones for all frames of a sequence.
    """

    layers: int = ranged(2, low=1, high=16)
    cells: int = ranged(512, low=1, high=16384)
    batch_norm: bool = True
    dropout: float = ranged(0.0, low=0.0, high=0.95)
    dropout_over: Literal["frame", "sequence"] = field(default="frame", metadata={"rare": True})

    @classmethod
    def belongs_to(cls, key: str) -> str:
        """Where a key that is not one of these has its place."""
        return "model" if key in {f.name for f in fields(ModelConfig)} else ""

    def __post_init__(self) -> None:
        if self.dropout_over != "frame" and not self.dropout:
            raise UserError(f"dropout_over: {self.dropout_over} would do nothing: dropout is 0")


@dataclass(frozen=True)
class ModelConfig:
    """`context`: frames spliced to the left and right of the current one; [-5, 5] is the fifth to the right alone.
    `time_stride`: of these every so many-th is seen, counted from the current one; [5, 5] with 5 are three frames, five
    apart.
    """

    context: tuple[int, int] = ranged((5, 5), low=-100, high=100)
    time_stride: int = field(default=1, metadata={"rare": True, "low": 1})
    lstm: LstmConfig = field(default_factory=LstmConfig)

    def __post_init__(self) -> None:
        left, right = self.context
        if right < max(0, -left):
            before = "it begins" if left + right < 0 else "the current frame"
            raise UserError(
                f"context: {list(self.context)} ends before {before}; say [before, after], e.g. [5, 5], or [-5, 5] for "
                "the fifth frame after the current one alone"
            )
        common = math.gcd(left, right)
        legal = [n for n in range(1, max(common, 1) + 1) if common % n == 0]
        if self.time_stride not in legal:
            raise UserError(
                f"time_stride: {self.time_stride} must divide both numbers of context: {list(self.context)}; "
                f"say {' or '.join(map(str, legal))}, or another context"
            )

    @classmethod
    def belongs_to(cls, key: str) -> str:
        """Where a key that is not one of these has its place."""
        return "model.lstm" if key in {f.name for f in fields(LstmConfig)} else ""

    @property
    def offsets(self) -> range:
        """The frames that are spliced, counted from the current one."""
        left, right = self.context
        return range(-left, right + 1, self.time_stride)


@dataclass(frozen=True)
class SequenceLength:
    """Longest piece of an utterance: `start` frames in the first epoch, `factor` times more in each next."""

    start: int = ranged(100, low=1)
    factor: float = ranged(2.0, low=1.0, high=1000.0)
    max: int = ranged(1000, low=1)

    def __post_init__(self) -> None:
        if self.start > self.max:
            raise UserError(f"start: {self.start} is above max: {self.max}")

    def at(self, epoch: int) -> int:
        """Longest piece, in frames, in `epoch` (counted from 0)."""
        return int(min(self.max, self.start * self.factor ** min(epoch, 50)))


@dataclass(frozen=True)
class LearningRates:
    """First learning rate of each part of the model."""

    lstm: float = ranged(0.0016, above=0.0)
    head_cd: float = ranged(0.0016, above=0.0)
    head_mono: float = ranged(0.0004, above=0.0)


@dataclass(frozen=True)
class Halving:
    """Rates are multiplied by `factor` when the dev error falls by less than `threshold`, relative."""

    threshold: float = ranged(0.001, low=0.0, high=1.0)
    factor: float = ranged(0.5, above=0.0, high=1.0)


@dataclass(frozen=True)
class Cosine:
    """Rates fall along half a cosine, to `final` times the first ones at the end of training, in place of halving."""

    final: float = ranged(0.01, low=0.0, high=1.0)


@dataclass(frozen=True)
class AugmentConfig:
    """SpecAugment: what is hidden of each piece at each step. `time_masks`: so many stretches of frames for each
    100 frames, on average, each of 0 to `time_width` frames. `feature_masks`: so many ranges of 0 to
    `feature_width` features, over the whole piece. Hidden values are the mean over train.
    """

    time_masks: float = ranged(1.0, low=0.0, high=100.0)
    time_width: int = ranged(12, low=1, high=1000)
    feature_masks: int = ranged(1, low=0, high=100)
    feature_width: int = ranged(8, low=1, high=1000)

    def __post_init__(self) -> None:
        if not self.time_masks and not self.feature_masks:
            raise UserError("time_masks and feature_masks are both 0, which hides nothing; use augment: null")


@dataclass(frozen=True)
class DistillConfig:
    """Learning from another model (Hinton et al. 2015). `teacher`: directory of its experiment, seen from that which
    this run is written beside, `lstm512`; `{seed}` in it is this run's. Of several the mean of their posteriors
    teaches. `weight`: share of the teacher in the loss. `temperature`: what the logits of both are divided by.
    """

    teacher: str | tuple[str, ...] = ""
    weight: float = ranged(0.5, high=1.0, above=0.0)
    temperature: float = ranged(2.0, high=100.0, above=0.0)

    def __post_init__(self) -> None:
        names = self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)
        if "" in names:
            raise UserError("needs `teacher`, the directory of a trained experiment beside this one, such as lstm512")
        if len(set(names)) < len(names):
            raise UserError(f"teacher: {', '.join(names)}: one of them is named twice; name each once")


@dataclass(frozen=True)
class PipelineConfig:
    """Layers over `stages` processes, the LSTM layers as evenly as can be, the heads with the last of them. Each batch
    goes through them in `microbatches`: all forward, then all back (`gpipe`, Huang et al. 2019, arXiv 1811.06965), or
    back as soon as can be (`1f1b`, Narayanan et al. 2019, PipeDream). `boundary`: how outputs and their gradients are
    sent from one to the other, a method and what it takes; nothing: float32.
    """

    stages: int = ranged(2, low=2, high=16)
    schedule: Literal["gpipe", "1f1b"] = "gpipe"
    microbatches: int = ranged(4, low=1, high=1024)
    boundary: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.schedule == "1f1b" and self.microbatches < self.stages:
            raise UserError(f"microbatches: {self.microbatches}, but 1f1b needs one for each of {self.stages} stages")
        make_link(self.boundary)


_OF_TRAINING = ("distill", "keep_epochs", "warmup", "cosine", "augment", "mixup", "weight_decay", "movement")
_OF_TRAINING += ("workers", "traffic", "pipeline")


@dataclass(frozen=True)
class TrainConfig:
    """How the model is trained. `batch`: pieces per step. `clip`: largest gradient norm, null for none.

    `average`: what an exponential average of the weights keeps per step; evaluated and stored in place of the
    last weights. 0: none.

    `l2_cd_output`: weight of the mean square of the tied-state head's outputs, in the loss. `threads` is part
    of the experiment, because the order of additions, and so the last bits of a result, depends on it.
    `init`: the experiment whose weights are the first ones, named as a teacher is; with it `epochs` may be 0.
    `mask_from`: the experiment whose masks are those of this model, from the first step to the last.
    `keep_epochs`: the model after each epoch, once it has its final density, is kept and decoded on dev.
    `warmup`: epochs in which rates rise linearly. `cosine`: how they fall, in place of `halving`. `augment`: what is
    hidden of the features. `mixup`: utterances are laid over each other, by a share from Beta(mixup, mixup).
    `weight_decay`: at each step the matrices' weights shrink by this times the rate. `movement`: weight of the mean
    movement of the LSTM layers' outputs, in the loss.
    `workers`: processes that train together, each on a share of every batch; part of the experiment as `threads` is.
    `traffic`: how they send gradients, a method or its name alone; where nothing is said, as they are.
    `pipeline`: processes that train together, each some of the layers.
    `shard`: frames that are in memory at once, 2^21 (5.8 hours); a corpus of more is gone through shard by shard.
    `tensorboard`: the figures of each epoch as events too. `errors`: how far each quantized tensor is from what it was,
    in metrics.jsonl. Nothing that is trained depends on these two.
    """

    epochs: int = ranged(8, low=0)
    batch: int = ranged(8, low=1)
    sequence_length: SequenceLength = field(default_factory=SequenceLength)
    optimizer: Literal["rmsprop"] = "rmsprop"
    lr: LearningRates = field(default_factory=LearningRates)
    alpha: float = ranged(0.95, low=0.0, high=0.9999)
    eps: float = ranged(1e-8, above=0.0)
    momentum: float = ranged(0.0, low=0.0, high=0.9999)
    halving: Halving = field(default_factory=Halving)
    l2_cd_output: float = ranged(0.001, low=0.0)
    clip: float | None = ranged(None, above=0.0)
    average: float = ranged(0.99, low=0.0, high=0.99999)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = ranged(2, low=1, high=1024)
    init: str | None = rarely()
    mask_from: str | None = rarely()
    distill: DistillConfig | None = rarely()
    keep_epochs: bool | None = rarely()
    warmup: float | None = rarely(low=0.0)
    cosine: Cosine | None = rarely()
    augment: AugmentConfig | None = rarely()
    mixup: float | None = rarely(high=100.0, above=0.0)
    weight_decay: float | None = rarely(low=0.0, high=100.0)
    movement: float | None = rarely(low=0.0)
    workers: int | None = rarely(low=2, high=1024)
    traffic: str | dict[str, Any] | None = rarely()
    pipeline: PipelineConfig | None = rarely()
    shard: int | None = rarely(low=1)
    tensorboard: bool | None = rarely()
    errors: bool | None = rarely()

    def __post_init__(self) -> None:
        if not self.epochs and self.init is None:
            raise UserError(
                "epochs: 0 trains nothing; it must be at least 1, unless `init` names a model to start from"
            )
        for name in _OF_TRAINING:
            if not self.epochs and getattr(self, name):
                raise UserError(f"{name}: would do nothing: epochs: 0 trains nothing")
        if self.epochs and (self.warmup or 0.0) >= self.epochs:
            raise UserError(f"warmup: {self.warmup:g} epochs of {self.epochs} leave none at the full rate")
        if self.traffic is not None:
            read_traffic(self.traffic)
        if self.workers:
            self._check_workers(self.workers)
        if self.pipeline is not None:
            self._check_pipeline(self.pipeline)
        for name in ("init", "mask_from"):
            if getattr(self, name) == "":
                raise UserError(f"{name}: expected the directory of a trained experiment beside this, such as lstm512")

    def _check_workers(self, workers: int) -> None:
        if self.device == "cuda":
            raise UserError("workers: they train on CPUs; say device: cpu, or leave workers out")
        if workers > self.batch:
            raise UserError(f"workers: {workers}, but batch: {self.batch}; each needs a piece of every batch")
        for name in ("mixup", "movement"):
            if getattr(self, name):
                raise UserError(f"{name}: goes by all pieces of a batch, of which a worker has a share; leave one out")

    def _check_pipeline(self, pipeline: PipelineConfig) -> None:
        if self.device == "cuda":
            raise UserError("pipeline: its processes train on CPUs; say device: cpu, or leave pipeline out")
        for name in ("workers", "traffic", "distill", "mixup", "movement"):
            if getattr(self, name):
                raise UserError(f"{name}: does not go with pipeline; leave one out")
        if pipeline.microbatches > self.batch:
            raise UserError(
                f"pipeline.microbatches: {pipeline.microbatches}, but batch: {self.batch}; each needs a piece"
            )


@dataclass(frozen=True)
class DecodeConfig:
    """Beam search. The pair of `acoustic_scales` and `lm_weights` that is best on dev is used on test.

    Where it lies at the end of a list, more values are tried; a list of one is fixed.
    """

    acoustic_scales: tuple[float, ...] = ranged((0.7,), above=0.0)
    lm_weights: tuple[float, ...] = ranged((1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0), above=0.0)
    beam: float = ranged(11.0, above=0.0)
    lattice_beam: float = ranged(6.0, above=0.0)
    max_active: int = ranged(7000, low=2, high=2**31 - 1)


@dataclass(frozen=True)
class Config:
    """One experiment. `compress`: layer name, or pattern, or `default`, and what is done to that layer.

    `document`: no key, but where each one was said, for errors found later on.
    """

    seed: int = ranged(2234, low=0, high=LARGEST_SEED)
    model: ModelConfig = field(default_factory=ModelConfig)
    compress: dict[str, LayerPress] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    document: Document | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        pipeline, lstm = self.train.pipeline, self.model.lstm
        if pipeline is None:
            return
        if pipeline.stages > lstm.layers:
            raise UserError(
                f"train.pipeline.stages: {pipeline.stages}, but model.lstm.layers: {lstm.layers}; each needs a layer"
            )
        if lstm.batch_norm and pipeline.microbatches > 1:
            raise UserError(
                f"train.pipeline.microbatches: {pipeline.microbatches}, but batch norm takes mean and variance over a "
                "whole batch; say model.lstm.batch_norm: false, or microbatches: 1"
            )
