"""The Triton kernels for tests: on a GPU where there is one, else in Triton's interpreter. Skips without Triton."""

import importlib.util

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed (pip install -e '.[gpu]')", allow_module_level=True)

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
INTERPRET = ("TRITON_INTERPRET", "0" if ON_GPU else "1")

with pytest.MonkeyPatch.context() as patch:
    # Read when functions are decorated, those of Triton itself too; some of it is imported at the first call.
    patch.setenv(*INTERPRET)
    from frenchpress.kernels.gpu import kernels

__all__ = ["DEVICE", "INTERPRET", "ON_GPU", "kernels"]
