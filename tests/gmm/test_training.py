"""The four systems and the commands around them, on a small synthetic set."""

import re

import numpy as np
import pytest
from small import SETS, TOPO, corpus

from frenchpress.common import UserError
from frenchpress.gmm import align, decode, make_fmllr_feats, train_deltas, train_lda_mllt, train_mono, train_sat
from frenchpress.gmm.corpus import Corpus
from frenchpress.gmm.model import FrontEnd, System, read_alignment
from frenchpress.gmm.monophone import train_monophone
from frenchpress.gmm.stage import produce
from frenchpress.gmm.train import Aligner, report_failures, silence_free, update_transitions
from frenchpress.graph.lang import make_lang
from frenchpress.graph.mkgraph import make_graph
from frenchpress.kaldi.io import read_int_vectors, read_mats, write_mats

NAMES = ["sil", "a", "b", "c"]


def write_set(directory, data):
    directory.mkdir(parents=True)
    names = [f"{speaker}-{utt}" for utt, speaker in zip(data.utts, data.speakers)]
    order = sorted(range(len(names)), key=names.__getitem__)
    (directory / "utt2spk").write_text("".join(f"{names[k]} {data.speakers[k]}\n" for k in order))
    said = ["".join(f" {NAMES[p - 1]}" for p in phones) for phones in data.phones]
    (directory / "text").write_text("".join(f"{names[k]}{said[k]}\n" for k in order))
    write_mats(directory / "feats.ark", directory / "feats.scp", ((names[k], data.feats[data.rows(k)]) for k in order))
    stats = {}
    for k, speaker in enumerate(data.speakers):
        x = data.feats[data.rows(k)].astype(np.float64)
        add = np.stack([np.append(x.sum(0), len(x)), np.append((x**2).sum(0), 0)])
        stats[speaker] = stats.get(speaker, 0) + add
    write_mats(directory / "cmvn.ark", directory / "cmvn.scp", sorted(stats.items()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("gmm")
    for name, seed, size in (("train", 0, 60), ("dev", 1, 8), ("test", 2, 8)):
        write_set(root / "data" / name, corpus(size, dim=5, seed=seed)[0])
    dictionary = root / "data" / "dict"
    dictionary.mkdir()
    for name in ("silence_phones", "optional_silence"):
        (dictionary / f"{name}.txt").write_text("sil\n")
    (dictionary / "nonsilence_phones.txt").write_text("a\nb\nc\n")
    (dictionary / "sil_prob").write_text("0.1\n")
    (dictionary / "score_map.txt").write_text("sil\na a\nb b\nc c\n")
    make_lang(dictionary, root / "data/train/text", root / "data/lang")
    return root


def call(monkeypatch, module, *arguments):
    monkeypatch.setattr("sys.argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_alignment_chooses_the_pronunciation_that_was_spoken():
    """A word of phone a, b or c, the first of which its transcript has: training finds what was said."""
    data, truth = corpus(60)
    said = data.phones
    data.words = [[[([2], 0.0), ([3], 0.0)] if p == 3 else [([p], 0.0)] for p in phones] for phones in said]
    data.phones = [[2 if p == 3 and k % 3 == 0 else p for p in phones] for k, phones in enumerate(said)]
    system, tids = train_monophone(TOPO, SETS, Aligner(data, 1, 0.1), total_gauss=60, iterations=20)
    found = system.model.transitions.tid2phone[tids]
    assert (found == truth).mean() > 0.97  # 0.92 without the choice


def test_monophones_find_the_phones():
    data, truth = corpus(60)
    aligner = Aligner(data, 1, 0.1, threads=2)
    system, tids = train_monophone(TOPO, SETS, aligner, total_gauss=24, iterations=14)
    assert (system.model.transitions.tid2phone[tids] == truth).mean() > 0.95
    assert 12 < system.model.gmms.num_gauss <= 24
    again, _ = train_monophone(TOPO, SETS, Aligner(data, 1, 0.1), total_gauss=24, iterations=14)
    np.testing.assert_array_equal(system.model.gmms.means, again.model.gmms.means)


def test_a_log_says_now_and_then_how_long_it_takes(monkeypatch, capsys):
    monkeypatch.setattr("frenchpress.common.progress.EVERY", 0.0)
    train_monophone(TOPO, SETS, Aligner(corpus(20)[0], 1, 0.1), total_gauss=24, iterations=6)
    said = capsys.readouterr()
    assert re.findall(r"^  iterations: \d+ %, 0:\d\d:\d\d left$", said.err, re.M)
    assert re.fullmatch(r"  5 iterations: \d+ Gaussians, log-likelihood per frame (-[\d.]+) -> (-[\d.]+)\n", said.out)


def test_what_is_left_out_is_said_once(capsys):
    data, _ = corpus(20)
    data.phones[3] = data.phones[3] * 50
    train_monophone(TOPO, SETS, Aligner(data, 1, 0.1), total_gauss=12, iterations=6)
    assert capsys.readouterr().out.count("left out of the alignment: 1 of 20 utterances") == 1


def test_explicit_silence_is_aligned_as_the_text_has_it():
    data, truth = corpus(60)
    data.phones = [[1, *phones, 1] for phones in data.phones]
    system, tids = train_monophone(TOPO, SETS, Aligner(data, 1, 0.0), total_gauss=12, iterations=10)
    assert (system.model.transitions.tid2phone[tids] == truth).mean() > 0.95


def test_transition_probabilities_are_relative_frequencies_with_a_floor():
    data, _ = corpus(10)
    system, tids = train_monophone(TOPO, SETS, Aligner(data, 1, 0.1), total_gauss=12, iterations=4)
    model = update_transitions(system.model.transitions, tids)
    counts = np.bincount(tids, minlength=model.num_tids + 1)
    for row in range(len(model.tuples)):
        first, second = model.tid(row, 0), model.tid(row, 1)
        total = counts[first] + counts[second]
        if total >= 5:
            assert np.exp(model.log_probs[[first, second]]).sum() == pytest.approx(1, abs=0.02)
            assert np.exp(model.log_probs[first]) == pytest.approx(max(counts[first] / total, 0.01), abs=0.01)


def test_all_systems_from_the_command_line(data, monkeypatch, capsys):
    root = data / "data"
    exp = data / "exp"
    common = ("--nj", 2, "--sil-prob", 0.1, root / "train", root / "lang")
    sizes = ("--leaves", 20, "--gauss", 40)
    call(monkeypatch, train_mono, *common, exp / "mono", "--gauss", 24, "--iterations", 12)
    call(monkeypatch, train_deltas, *common, exp / "mono", exp / "tri1", *sizes)
    call(monkeypatch, train_lda_mllt, *common, exp / "tri1", exp / "tri2", *sizes, "--dim", 8)
    call(monkeypatch, train_sat, *common, exp / "tri2", exp / "tri3", *sizes)
    lines = capsys.readouterr().out.splitlines()
    gains = [float(line.split()[-1]) for line in lines if "gain" in line]
    assert len(gains) == 9 and min(gains) >= 0
    rises = [line.split("frame ")[1].split(" -> ") for line in lines if " iterations: " in line]
    assert len(rises) == 4 and all(float(last) > float(first) for first, last in rises)
    assert len(lines) < 30, "a line for every iteration is too many"
    system = System.load(exp / "tri3")
    assert system.front_end.matrix.shape == (8, 35)
    independent = system.speaker_independent
    assert independent.num_gauss == system.model.gmms.num_gauss
    assert set(dict(read_mats(exp / "tri3/trans"))) == {"a", "b"}

    make_graph(root / "lang", exp / "tri3", exp / "tri3/graph")
    call(monkeypatch, decode, root, root / "lang", exp / "tri3")
    assert (exp / "tri3/PER").read_text().count("%") >= 2
    assert set(dict(read_mats(exp / "tri3/trans_dev"))) == {"a", "b"}
    check_alignments(monkeypatch, root, exp)

    # Once more: nothing is done again.
    capsys.readouterr()
    before = (exp / "tri3/final.mdl").stat().st_mtime_ns
    call(monkeypatch, train_sat, *common, exp / "tri2", exp / "tri3", *sizes)
    call(monkeypatch, decode, root, root / "lang", exp / "tri3")
    assert capsys.readouterr().out.count("up to date") == 2
    assert (exp / "tri3/final.mdl").stat().st_mtime_ns == before


def check_alignments(monkeypatch, root, exp):
    for name, transforms in (("train", ()), ("dev", ("--transforms", exp / "tri3/trans_dev"))):
        out, feats = exp / f"tri3_ali_{name}", root / "fmllr-tri3" / name
        call(monkeypatch, align, "--sil-prob", 0.1, *transforms, root / name, root / "lang", exp / "tri3", out)
        call(monkeypatch, make_fmllr_feats, root / name, exp / "tri3", out / "trans", feats)
        aligned, adapted = read_int_vectors(out / "ali.1.gz"), dict(read_mats(feats / "feats.scp"))
        assert set(aligned) == set(adapted) and len(adapted) > 5
        for utt, tids in aligned.items():
            assert adapted[utt].shape == (len(tids), 8)
        system = System.load(out)
        plain = Corpus.load(root / name)
        tids = read_alignment(out, plain)
        assert (silence_free(system.model.transitions, tids, 1) >= 0).sum() < len(tids)


def test_bad_input_is_one_clear_line(data, monkeypatch, tmp_path):
    root = data / "data"
    with pytest.raises(UserError, match="sil-prob"):
        call(monkeypatch, train_mono, "--sil-prob", 1.5, root / "train", root / "lang", tmp_path / "mono")
    with pytest.raises(UserError, match="feats.scp: no such file"):
        call(monkeypatch, train_mono, tmp_path, root / "lang", tmp_path / "mono")
    with pytest.raises(UserError, match="final.mdl: no such file"):
        call(monkeypatch, train_deltas, root / "train", root / "lang", tmp_path / "none", tmp_path / "tri1")
    (tmp_path / "text").write_text("u1 a x\n")
    with pytest.raises(UserError, match="2 of 3"):
        report_failures(["u1", "u2"], 3)


def test_an_unknown_phone_is_named(data, tmp_path):
    bad = tmp_path / "train"
    bad.mkdir()
    for name in ("feats.scp", "cmvn.scp", "utt2spk"):
        (bad / name).write_bytes((data / "data/dev" / name).read_bytes())
    lines = (data / "data/dev/text").read_text().splitlines()
    (bad / "text").write_text("\n".join([lines[0] + " zz", *lines[1:]]) + "\n")
    with pytest.raises(UserError, match=f"{lines[0].split()[0]}: unknown phone 'zz'"):
        Corpus.load(bad, {"sil": 1, "a": 2, "b": 3, "c": 4})


def test_features_of_another_dimension_are_refused():
    data, _ = corpus(2)
    with pytest.raises(UserError, match="final.mat takes 10 dimensions"):
        FrontEnd(np.ones((3, 10)), 3, 3)(data)


def test_an_alignment_of_other_features_is_refused(tmp_path):
    data, _ = corpus(2)
    from frenchpress.gmm.model import write_alignment

    write_alignment(tmp_path, data, np.ones(len(data.feats), np.int32))
    shorter = Corpus(data.utts[:1], data.speakers[:1], data.phones[:1], np.array([0, 7]), data.feats[:7])
    with pytest.raises(UserError, match="features have 7"):
        read_alignment(tmp_path, shorter)
    with pytest.raises(UserError, match="no ali"):
        read_alignment(tmp_path / "nowhere", data)


def test_what_was_interrupted_is_made_again(tmp_path, capsys):
    made = []

    def killed():
        made.append("killed")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        produce(tmp_path, {"a": 1}, killed)
    assert produce(tmp_path, {"a": 1}, lambda: made.append("whole"))
    assert not produce(tmp_path, {"a": 1}, lambda: made.append("again"))
    assert produce(tmp_path, {"a": 2}, lambda: made.append("other"))
    with pytest.raises(KeyboardInterrupt):
        produce(tmp_path, {"a": 3}, killed)
    # What was whole for an earlier key is not any more.
    assert produce(tmp_path, {"a": 2}, lambda: made.append("other again"))
    assert made == ["killed", "whole", "other", "killed", "other again"]
