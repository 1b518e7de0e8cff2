"""Alignment: against compute-wer and sclite on real hypotheses, and on cases worked out by hand."""

import re

import numpy as np
import pytest

from frenchpress.score.align import COMPUTE_WER, SCLITE, align, paired
from frenchpress.score.counts import count_table, total
from frenchpress.score.scoring import Scoring
from frenchpress.score.transcripts import read_transcripts

SYSTEMS = ["mono", "tri1", "tri2", "tri3"]


def golden_lines(kaldi_mboshi):
    return (kaldi_mboshi / "golden/scoring/per.txt").read_text().splitlines()


def score(kaldi_mboshi, system, split, costs):
    where = kaldi_mboshi / "golden/scoring"
    refs, hyps = read_transcripts(where / f"{split}.ref"), read_transcripts(where / f"{system}.{split}.hyp")
    return Scoring(costs=costs).score(refs, hyps)


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_counts_are_those_of_compute_wer(kaldi_mboshi, system, split):
    line = next(t for t in golden_lines(kaldi_mboshi) if t.startswith(f"{system} {split} "))
    assert score(kaldi_mboshi, system, split, COMPUTE_WER).counts.line() == line[line.index("%WER") :]


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_counts_are_those_of_sclite(kaldi_mboshi, system, split):
    line = next(t for t in golden_lines(kaldi_mboshi) if f") {system} {split} " in t)
    utts, phones, correct, sub, dele, ins, errors, with_errors = map(int, re.findall(r"\b\d+\b", line))
    scored = score(kaldi_mboshi, system, split, SCLITE)
    counts = scored.counts
    assert (counts.substitutions, counts.deletions, counts.insertions) == (sub, dele, ins)
    assert counts.errors == errors
    assert (len(scored.utts), counts.tokens) == (utts, phones)
    assert counts.tokens - sub - dele == correct
    assert int((scored.table[:, 1:].sum(axis=1) > 0).sum()) == with_errors


def counts_of(ref, hyp, optional=(), costs=SCLITE):
    return total(count_table(align([ref.split()], [hyp.split()], optional, costs)))


@pytest.mark.parametrize("costs", [COMPUTE_WER, SCLITE])
@pytest.mark.parametrize(
    ("ref", "hyp", "errors"),
    [("a b", "a b", 0), ("a b", "", 2), ("", "a", 1), ("a b c", "a x c", 1), ("a b", "b a", 2), ("", "", 0)],
)
def test_errors_by_hand(costs, ref, hyp, errors):
    assert counts_of(ref, hyp, (), costs).errors == errors


@pytest.mark.parametrize("costs", [COMPUTE_WER, SCLITE])
def test_optional_token_may_be_left_out_and_counts_as_right(costs):
    counts = counts_of("sil a sil b sil", "a b", {"sil"}, costs)
    assert (counts.errors, counts.tokens) == (0, 5)
    assert counts_of("sil a sil b sil", "a b", (), costs).deletions == 3


@pytest.mark.parametrize("costs", [COMPUTE_WER, SCLITE])
def test_optional_token_inserted_or_mistaken_is_an_error(costs):
    assert counts_of("a b", "a sil b", {"sil"}, costs).insertions == 1
    assert counts_of("a sil b", "a x b", {"sil"}, costs).errors == 1


def test_sclite_prefers_a_substitution_to_omitting_and_inserting():
    assert counts_of("a sil b", "a x b", {"sil"}, SCLITE).substitutions == 1  # 4 against 2 + 3


def test_pairs_spell_both_sides():
    ref, hyp = list("abcd"), list("xaccd")
    (ops,) = align([ref], [hyp])
    pairs = paired(ops, ref, hyp)
    assert [r for r, _ in pairs if r] == ref
    assert [h for _, h in pairs if h] == hyp
    assert pairs == [(None, "x"), ("a", "a"), ("b", "c"), ("c", "c"), ("d", "d")]


def brute_force(ref, hyp, memo):
    if not ref or not hyp:
        return len(ref) + len(hyp)
    if (ref, hyp) not in memo:
        memo[ref, hyp] = min(
            brute_force(ref[1:], hyp[1:], memo) + (ref[0] != hyp[0]),
            brute_force(ref[1:], hyp, memo) + 1,
            brute_force(ref, hyp[1:], memo) + 1,
        )
    return memo[ref, hyp]


def test_batches_of_mixed_lengths_agree_with_a_recursion():
    rng = np.random.default_rng(3)
    refs = ["".join(rng.choice(list("abc"), rng.integers(0, 12))) for _ in range(60)]
    hyps = ["".join(rng.choice(list("abc"), rng.integers(0, 12))) for _ in range(60)]
    table = count_table(align(refs, hyps))
    assert table[:, 1:].sum(axis=1).tolist() == [brute_force(r, h, {}) for r, h in zip(refs, hyps)]
    assert table[:, 0].tolist() == [len(r) for r in refs]
