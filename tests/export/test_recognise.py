"""Audio to phones with a made model: any pieces give the same, as plain steps do, and bad input is one clear line."""

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import kaldifst
import numpy as np
import pytest
import soundfile
import torch

from frenchpress.common import UserError
from frenchpress.config import config_from_dict
from frenchpress.export import recognise
from frenchpress.export.adapt import Adapter, prior_stats
from frenchpress.export.front import copy_graph, find_system, labels, make_front, phone_gaussians
from frenchpress.export.pack import pack_model
from frenchpress.export.recogniser import Segment, segments
from frenchpress.feats.cmvn import cmvn_stats
from frenchpress.feats.mfcc import mfcc, width
from frenchpress.feats.online import RunningMean
from frenchpress.feats.options import MfccConfig, config_lines, parse_config
from frenchpress.feats.splice import splice
from frenchpress.feats.unadapted import MADE_OF, UnadaptedFront
from frenchpress.gmm.fmllr import estimate
from frenchpress.gmm.make_unadapted_feats import unadapted_front
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, write_model
from frenchpress.kaldi.io import write_matrix, write_mats
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.packed.model import ENDS_PHONE, SELF_LOOP, PackedFront
from frenchpress.packed.write import write_model as write_packed
from frenchpress.score.unit import PHONE

PHONES, DIM, PDFS = ["sil", "a"], 4, 6
MFCC = ["--use-energy=false", "--dither=0"]
DECODE = {"beam": 100.0, "max_active": 100}


def transitions():
    """Two phones of three states, a tied state each: transition-ids 2 k + 1 (loop) and 2 k + 2 (forward)."""
    row = [HmmState(k, ((k, 0.75), (k + 1, 0.25)), k) for k in range(3)]
    topo = HmmTopology([[*row, HmmState(-1, (), -1)]], {1: 0, 2: 0})
    return TransitionModel(topo, np.array([[p + 1, s, 3 * p + s, 3 * p + s] for p in range(2) for s in range(3)]))


def write_graph(where):
    """A loop over both phones, forward arc before self-loop as Kaldi has them."""
    where.mkdir()
    lines = []
    for p in range(2):
        for s in range(3):
            here, there, label = (3 * p + s if s else 0), 3 * p + s + 1, 2 * (3 * p + s) + 1
            lines += [f"{here} {there} {label + 1} {0 if s else p + 1} 0.5", f"{there} {there} {label} 0 0.1"]
        lines.append(f"{3 * p + 3} 0 0 0 0.2")
    assert kaldifst.compile("\n".join([*lines, "0 0"]), acceptor=False).write(str(where / "HCLG.fst"))
    (where / "words.txt").write_text("<eps> 0\nsil 1\na 2\n")


def made_front():
    rng = np.random.default_rng(3)
    matrix = rng.normal(0, 0.1, (DIM, 39)).astype(np.float32)
    pdf, phone, flags = labels(transitions())
    mean = np.full(13, 5, np.float32)
    means, variances = rng.normal(0, 2, (2, DIM)).astype(np.float32), np.ones((2, DIM), np.float32)
    return PackedFront(1, 1, mean, matrix, np.array([0, 1], np.float32), means, variances, pdf, phone, flags)


