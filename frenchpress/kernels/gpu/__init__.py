"""The LSTM recurrence on an NVIDIA GPU: Triton kernels that compute with kept weights, all time steps in one launch.

What a time step costs. The products of a step are small: 8 sequences, 512 cells and a dense matrix are 8.4 million
multiplications, 0.3 us on the float32 units of an H200 (132 multiprocessors of 128, at about 1.7 GHz), and HCGS at 16x
leaves a quarter of that or less. But the steps hang on each other, so what counts is latency. Of the ways to run them:

- A launch per operation, as torch does: about 14 a step, several us each, and what Python adds.
- A launch per step, recorded in a CUDA graph: 1.5 to 2 us from one kernel to the next, the weights read anew from L2 by
  each (4 MB dense: 0.8 us at 5 TB/s), and a graph recorded for each length of batch, of which training has hundreds.
- Each multiprocessor has sequences of its own and reads all weights at each step: nothing to wait for, but at about 100
  GB/s from L2 into one multiprocessor the 0.26 to 1 MB of a 16x layer are 2.5 to 10 us.
- All steps in one launch, each multiprocessor with cells of its own, whose weights stay in its shared memory for the
  whole utterance: at most 64 KiB. What is left to exchange is h, 16 KB, through L2: 0.5 us until the others can see
  what was written, 0.4 us until they notice, 0.3 us to read it, 0.3 to 0.5 us for product, sum and gates: about 1.5 us
  forward, and 2 us backward, where a cell has four times the inputs.

The last is what is done. cuDNN's float32 LSTM, a matrix product and an elementwise kernel per step, is expected at 5 to
10 us a step and direction, a loop over torch operations at 50 to 100. These are estimates from the hardware's figures
and from the machine code of the kernels (600 to 900 instructions per thread and step): nothing was timed on a GPU yet.

How it is kept right:

- Programs of a group of 8 or 16 sequences count arrivals at each step in one integer: added to with `release` after a
  barrier of the program's threads, polled with `acquire`, both at the scope of the GPU, so that what any of their
  threads wrote before is seen by all threads after. Groups never wait for each other. The count only grows.
- h_t has a place of its own for every t, is read past L1, and nothing is written twice: no write can meet a late read.
- A program that waits must not keep another from running. Never more programs than multiprocessors are launched, and
  the launch is cooperative: the driver refuses it rather than start it in part. Batches beyond that are done in several
  launches, and a layer of more cells than fit (16 per multiprocessor) in one launch per step, by the same kernel.
- Sums are made in float32 without tensor cores, whose 10 bits would lose 16-bit activations, and in the same order
  every time.

Backward is the same turned round: gradients of the gates' inputs go from step to step through the transposed kept
weights, and the gradient of the weights is one matrix product over all steps afterwards.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from functools import lru_cache

import torch

TRITON_NEEDED = (3, 5)  # the first that takes products of fewer than 16 rows
_CAPABILITY = (8, 0)


def why_not(device: torch.device) -> str | None:
    """What keeps the kernels from running on `device`; None where they run."""
    if device.type != "cuda" or torch.version.cuda is None:
        return "they are for NVIDIA GPUs"
    if os.environ.get("FRENCHPRESS_NATIVE") == "0":
        return "FRENCHPRESS_NATIVE=0"
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return "they need compute capability {}.{}".format(*_CAPABILITY)
    found, wanted = triton_version(), ".".join(map(str, TRITON_NEEDED))
    if found is None:
        return "Triton is not installed (pip install -e '.[gpu]')"
    if found < TRITON_NEEDED:
        return f"they need Triton {wanted}, this is {found[0]}.{found[1]}"
    return _driver_trouble()


@lru_cache(maxsize=1)
def triton_version() -> tuple[int, int] | None:
    """Major and minor version of the Triton that is installed, without importing it; None where there is none."""
    for name in ("triton", "pytorch-triton"):
        try:
            numbers = re.findall(r"\d+", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
        return int(numbers[0]), int(numbers[1])
    return None


@lru_cache(maxsize=1)
def _driver_trouble() -> str | None:
    """What Triton says when it cannot start here, such as that it finds no C compiler for its launcher."""
    try:
        import triton

        triton.runtime.driver.active.get_current_target()
    except Exception as error:  # of its own, of the compiler, of the loader
        return f"Triton does not start: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return None
