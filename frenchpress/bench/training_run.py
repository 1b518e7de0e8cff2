"""One training step of a module, and the plain torch path of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from frenchpress.kernels import native


@contextmanager
def torch_alone() -> Iterator[None]:
    """Within it no kernels of our own are used, on the CPU or a GPU, as where there are none."""
    before = os.environ.get("FRENCHPRESS_NATIVE")
    os.environ["FRENCHPRESS_NATIVE"] = "0"
    native.library.cache_clear()
    try:
        yield
    finally:
        del os.environ["FRENCHPRESS_NATIVE"]
        if before is not None:
            os.environ["FRENCHPRESS_NATIVE"] = before
        native.library.cache_clear()


def training_run(forward: Callable[[], Tensor], module: nn.Module, weights: Tensor) -> Callable[[], None]:
    """What does one forward and backward pass with `weights` for the outputs' gradient."""

    def run() -> None:
        module.zero_grad()
        (forward() * weights).sum().backward()

    return run
