"""Lang directory: what Kaldi made of the same dictionary, and what is wrong with bad ones."""

import sys

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.graph import lang
from frenchpress.graph.fst import FstArcs, read_fst

SAME = ["phones.txt", "words.txt", "topo", "oov.txt", "oov.int"] + [
    f"phones/{name}.{suffix}"
    for name in ("silence", "nonsilence", "disambig", "optional_silence", "sets", "roots", "extra_questions")
    for suffix in ("txt", "int")
]


def arc_set(fst):
    arcs = FstArcs.of(fst)
    rows = sorted(zip(*(c.tolist() for c in (arcs.src, arcs.ilabel, arcs.olabel, arcs.dst, arcs.weight))))
    return np.array(rows), arcs.finals


def test_files_are_kaldis(tmp_path, mboshi_dict, kaldi_mboshi):
    reference = kaldi_mboshi / "data/lang_test_bg"
    assert lang.make_lang(mboshi_dict, kaldi_mboshi / "data/train/text", tmp_path / "lang")
    for name in SAME:
        assert (tmp_path / "lang" / name).read_text() == (reference / name).read_text(), name
    for name in ("L.fst", "L_disambig.fst"):
        ours, theirs = arc_set(read_fst(tmp_path / "lang" / name)), arc_set(read_fst(reference / name))
        assert np.allclose(ours[0], theirs[0], atol=1e-5) and np.array_equal(ours[1], theirs[1])
    assert (tmp_path / "lang/lm.arpa").read_text() == (kaldi_mboshi / "lm.arpa").read_text()
    assert not lang.make_lang(mboshi_dict, kaldi_mboshi / "data/train/text", tmp_path / "lang")


@pytest.fixture
def small(tmp_path):
    """A dictionary whose transcripts carry the silence phone, as TIMIT's."""
    directory = tmp_path / "small"
    directory.mkdir()
    for name, text in {
        "silence_phones.txt": "sil\n",
        "optional_silence.txt": "sil\n",
        "nonsilence_phones.txt": "b\na\n",
        "sil_prob": "0\n",
        "score_map.txt": "a a\nb a\nsil sil\n",
    }.items():
        (directory / name).write_text(text)
    (tmp_path / "text").write_text("u1 sil a b sil\nu2 sil b sil\n")
    return directory


def test_explicit_silence_is_a_word(tmp_path, small):
    lang.make_lang(small, tmp_path / "text", tmp_path / "lang")
    assert lang.read_symbols(tmp_path / "lang/phones.txt") == {"<eps>": 0, "sil": 1, "a": 2, "b": 3, "#0": 4, "#1": 5}
    words = lang.read_symbols(tmp_path / "lang/words.txt")
    assert list(words) == ["<eps>", "a", "b", "sil", "#0", "<s>", "</s>"]
    arcs = FstArcs.of(read_fst(tmp_path / "lang/L.fst"))
    assert arcs.num_states == 1 and sorted(zip(arcs.ilabel, arcs.olabel)) == [(1, 3), (2, 1), (3, 2)]
    assert (tmp_path / "lang/score_map.txt").read_text() == "a a\nb a\nsil sil\n"
    assert "\t<UNK>" not in (tmp_path / "lang/lm.arpa").read_text()


def test_changed_text_makes_it_again(tmp_path, small):
    assert lang.make_lang(small, tmp_path / "text", tmp_path / "lang")
    before = (tmp_path / "lang/G.fst").read_bytes()
    assert not lang.make_lang(small, tmp_path / "text", tmp_path / "lang")
    (tmp_path / "text").write_text("u1 sil a a a a sil\n")
    assert lang.make_lang(small, tmp_path / "text", tmp_path / "lang")
    assert (tmp_path / "lang/G.fst").read_bytes() != before


def test_extra_questions_are_added_once(tmp_path, small):
    (small / "extra_questions.txt").write_text("sil\nb a\na sil\n\n")
    lang.make_lang(small, tmp_path / "text", tmp_path / "lang")
    assert (tmp_path / "lang/phones/extra_questions.txt").read_text() == "sil\na b\na sil\n"


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("nonsilence_phones.txt", "a\na\n", "nonsilence_phones.txt:2: phone a is there twice"),
        ("nonsilence_phones.txt", "a b\n", "expected one phone per line"),
        ("nonsilence_phones.txt", "", "is empty"),
        ("nonsilence_phones.txt", "a\nb\nsil\n", "both silence and not"),
        ("nonsilence_phones.txt", "a\nb\n#0\n", "name is taken"),
        ("silence_phones.txt", "sil\nspn\n", "the same single phone in both"),
        ("sil_prob", "1.5\n", "sil_prob: '1.5', expected a probability"),
        ("sil_prob", "often\n", "sil_prob: 'often'"),
        ("score_map.txt", "a a\nsil\n", "no line for phone b"),
        ("score_map.txt", "a a b\nb b\nsil\n", "expected one phone, or none"),
        ("extra_questions.txt", "a c\n", "extra_questions.txt:1: c is no phone"),
        ("../text", "u1 a c\n", "u1: unknown phone 'c'"),
        ("../text", "", "text: is empty"),
    ],
)
def test_bad_input_is_said(tmp_path, small, name, text, why):
    (small / name).write_text(text)
    with pytest.raises(UserError, match=why):
        lang.make_lang(small, tmp_path / "text", tmp_path / "lang")


def test_command_line_says_when_nothing_is_to_do(tmp_path, small, monkeypatch, capsys):
    arguments = [str(small), str(tmp_path / "text"), str(tmp_path / "lang")]
    monkeypatch.setattr(sys, "argv", ["lang", *arguments])
    lang.main()
    lang.main()
    assert capsys.readouterr().out == f"{tmp_path / 'lang'} is up to date\n"
