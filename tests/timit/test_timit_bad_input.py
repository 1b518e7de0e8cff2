"""Each way in which a corpus can be broken ends in one line that names the file and what would be right."""

import shutil
import subprocess
import sys

import pytest

from frenchpress.common import UserError
from timit.prepare import prepare
from timit.reader import read_corpus


def refuses(root, *parts):
    with pytest.raises(UserError) as error:
        read_corpus(root)
    message = str(error.value)
    assert "\n" not in message
    for part in map(str, parts):
        assert part in message, message


def test_missing_directory(tmp_path):
    refuses(tmp_path / "none", tmp_path / "none", "no such directory", "TRAIN/")


def test_empty_directory(tmp_path):
    refuses(tmp_path, "empty directory", "TRAIN/")


def test_not_a_timit_tree(tmp_path):
    (tmp_path / "other").mkdir()
    refuses(tmp_path, "not an LDC93S1 tree", "TRAIN/ and TEST/")


def test_no_speakers(tmp_path):
    for half in ("TRAIN", "TEST"):
        (tmp_path / half / "DR1").mkdir(parents=True)
    refuses(tmp_path, "no speakers in TRAIN/")


def test_too_few_utterances_for_timit(tree):
    (tree.root / "SYNTH.yaml").unlink()
    refuses(tree.root, "4 train utterances", "3696")


def test_standard_speaker_missing(tree, monkeypatch):
    (tree.root / "SYNTH.yaml").unlink()
    monkeypatch.setattr("timit.reader.UTTERANCES", {"train": 4, "dev": 400, "test": 192})
    refuses(tree.root, "dev speaker FADG0", "50 missing")


def test_speaker_of_the_twin_missing(tree):
    shutil.rmtree(tree.path("dev", "MXCC0", "x").parent)
    refuses(tree.root, "dev speaker MXCC0 is not there")


def test_sentence_of_the_twin_missing(tree):
    for suffix in ("wav", "phn"):
        tree.path("test", "FXDD0", f"sx1.{suffix}").unlink()
    refuses(tree.root, "1 test utterances", "expected 2")


def test_malformed_marker(tree):
    (tree.root / "SYNTH.yaml").write_text("splits: 3\n")
    refuses(tree.root, "SYNTH.yaml", "sentences_per_speaker")


def test_speaker_twice(tree):
    here = tree.path("train", "MXAA0", "x").parent
    shutil.copytree(here, here.parent.parent / "DR2" / "MXAA0")
    refuses(tree.root, "MXAA0 is also in")


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("0 100 h#\n100 sh\n", 2, "first-sample end-sample label"),
        ("0 100 h#\n100 2x0 sh\n", 2, "first-sample end-sample label"),
        ("0 100 h#\n100 200 zz\n", 2, "unknown phone 'zz'"),
        ("0 100 h#\n100 100 sh\n", 2, "empty or goes back"),
        ("0 100 h#\n100 200 sh\n50 300 ix\n", 3, "empty or goes back"),
    ],
)
def test_malformed_phn(tree, content, line, reason):
    path = tree.path("train", "MXAA0", "sx1.phn")
    path.write_text(content)
    refuses(tree.root, f"{path.name}:{line}:", reason)


def test_phn_without_phones(tree):
    tree.path("train", "MXAA0", "sx1.phn").write_text("\n")
    refuses(tree.root, "SX1.PHN", "no phones")


def test_phn_beyond_the_audio(tree):
    tree.path("train", "MXAA0", "sx1.phn").write_text("0 100 h#\n100 20000 sh\n")
    refuses(tree.root, "SX1.PHN", "ends at sample 20000", "has 8000")


def test_audio_without_transcript(tree):
    tree.path("train", "MXAA0", "sx1.phn").unlink()
    refuses(tree.root, "SX1.WAV", "no transcript")


def test_transcript_without_audio(tree):
    tree.path("train", "MXAA0", "sx1.wav").unlink()
    refuses(tree.root, "SX1.PHN", "no audio")


def test_wrong_sample_rate(tree):
    tree.audio(tree.path("train", "MXAA0", "sx1.wav"), rate=8000)
    refuses(tree.root, "SX1.WAV", "8000 Hz", "expected 16000")


def test_stereo(tree):
    tree.audio(tree.path("train", "MXAA0", "sx1.wav"), channels=2)
    refuses(tree.root, "SX1.WAV", "2 channels")


@pytest.mark.parametrize("riff", [False, True])
def test_truncated_audio(tree, riff):
    tree.riff = riff
    path = tree.path("train", "MXAA0", "sx1.wav")
    tree.audio(path)
    path.write_bytes(path.read_bytes()[:9000])
    refuses(tree.root, "SX1.WAV", "truncated", "of 8000 samples")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither NIST SPHERE nor RIFF"),
        (b"ID3 something else", "neither NIST SPHERE nor RIFF"),
        (b"NIST_1A\n   1024\nchannel_count -i 1\nend_head\n", "malformed SPHERE header"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "malformed RIFF header"),
    ],
)
def test_not_audio(tree, content, reason):
    tree.path("train", "MXAA0", "sx1.wav").write_bytes(content)
    refuses(tree.root, "SX1.WAV", reason)


def test_compressed_sphere(tree):
    path = tree.path("train", "MXAA0", "sx1.wav")
    path.write_bytes(path.read_bytes().replace(b"-s3 pcm", b"-s3 ulw"))
    refuses(tree.root, "SX1.WAV", "'ulw'", "expected plain pcm")


def test_phone_that_is_not_in_train(tree, tmp_path):
    tree.path("dev", "MXCC0", "sx1.phn").write_text("0 100 h#\n100 900 oy\n900 8000 h#\n")
    with pytest.raises(UserError, match="dev: phone 'oy' does not occur in train"):
        prepare(tree.root, tmp_path / "data")
    assert not (tmp_path / "data" / "train").exists()


def test_command_line_says_it_in_one_line(tmp_path):
    command = [sys.executable, "-m", "timit.prepare", "--corpus-dir", "none", "--out", str(tmp_path / "data")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: none: no such directory")
    assert run.stderr.count("\n") == 1
