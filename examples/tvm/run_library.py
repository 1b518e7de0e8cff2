"""A library that `frenchpress to-tvm` wrote, run with TVM and numpy alone: python run_library.py model.so"""

import json
import sys

import numpy as np
import tvm
from tvm import relax

machine = relax.VirtualMachine(tvm.runtime.load_module(sys.argv[1]), tvm.cpu())
about = json.loads(machine["about"]().numpy().tobytes())
context = about["left"] + about["right"]

# h, c and what else goes on from frame to frame: zeros at the start, then what the call before gave back.
states = [tvm.runtime.tensor(np.zeros(count, about["dtype"])) for count in about["states"]]
features = np.sin(np.arange(10 + context)[:, None] + np.arange(about["dim"])).astype(np.float32)
for t in range(10):  # one frame with its context at a time
    out = machine["network"](tvm.runtime.tensor(features[t : t + context + 1]), *states)
    states = [*out][len(about["outputs"]) :]
    print(" ".join(f"{value:.6g}" for value in out[0].numpy()[0, :4]))
