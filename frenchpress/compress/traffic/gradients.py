"""What workers that train one model send each other of its gradients: hooks of torch's DistributedDataParallel.

    traffic = make_traffic({"method": "top_k", "ratio": "1/16"}, seed=1)
    ddp.register_comm_hook(None, traffic.hook)

Every worker ends with the same numbers, to the bit. What a worker keeps from one step to the next is its own, and goes
into a checkpoint by `state_dict`.
"""

# No annotations from __future__: DistributedDataParallel looks at those of a hook.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.futures import Future

from frenchpress.common import UserError, unknown
from frenchpress.compress.options import NoOptions, read_method
from frenchpress.compress.traffic.codes import GradientCode, MultiStepRounding, Qsgd, TopK

_FLOAT = 4  # bytes


class Count(NamedTuple):
    """`bytes` that were sent; sums of squares of what was not sent (`missed`) and of what was to be (`whole`), both 0
    where no account of it is kept.
    """

    bytes: float = 0.0
    missed: float = 0.0
    whole: float = 0.0


class GradientTraffic:
    """Base of the methods. `hook`: for `register_comm_hook`. It counts what this worker sends; what the network adds,
    batch norm and losses are left out.
    """

    def __init__(self) -> None:
        self._count = Count()

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[torch.Tensor]:
        """The mean over workers of the gradients in `bucket`."""
        raise NotImplementedError

    def note(self, sent: float, whole: torch.Tensor | None = None, missed: torch.Tensor | None = None) -> None:
        """Count `sent` bytes, and what was `missed` of a `whole`."""
        squares = [0.0 if x is None else float(x.square().sum()) for x in (missed, whole)]
        self._count = Count(*(a + b for a, b in zip(self._count, (sent, *squares))))

    def take(self) -> Count:
        """What was sent since the last call."""
        count, self._count = self._count, Count()
        return count

    def state_dict(self) -> dict[str, Any]:
        """What the next step of this worker depends on, beside the gradients; empty where there is nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` of the same worker gave."""


def ring_share() -> float:
    """What a worker sends of a tensor that is summed over all N of them, in a ring: 2 (N - 1) / N (Patarasuk and Yuan
    2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations", sec. 3).
    """
    return 2 * (dist.get_world_size() - 1) / dist.get_world_size()


class Reduced(GradientTraffic):
    """Gradients that the network sums up, `size` bytes each, by a hook of torch's."""

    def __init__(self, hook: Callable[[None, dist.GradBucket], Future[torch.Tensor]], size: int) -> None:
        super().__init__()
        self._hook, self._size = hook, size

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[torch.Tensor]:
        """As the base has it."""
        self.note(bucket.buffer().numel() * self._size * ring_share())
        return self._hook(None, bucket)


class Gathered(GradientTraffic):
    """Each worker sends the bytes of a code to all others, who decode them and add up, in the order of the ranks."""

    def __init__(self, code: GradientCode, seed: int) -> None:
        super().__init__()
        self._code = code
        self._generator = torch.Generator().manual_seed(_drawn_from(seed, dist.get_rank()))
        self._left: dict[int, torch.Tensor] = {}  # what was not sent, by bucket

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[torch.Tensor]:
        """As the base has it."""
        x, index = bucket.buffer(), bucket.index()
        if index in self._left:
            x = x + self._left[index]
        mine = self._code.encode(x, self._generator)
        everyones = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everyones, mine)
        decoded = [self._code.decode(sent, len(x)) for sent in everyones]
        missed = x - decoded[dist.get_rank()]
        self.note((len(everyones) - 1) * len(mine), x, missed)
        if self._code.feedback:
            self._left[index] = missed
        mean: Future[torch.Tensor] = Future()
        mean.set_result(torch.stack(decoded).mean(0))
        return mean

    def state_dict(self) -> dict[str, Any]:
        """As the base has it."""
        return {"left": self._left, "random": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As the base has it."""
        self._left = dict(state["left"])
        self._generator.set_state(state["random"])


@dataclass(frozen=True, kw_only=True)
class PowerSgdOptions:
    """`rank`: of the two thin matrices that a gradient is sent as. `start`: steps that are sent whole before."""

    rank: int = 4
    start: int = 100

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("start", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: {getattr(self, name)} is out of range; it must be at least {least}")


class PowerSgd(GradientTraffic):
    """torch's PowerSGD (Vogels et al. 2019, arXiv 1905.13727), with error feedback and warm start."""

    def __init__(self, options: PowerSgdOptions, seed: int) -> None:
        super().__init__()
        self._state = PowerSGDState(
            None,
            options.rank,
            options.start,
            orthogonalization_epsilon=1e-8,  # a matrix without gradients is not divided by its norm
            random_seed=_drawn_from(seed) % 2**32,
        )

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[torch.Tensor]:
        """As the base has it."""
        state, before = self._state, self._state.total_numel_after_compression
        whole = state.iter < state.start_powerSGD_iter
        mean = powerSGD_hook(state, bucket)
        # It sends again when an answer has come, at a time that is not the same for all workers. What the others do
        # meanwhile must not come between.
        mean.wait()
        numbers = bucket.buffer().numel() if whole else state.total_numel_after_compression - before
        missed = state.error_dict.get(bucket.index())
        self.note(numbers * _FLOAT * ring_share(), None if missed is None else mean.value() + missed, missed)
        return mean

    def state_dict(self) -> dict[str, Any]:
        """As the base has it."""
        state = self._state
        _, key, place, *_ = state.rng.get_state()
        memories = {name: getattr(state, name) for name in _MEMORIES}
        return {"iter": state.iter, "random": [key.tolist(), place], **memories}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """As the base has it."""
        key, place = saved["random"]
        self._state.rng.set_state(("MT19937", np.array(key, np.uint32), place))
        self._state.iter = saved["iter"]
        for name in _MEMORIES:
            setattr(self._state, name, dict(saved[name]))


_MEMORIES = ("error_dict", "p_memory_dict", "q_memory_dict")


def _drawn_from(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


class Method(NamedTuple):
    """`options`: a dataclass of what a `.cfg` can say; `start`: what makes the traffic of these and a seed."""

    options: type
    start: Callable[[Any, int], GradientTraffic]


METHODS = {
    "fp16": Method(NoOptions, lambda *_: Reduced(default_hooks.fp16_compress_hook, 2)),
    "top_k": Method(TopK, Gathered),
    "multi_step": Method(MultiStepRounding, Gathered),
    "qsgd": Method(Qsgd, Gathered),
    "power_sgd": Method(PowerSgdOptions, PowerSgd),
}
"""`train.traffic` -> how gradients are sent."""


def read_traffic(said: str | Mapping[str, Any]) -> tuple[str, Any]:
    """Name and options of `top_k`, or of `{method: top_k, ratio: 1/16}`; UserError for what is wrong in it."""
    if isinstance(said, str) and said not in METHODS:
        raise UserError(f"traffic: {unknown(said, METHODS)}")
    kinds = {name: method.options for name, method in METHODS.items()}
    return read_method({"method": said} if isinstance(said, str) else said, kinds, "traffic")


def make_traffic(said: str | Mapping[str, Any] | None, seed: int) -> GradientTraffic:
    """The traffic of this worker as `train.traffic` says it, None: as it is. Workers have met (`torch.distributed`)."""
    if said is None:
        return Reduced(default_hooks.allreduce_hook, _FLOAT)
    name, options = read_traffic(said)
    return METHODS[name].start(options, seed)
