"""The processes that train one model together, each some of its layers (pipeline): outputs go forward, gradients back.

`torch.distributed.pipelining` says when which stage computes what, and sends. It wants tensors of one shape, and
batches differ in length; so every batch has a `PipelineStage` of its own, which is told its shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.errors import ErrorSums
from frenchpress.compress.traffic import Sent, make_link
from frenchpress.compress.workers import total
from frenchpress.config import TrainConfig
from frenchpress.nnet.data import Batch
from frenchpress.nnet.losses import losses
from frenchpress.nnet.model import AcousticModel, real_frames
from frenchpress.nnet.train.workers import Workers

if TYPE_CHECKING:
    from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe


class Stage(nn.Module):
    """Consecutive LSTM layers of `model`, stage `rank` of `size`; behind them the heads, or what sends on the outputs.

    What is sent, and the gradient that comes back, are as the link makes them of the real frames. The library has no
    place for a code of its own: the tensors themselves are sent as float32, and so that they have one shape, padded.
    """

    def __init__(self, model: AcousticModel, rank: int, size: int) -> None:
        super().__init__()
        names = list(model.lstm)
        parts = [[names[i] for i in part] for part in np.array_split(np.arange(len(names)), size)]
        self.layers = nn.ModuleList(model.lstm[name] for name in parts[rank])
        self._prepared = model.normalised if rank == 0 else lambda x: x
        self._heads, self.link = model.heads, None
        self._prefixes = tuple(f"lstm.{name}." for name in parts[rank])
        self._sent: dict[str, tuple[float, ErrorSums]] = {}
        self._ways: dict[str, str] = {}
        if rank == size - 1:
            self._prefixes += ("head_cd.", "head_mono.")
        else:
            self.link = make_link(model.config.train.pipeline.boundary)
            here, there = parts[rank][-1], parts[rank + 1][0]
            self._ways = {"forward": f"{here} to {there}", "backward": f"{there} to {here}"}
            self.link.watch = self._note

    def owns(self, name: str) -> bool:
        """Whether what is called so, in the model or of what is sent, is of a layer here."""
        return name.startswith(self._prefixes) or name in self._ways.values()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Spliced features or the outputs before [b, T, I], `lengths` int64 [b], 0 where a piece fills up -> outputs
        [b, T, H], zero at padding; from the last stage the logits of the real frames, as `AcousticModel` has them.
        """
        x = self._prepared(x)
        for layer in self.layers:
            x = layer(x, lengths.clamp(min=1))
        real = real_frames(x, lengths)
        if self.link is None:
            return tuple(self._heads(x[real]).values())
        return x.new_zeros(x.shape).index_put((real,), self.link(x[real]))

    def _note(self, direction: str, x: Tensor, sent: Sent) -> None:
        way = self._ways[direction]
        size, errors = self._sent.setdefault(way, (0.0, ErrorSums()))
        if sent.decoded is not x:
            errors.add(x, sent.decoded)
        self._sent[way] = size + sent.bytes, errors

    def take(self) -> dict[str, list[float]]:
        """Of each way across the boundary behind it: bytes, and the sums of `ErrorSums`, since the last call."""
        sent, self._sent = self._sent, {}
        return {way: [size, *errors.sums] for way, (size, errors) in sent.items()}


