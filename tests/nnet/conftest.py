"""A small made task that can be learnt."""

from pathlib import Path

import pytest
from small_task import make_task


@pytest.fixture(scope="session")
def made_task(tmp_path_factory) -> Path:
    return make_task(tmp_path_factory.mktemp("task") / "task")
