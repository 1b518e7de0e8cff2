"""Stage 0 for Kaldi-style corpora: what is written, and one clear line for each kind of bad corpus."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import write_mats
from frenchpress.kaldi.prepare import prepare
from frenchpress.kaldi.validate import check

SPLITS = ("train", "dev", "test")


def write_audio(path, samples=8000, rate=16000, channels=1, **options):
    noise = np.random.default_rng(1).normal(0, 0.1, (samples, channels))
    soundfile.write(path, noise, rate, **options)


@pytest.fixture
def corpus(tmp_path):
    """Two utterances per split, a speaker each, phones with word marks, audio paths relative to the corpus."""
    root = tmp_path / "corpus"
    (root / "audio").mkdir(parents=True)
    for split in SPLITS:
        place = root / split
        place.mkdir()
        utts = [f"{split}-{n}" for n in "ab"]
        for utt in utts:
            write_audio(root / f"audio/{utt}.flac")
        (place / "wav.scp").write_text("".join(f"{u} audio/{u}.flac\n" for u in utts))
        (place / "utt2spk").write_text("".join(f"{u} {u}\n" for u in utts))
        (place / "phones").write_text("".join(f"{u} b a | a b\n" for u in utts))
    return root


def refuses(corpus, tmp_path, message, **options):
    with pytest.raises(UserError, match=message):
        prepare(corpus, tmp_path / "data", **options)
    for split in (*SPLITS, "dict"):
        assert not (tmp_path / "data" / split).exists()


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_written(corpus, tmp_path):
    assert prepare(corpus, tmp_path / "data")
    data = DataDir.load(tmp_path / "data/train")
    assert data.text == {"train-a": ["b", "a", "a", "b"], "train-b": ["b", "a", "a", "b"]}
    assert data.spk2utt == {"train-a": ["train-a"], "train-b": ["train-b"]}
    assert data.wav["train-a"] == f"{corpus}/audio/train-a.flac"
    dictionary = {p.name: p.read_text() for p in (tmp_path / "data/dict").glob("*[!e]")}
    assert dictionary["nonsilence_phones.txt"] == "a\nb\n"
    assert dictionary["silence_phones.txt"] == dictionary["optional_silence.txt"] == "SIL\n"
    assert dictionary["sil_prob"] == "0.1\n"
    assert dictionary["score_map.txt"] == "SIL\na a\nb b\n"


def test_done_once_and_again_when_the_corpus_changes(corpus, tmp_path):
    assert prepare(corpus, tmp_path / "data", nj=2)
    assert not prepare(corpus, tmp_path / "data")
    replace(corpus / "dev/phones", "a | a b", "a | a a")
    assert prepare(corpus, tmp_path / "data")
    assert DataDir.load(tmp_path / "data/dev").text["dev-a"] == ["b", "a", "a", "a"]


def test_a_killed_run_goes_on(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    before = (tmp_path / "data/test/text").read_bytes()
    (tmp_path / "data/test/.done").unlink()
    (tmp_path / "data/test/text").unlink()
    assert prepare(corpus, tmp_path / "data")
    assert (tmp_path / "data/test/text").read_bytes() == before


def words_in_place_of_phones(corpus):
    for split in SPLITS:
        (corpus / split / "phones").unlink()
        (corpus / split / "text").write_text("".join(f"{split}-{n} ba ab\n" for n in "ab"))


def test_words_with_a_lexicon(corpus, tmp_path):
    words_in_place_of_phones(corpus)
    refuses(corpus, tmp_path, "train/text: words, but no lexicon")
    (corpus / "lexicon.txt").write_text("ba b a\nab a b\nba b\n")
    prepare(corpus, tmp_path / "data")
    assert DataDir.load(tmp_path / "data/dev").text["dev-b"] == ["b", "a", "a", "b"]


def test_word_without_pronunciation(corpus, tmp_path):
    words_in_place_of_phones(corpus)
    (corpus / "lexicon.txt").write_text("ba b a\nab\n")
    refuses(corpus, tmp_path, "lexicon.txt:2: ab has no phones")
    (corpus / "lexicon.txt").write_text("ba b a\n")
    refuses(corpus, tmp_path, r"train/text:1: train-a: word 'ab' is not in the lexicon \(and 1 more")


def test_missing_corpus(tmp_path):
    refuses(tmp_path / "none", tmp_path, "none: no such directory, expected a corpus")


def test_empty_corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    refuses(tmp_path / "corpus", tmp_path, "corpus: empty, expected a corpus")


def test_missing_split_and_empty_tables(corpus, tmp_path):
    (corpus / "dev/wav.scp").write_text("")
    refuses(corpus, tmp_path, "dev/wav.scp: empty")
    (corpus / "dev").rename(corpus / "valid")
    refuses(corpus, tmp_path, "dev: no such directory, expected train/, dev/ and test/")


@pytest.mark.parametrize("suffix", ["wav", "flac", "sph"])
@pytest.mark.parametrize("fraction", [0.5, 0.98])
def test_truncated_audio(corpus, tmp_path, suffix, fraction):
    path = corpus / f"audio/dev-b.{suffix}"
    write_audio(path, format={"sph": "NIST"}.get(suffix))
    replace(corpus / "dev/wav.scp", "dev-b.flac", f"dev-b.{suffix}")
    check([DataDir(corpus / "dev", {"dev-b": "s"}, {"dev-b": f"audio/dev-b.{suffix}"})])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    refuses(corpus, tmp_path, rf"dev/wav.scp:2: dev-b: .*dev-b.{suffix}: truncated")


def test_audio_that_is_none(corpus, tmp_path):
    (corpus / "audio/train-a.flac").write_text("<html>not found</html>")
    refuses(corpus, tmp_path, "train/wav.scp:1: train-a: .*no WAV, FLAC or SPHERE audio")


def test_empty_and_missing_audio(corpus, tmp_path):
    (corpus / "audio/train-a.flac").write_bytes(b"")
    refuses(corpus, tmp_path, "wav.scp:1: train-a: .*empty file")
    (corpus / "audio/train-a.flac").unlink()
    refuses(corpus, tmp_path, "wav.scp:1: train-a: .*no such file")


def test_wrong_sample_rate(corpus, tmp_path):
    write_audio(corpus / "audio/test-a.flac", rate=8000)
    refuses(corpus, tmp_path, "test/wav.scp:1: test-a: .*8000 Hz, expected 16000 Hz")


def test_stereo(corpus, tmp_path):
    write_audio(corpus / "audio/test-a.flac", channels=2)
    refuses(corpus, tmp_path, "test/wav.scp:1: test-a: .*2 channels, expected mono")


def test_transcript_without_audio(corpus, tmp_path):
    (corpus / "dev/wav.scp").write_text("dev-a audio/dev-a.flac\n")
    refuses(corpus, tmp_path, "dev/utt2spk:2: dev-b has no audio in wav.scp")
    (corpus / "dev/utt2spk").write_text("dev-a dev-a\n")
    refuses(corpus, tmp_path, "dev/phones:2: dev-b is not in utt2spk")


def test_audio_without_transcript(corpus, tmp_path):
    (corpus / "dev/phones").write_text("dev-a b a\n")
    refuses(corpus, tmp_path, "dev/utt2spk:2: dev-b has no transcript in phones")


def test_empty_transcript(corpus, tmp_path):
    replace(corpus / "dev/phones", "dev-b b a | a b", "dev-b |")
    refuses(corpus, tmp_path, "dev/phones:2: dev-b: empty transcript")


def test_unknown_phone(corpus, tmp_path):
    replace(corpus / "test/phones", "a | a b", "a | x b")
    refuses(corpus, tmp_path, "test/phones:1: test-a: unknown phone 'x', not in .*train/phones")


def test_too_short_for_its_transcript(corpus, tmp_path):
    replace(corpus / "train/phones", "train-b b", "train-b" + " b" * 13)
    write_audio(corpus / "audio/train-b.flac", samples=400 + 160 * 46)
    refuses(corpus, tmp_path, "train-b: 47 frames are too short for the transcript of 16 phones, which needs 48")
    write_audio(corpus / "audio/train-b.flac", samples=400 + 160 * 47)
    assert prepare(corpus, tmp_path / "data")


def test_duplicate_ids(corpus, tmp_path):
    with open(corpus / "dev/wav.scp", "a") as handle:
        handle.write("dev-a audio/dev-b.flac\n")
    refuses(corpus, tmp_path, "dev/wav.scp:3: dev-a is there twice")


def test_utterance_in_two_splits(corpus, tmp_path):
    for name in ("wav.scp", "utt2spk", "phones"):
        text = (corpus / "train" / name).read_text().splitlines()[0]
        with open(corpus / "test" / name, "a") as handle:
            handle.write(text + "\n")
    refuses(corpus, tmp_path, "test/utt2spk:3: train-a is in .*train as well")


def test_speaker_in_two_splits_is_a_warning(corpus, tmp_path, capsys):
    replace(corpus / "test/utt2spk", "test-a test-a", "test-a train-a")
    assert prepare(corpus, tmp_path / "data")
    err = capsys.readouterr().err
    assert err == f"warning: 1 speakers are in both {corpus}/train and {corpus}/test: train-a\n"


def test_pipes(corpus, tmp_path):
    replace(corpus / "dev/wav.scp", "audio/dev-a.flac", f"cat {corpus}/audio/dev-a.flac |")
    refuses(corpus, tmp_path, "dev/wav.scp: dev-a is a shell command .*--allow-pipes")
    assert prepare(corpus, tmp_path / "data", allow_pipes=True)
    replace(corpus / "dev/wav.scp", "cat ", "false ")
    with pytest.raises(UserError, match="wav.scp:1: dev-a: command .* failed with code 1"):
        prepare(corpus, tmp_path / "data", allow_pipes=True)


def test_several_problems_are_all_said(corpus, tmp_path, capsys):
    write_audio(corpus / "audio/dev-a.flac", rate=8000)
    write_audio(corpus / "audio/test-a.flac", channels=2)
    refuses(corpus, tmp_path, r"8000 Hz.*\(and 1 more problem\)")
    assert "2 channels" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["nan", "cut", "missing"])
def test_features_of_a_finished_directory(corpus, tmp_path, damage):
    prepare(corpus, tmp_path / "data")
    place = tmp_path / "data/dev"
    mats = {"dev-a": np.ones((48, 13), np.float32), "dev-b": np.ones((48, 13), np.float32)}
    if damage == "nan":
        mats["dev-b"][7] = np.nan
    if damage == "missing":
        del mats["dev-b"]
    write_mats(place / "feats.ark", place / "feats.scp", mats.items())
    if damage == "cut":
        (place / "feats.ark").write_bytes((place / "feats.ark").read_bytes()[:-1])
    expected = {"nan": "dev-b .*NaN or infinity in row 7", "cut": "dev-b .*cut short"}
    with pytest.raises(UserError, match=f"feats.scp: {expected.get(damage, 'no features of dev-b')}"):
        check([DataDir.load(place)])


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_command_lines(corpus, tmp_path):
    out = tmp_path / "data"
    command = ["frenchpress.kaldi.prepare", "--corpus-dir", corpus, "--out", out, "--nj", "2"]
    assert "written" in run(*command).stdout
    assert "up to date" in run(*command).stdout
    sound = run("frenchpress.kaldi.validate", *(out / split for split in SPLITS))
    assert sound.stdout.splitlines()[0] == f"{out}/train: 2 utterances of 2 speakers, sound"
    (corpus / "audio/dev-a.flac").write_bytes(b"")
    bad = run("frenchpress.kaldi.validate", *(out / split for split in SPLITS))
    assert bad.returncode == 1
    where = f"{out}/dev/wav.scp:1: dev-a: {corpus}/audio/dev-a.flac"
    assert bad.stderr == f"error: {where}: empty file, expected audio\n"


@pytest.mark.slow
def test_real_corpus_gives_kaldis_tables(mboshi, kaldi_mboshi, tmp_path, capsys):
    assert prepare(mboshi, tmp_path / "data", nj=2)
    for split in SPLITS:
        for name in ("text", "utt2spk", "spk2utt"):
            assert (tmp_path / "data" / split / name).read_text() == (kaldi_mboshi / "data" / split / name).read_text()
    assert "3 speakers are in both" in capsys.readouterr().err