def packed_model(front):
    torch.manual_seed(4)
    press = {"default": {"weight_bits": 8, "act_bits": 16}}
    shape = {"context": [1, 1], "lstm": {"layers": 1, "cells": 12}}
    config = config_from_dict({"model": shape, "compress": press}, "test")
    model = AcousticModel(config, Sizes(feat_dim=DIM, num_pdfs=PDFS, num_phones=2))
    with torch.no_grad():
        model.head_cd.matrix.weight.mul_(6)
        model(3 * torch.randn(4, 30, 3 * DIM), torch.full((4,), 30))
    meta = {"phones": PHONES, "mfcc": MFCC, "decode": DECODE, "lm_weight": 0.1}
    return pack_model(model.eval(), np.array([10, 9, 8, 7, 6, 5]), meta, front)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with model.press, graph/ and three seconds of audio, x.wav."""
    where = tmp_path_factory.mktemp("packed")
    write_packed(where / "model.press", packed_model(made_front()))
    write_graph(where / "graph")
    rng = np.random.default_rng(5)
    loud = np.repeat(rng.choice([30, 300, 3000], 30), 1600)
    soundfile.write(where / "x.wav", (loud * rng.normal(size=len(loud))).clip(-32768, 32767).astype(np.int16), 16000)
    return where


@pytest.fixture
def session(place):
    return recognise.Session.load(place / "model.press", place / "graph")


def samples(place):
    return soundfile.read(place / "x.wav", dtype="int16")[0].astype(np.float32)


@pytest.mark.parametrize("adapts", [True, False])
def test_pieces_do_not_matter(session, place, adapts):
    session.adapts, x = adapts, samples(place)
    whole = list(session.recognise([x]))
    frames = 1 + (len(x) - 400) // 160
    assert [s.start for s in whole] == [0, *(s.end for s in whole[:-1])] and whole[-1].end == frames
    assert len(whole) >= 2 and abs(session.heard - len(x) / 16000) < 1e-9
    for piece in (160, 1777, 20000):
        assert list(session.recognise(x[k : k + piece] for k in range(0, len(x), piece))) == whole


def test_phones_come_while_audio_arrives(session, place):
    x, given = samples(place), []

    def pieces():
        for k in range(0, len(x), 1600):
            yield x[k : k + 1600]
            told.append(len(given))

    told = []
    for segment in session.recognise(pieces()):
        given.append(segment)
    assert 0 < told[-1] < len(given) and given[told[-1] - 1].end <= len(x) / 160 - 100


def test_is_the_plain_steps_one_after_the_other(session, place):
    session.adapts, x = False, samples(place)[:30000]
    front, runtime = session.runtime.model.front, session.runtime
    cepstra = RunningMean(front.mean)(mfcc(x, 16000, session.settings.mfcc))
    feats = splice(cepstra, 1, 1) @ front.matrix.T
    scores = runtime.log_posteriors(feats) - runtime.log_priors()
    pdfs = np.concatenate([[0], front.label_pdf])
    assert np.array_equal(session.decoder.columns, pdfs[1:])
    best = session.decoder.decode(scores, 10.0)
    assert list(session.recognise([x])) == segments(best.alignment, front)
    assert [PHONES[s.phone] for s in session.recognise([x])] == best.words


def test_segments_of_a_path():
    """sil, a, a: forward then loops in each state; the second a begins after the end of the first and its loops."""
    front = made_front()
    one = [8, 7, 10, 12, 11, 11]
    path = np.array([2, 1, 4, 6, *one, *one], np.int32)
    assert segments(path, front) == [Segment(0, 0, 4), Segment(1, 4, 10), Segment(1, 10, 16)]
    assert segments(path[:9], front)[-1] == Segment(1, 4, 9)


def test_a_phone_of_one_state_repeats():
    front = replace(made_front(), label_phone=np.array([0, 0]), label_flags=np.array([SELF_LOOP, ENDS_PHONE], np.int32))
    assert [s.end for s in segments(np.array([2, 1, 1, 2, 2, 1]), front)] == [3, 4, 6]


# ---- adaptation ----


def gaussian_front(phones=5):
    rng = np.random.default_rng(6)
    shape = (phones, DIM)
    means, variances = rng.normal(0, 3, shape), rng.uniform(0.5, 2, shape)
    numbers = {"means": means, "variances": variances, "weight": np.array([0, *rng.uniform(1, 2, phones - 1)])}
    return replace(made_front(), **{name: value.astype(np.float32) for name, value in numbers.items()})


def test_prior_alone_is_the_identity():
    transform, _ = estimate(prior_stats(gaussian_front()), 10, min_count=0.0)
    assert np.allclose(transform, np.eye(DIM, DIM + 1), atol=1e-4)


def test_a_speaker_is_moved_to_the_training_set():
    front, rng = gaussian_front(), np.random.default_rng(7)
    phones = rng.integers(1, 5, 4000)
    target = front.means[phones] + rng.normal(size=(4000, DIM)) * front.variances[phones] ** 0.5
    turn, offset = np.eye(DIM) + rng.normal(0, 0.1, (DIM, DIM)), rng.normal(0, 1, DIM)
    heard = ((target - offset) @ np.linalg.inv(turn).T).astype(np.float32)
    adapter = Adapter(front)
    for k in (0, 2000):  # two utterances
        for end in range(k + 25, k + 2001, 25):
            adapter.hear(heard[k:end], phones[k:end], end == k + 2000)
    assert np.abs(adapter.apply(heard) - target).mean() < 0.2 * np.abs(heard - target).mean()


def test_learning_is_heard_twice_and_timed(session, place):
    x = samples(place)
    session.learn([("one", [x[:24000]]), ("two", [x[24000:]])])
    assert session.heard == 0 and session.busy > 0
    assert not np.allclose(session.transform, np.eye(DIM, DIM + 1), atol=1e-3)
    adapter = session.adapter()
    assert list(session.recognise([x], adapter)) and np.array_equal(adapter.settled(), session.transform)
    session.transform = None
    with pytest.raises(UserError, match="^short: shorter than one frame"):
        session.learn([("short", [x[:100]])])


def test_silence_and_fixed_transforms_move_nothing():
    front = gaussian_front()
    feats = np.random.default_rng(8).normal(2, 1, (500, DIM)).astype(np.float32)
    known, adapter = 2 * np.eye(DIM, DIM + 1), Adapter(front)
    adapter.hear(feats, np.zeros(500, np.int32), True)
    assert np.allclose(adapter.transform, np.eye(DIM, DIM + 1), atol=1e-4)
    mute = replace(front, weight=np.zeros(5, np.float32))
    still = (Adapter(front, fixed=True), Adapter(mute))
    for adapter, expected in (*((a, feats) for a in still), (Adapter(front, known), 2 * feats)):
        adapter.hear(feats, np.ones(500, np.int32), False)
        assert np.array_equal(adapter.apply(feats), expected)


# ---- packing the front end ----


def made_task(where):
    """A task of a few frames in what make_front reads of it."""
    rng = np.random.default_rng(9)
    phones = np.repeat([0, 1, 0], [40, 90, 20]).astype(np.int32)
    feats = (rng.normal(size=(150, DIM)) + 5 * phones[:, None]).astype(np.float32)
    (where / "score_map.txt").write_text("sil\na a\n")
    (where / "optional_tokens").write_text("")
    return SimpleNamespace(
        path=where, unit=PHONE, num_pdfs=PDFS, num_phones=2, feat_dim=DIM, phones=PHONES,
        source=str(where / "fmllr-tri3"), features="fmllr",
        score_map=where / "score_map.txt", optional_tokens=where / "optional_tokens",
        split=lambda name: [("u", feats, phones, phones)],
    )  # fmt: skip


def made_system(where):
    """exp/tri3 and data/train as far as they matter."""
    system, train = where / "tri3", where / "train"
    system.mkdir()
    gmm = DiagGmm(np.ones(1), np.zeros((1, DIM)), np.ones((1, DIM)))
    write_model(system / "final.mdl", transitions(), AmGmm([gmm] * PDFS))
    write_matrix(system / "final.mat", np.random.default_rng(1).normal(size=(DIM, 39)).astype(np.float32))
    (system / "splice_opts").write_text("--left-context=1 --right-context=1\n")
    write_graph(system / "graph")
    (train / "mfcc").mkdir(parents=True)
    (train / "mfcc/.done").write_text(json.dumps({"options": {"use_energy": False, "dither": 1.0}}))
    stats = cmvn_stats([np.arange(26, dtype=np.float32).reshape(2, 13)])
    write_mats(train / "mfcc/cmvn.ark", train / "mfcc/cmvn.scp", [("s1", stats), ("s2", stats)])
    return system, train


def test_front_end_of_a_system(tmp_path):
    task = made_task(tmp_path)
    assert find_system(task) is None
    system, train = made_system(tmp_path)
    assert find_system(task) is None  # the task lies beside tri3
    task.path = tmp_path / "task"
    assert find_system(task) == (system, train)
    front, lines = make_front(system, train, task)
    assert lines == ["--use-energy=false"]  # with the dither of training
    assert np.allclose(front.mean, 6.5 + np.arange(13)) and front.matrix.shape == (DIM, 39)
    assert front.label_pdf.tolist() == np.repeat(range(6), 2).tolist()
    assert front.label_flags.tolist() == [1 * SELF_LOOP, 0, SELF_LOOP, 0, SELF_LOOP, ENDS_PHONE] * 2
    copy_graph(system / "graph", tmp_path / "x")
    assert (tmp_path / "x/HCLG.fst").read_bytes() == (system / "graph/HCLG.fst").read_bytes()
    with pytest.raises(UserError, match="final.mat: a matrix for 39 numbers a frame, spliced there are 52"):
        (system / "splice_opts").write_text("--left-context=2 --right-context=1\n")
        make_front(system, train, task)


@pytest.mark.parametrize("features,width", [("lda", 39), ("fbank", 40)])
def test_front_end_without_adaptation(tmp_path, features, width):
    """Trained in exp/lda on features without a speaker's transform: no Gaussians to adapt to, and the same features."""
    task, (system, train) = made_task(tmp_path), made_system(tmp_path)
    task.path, task.features = tmp_path / features / "task", features
    task.source = str(tmp_path / f"{features}-tri3")
    if features == "fbank":
        assert find_system(task) is None
        task.feat_dim = 40
        (train / "fbank").mkdir()
        options = {"use_energy": False, "dither": 1.0, "num_mel_bins": 40}
        (train / "fbank/.done").write_text(json.dumps({"options": options}))
        stats = cmvn_stats([np.arange(80, dtype=np.float32).reshape(2, 40)])
        write_mats(train / "fbank/cmvn.ark", train / "fbank/cmvn.scp", [("s1", stats)])
    assert find_system(task) == (system, train)
    front, lines = make_front(system, train, task)
    assert front.weight.size == front.means.size == 0 and front.matrix.shape == (task.feat_dim, width)
    assert parse_config(lines, "here").num_mel_bins == (40 if features == "fbank" else 23)
    frames = np.random.default_rng(2).normal(size=(70, len(front.mean))).astype(np.float32)
    plain = splice(RunningMean(front.mean)(frames), front.left, front.right) @ front.matrix.T
    assert np.array_equal(unadapted_front(features, train, system)(frames), plain)


