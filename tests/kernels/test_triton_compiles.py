"""The kernels as they are compiled for GPUs, which takes none: what they need, and how their programs wait."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed (pip install -e '.[gpu]')", allow_module_level=True)

# The launches of a training step, compiled in place of being run. Its own process: the other tests interpret.
SCRIPT = """
import json, sys
import torch, triton
from triton.backends.compiler import GPUTarget
from frenchpress.bench.layers import PRESSES
from frenchpress.kernels.gpu import kernels, launch
from frenchpress.kernels.gpu import backend as gpu_lstm
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.nnet.lstm import QuantLSTMLayer

class Driver:
    def get_current_target(self): return GPUTarget("cuda", int(sys.argv[2]), 32)
    def get_current_device(self): return 0
    def get_current_stream(self, device): return 0

class Compiling:
    def __init__(self, kernel, **more): self.kernel, self.more = kernel, more
    def __getitem__(self, grid):
        def run(*arguments, **options):
            made = self.kernel.warmup(*arguments, grid=grid, **options)
            m = made.metadata
            found.append({"grid": grid, "shared": m.shared, "cooperative": m.launch_cooperative_grid,
                          "threads": 32 * m.num_warps, "ptx": made.asm["ptx"], "cubin": len(made.asm["cubin"])})
        return run

found = []
triton.runtime.driver.set_active(Driver())
kernels.forward_steps = Compiling(kernels.forward_steps)
kernels.backward_steps = Compiling(kernels.backward_steps)
launch.machine = gpu_lstm.machine = lambda device: launch.Machine(int(sys.argv[3]), int(sys.argv[5]) * 1024)
native_lstm.serves, gpu_lstm.why_not = lambda parts, x: False, lambda device: None
layer = QuantLSTMLayer(64, 512, PRESSES[sys.argv[1]])
layer(torch.randn(int(sys.argv[4]), 1, 64)).sum().backward()
print(json.dumps(found))
"""

# Press, compute capability, multiprocessors, sequences, KiB of shared memory for a program, launches.
CASES = [
    ("w8a16_hcgs16x", 90, 132, 8, 227, 2),
    ("w8a16", 80, 108, 8, 163, 2),
    ("lstm (float)", 86, 84, 64, 99, 4),  # two groups of 16 sequences at a time
]


@pytest.mark.slow
@pytest.mark.parametrize("press, capability, processors, batch, kib, launches", CASES)
def test_launches_of_a_training_step(press, capability, processors, batch, kib, launches, tmp_path):
    command = [sys.executable, "-c", SCRIPT, press, *map(str, (capability, processors, batch, kib))]
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == launches
    for one in found:
        assert one["cubin"] > 0
        assert one["grid"][0] * one["grid"][1] <= processors and one["cooperative"]
        assert one["shared"] <= kib * 1024 and one["threads"] <= 512
        # All threads have written before one of them says so, and all wait for the one that looks.
        assert re.search(r"bar\.sync((?!st\.global).)*gpu\.release\.add", one["ptx"], re.S)
        assert re.search(r"gpu\.acquire((?!ld\.global\.cg).)*bar\.sync", one["ptx"], re.S)
        assert ".tf32" not in one["ptx"]
