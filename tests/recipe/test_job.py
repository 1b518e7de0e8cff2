"""steps/job.sh: jobs on this machine, and by stand-ins of Slurm and SGE, which run what they are given."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SBATCH = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$0.arguments"
while [ $# -gt 1 ]; do [ "$1" = --array ] && range=$2; shift; done
status=0
for ((j = ${range%-*}; j <= ${range#*-}; j++)); do SLURM_ARRAY_TASK_ID=$j bash "$1" || status=$?; done
exit $status
"""
QSUB = SBATCH.replace("--array", "-t").replace("SLURM_ARRAY_TASK_ID", "SGE_TASK_ID")


@pytest.fixture
def job(tmp_path):
    for name, text in (("sbatch", SBATCH), ("qsub", QSUB)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(*words):
        path = f"{tmp_path}:{os.environ['PATH']}"
        command = [ROOT / "steps/job.sh", *words]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("on", ["local", "slurm", "sge"])
def test_each_job_has_its_number_and_its_log(job, tmp_path, on):
    done = job("--on", on, "JOB=2:4", "log/x.JOB.log", "bash", "-c", "echo number JOB of 'a b'; echo too >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for j in (2, 3, 4):
        lines = (tmp_path / f"log/x.{j}.log").read_text().splitlines()
        assert lines[2:4] == [f"number {j} of a b", "too"]
        assert lines[-1].startswith("# Ended (code 0) at ")


@pytest.mark.parametrize("on", ["local", "slurm", "sge"])
def test_a_job_that_fails_shows_its_last_lines(job, on):
    command = "seq 30; [ JOB != 2 ] || { echo error: no such thing >&2; exit 3; }"
    done = job("--on", on, "JOB=1:3", "log/x.JOB.log", "bash", "-c", command)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 11
    assert lines[8] == "error: no such thing" and lines[9].startswith("# Ended (code 3)")
    assert lines[10].endswith("1 of 3 jobs failed; above are the last lines of log/x.2.log")


def test_a_job_that_is_killed_or_never_begins_has_failed(job, tmp_path):
    done = job("log/x.log", "bash", "-c", "kill -9 $PPID")
    assert done.returncode == 1 and "1 of 1 jobs failed" in done.stderr
    (tmp_path / "sbatch").write_text("#!/usr/bin/env bash\necho no such partition >&2\nexit 1\n")
    done = job("--on", "slurm", "log/y.log", "true")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == ["no such partition", "  (it was never begun)"]


def test_what_is_asked_for_reaches_the_system(job, tmp_path):
    options = ["--gpu", "2", "--threads", "4", "--mem", "8G", "--submit", "--partition long"]
    assert job("--on", "slurm", *options, "log/x.log", "true").returncode == 0
    asked = " ".join((tmp_path / "sbatch.arguments").read_text().split())
    assert "--cpus-per-task 4" in asked and "--gres gpu:2 --mem 8G --partition long log/q/x.sh" in asked
    assert job("--on", "sge", *options[:6], "log/x.log", "true").returncode == 0
    asked = " ".join((tmp_path / "qsub.arguments").read_text().split())
    assert "-pe smp 4 -l gpu=2 -l mem_free=8G log/q/x.sh" in asked


def test_no_more_jobs_than_asked_for_run_side_by_side(job, tmp_path):
    command = "mkdir one || exit 1; sleep 0.05; rmdir one"
    assert job("--max-jobs", "1", "JOB=1:3", "log/x.JOB.log", "bash", "-c", command).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "moon", "x.log", "true"], "--on is 'moon', expected local, slurm or sge"),
        (["JOB=3:1", "x.JOB.log", "true"], "JOB=3:1: expected JOB=1:N"),
        (["JOB=1:2", "x.log", "true"], "x.log: jobs would share one log"),
        (["--gpu", "one", "x.log", "true"], "--gpu is 'one', expected a number"),
    ],
)
def test_bad_calls_are_one_line(job, words, said):
    done = job(*words)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1


def test_stages_go_where_cmd_sh_says(tmp_path):
    text = (ROOT / "run.sh").read_text()
    begin, end = text.index("# <log> <command ...>: as cmd.sh says."), text.index("# Stages 4 and 5 lock")
    script = "train_cmd=(echo by --mem 8G) others_cmd=()\n" + text[begin:end]
    script += "train a.log steps/train_am.sh 'x y'\nothers b.log echo here\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "by --mem 8G a.log steps/train_am.sh x y\nhere\n"


def test_gpus_are_asked_of_a_cluster_alone(tmp_path):
    command = [ROOT / "run.sh", "--stage", "6", "--exp", tmp_path, "--gpu", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: run.sh: --gpu is what a cluster is asked for; cmd.sh names none\n"