@dataclass
class Stages(Workers):
    """This process, which trains the layers of stage `rank` of `size`, on all pieces of every batch.

    Each has the whole model; what it has of other stages is as they gathered it last. `stage` and `config` are there
    once `wrap` made the one and read the other.
    """

    stage: Stage | None = None
    config: TrainConfig | None = None

    @property
    def mine(self) -> slice:
        """All pieces."""
        return slice(None)

    def sharing(self, sequences: int = 0) -> AbstractContextManager[None]:
        """Outside of steps as workers do; in a step every stage has the whole batch."""
        return nullcontext() if sequences else super().sharing()

    def wrap(self, model: AcousticModel, *_: Any) -> None:
        """Let this process train its layers of `model`, and no others."""
        self.stage, self.config = Stage(model, self.rank, self.size), model.config.train
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.stage.owns(name))

    def check(self, batches: Sequence[np.ndarray]) -> None:
        """UserError where a batch has fewer pieces than microbatches."""
        least, parts = min(map(len, batches)), self.config.pipeline.microbatches
        if least < parts:
            raise UserError(f"train.pipeline.microbatches: {parts}, but a batch of only {least} pieces; take fewer")

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> None:
        """As the base has it, by the norm over all stages."""
        own = [p for p in parameters if p.grad is not None]
        with self.sharing():
            norm = total(nn.utils.get_total_norm([p.grad for p in own]).square()).sqrt()
        nn.utils.clip_grads_with_norm_(own, most, norm)

    def pass_through(self, batch: Batch, key: Sequence[int]) -> list[Tensor]:
        """Add the gradients of the loss of `batch` to the layers here, and give total, tied-state and monophone loss
        per frame, float64 [] each; 0 from all stages but the last. `key` (seed, epoch, step) decides what is drawn.
        """
        torch.manual_seed(int(np.random.SeedSequence([*key, self.rank]).generate_state(1, np.uint64)[0] >> 1))
        inputs, lengths, parts = microbatches(batch, self.config.pipeline.microbatches)
        found = torch.zeros(3, dtype=torch.float64)

        def loss(logits: tuple[Tensor, Tensor], number: Tensor) -> Tensor:
            part = parts[int(number)]
            share = part.frames / batch.frames
            own = losses(dict(zip(("cd", "mono"), logits)), part, self.config.l2_cd_output)
            found.add_(torch.stack(own).detach().double(), alpha=share)
            return own[0] * share

        first, last = self.rank == 0, self.rank == self.size - 1
        arguments = [inputs] if first else []
        target = torch.arange(len(parts)) if last else None
        schedule = self._schedule(len(inputs) // len(parts), inputs.shape[1], len(parts), loss)
        try:
            schedule.step(*arguments, lengths=lengths, target=target, return_outputs=False)
        except RuntimeError as error:
            if isinstance(error.__cause__, UserError):  # of a layer
                raise error.__cause__ from None
            raise
        return list(found)

    def _schedule(self, pieces: int, frames: int, count: int, loss: Any) -> ScheduleGPipe | Schedule1F1B:
        """What runs `count` microbatches of this shape through the stages."""
        # Here: to import it takes as long as torch itself, and most trainings have no stages.
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

        sent = torch.empty(pieces, frames, self.stage.layers[-1].cells, requires_grad=True)
        # Of the logits the library needs to know that there are two, and no shape.
        out = sent if self.stage.link is not None else (sent, sent)
        device = torch.device("cpu")
        stage = PipelineStage(self.stage, self.rank, self.size, device, input_args=sent, output_args=out)
        schedule = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}[self.config.pipeline.schedule]
        return schedule(stage, count, loss_fn=loss, scale_grads=False)


def microbatches(batch: Batch, count: int) -> tuple[Tensor, Tensor, list[Batch]]:
    """`batch` in `count` parts of about equal numbers of pieces: their inputs [count * b, T, I], their lengths int64
    [count * b], and the parts with the targets of each. All have b pieces; one that is short is filled up with a copy,
    of length 0.
    """
    parts = np.array_split(np.arange(len(batch.lengths)), count)
    size = max(map(len, parts))
    rows = np.concatenate([np.pad(part, (0, size - len(part)), mode="edge") for part in parts])
    lengths = batch.lengths[rows]
    lengths[np.concatenate([np.arange(size) >= len(part) for part in parts])] = 0
    frames = [int(batch.lengths[part].sum()) for part in parts]
    targets = zip(batch.cd.split(frames), batch.mono.split(frames), batch.rows.split(frames))
    return batch.inputs[rows], lengths, [replace(batch, cd=cd, mono=mono, rows=rows) for cd, mono, rows in targets]
