"""What is said where the GPU's kernels cannot run."""

import pytest
import torch

from frenchpress.kernels import gpu

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch):
    monkeypatch.delenv("FRENCHPRESS_NATIVE", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(gpu, "triton_version", lambda: gpu.TRITON_NEEDED)
    monkeypatch.setattr(gpu, "_driver_trouble", lambda: None)


def test_they_run_where_all_is_there():
    assert gpu.why_not(CUDA) is None


@pytest.mark.parametrize(
    "owner, name, value, reason",
    [
        (torch.version, "cuda", None, "they are for NVIDIA GPUs"),
        (torch.cuda, "get_device_capability", lambda device: (7, 5), "they need compute capability 8.0"),
        (gpu, "triton_version", lambda: None, "Triton is not installed (pip install -e '.[gpu]')"),
        (gpu, "triton_version", lambda: (3, 4), "they need Triton 3.5, this is 3.4"),
        (gpu, "_driver_trouble", lambda: "no compiler", "no compiler"),
    ],
)
def test_the_reason_is_named(owner, name, value, reason, monkeypatch):
    monkeypatch.setattr(owner, name, value)
    assert gpu.why_not(CUDA) == reason


def test_the_environment_can_ask_for_torch(monkeypatch):
    monkeypatch.setenv("FRENCHPRESS_NATIVE", "0")
    assert gpu.why_not(CUDA) == "FRENCHPRESS_NATIVE=0"


def test_no_gpu():
    assert gpu.why_not(torch.device("cpu")) == "they are for NVIDIA GPUs"


@pytest.mark.skipif(torch.cuda.is_available(), reason="Triton starts where there is a GPU")
def test_trouble_is_one_line(monkeypatch):
    monkeypatch.undo()
    gpu._driver_trouble.cache_clear()
    said = gpu._driver_trouble()
    assert said.startswith("Triton does not start: ") and "\n" not in said
