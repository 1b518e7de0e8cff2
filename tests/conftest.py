"""Fixtures that more than one package's tests need."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def _reference(name: str) -> Path:
    path = ROOT.parent / "shared" / name
    if not path.is_dir():
        pytest.skip(f"reference data {path} is not on this machine")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that side by side no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def mboshi() -> Path:
    """Real recorded speech as a Kaldi-style corpus."""
    return _reference("mboshi")


@pytest.fixture(scope="session")
def kaldi_mboshi() -> Path:
    """What real Kaldi computed from it: an s5 directory and golden files."""
    return _reference("kaldi_mboshi")


@pytest.fixture
def one_thread():
    """For small matrices on busy machines, where threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
