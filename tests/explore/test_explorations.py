"""The search: what is proposed, refused, trained and promoted; stopped, killed, and shared by several workers."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from made_space import RUNGS, SPACE

from frenchpress.common import UserError

optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install -e '.[explore]'")

from optuna.trial import TrialState  # noqa: E402

from frenchpress.explore import storage as storage_module  # noqa: E402
from frenchpress.explore.outcome import counts, failures, read_outcome, volumes  # noqa: E402
from frenchpress.explore.pareto import ranks  # noqa: E402
from frenchpress.explore.record import RECORD, read_known  # noqa: E402
from frenchpress.explore.results import RESULTS, write_results  # noqa: E402
from frenchpress.explore.storage import in_state  # noqa: E402
from frenchpress.explore.trials import FOUND, LEFT_OUT, PROBLEM, RUN, SEARCH  # noqa: E402
from frenchpress.explore.worker import work  # noqa: E402

BESIDE = SPACE.replace("population: 3", "population: 3, beside: random")
LIMITED = SPACE + "constraints: {stored_bytes: <= 6 kB}\n"


def run(trials):
    return list(work(trials.space, trials.store, trials))


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr("frenchpress.explore.worker._PATIENCE", 20)


def measured(trials, stage=SEARCH):
    return [(t.params, t.values) for t in in_state(trials.store.study(stage), TrialState.COMPLETE)]


def test_as_many_designs_as_asked_for_each_trained_once(exploration):
    trials = exploration(BESIDE)
    assert run(trials) == ["search", "random", "test"]
    assert len(measured(trials)) == len(measured(trials, "random")) == 6
    trained = trials.experiments.trained
    assert len(set(trained)) == len(trained) - sum(RUN in t.user_attrs for t in in_state(trials.store.study("test")))
    # The first generation is that of the random search, and was not trained again for it.
    assert measured(trials)[:3] == measured(trials, "random")[:3]
    assert measured(trials) != measured(trials, "random")
    assert run(trials) == ["search", "random", "test"] and trials.experiments.trained == trained  # nothing is left


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_interrupted_it_ends_with_the_same_designs(exploration, tmp_path, sampler):
    text = SPACE.replace("population: 3", f"population: 3, sampler: {sampler}") + RUNGS
    whole = exploration(text, place=tmp_path / "whole")
    run(whole)
    for at in (0, 4):
        with pytest.raises(KeyboardInterrupt):
            run(exploration(text, place=tmp_path / "cut", interrupt_at=at))
    cut = exploration(text, place=tmp_path / "cut")
    run(cut)
    for stage in ("search", "long", "test"):
        assert sorted(measured(cut, stage), key=str) == sorted(measured(whole, stage), key=str)


def test_what_breaks_a_constraint_is_never_trained(exploration):
    trials = exploration(LIMITED)
    run(trials)
    study = trials.store.study(SEARCH)
    refused = [t for t in in_state(study, TrialState.PRUNED) if LEFT_OUT in t.user_attrs]
    assert refused and all("kB, above the 6.0 kB of constraints" in t.user_attrs[LEFT_OUT] for t in refused)
    assert not {t.user_attrs[RUN] for t in refused} & set(trials.experiments.trained)
    assert len(measured(trials)) == 6


def test_a_constraint_that_nothing_keeps_is_said(exploration):
    trials = exploration(SPACE + "constraints: {stored_bytes: <= 100 B}\n")
    with pytest.raises(UserError, match="none of 20 designs that were tried will do; the last one: stored_bytes: "):
        run(trials)
    assert not trials.experiments.trained


def test_a_chip_that_cannot_hold_the_model_is_said(exploration, tmp_path):
    chip = (Path(__file__).resolve().parents[2] / "chips/banks65.yaml").read_text()
    (tmp_path / "chip.yaml").write_text(re.sub(r"(weights: .*words: )\d+", r"\g<1>1", chip))
    trials = exploration(SPACE.replace("stored_bytes]", "cycles]") + "chip: ../chip.yaml\n")
    with pytest.raises(UserError, match="none of 20 designs .*chip.yaml: memories.weights: the model needs .* words"):
        run(trials)
    assert not trials.experiments.trained


def test_the_better_half_goes_on(exploration):
    trials = exploration(SPACE + RUNGS)
    assert run(trials) == ["search", "long", "test"]
    below, above = (in_state(trials.store.study(stage), TrialState.COMPLETE) for stage in ("search", "long"))
    assert len(above) == 3
    rank = dict(zip((str(t.params) for t in below), ranks([t.values for t in below])))
    went = [rank.pop(str(t.params)) for t in above]
    assert max(went) <= min(rank.values())
    assert all(t.user_attrs[FOUND]["dev_frame_error"] < 100 for t in above)
    front = [t for t, r in zip(above, ranks([t.values for t in above])) if r == 0]
    tested = in_state(trials.store.study("test"), TrialState.COMPLETE)
    assert sorted(str(t.params) for t in front) == sorted(str(t.params) for t in tested)


def test_a_grid_ends_where_it_has_no_more(exploration):
    text = SPACE.replace("population: 3", "sampler: grid").replace("trials: 6", "trials: 60")
    text = text.replace("{low: 1e-4, high: 1e-2, log: true}", "{choices: [1e-3, 2e-3]}")
    trials = exploration(text.replace("[2, 3, 4, 5, 6, 8]", "[2, 3]"))
    run(trials)
    assert len(measured(trials)) == 2 * (1 + 3) * 2


def test_a_design_that_fails_is_named_and_tried_again(exploration):
    trials = exploration(failing=(4,))
    run(trials)
    failed = failures(in_state(trials.store.study(SEARCH)))
    assert failed and set(failed.values()) == {"this one fails"}
    assert len(measured(trials)) == 6
    run(exploration())
    assert not failures(in_state(trials.store.study(SEARCH)))


def test_failures_in_a_row_stop_it(exploration):
    with pytest.raises(UserError, match="recipe/search: 3 trials in a row failed; the last one: this one fails"):
        run(exploration(failing=(2, 3, 4, 5, 6, 8)))


def test_two_workers_share_the_trials(exploration):
    first, second = exploration(SPACE + RUNGS), exploration(SPACE + RUNGS)
    other = threading.Thread(target=run, args=(second,))
    other.start()
    run(first)
    other.join()
    mine, theirs = (set(t.experiments.trained) for t in (first, second))
    assert len(measured(first)) == 6 and len(measured(first, "long")) == 3
    for stage in ("search", "long"):
        runs = [t.user_attrs[RUN] for t in in_state(first.store.study(stage), TrialState.COMPLETE)]
        assert len(set(runs)) == len(runs) and set(runs) <= mine | theirs


def test_a_worker_that_comes_too_late_trains_nothing(exploration):
    """As when two have seen that one is left."""
    trials = exploration()
    run(trials)
    trained, study = list(trials.experiments.trained), trials.store.study(SEARCH)
    study.optimize(lambda trial: trials.propose(study, trial), n_trials=1)
    assert trials.experiments.trained == trained and len(measured(trials)) == 6
    assert in_state(study)[-1].state == TrialState.PRUNED


def test_the_trial_of_a_dead_worker_is_given_to_another(exploration, tmp_path):
    trials = exploration(heartbeat=1)
    code = (  # a worker that takes a trial, gives a sign of life, and is gone
        "import os, optuna\n"
        "from optuna.storages import RDBStorage\n"
        f"storage = RDBStorage('sqlite:///{tmp_path}/explore.db', heartbeat_interval=1, grace_period=2)\n"
        "study = optuna.load_study(study_name='recipe/search', storage=storage)\n"
        "def die(trial):\n    trial.suggest_categorical('bits', [2, 3, 4, 5, 6, 8])\n    os._exit(9)\n"
        "study.optimize(die)\n"
    )
    study = trials.store.study(SEARCH)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 9
    assert in_state(study, TrialState.RUNNING)
    run(trials)
    assert not in_state(study, TrialState.RUNNING)
    lost, again = study.trials[0], [t for t in study.trials if t.system_attrs.get("failed_trial") == 0]
    assert lost.state == TrialState.FAIL and PROBLEM not in lost.user_attrs
    assert again[0].params["bits"] == lost.params["bits"] and again[0].state == TrialState.COMPLETE
    assert len(measured(trials)) == 6


def test_more_trials_can_be_asked_for_and_nothing_else(exploration):
    run(exploration())
    more = exploration(SPACE.replace("trials: 6", "trials: 7"))
    run(more)
    assert len(measured(more)) == 7
    with pytest.raises(UserError, match=r"has another recipe: vary.bits.choices was \[2, 3, .*; give another"):
        run(exploration(SPACE.replace("[2, 3, 4, 5, 6, 8]", "[2, 3]")))


def test_storages_that_cannot_be_used(exploration, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"no database" * 100)
    for url, said in (
        (f"sqlite:///{tmp_path}/broken.db", "broken.db: damaged, or of another program .file is not a database"),
        (f"sqlite:///{tmp_path}/no/such.db", "cannot be reached or written .unable to open database file"),
        ("nonsense", "--storage: is no address of a database, such as"),
        ("mysql+nodriver://a:secret@host/x", r"--storage mysql\+nodriver://a:\*\*\*@host/x: no driver for it"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            exploration(url=url)
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert (tmp_path / "broken.db").read_bytes() == b"no database" * 100


def test_damage_while_it_runs_is_one_line_and_the_experiments_are_kept(exploration, tmp_path):
    trials = exploration()
    run(trials)
    base = tmp_path / "explore.db"
    base.write_bytes(base.read_bytes()[:4096] + bytes(base.stat().st_size - 4096))
    with pytest.raises(UserError, match="damaged|cannot be"), storage_module.storage_errors(trials.store.url):
        run(exploration())
    assert all(trials.experiments.place(name).is_dir() for name in trials.experiments.trained)


def test_what_is_recorded_is_not_trained_again(exploration, tmp_path):
    trials = exploration(BESIDE + RUNGS)
    run(trials)
    write_results(trials, tmp_path / "out")
    known = read_known(tmp_path / "out" / RECORD, trials.store.task, results=False)
    again = exploration(BESIDE + RUNGS, place=tmp_path / "elsewhere", known=known)
    run(again)
    assert measured(again, "long") == measured(trials, "long")
    # Only what test is decoded with has to be there, and what it starts from.
    tested = {t.user_attrs[RUN] for t in in_state(again.store.study("test"), TrialState.COMPLETE)}
    trained = set(again.experiments.trained)
    assert tested <= trained and len(trained) == 2 * len(tested)


def test_the_record_of_another_task_is_not_overwritten(exploration, tmp_path):
    trials = exploration()
    run(trials)
    write_results(trials, tmp_path)
    with pytest.raises(UserError, match="trials.yaml: was made on another task; add --results DIR"):
        read_known(tmp_path / RECORD, "other", results=False)
    assert read_known(tmp_path / RECORD, "other", results=True) == {}
    (tmp_path / RECORD).write_text("stages: [1]")
    with pytest.raises(UserError, match="trials.yaml: not the record of an exploration"):
        read_known(tmp_path / RECORD, "other", results=False)


def test_results(exploration, tmp_path):
    trials = exploration(BESIDE + RUNGS)
    run(trials)
    page = write_results(trials, tmp_path / "out")
    text = (tmp_path / "out" / RESULTS).read_text()
    tested = in_state(trials.store.study("test"), TrialState.COMPLETE)
    for trial in tested:
        name = trial.user_attrs[RUN]
        assert f"| {name} " in text
        assert f"init: {_below(trials, name)}" in (tmp_path / f"out/front/{name}.cfg").read_text()
    shown = re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text())[1]
    shown = {e["values"]["name"]: e["values"] for e in json.loads(shown)["experiments"]}
    outcome = read_outcome(trials.space, trials.store)
    assert set(shown) == {t.user_attrs[RUN] for stage in outcome.stages for t in outcome.measured(stage)}
    for trial in tested:
        values = shown[trial.user_attrs[RUN]]
        assert values["per_test"] == 30.0 and values["group"] == "long"
        assert values["macs_kept"] == values["stored_bytes"] > 0
    left, mine = tmp_path / "out/front/left.cfg", tmp_path / "out/front/mine.cfg"
    left.write_text("# left: short of a space, complete\n")
    mine.write_text("base: ../../x.cfg\n")
    write_results(trials, tmp_path / "out")
    assert mine.exists() and not left.exists()
    assert "hypervolume after so many designs" in text and "30.00 [29.0, 31.0]" in text
    found = volumes(read_outcome(trials.space, trials.store), [1, 3, 6])
    assert set(found) == {"search", "random"} and all(v == sorted(v) and v[-1] <= 1.21 for v in found.values())
    assert counts(read_outcome(trials.space, trials.store)) == list(range(1, 7))


def _below(trials, name):
    return next(
        t.user_attrs["below"]
        for t in in_state(trials.store.study("long"), TrialState.COMPLETE)
        if t.user_attrs[RUN] == name
    )
