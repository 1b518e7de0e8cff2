"""What workers send each other of their gradients, as hooks of DistributedDataParallel, and how many bytes that is."""

# No annotations from __future__: DistributedDataParallel looks at those of a hook.

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.futures import Future

Hook = Callable[[None, dist.GradBucket], Future[torch.Tensor]]


@dataclass(frozen=True)
class Method:
    """`hook` gives the mean over workers of a bucket of gradients; `size`: bytes that each of them is sent as."""

    hook: Hook
    size: int


METHODS = {
    "fp32": Method(default_hooks.allreduce_hook, 4),
    "fp16": Method(default_hooks.fp16_compress_hook, 2),
}
"""`train.traffic` -> how gradients are sent. Methods have no state: a checkpoint has that of the first worker alone."""


class Traffic:
    """The hook of a method, and what this worker has sent by it since `take` was called.

    A sum over N workers in a ring takes 2 (N - 1) / N of the bytes from each of them (Patarasuk and Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations", sec. 3). What the network adds, and the few
    numbers of batch norm and losses, are left out.
    """

    def __init__(self, method: str, workers: int) -> None:
        self._method, self._share, self._sent = METHODS[method], 2 * (workers - 1) / workers, 0.0

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[torch.Tensor]:
        """The mean over workers of the gradients in `bucket`."""
        self._sent += bucket.buffer().numel() * self._method.size * self._share
        return self._method.hook(None, bucket)

    def take(self) -> float:
        """Bytes since the last call."""
        sent, self._sent = self._sent, 0.0
        return sent