def unadapted_model(where, features, conf):
    """Write a packed model of `features`, m.press; its front end."""
    rng, (pdf, phone, flags) = np.random.default_rng(3), labels(transitions())
    ceps = width(conf, MADE_OF[features])
    matrix = rng.normal(0, 0.1, (DIM, 3 * ceps)).astype(np.float32)
    nothing = np.zeros((0, DIM), np.float32)
    front = PackedFront(1, 1, np.full(ceps, 5, np.float32), matrix, nothing[:, 0], nothing, nothing, pdf, phone, flags)
    model = packed_model(front)
    write_packed(
        where / "m.press", replace(model, meta=model.meta | {"features": features, "mfcc": config_lines(conf)})
    )
    return front


@pytest.mark.parametrize("features", ["lda", "fbank"])
def test_a_model_for_unknown_speakers_is_the_plain_steps(place, tmp_path, monkeypatch, capsys, features):
    conf = MfccConfig(use_energy=False, dither=0.0, num_mel_bins=40)
    front, x = unadapted_model(tmp_path, features, conf), samples(place)[:30000]
    session = recognise.Session.load(tmp_path / "m.press", place / "graph")
    frames = mfcc(x, 16000, conf, kind=MADE_OF[features])
    assert frames.shape[1] == (40 if features == "fbank" else 13)
    feats = UnadaptedFront(front.mean, 1, 1, front.matrix)(frames)
    best = session.decoder.decode(session.runtime.log_posteriors(feats) - session.runtime.log_priors(), 10.0)
    session.adapts = True  # means nothing here
    assert list(session.recognise([x])) == segments(best.alignment, front)
    for options in (("--adapt", "utterance"), ("--transform", "t", "--speaker", "s")):
        with pytest.raises(UserError, match="features that know no speaker; leave out --"):
            run(monkeypatch, capsys, *options, "--graph", place / "graph", tmp_path / "m.press", place / "x.wav")


