"""Bigram: Kaldi's own ARPA file to the last digit, probabilities that sum to one, and G."""

import math
import random
import sys

import pytest

from frenchpress.common import UserError
from frenchpress.graph import bigram
from frenchpress.graph.fst import read_fst
from frenchpress.graph.lang import read_symbols

SENTENCES = [["a", "b", "a"], ["b"], [], ["a", "b", "b"]]


def test_arpa_is_the_reference(kaldi_mboshi):
    sentences = bigram.read_sentences(kaldi_mboshi / "data/train/text")
    assert bigram.estimate_bigram(sentences) == (kaldi_mboshi / "lm.arpa").read_text()


def test_witten_bell_by_hand():
    model = bigram.estimate(SENTENCES)
    # 11 tokens of 3 types (a 3, b 4, </s> 4); after a: b twice, </s> once, so 2 types in 3 tokens.
    low_b = (4 + 3 / 3) / (11 + 3)
    assert 10 ** model.unigram["b"] == pytest.approx(low_b)
    assert 10 ** model.log10("a", "b") == pytest.approx((2 + 2 * low_b) / (3 + 2))
    assert 10 ** model.backoff["a"] == pytest.approx(2 / 5)


@pytest.mark.parametrize("vocabulary", [(), ("a", "b", "never")])
def test_each_history_sums_to_one(vocabulary):
    model = bigram.estimate(SENTENCES, vocabulary)
    words = set(model.unigram) - {"<s>"}
    assert words == {"a", "b", "</s>", *vocabulary}
    for history in ["<s>", "a", "b"]:
        assert sum(10 ** model.log10(history, w) for w in words) == pytest.approx(1)


def test_perplexity():
    model = bigram.estimate(SENTENCES)
    pairs = [("<s>", "b"), ("b", "a"), ("a", "</s>")]
    expected = 10 ** (-sum(model.log10(*pair) for pair in pairs) / 3)
    assert model.perplexity([["b", "a"]]) == pytest.approx(expected)
    with pytest.raises(UserError, match="no word 'c'"):
        model.perplexity([["c"]])


def test_file_there_and_back(tmp_path):
    text = bigram.estimate_bigram(SENTENCES)
    (tmp_path / "lm.arpa").write_text(text)
    assert bigram.read_arpa(tmp_path / "lm.arpa").arpa() == text


def test_g_scores_sentences_as_the_model(best_path):
    model = bigram.estimate(SENTENCES, ["rare"])
    words = {"<eps>": 0, "a": 1, "b": 2, "rare": 3, "#0": 4}
    g = bigram.grammar_fst(model, words)
    # Back-off arcs read #0, which has no place in a sentence; here each is taken at most once, between words.
    for sentence, reads in ((["a", "b"], [1, 2]), (["b", "rare", "a"], [2, 4, 3, 1]), ([], [])):
        pairs = zip(["<s>", *sentence], [*sentence, "</s>"])
        expected = -math.log(10) * sum(model.log10(h, w) for h, w in pairs)
        cost, outputs = best_path(g, reads)
        assert cost == pytest.approx(expected, abs=1e-5)
        assert [w for w in outputs if w] == [words[w] for w in sentence]


def test_g_is_kaldis(kaldi_mboshi, best_path):
    words = read_symbols(kaldi_mboshi / "data/lang_test_bg/words.txt")
    ours = bigram.grammar_fst(bigram.read_arpa(kaldi_mboshi / "lm.arpa"), words)
    kaldis = read_fst(kaldi_mboshi / "data/lang_test_bg/G.fst")
    rng = random.Random(1)
    for sentence in rng.sample(bigram.read_sentences(kaldi_mboshi / "data/train/text"), 30):
        reads = [words[w] for w in sentence]
        assert best_path(ours, reads)[0] == pytest.approx(best_path(kaldis, reads)[0], rel=1e-5)
    for _ in range(30):
        reads = [word for _ in range(5) for word in (words["#0"], rng.randint(2, 36))]
        reads.append(words["#0"])
        theirs = best_path(kaldis, reads)
        assert best_path(ours, reads)[0] == pytest.approx(theirs[0], rel=1e-5)


@pytest.mark.parametrize(
    "text, why",
    [
        ("\\data\\\n\\1-grams:\n-1 a\n", "not a whole ARPA"),
        ("\\1-grams:\nx a\n\\end\\\n", "lm.arpa:2: 'x a' is not an entry of order 1"),
        ("\\1-grams:\n-1 a\n\\3-grams:\n\\end\\\n", "lm.arpa:3: .*only unigrams and bigrams"),
    ],
)
def test_bad_arpa_is_said(tmp_path, text, why):
    (tmp_path / "lm.arpa").write_text(text)
    with pytest.raises(UserError, match=why):
        bigram.read_arpa(tmp_path / "lm.arpa")


def test_no_text_is_said():
    with pytest.raises(UserError, match="no training sentences"):
        bigram.estimate([])


def test_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "text").write_text("u1 a b a\nu2 b\n")
    monkeypatch.setattr(sys, "argv", ["bigram", str(tmp_path / "text"), str(tmp_path / "lm.arpa")])
    bigram.main()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--perplexity"])
    bigram.main()
    assert 1 < float(capsys.readouterr().out) < 4
