"""The processes that train one model together (data parallel): each computes the gradients of its share of every batch.

Gradients are averaged by torch's DistributedDataParallel; what else depends on the whole batch goes through
`frenchpress.compress.workers`. So every worker has the same weights, masks, ranges and averages after every step, and
the first one alone writes files. Started by `--workers N`, by torchrun, or by anything that sets what torchrun sets.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frenchpress.common import UserError
from frenchpress.compress.traffic import GradientTraffic, make_traffic
from frenchpress.compress.workers import Share, sharing, total
from frenchpress.config import config_differences
from frenchpress.nnet.data import Batch

Value = TypeVar("Value")
_groups: list[dist.ProcessGroup | None] = []
"""Keeps them to the end of the process. Where the wrapper of a model goes last, it ends the group while it holds
Python's lock, and waits for a thread of gloo, which may wait for that lock."""
_GRACE = 5.0  # seconds that whoever started the workers has to say which of them is gone, and to stop the rest
_TURN = 0.5  # seconds by which the first worker comes before the others, where all say the same


def started() -> int:
    """How many workers were started with this process, itself among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass
class Workers:
    """This worker, `rank` of `size`. `model` exchanges gradients, and `traffic` counts them, once `wrap` made them."""

    rank: int = 0
    size: int = 1
    model: nn.Module | None = None
    traffic: GradientTraffic | None = None
    _parent: int = field(default_factory=os.getppid)

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    @property
    def mine(self) -> slice:
        """Its share of the pieces of a batch."""
        return Share(self.rank, self.size).mine

    def sharing(self, sequences: int = 0) -> AbstractContextManager[None]:
        """Let statistics inside be those of all workers, of a batch of so many pieces."""
        return sharing(Share(self.rank, self.size, sequences))

    def wrap(self, model: nn.Module, traffic: str | Mapping[str, Any] | None, seed: int) -> None:
        """Let gradients of `model`, in the same state everywhere, be averaged, sent as `train.traffic` says."""
        if self.size == 1:
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*forward_sync_buffers")  # which not all versions have
            # Without find_unused_parameters buckets are sorted anew after a first step, and a run that goes on would
            # add in another order.
            self.model = DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
        self.traffic = make_traffic(traffic, seed)
        self.model.register_comm_hook(None, self.traffic.hook)

    def check(self, batches: Sequence[np.ndarray]) -> None:
        """UserError where a batch has fewer pieces than there are workers."""
        least = min(map(len, batches))
        if least < self.size:
            raise UserError(f"{self.size} workers, but a batch of only {least} pieces; take fewer workers")

    def say(self, line: str) -> None:
        """Print `line` once."""
        if self.first:
            print(line, flush=True)

    def means(self, parts: Sequence[Tensor], batch: Batch) -> list[float]:
        """Means per frame of the whole batch from those [] of the frames here."""
        if self.size == 1:
            return [part.item() for part in parts]
        if "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != self._parent:
            raise UserError("what has started the workers is gone; the same command goes on from the last checkpoint")
        sums = total(torch.stack(list(parts)).detach().double() * batch.frames)
        return (sums / batch.whole_frames).tolist()

    def weighted(self, loss: Tensor, batch: Batch) -> Tensor:
        """`loss` [] per frame here, so that the average over workers is the loss per frame of the whole batch."""
        return loss if self.size == 1 else loss * (batch.frames * self.size / batch.whole_frames)

    def same(self, make: Callable[[], Value]) -> Value:
        """What `make` gives the first worker, for all of them."""
        if self.size == 1:
            return make()
        values = [make() if self.first else None]
        dist.broadcast_object_list(values)
        return values[0]

    def as_first(self, choice: bool) -> bool:
        """What the first worker chose."""
        if self.size == 1:
            return choice
        flag = torch.tensor([choice])
        dist.broadcast(flag, 0)
        return bool(flag)

    def gathered(self, mine: Value) -> list[Value] | None:
        """What each worker has, for the first one; None for the others."""
        everyones: list[Any] | None = [mine] * self.size if self.first else None
        if self.size > 1:
            dist.gather_object(mine, everyones)
        return everyones

    def everyones(self, mine: Value) -> list[Value]:
        """What each worker has, in the order of the ranks."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> None:
        """Scale gradients down so that the norm of all is at most `most`."""
        nn.utils.clip_grad_norm_(parameters, most)

    def agree(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        """UserError, naming what differs and where, unless `facts` gives the same for all workers."""
        if self.size == 1:
            return
        everywhere = self.everyones(dict(facts()))
        for rank, other in enumerate(everywhere):
            for key, here, there in config_differences(everywhere[0], other):
                raise UserError(f"worker {rank} has {key} = {_short(there)}, worker 0 has {_short(here)}")


def _short(value: Any) -> str:
    return str(value) if len(str(value)) <= 40 else f"{str(value)[:37]}..."


@contextmanager
def joined(patience: float, kind: type[Workers] = Workers) -> Iterator[Workers]:
    """Meet the other workers, if there are any; UserError when one is missing, or goes while they train.

    They wait `patience` seconds for each other.
    """
    if started() == 1:
        yield Workers()
        return
    _meet(patience)
    _groups.append(dist.group.WORLD)
    try:
        yield kind(dist.get_rank(), dist.get_world_size())
    except UserError:
        if dist.get_rank():
            time.sleep(_TURN)
        raise
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        time.sleep(_GRACE)
        raise UserError(
            "another worker has stopped, or has not answered for too long; the same command goes on from the last "
            "checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()


def _meet(patience: float) -> None:
    """Find the other workers where MASTER_ADDR and MASTER_PORT say."""
    place = f"MASTER_ADDR={os.environ.get('MASTER_ADDR')}, MASTER_PORT={os.environ.get('MASTER_PORT')}"
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=patience))
    except ValueError as error:
        raise UserError(f"WORLD_SIZE={started()} is set, but not all that torchrun sets ({error})") from None
    except RuntimeError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(f"{place}: the port is in use; choose another one") from None
        raise UserError(
            f"{place}: not all of {started()} workers came within {patience:g} s; start those of every machine, with "
            "the same address, port and number"
        ) from None