def test_gaussians_of_phones(tmp_path):
    weight, means, variances = phone_gaussians(made_task(tmp_path))
    assert weight.tolist() == pytest.approx([0, 0.6])
    assert np.allclose(means, [[0] * DIM, [5] * DIM], atol=0.5) and np.allclose(variances, 1, atol=0.5)


# ---- the command ----


def run(monkeypatch, capsys, *arguments, stdin=b""):
    """Lines on standard output, and those on standard error; exit codes as the command's."""
    monkeypatch.setattr(sys, "argv", ["recognise", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(stdin))))
    recognise.main()
    found = capsys.readouterr()
    return found.out.splitlines(), found.err.splitlines()


def test_command_prints_the_same_from_file_and_pipe(place, monkeypatch, capsys):
    model, wav = place / "model.press", place / "x.wav"
    out, err = run(monkeypatch, capsys, model, wav, wav)
    half = len(out) // 2
    assert out[:half] == out[half:] and out[0].startswith(f"{wav} 0.00 ") and out[0].split()[3] in PHONES
    assert len(err) == 1 and err[0].startswith("6.00 s of audio in") and "real-time factor" in err[0]
    data = wav.read_bytes()
    for stdin in (data, data[44:]):
        piped, _ = run(monkeypatch, capsys, model, "-", stdin=stdin)
        assert [line.split()[1:] for line in piped] == [line.split()[1:] for line in out[:half]]


def test_audio_without_a_model(monkeypatch, capsys):
    with pytest.raises(UserError, match=r"a.wav: given alone; give a model, then audio files: \S+model.press a.wav"):
        run(monkeypatch, capsys, "a.wav")


