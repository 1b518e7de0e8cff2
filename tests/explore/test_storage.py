"""Workers that share a storage."""

import threading

import pytest

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from frenchpress.explore.storage import open_store, sqlite_url  # noqa: E402


def test_two_workers_never_take_the_same_trial(exploration, tmp_path):
    space = exploration().space
    url = sqlite_url(tmp_path / "shared/explore.db")
    storages = [open_store(url, space, "task", 60).storage for _ in range(2)]
    study = optuna.create_study(storage=storages[0], study_name="x")
    for _ in range(8):
        study.add_trial(optuna.create_trial(state=TrialState.WAITING))
    trials = [trial._trial_id for trial in study.get_trials()]
    together, taken = threading.Barrier(2), [[], []]

    def take(worker):
        for trial in trials:
            together.wait()
            if storages[worker].set_trial_state_values(trial, TrialState.RUNNING):
                taken[worker].append(trial)

    workers = [threading.Thread(target=take, args=(n,)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert sorted(taken[0] + taken[1]) == trials
