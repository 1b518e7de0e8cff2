"""What finished trainings leave behind is listed, and goes when asked; what is not finished stays."""

import sys

import pytest

from frenchpress.common import UserError, locked_dir
from frenchpress.nnet import clean


@pytest.fixture
def exp(tmp_path):
    """Two finished trainings, one of them a teacher in a study, one that goes on, and a GMM system."""
    for name, files in {
        "a": {".done": 1, "final.pt": 5, "checkpoint.pt": 3_000_000},
        "study/teacher": {".done": 1, "final.pt": 5, "posteriors/train/cd.npy": 900_000_000, "posteriors/.lock": 0},
        "going_on": {"final.pt": 5, "checkpoint.pt": 7, "best.pt": 7},
        "tri3": {".done": 1, "final.mdl": 7},
    }.items():
        for file, size in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as handle:
                handle.truncate(size)
    return tmp_path


def said(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["clean", *map(str, arguments)])
    clean.main()
    return capsys.readouterr().out.splitlines()


def test_listed_and_then_removed(exp, monkeypatch, capsys):
    lines = said(monkeypatch, capsys, exp)
    assert lines[0] == f"   3.0 MB  {exp}/a/checkpoint.pt (the training is finished)"
    assert lines[1].startswith(f"   0.9 GB  {exp}/study/teacher/posteriors (made again by")
    assert lines[2:] == [f"0.9 GB can be removed: frenchpress clean --delete {exp}"]
    assert (exp / "a/checkpoint.pt").exists()
    assert said(monkeypatch, capsys, "--delete", exp)[2:] == ["0.9 GB removed"]
    left = {str(p.relative_to(exp)) for p in exp.rglob("*") if p.is_file() and p.name != ".lock"}
    going_on = {f"going_on/{name}.pt" for name in ("final", "checkpoint", "best")}
    finished = {f"{place}/{name}" for place in ("a", "study/teacher") for name in (".done", "final.pt")}
    assert left == going_on | finished | {"tri3/.done", "tri3/final.mdl"}
    assert said(monkeypatch, capsys, exp) == [f"{exp}: nothing to remove"]


def test_what_a_student_writes_is_left_alone(exp, monkeypatch, capsys):
    posteriors = exp / "study/teacher/posteriors"
    with locked_dir(posteriors), pytest.raises(UserError, match="posteriors: another run is writing here"):
        said(monkeypatch, capsys, "--delete", exp)
    assert list(posteriors.rglob("*.npy"))


def test_a_run_at_work_is_left_alone(exp, monkeypatch, capsys):
    with locked_dir(exp / "a"), pytest.raises(UserError, match="a: another run is writing here"):
        said(monkeypatch, capsys, "--delete", exp)
    assert (exp / "a/checkpoint.pt").exists()
    with pytest.raises(UserError, match="none: no such directory"):
        said(monkeypatch, capsys, exp / "none")