def test_files_of_one_speaker(place, monkeypatch, capsys):
    files = (place / "model.press", place / "x.wav", place / "x.wav")
    out, err = run(monkeypatch, capsys, "--adapt", "files", *files)
    assert out[: len(out) // 2] == out[len(out) // 2 :] and err[0].startswith("6.00 s of audio in")


def test_known_transform(place, monkeypatch, capsys, tmp_path):
    transform = np.eye(DIM, DIM + 1, dtype=np.float32)
    write_mats(tmp_path / "trans", None, [("s1", transform), ("s2", transform[:, :-1])])
    model, wav = place / "model.press", place / "x.wav"
    options = ("--transform", tmp_path / "trans", "--speaker")
    plain, _ = run(monkeypatch, capsys, "--adapt", "none", model, wav)
    assert run(monkeypatch, capsys, *options, "s1", model, wav)[0] == plain
    for speaker, message in (("s3", "no transform of s3; it has 2 speakers, s1"), ("s2", r"s2: \(4, 4\), expected")):
        with pytest.raises(UserError, match=message):
            run(monkeypatch, capsys, *options, speaker, model, wav)


@pytest.mark.parametrize(
    "name,change,message",
    [
        ("none.wav", None, "no such file"),
        ("empty.wav", lambda x: b"", "empty file, expected audio"),
        ("short.wav", lambda x: (x[:100], 16000), "shorter than one frame"),
        ("slow.wav", lambda x: (x, 8000), "8000 Hz, expected 16000 Hz"),
        ("two.wav", lambda x: (np.stack([x, x], 1), 16000), "2 channels, expected mono"),
        ("cut.wav", lambda x: b"cut", "truncated audio"),
        ("text.wav", lambda x: b"hello, this is no audio", "truncated, or no WAV, FLAC or SPHERE audio"),
    ],
)
def test_bad_audio_is_one_clear_line(place, tmp_path, monkeypatch, capsys, name, change, message):
    path = tmp_path / name
    given = change(samples(place).astype(np.int16)) if change else None
    if given == b"cut":
        given = (place / "x.wav").read_bytes()[:-100]
    if isinstance(given, bytes):
        path.write_bytes(given)
    elif given is not None:
        soundfile.write(path, *given)
    with pytest.raises(UserError, match=message) as error:
        run(monkeypatch, capsys, place / "model.press", path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert str(error.value).count(name) == 1


def test_bad_models_and_graphs(place, tmp_path, monkeypatch, capsys):
    wav = place / "x.wav"

    def fails(message, front=None, graph=place / "graph", **meta):
        model = packed_model(front)
        write_packed(tmp_path / "m.press", replace(model, meta={**model.meta, **meta}))
        with pytest.raises(UserError, match=message):
            run(monkeypatch, capsys, "--graph", graph, tmp_path / "m.press", wav)

    front = made_front()
    fails("no front end in it; pack it again with --front")
    fails("HCLG.fst: no such file", front, tmp_path)
    fails("not lists of words", front, phones=[1, 2])
    fails("3 names for 2 phones", front, phones=["a", "b", "c"])
    fails("unknown option --dithr", front, mfcc=["--dithr=0"])
    fails("features: unknown 'lad', did you mean 'lda'", front, features="lad")
    fails("2 names for 2 phones", front, features="lda")
    fails("14 mfcc a frame, but its mean has 13", front, mfcc=["--num-ceps=14"])
    fails("MFCC options outside", front, mfcc=["--low-freq=9000"])
    fails("MFCC options outside", front, mfcc=["--dither=inf"])
    fails("MFCC options outside", front, mfcc=["--num-mel-bins=1000000"])
    fails("no usable beam", front, decode={"beam": "wide"})
    fails("no usable lm_weight in it; give --lm-weight", front, lm_weight=None)
    few = replace(front, **{n: getattr(front, n)[:9] for n in ("label_pdf", "label_phone", "label_flags")})
    fails("transition-id 12, but the model has 9", few)
    for options, message in (
        (("--speaker", "s"), "give both --transform and --speaker"),
        (("--lm-weight", "-1"), "--lm-weight is -1"),
        ((), "standard input .* only once"),
        (("--adapt", "files"), "hears everything twice"),
    ):
        with pytest.raises(UserError, match=message):
            run(monkeypatch, capsys, *options, place / "model.press", "-", "-")


def test_an_empty_pipe(place, monkeypatch, capsys):
    with pytest.raises(UserError, match="^standard input: no audio came in"):
        run(monkeypatch, capsys, place / "model.press", "-")


def test_options_of_cepstra_come_back():
    conf = MfccConfig(use_energy=False, dither=0.0, num_ceps=20, window_type="hamming")
    assert parse_config(config_lines(conf), "here") == conf and config_lines(MfccConfig()) == []
