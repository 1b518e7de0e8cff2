import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.feats.make_mfcc import make_mfcc
from frenchpress.feats.options import MfccConfig
from frenchpress.kaldi.io import MatrixReader

CONF = MfccConfig(use_energy=False)


@pytest.fixture
def data_dir(tmp_path):
    place = tmp_path / "train"
    place.mkdir()
    rng = np.random.default_rng(0)
    utts = [f"s{speaker}-{n:02}" for speaker in "ab" for n in range(10)]
    for utt in utts:
        wav = rng.normal(0, 0.1, 3000 + rng.integers(2000))
        soundfile.write(place / f"{utt}.wav", wav, 16000)
    (place / "wav.scp").write_text("".join(f"{u} {u}.wav\n" for u in utts))
    (place / "utt2spk").write_text("".join(f"{u} {u[:2]}\n" for u in utts))
    return place


def arks(place):
    return [(place / "mfcc" / name).read_bytes() for name in ("feats.ark", "cmvn.ark")]


def test_same_bytes_for_any_nj(data_dir):
    assert make_mfcc(data_dir, CONF, nj=1)
    once = arks(data_dir)
    (data_dir / "mfcc/.done").unlink()
    assert make_mfcc(data_dir, CONF, nj=2)
    assert arks(data_dir) == once


def test_done_once_and_again_when_something_changes(data_dir):
    assert make_mfcc(data_dir, CONF)
    assert not make_mfcc(data_dir, CONF)
    assert make_mfcc(data_dir, MfccConfig(use_energy=False, num_ceps=12))
    os.utime(data_dir / "sa-00.wav", (1, 1))
    assert make_mfcc(data_dir, CONF)
    (data_dir / "cmvn.scp").unlink()
    assert make_mfcc(data_dir, CONF)


def test_tables_lead_to_the_features(data_dir):
    make_mfcc(data_dir, CONF)
    feats, cmvn = MatrixReader(data_dir / "feats.scp"), MatrixReader(data_dir / "cmvn.scp")
    assert len(feats) == 20
    assert list(cmvn) == ["sa", "sb"]
    frames = sum(len(feats[u]) for u in feats if u.startswith("sa"))
    assert cmvn["sa"][0, -1] == frames
    assert feats["sa-00"].shape[1] == 13


def test_nothing_is_left_of_a_failure(data_dir):
    (data_dir / "sb-09.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"wav.scp:20: sb-09: .*sb-09.wav: empty file"):
        make_mfcc(data_dir, CONF, nj=2)
    assert not (data_dir / "feats.scp").exists()
    assert not (data_dir / "mfcc").exists()


def test_command_line(data_dir):
    conf = data_dir / "mfcc.conf"
    conf.write_text("--use-energy=false\n")
    command = [sys.executable, "-m", "frenchpress.feats.make_mfcc", "--config", str(conf), str(data_dir)]
    assert "written" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "up to date" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    conf.write_text("--use-enrgy=false\n")
    bad = subprocess.run(command, check=False, capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.strip().splitlines() == [
        f"error: {conf}:1: unknown option --use-enrgy; the nearest is --use-energy"
    ]
