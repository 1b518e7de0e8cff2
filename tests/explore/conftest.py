"""A small made task, and an exploration on it whose experiments are computed."""

from pathlib import Path

import pytest
from made_space import SPACE, Computed, write_space
from small_task import add_graph, make_task

from frenchpress.common import digest
from frenchpress.explore.load import load_space
from frenchpress.nnet.task import Task


@pytest.fixture(scope="session")
def explored_task(tmp_path_factory) -> Path:
    root = make_task(tmp_path_factory.mktemp("task") / "task")
    add_graph(root)
    return root


@pytest.fixture
def exploration(tmp_path, explored_task):
    """Makes the parts of an exploration: what stands in its space, and how its experiments behave."""
    pytest.importorskip("optuna", reason="optuna is not installed: pip install -e '.[explore]'")
    import optuna

    from frenchpress.explore.storage import open_store
    from frenchpress.explore.trials import Trials

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)

    def make(text=SPACE, place=tmp_path, url=None, known=None, heartbeat=60, **behaviour):
        space, identity = load_space(write_space(place, text)), digest(explored_task)
        store = open_store(url or f"sqlite:///{place}/explore.db", space, identity, heartbeat)
        experiments = Computed(space, Task.load(explored_task), identity, place / "exp", **behaviour)
        return Trials(space, store, experiments, known or {})

    return make
