"""Where a model is computed, and that the same seed gives the same bits there."""

from __future__ import annotations

import os

import torch

from frenchpress.common import UserError
from frenchpress.config import Config


def choose_device(wanted: str) -> torch.device:
    """`auto`: the GPU when there is one. UserError for a GPU that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device: cuda, but PyTorch sees no GPU; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def make_deterministic(config: Config) -> None:
    """Same seed, same machine, same bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True), which also imports torch's compiler, in as long as torch itself.
    torch.set_deterministic_debug_mode("error")
    # The switch above also fills every fresh tensor with NaN; ours are all written before they are read.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # More threads than cores would wait for each other at every time step; torchrun says how many workers share these.
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, min(config.train.threads, cores)))
    torch.manual_seed(config.seed)
