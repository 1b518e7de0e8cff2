"""Bad options of `./run.sh` are refused before anything starts."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stage", "9"], "--stage is '9', expected 0 to 6"),
        (["--stage", "4", "--stop-stage", "3"], "--stage 4 comes after --stop-stage 3: nothing would be run"),
        (["--stagee", "1"], "no option --stagee"),
        (["--conf", "conf/none.cfg"], "conf/none.cfg: no such file"),
        (["--corpus", "timt"], "expected synth, timit or kaldi-data"),
        (["--corpus", "timit"], "needs --corpus-dir"),
        (["--kaldi-s5", "no/such/dir"], "no/such/dir: no such directory"),
        (["--nj", "0"], "expected a number of processes"),
        (["--features", "lad"], "--features is 'lad', expected fmllr, lda or fbank"),
        (["--features", "lda", "--kaldi-s5", "conf"], "--features and --speed-perturb need audio"),
        (["--speed-perturb", "fast"], "--speed-perturb is 'fast', expected speeds"),
        (["--features", "fbank", "--stage", "4"], "exp/fbank/task: no task; run stages 0 to 3 first"),
        (["--first-silence", "middle"], "--first-silence is 'middle', expected coin or ends"),
        (["--leaves", "many"], "--leaves is 'many', expected a number from 1"),
        (["--leaves", "0"], "--leaves is '0', expected a number from 1"),
        (["--leaves", "500", "--gauss", "400"], "--gauss is 400, expected at least one per leaf: --leaves is 500"),
        (["--demo", "--stage", "3"], "--demo has its own corpus, model and stages"),
        (["--demo", "--features", "lda"], "leave out options other than --nj, --data and --exp"),
        (["--demo", "--nj", "0"], "expected a number of processes"),
        (["--silence", "sil"], "--silence is of --corpus kaldi-data"),
        (["--score-map", "a.map"], "--score-map is of --corpus kaldi-data and of --kaldi-s5"),
        (["--corpus", "kaldi-data", "--corpus-dir", "x", "--score-map", "a.map"], "--score-map: a.map: no such file"),
        (["extra"], "unexpected argument 'extra'"),
        (["--epochs", "2"], "--epochs is of a study; it needs --recipe DIR"),
        (["--seeds", "1 abc"], "--seeds is '1 abc', expected numbers"),
        (["--stage", "4"], "exp/task: no task; run stages 0 to 3 first"),
        (["--stage", "6"], "exp: no such directory"),
        (["--recipe", "recipes/bits", "--stage", "4"], "--recipe and --explore run on what stages 0 to 3 have made"),
        (["--recipe", "recipes/bits", "--conf", "conf/w8a16.cfg"], "leave out options of stages"),
        (["--recipe", "recipes/none"], "--recipe: recipes/none/study.yaml: no such file; there are recipes/bits"),
        (["--recipe", "recipes/bits"], "stages 0 to 3 of run.sh make the task"),
    ],
)
def test_bad_option_is_one_line(tmp_path, arguments, said):
    done = subprocess.run(
        ["./run.sh", "--exp", str(tmp_path / "exp"), *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "exp").exists()


def test_results_of_another_corpus_are_left_alone(tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    (exp / ".made_from").write_text("--data ../mine\n")
    options = ["./run.sh", "--stage", "2", "--stop-stage", "3", "--exp", exp, "--data"]
    other, same = (
        subprocess.run([*options, tmp_path / name], cwd=ROOT, capture_output=True, text=True) for name in ("x", "mine")
    )
    assert other.returncode == same.returncode == 1 and len(other.stderr.splitlines()) == 1
    assert f"--exp: {exp} was made with --data " in other.stderr and f"made with --data {tmp_path}/x" in other.stderr
    assert f"{tmp_path}/mine/train/feats.scp: no such file" in same.stderr
    assert [path.name for path in exp.iterdir() if path.name != ".run.lock"] == [".made_from"]


def test_a_model_to_start_from_that_nothing_trains_is_said_before_stage_0(tmp_path):
    cfg = tmp_path / "sparse.cfg"
    cfg.write_text("train: {init: nothing}\n")
    place = ["--exp", str(tmp_path / "exp"), "--data", str(tmp_path / "data")]
    done = subprocess.run(["./run.sh", *place, "--conf", str(cfg)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "stage 0" not in done.stdout
    assert f"{cfg}: train.init: " in done.stderr and "nothing.cfg to train it with" in done.stderr
    assert not (tmp_path / "data").exists()


def test_scripts_are_given_options_that_they_have():
    """Each `steps/x.sh --name` in run.sh and steps/ is an option that x.sh sets to its default."""
    calls = 0
    for caller in (ROOT / "run.sh", *(ROOT / "steps").glob("*.sh")):
        lines = [line for line in caller.read_text().replace("\\\n", " ").splitlines() if not line.startswith("#")]
        for script, rest in (m for line in lines for m in re.findall(r"\b((?:steps|local)/\w+\.sh)([^;]*)", line)):
            known = (ROOT / script).read_text() + (ROOT / "steps/triphone_options.sh").read_text()
            for option in re.findall(r"--([a-z][a-z0-9-]*)", rest):
                calls += 1
                assert re.search(rf"^{option.replace('-', '_')}=", known, re.M), f"{caller.name}: {script} --{option}"
    assert calls > 20
