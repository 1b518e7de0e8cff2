import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from frenchpress.common import UserError
from timit.prepare import dict_files, prepare
from timit.reader import read_corpus
from timit.synth import corpus, sentences, voices
from timit.synth.espeak import Phoneme, Speech
from timit.synth.labels import segments

COUNTS = {"train": 2, "dev": 1, "test": 1}
VOWELS = ["aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "ix", "iy", "ow", "oy", "uh", "ux"]
CLOSURES = ["bcl", "dcl", "gcl", "pcl", "tcl", "kcl"]


@pytest.fixture(scope="module")
def espeak():
    pytest.importorskip("espeakng_loader", reason="the synthetic corpus needs espeakng-loader")


@pytest.fixture(scope="module")
def micro(espeak, tmp_path_factory) -> Path:
    """A corpus of four speakers."""
    out = tmp_path_factory.mktemp("synth") / "micro"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(corpus.SIZES, "micro", COUNTS)
        assert corpus.build(out, "micro", jobs=2, seed=0)
    return out


@pytest.fixture
def sizes(espeak, monkeypatch):
    monkeypatch.setitem(corpus.SIZES, "micro", COUNTS)
    monkeypatch.setitem(corpus.SIZES, "nano", {"train": 1, "dev": 1, "test": 1})


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_reader_of_timit_reads_it(micro):
    parts = read_corpus(micro)
    assert {split: len(part) for split, part in parts.items()} == {"train": 16, "dev": 8, "test": 8}
    speakers = [{utterance.speaker for utterance in part} for part in parts.values()]
    assert len(set.union(*speakers)) == 4
    assert len(list(micro.rglob("SA1.WAV"))) == 4


def test_labels_cover_the_audio_without_gaps(micro):
    for phn in micro.rglob("*.PHN"):
        cuts = [tuple(map(int, line.split()[:2])) for line in phn.read_text().splitlines()]
        labels = [line.split()[2] for line in phn.read_text().splitlines()]
        assert cuts[0][0] == 0
        assert cuts[-1][1] == soundfile.info(phn.with_suffix(".WAV")).frames
        assert all(left[1] == right[0] for left, right in zip(cuts, cuts[1:]))
        assert all(begin < end for begin, end in cuts)
        assert labels[0] == labels[-1] == "h#"
        assert "h#" not in labels[1:-1]


def test_words_are_those_of_the_text_in_order_of_time(micro):
    for wrd in micro.rglob("*.WRD"):
        begin, end, text = wrd.with_suffix(".TXT").read_text().strip().split(" ", 2)
        rows = [line.split() for line in wrd.read_text().splitlines()]
        assert [row[2] for row in rows] == sentences.words(text)
        times = [int(time) for row in rows for time in row[:2]]
        assert times == sorted(times)
        assert (begin, int(end)) == ("0", soundfile.info(wrd.with_suffix(".WAV")).frames)


def test_phones_sound_and_last_as_phones_do(micro):
    """Vowels are louder than closures, and durations lie where those of people do."""
    loudness, seconds = {}, {}
    for part in read_corpus(micro).values():
        for utterance in part:
            samples, rate = soundfile.read(utterance.wav)
            for s in utterance.segments:
                level = 10 * np.log10(np.mean(samples[s.begin : s.end] ** 2))
                loudness.setdefault(s.label, []).append(level)
                seconds.setdefault(s.label, []).append((s.end - s.begin) / rate)

    def median(of, labels):
        return np.median(np.concatenate([of[label] for label in labels if label in of]))

    assert median(loudness, VOWELS) > median(loudness, CLOSURES) + 8
    assert median(loudness, VOWELS) > median(loudness, ["s", "f", "th"]) + 3
    assert median(loudness, ["p", "t", "k"]) > median(loudness, ["pcl", "tcl", "kcl"]) + 2
    assert 0.05 < median(seconds, VOWELS) < 0.15
    assert 0.02 < median(seconds, CLOSURES) < 0.08
    assert 0.01 < median(seconds, ["b", "d", "g", "p", "t", "k"]) < 0.06
    assert median(seconds, ["oy", "ay", "aw"]) > median(seconds, ["ax", "ix"])


def test_every_boundary_of_a_stop_is_where_the_signal_changes(micro):
    """The first 10 ms of a voiceless release hold more energy than the 10 ms before it.

    Noise and echoes drown the weakest ones; a boundary out of place would come to about one half.
    """
    rises = []
    for utterance in read_corpus(micro)["train"]:
        samples, _ = soundfile.read(utterance.wav)
        for before, s in zip(utterance.segments, utterance.segments[1:]):
            if s.label in ("p", "t", "k") and before.label in CLOSURES:
                power = [np.mean(samples[s.begin + a : s.begin + a + 160] ** 2) for a in (-160, 0)]
                rises.append(10 * np.log10(power[1] / power[0]))
    assert len(rises) > 30
    assert np.mean(np.array(rises) > 0) > 0.7


def test_same_seed_same_bytes_whatever_the_number_of_processes(micro, sizes, tmp_path):
    corpus.build(tmp_path / "again", "micro", jobs=1, seed=0)
    assert contents(tmp_path / "again") == contents(micro)


def test_voices_that_draw_noise_say_the_same_every_time(espeak):
    # The library takes its seed from the clock, in seconds, so the runs must lie a second apart.
    program = (
        "from timit.synth.espeak import Espeak\n"
        "import hashlib\n"
        "for voice in ('f2', 'victor'):\n"
        "    speech = Espeak('gmw/en-US+' + voice).say('Sandy was here.', 170, 50, 50)\n"
        "    print(hashlib.sha256(speech.samples.tobytes()).hexdigest())\n"
    )
    said = []
    for _ in range(2):
        said.append(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
        time.sleep(1.1)
    assert said[0] == said[1]


def test_goes_on_where_it_was_and_ends_with_the_same_bytes(micro, sizes, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(micro, out)
    assert not corpus.build(out, "micro", jobs=1, seed=0)
    lost = next(out.glob("TRAIN/DR1/*"))
    shutil.rmtree(lost)
    (lost.parent / f".tmp-1-{lost.name}").mkdir()
    (out / ".done").unlink()
    kept = next(out.glob("TRAIN/DR2/*/SX*.WAV"))
    time = kept.stat().st_mtime_ns
    assert corpus.build(out, "micro", jobs=1, seed=0)
    assert contents(out) == contents(micro)
    assert kept.stat().st_mtime_ns == time
    assert not list(out.rglob(".tmp-*"))


def test_another_size_or_seed_leaves_nothing_of_the_old(micro, sizes, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(micro, out)
    corpus.build(out, "nano", jobs=2, seed=7)
    assert {split: len(part) for split, part in read_corpus(out).items()} == dict.fromkeys(COUNTS, 8)
    assert len(list(out.glob("T*/DR*/*"))) == 3
    assert not contents(out).keys() & {name for name in contents(micro) if name.endswith(".WAV")}


def test_refuses_a_phoneme_that_timit_does_not_have():
    speech = Speech(np.ones(1000, np.int16), [Phoneme(0, "a", 1), Phoneme(500, "ʈ", 1)], [1])
    with pytest.raises(UserError, match="'ʈ' has no TIMIT label"):
        segments(speech, 22050, ["x"])


def test_refuses_a_directory_with_other_files(espeak, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files"):
        corpus.build(tmp_path, "tiny", jobs=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="pip install espeakng-loader.*--corpus kaldi-data"):
        corpus.build(tmp_path, "tiny", jobs=1, seed=0)


def test_refuses_zero_processes(tmp_path):
    command = [sys.executable, "-m", "timit.synth", "--out", str(tmp_path / "x"), "--nj", "0"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == "error: --nj is 0, expected at least 1\n"


def test_marker_lists_speakers_as_they_were_made(micro):
    content = yaml.safe_load((micro / "SYNTH.yaml").read_text())
    assert {split: len(names) for split, names in content["splits"].items()} == COUNTS
    assert [voices.Speaker(**fields) for fields in content["speakers"]] == voices.speakers(COUNTS, 0)


def test_sentences_never_repeat_and_follow_from_the_seed():
    first = list(islice(sentences.sentences(0), 3000))
    assert first == list(islice(sentences.sentences(0), 3000))
    assert first != list(islice(sentences.sentences(1), 3000))
    assert len(set(first)) == 3000
    assert not any(" a a" in text or text.startswith("A a") for text in first)
    assert all(text[0].isupper() and text[-1] in ".?" for text in first)


def test_speakers_of_the_full_size_are_different_and_of_every_accent():
    speakers = voices.speakers(corpus.SIZES["timit"], 0)
    assert len({speaker.id for speaker in speakers}) == len(speakers) == 536
    for split in corpus.SIZES["timit"]:
        assert {speaker.region for speaker in speakers if speaker.split == split} == set(range(1, 9))
    assert 0.25 < np.mean([speaker.id[0] == "F" for speaker in speakers]) < 0.45


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_smallest_size_trains_every_phone(espeak, tmp_path, seed):
    corpus.build(tmp_path / "tiny", "tiny", jobs=2, seed=seed)
    parts = read_corpus(tmp_path / "tiny")
    assert len(dict_files(parts)["score_map.txt"].splitlines()) == 48
    prepare(tmp_path / "tiny", tmp_path / "data")
