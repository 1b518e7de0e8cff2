import shutil

import numpy as np
import pytest
import soundfile

from timit.audio import check_audio, write_sphere
from timit.prepare import prepare
from timit.reader import read_corpus
from timit.speakers import CORE_TEST, DEV


@pytest.mark.parametrize("riff", [False, True])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_reads_either_case_and_either_format(make_tree, case, riff):
    corpus = read_corpus(make_tree(case=case, riff=riff).write().root)
    ids = {split: [utterance.id for utterance in part] for split, part in corpus.items()}
    assert ids == {
        "train": ["FXBB1_SI2", "FXBB1_SX1", "MXAA0_SI2", "MXAA0_SX1"],
        "dev": ["MXCC0_SI2", "MXCC0_SX1"],
        "test": ["FXDD0_SI2", "FXDD0_SX1"],
    }
    first = corpus["train"][0]
    assert (first.samples, first.segments[1].begin, first.segments[1].label) == (8000, 2000, "sh")


def test_writes_kaldi_data_directories(tree, tmp_path):
    prepare(tree.root, tmp_path / "data")
    train, phones = tmp_path / "data" / "train", tmp_path / "data" / "dict"
    assert (train / "text").read_text().splitlines()[0] == "FXBB1_SI2 sil sh ix vcl d sil"
    assert (train / "utt2spk").read_text().splitlines()[3] == "MXAA0_SX1 MXAA0"
    assert (train / "spk2utt").read_text() == "FXBB1 FXBB1_SI2 FXBB1_SX1\nMXAA0 MXAA0_SI2 MXAA0_SX1\n"
    wav = (train / "wav.scp").read_text().split()[1]
    assert wav.startswith("/")
    assert wav.endswith("SI2.WAV")
    assert (phones / "nonsilence_phones.txt").read_text().split() == ["d", "ix", "sh", "vcl"]
    assert (phones / "silence_phones.txt").read_text() == "sil\n"
    assert float((phones / "sil_prob").read_text()) == 0.0
    scored = dict(line.split() for line in (phones / "score_map.txt").read_text().splitlines())
    assert scored == {"d": "d", "ix": "ih", "sh": "sh", "sil": "sil", "vcl": "sil"}


def test_preparing_again_touches_nothing_until_the_corpus_changes(tree, tmp_path, capsys):
    data = tmp_path / "data"
    prepare(tree.root, data)
    (data / "train" / "feats.scp").write_text("of a later stage")
    prepare(tree.root, data)
    assert (data / "train" / "feats.scp").exists()
    assert f"{data / 'train'} is up to date" in capsys.readouterr().out
    path = tree.path("train", "MXAA0", "sx1.phn")
    path.write_text(path.read_text().replace("sh", "ix"))
    prepare(tree.root, data)
    assert not (data / "train" / "feats.scp").exists()


def test_finds_the_tree_below_the_directory_of_the_disc(tree, tmp_path):
    disc = tmp_path / "disc"
    disc.mkdir()
    shutil.move(tree.root, disc / "timit")
    assert len(read_corpus(disc)["train"]) == 4


def test_a_copy_in_riff_beside_the_original_is_not_read_twice(tree):
    for wav in tree.root.rglob("*.WAV"):
        shutil.copy(wav, wav.with_name(wav.name + ".wav"))
        wav.with_name("._" + wav.name).write_text("left by another system")
    tree.path("dev", "MXCC0", "sx1.wav").unlink()
    corpus = read_corpus(tree.root)
    assert [utterance.wav.name for utterance in corpus["dev"]] == ["SI2.WAV", "SX1.WAV.wav"]


def test_without_marker_the_standard_speaker_lists_hold(make_tree, tmp_path):
    """All of TIMIT's TEST half that counts, hard-linked from one sentence."""
    tree = make_tree()
    source = tmp_path / "one"
    source.mkdir()
    tree.audio(source / "wav", 800)
    (source / "phn").write_text("0 800 h#\n")
    train = [f"MZ{a}{b}{c}" for a in "ABCDEFGH" for b in "ABCDEFGH" for c in range(8)][:462]
    others = ["MABC0", "FDEF0"]  # the rest of TEST is in no split
    for split, speakers in (("train", train), ("test", [*DEV, *CORE_TEST, *others])):
        for speaker in speakers:
            tree.path(split, speaker, "x").parent.mkdir(parents=True)
            for name in [f"sx{i}" for i in range(1, 6)] + ["si1", "si2", "si3"]:
                for suffix in ("wav", "phn"):
                    tree.path(split, speaker, f"{name}.{suffix}").hardlink_to(source / suffix)
    corpus = read_corpus(tree.root)
    assert {split: len(part) for split, part in corpus.items()} == {"train": 3696, "dev": 400, "test": 192}
    assert {utterance.speaker for utterance in corpus["test"]} == CORE_TEST


def test_sphere_is_what_libsndfile_reads(tmp_path):
    samples = np.arange(-3000, 3000, dtype=np.int16)
    write_sphere(tmp_path / "a.wav", samples, "a")
    data, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(data, samples)
    assert check_audio(tmp_path / "a.wav") == 6000
