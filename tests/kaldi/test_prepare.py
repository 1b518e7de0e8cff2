"""Stage 0 for Kaldi-style corpora: what is written, and one clear line for each kind of bad corpus."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.feats.make_mfcc import make_mfcc
from frenchpress.feats.mfcc import mfcc
from frenchpress.feats.options import MfccConfig
from frenchpress.kaldi.audio import read_audio_file
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import MatrixReader, write_mats
from frenchpress.kaldi.lexicon import read_lexicon
from frenchpress.kaldi.prepare import prepare
from frenchpress.kaldi.summary import check_sizes, describe
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
    refuses(
        corpus,
        tmp_path,
        r"train/text:1: train-a: word 'ab' \(6 times\) is not in the lexicon.*; add it to .*lexicon.txt",
    )


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
    message = r"test/phones:1: test-a: unknown phone 'x' \(once\), not in .*train/phones; only .* leave them out"
    refuses(corpus, tmp_path, message)


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


def with_segments(corpus, lines):
    (corpus / "train/segments").write_text(lines)
    for name, rest in (("utt2spk", "s"), ("phones", "b a")):
        (corpus / "train" / name).write_text("".join(f"{line.split()[0]} {rest}\n" for line in lines.splitlines()))


def test_segments_are_cut_as_kaldi_does(corpus, tmp_path, capsys):
    """By the second, to the end with -1 and up to half a second beyond it; one recording for several utterances."""
    with_segments(corpus, "s1 train-a 0.1 0.3\ns2 train-b 0 -1\ns3 train-a 0.25 0.75\n")
    assert prepare(corpus, tmp_path / "data", nj=2)
    place = tmp_path / "data/train"
    assert (place / "segments").read_text() == "s1 train-a 0.1 0.3\ns2 train-b 0.0 -1\ns3 train-a 0.25 0.75\n"
    assert (place / "utt2dur").read_text() == "s1 0.200\ns2 0.500\ns3 0.250\n"
    assert "1 end after their recordings, by up to 0.25 s: cut" in capsys.readouterr().out
    assert make_mfcc(place, MfccConfig(dither=0.0), nj=2)
    reader, whole = MatrixReader(place / "feats.scp"), read_audio_file(corpus / "audio/train-a.flac", 16000)
    assert list(reader) == ["s1", "s2", "s3"]
    assert np.array_equal(reader["s1"], mfcc(whole[1600:4800], 16000, MfccConfig(dither=0.0)))
    assert len(reader["s2"]) == 48 and len(reader["s3"]) == 23
    assert MatrixReader(place / "cmvn.scp")["s"][0, -1] == 48 + 18 + 23


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s1 train-a 0.1 0.1", "segments: s1: from 0.1 to 0.1 s, expected a start before the end"),
        ("s1 train-a 0.1 -2", "from 0.1 to -2 s"),
        ("s1 train-a 0.1", "expected '<recording> <start> <end>'"),
        ("s1 train-a 0.1 0.4 1", "of one channel"),
        ("s1 train-x 0 -1", "segments:1: s1: recording train-x is not in wav.scp"),
        ("s1 train-a 0.5 -1", "segments:1: s1: segment .* which has 0.50 s"),
        ("s1 train-a 0.1 1.1", "not in its recording, which has 0.50 s"),
        ("s1 train-a 0.1 0.12", "segments:1: s1: 0 frames are too short"),
    ],
)
def test_segments_that_cannot_be(corpus, tmp_path, line, message):
    with_segments(corpus, line + "\ns2 train-b 0 -1\n")
    refuses(corpus, tmp_path, message)


def test_utterances_that_segments_leaves_out_are_whole_or_named(corpus, tmp_path, capsys):
    (corpus / "dev/segments").write_text("dev-a dev-a 0.1 0.4\n")
    assert prepare(corpus, tmp_path / "data")
    assert (tmp_path / "data/dev/utt2dur").read_text() == "dev-a 0.300\ndev-b 0.500\n"
    assert "dev/segments: 1 utterances are not in it and are whole recordings: dev-b" in capsys.readouterr().out
    with_segments(corpus, "s1 train-a 0 -1\n")
    (corpus / "train/utt2spk").write_text("s1 s\ns2 s\n")
    with pytest.raises(UserError, match="train/utt2spk:2: s2 has no segment in segments"):
        prepare(corpus, tmp_path / "data")


def test_files_that_no_stage_needs_stop_nothing(corpus, tmp_path):
    for split in SPLITS:
        (corpus / split / "feats.scp").write_text(f"{split}-a mfcc/raw.1.ark:14\n")
        (corpus / split / "cmvn.scp").write_text("nonsense\n\x00")
        (corpus / split / "spk2utt").write_text("x y\n")
    (corpus / "lexicon.txt").write_text("word\n")
    assert prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data/dev/feats.scp").exists()


def test_the_corpus_itself_is_not_written_into(corpus):
    with pytest.raises(UserError, match="is the corpus itself"):
        prepare(corpus, corpus)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lexicon.txt", "ba b a\nba a\nab a b\n"),
        ("lexicon.txt", "\ufeffba b a\nba a\nab a b\n"),
        ("dict/lexiconp.txt", "ba 0.4 a\nba 1.0 b a\nab 1 a b\n"),
        ("lexicon.txt", "ba\t0.5\t0.13\t1.0\t1.02\ta\nba\t0.99\t0.13\t1\t1.02\tb a\nab\ta b\n"),
        ("lexicon.txt", "ba 0.5 a\nba 0.9 b a\nab a b\n"),
        ("lexiconp_silprob.txt", "ba 0.5 0.1 1.2 0.8 a\nba 0.9 0.1 1.2 0.8 b a\nab 1 1 1 1 a b\n"),
    ],
)
def test_lexica_of_kaldi_and_of_mfa(corpus, tmp_path, capsys, name, lines):
    words_in_place_of_phones(corpus)
    (corpus / name).parent.mkdir(exist_ok=True)
    (corpus / name).write_text(lines)
    assert prepare(corpus, tmp_path / "data")
    assert (tmp_path / "data/dict/nonsilence_phones.txt").read_text() == "a\nb\n"
    assert DataDir.load(tmp_path / "data/dev").text["dev-b"] == ["b", "a", "a", "b"]
    assert (tmp_path / "data/train/words").read_text() == "train-a ba ab\ntrain-b ba ab\n"
    kept = [line.split() for line in (tmp_path / "data/train/lexiconp.txt").read_text().splitlines()]
    assert [(word, phones) for word, _, *phones in kept] == [("ab", ["a", "b"]), ("ba", ["b", "a"]), ("ba", ["a"])]
    assert "1 of the 2 words used have several pronunciations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("lexiconp.txt", "ab a b", "lexiconp.txt:2: ab: 0 numbers before the phones"),
        ("lexiconp.txt", "ab 1.5 a b", "ab has probability 1.5, expected above 0 and at most 1"),
        ("lexicon.txt", "ab 0.5 0.5 a b", "2 numbers before the phones"),
        ("lexicon.txt", "ab 0.5", "lexicon.txt:2: ab has no phones"),
    ],
)
def test_lexica_that_are_none(corpus, tmp_path, name, line, message):
    words_in_place_of_phones(corpus)
    (corpus / name).write_text(f"ba 0.5 b a\n{line}\n")
    refuses(corpus, tmp_path, message)


def test_numbers_may_be_names_of_phones(tmp_path):
    (tmp_path / "lexicon.txt").write_text("ba 1 2\nab 21 1 7\n")
    found = read_lexicon(tmp_path / "lexicon.txt")
    assert found.phones("ab") == ("21", "1", "7") and found.numbers == 0


@pytest.mark.parametrize(
    ("name", "options"), [("sil", {}), ("<SIL>", {}), ("sp", {}), ("pause7", {"silence": ("pause7",)})]
)
def test_silence_at_the_ends_is_left_out_and_inside_it_is_transcribed(corpus, tmp_path, capsys, name, options):
    for split in SPLITS:
        (corpus / split / "phones").write_text("".join(f"{split}-{n} {name} b a {name}\n" for n in "ab"))
    assert prepare(corpus, tmp_path / "data", **options)
    assert f"silence: {name} (12 times) at the ends of utterances only: left out" in capsys.readouterr().out
    assert DataDir.load(tmp_path / "data/dev").text["dev-a"] == ["b", "a"]
    assert (tmp_path / "data/dict/sil_prob").read_text() == "0.1\n"
    (corpus / "train/phones").write_text("".join(f"train-{n} {name} b {name} a\n" for n in "ab"))
    assert prepare(corpus, tmp_path / "data", **options)
    assert DataDir.load(tmp_path / "data/train").text["train-a"] == ["SIL", "b", "SIL", "a"]
    assert (tmp_path / "data/dict/sil_prob").read_text() == "0\n"
    assert (tmp_path / "data/dict/score_map.txt").read_text() == "SIL\na a\nb b\n"


def test_pauses_at_the_ends_of_pronunciations_and_noise(corpus, tmp_path, capsys):
    words_in_place_of_phones(corpus)
    (corpus / "dev/text").write_text("dev-a ba <unk>\ndev-b ba\n")
    (corpus / "train/text").write_text("train-a ab ba\ntrain-b ab <unk>\n")
    (corpus / "lexicon.txt").write_text("ba b a sp\nba b a sil\nab a b sp\n<unk> SPN\n")
    assert prepare(corpus, tmp_path / "data")
    assert DataDir.load(tmp_path / "data/dev").text["dev-a"] == ["b", "a", "SPN"]
    assert "SPN\n" in (tmp_path / "data/dict/score_map.txt").read_text()
    said = capsys.readouterr().out
    assert "pronunciations of 2 words left out" in said and "noise: SPN (2 times)" in said
    assert not (tmp_path / "data/train/words").exists()


def test_score_map(corpus, tmp_path, capsys):
    (corpus / "phones.map").write_text("a V\nx V\n")
    assert prepare(corpus, tmp_path / "data")
    assert (tmp_path / "data/dict/score_map.txt").read_text() == "SIL\na V\nb b\n"
    assert "not in it, and scored as they are: b; 1 of its phones do not occur" in capsys.readouterr().out
    (tmp_path / "own.map").write_text("a\nb V\n")
    assert prepare(corpus, tmp_path / "data", score_map=tmp_path / "own.map")
    assert (tmp_path / "data/dict/score_map.txt").read_text() == "SIL\na\nb V\n"
    (tmp_path / "own.map").write_text("a V W\n")
    with pytest.raises(UserError, match="own.map: a maps to 'V W', expected one phone"):
        prepare(corpus, tmp_path / "data", score_map=tmp_path / "own.map")


def test_summary_and_what_sizes_can_be(corpus, tmp_path):
    for split in SPLITS:
        (corpus / split / "phones").write_text("".join(f"{split}-{n} AA0 AA1 AA2 b\n" for n in "ab"))
    prepare(corpus, tmp_path / "data")
    lines = describe(tmp_path / "data")
    assert lines[0] == f"{tmp_path}/data/train: 2 utterances of 2 speakers, 0.0 min"
    assert f"{tmp_path}/data/dict: 4 phones: AA0 AA1 AA2 b" in lines
    assert "3 phones end in a digit" in lines[-1]
    check_sizes(tmp_path / "data", 5, 5)
    with pytest.raises(UserError, match="--leaves is 4, but .* 4 phones and SIL.*expected 5 or more"):
        check_sizes(tmp_path / "data", 4, 10)


def test_ids_that_only_look_the_same_are_named(corpus, tmp_path):
    replace(corpus / "dev/phones", "dev-b ", "dev-b\u200b ")
    refuses(corpus, tmp_path, r"dev/phones:2: 'dev-b.u200b' begins or ends with an invisible character")


def test_a_control_character_is_named_and_not_printed(corpus, tmp_path):
    replace(corpus / "dev/phones", "dev-b ", "dev-b \x1b[2J")
    refuses(corpus, tmp_path, r"dev/phones:2: '.x1b' at character 7; take it out, or is it no text\?")
