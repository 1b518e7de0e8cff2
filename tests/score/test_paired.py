"""Two systems on the same speech: what is read back, the paired bootstrap and the matched-pairs test, each against a
plain version of it."""

import itertools
import math
import random
import re

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.score.breakdown import per_utt
from frenchpress.score.paired import Aligned, check_same, matched_pairs, paired_bootstrap, segments
from frenchpress.score.scoring import Scoring


def random_text(generator, count=30):
    return {f"u{n:02}": generator.choices("abcs", k=generator.randrange(1, 20)) for n in range(count)}


def garbled(generator, text, rate):
    """Every token may be replaced, left out, or followed by another."""
    result = {}
    for utt, tokens in text.items():
        made = [generator.choices([[t], ["b"], [], [t, "c"]], [1 - rate, rate, rate, rate])[0] for t in tokens]
        result[utt] = [token for part in made for token in part]
    return result


def written(path, text, hyps, optional=()):
    scored = Scoring(optional=frozenset(optional)).score(text, hyps)
    path.mkdir()
    (path / "per_utt").write_text(per_utt(scored))
    (path / "utt2spk").write_text("".join(f"{utt} s{int(utt[1:]) % 6}\n" for utt in scored.utts))
    return scored


@pytest.fixture
def two(tmp_path):
    generator = random.Random(3)
    text = random_text(generator)
    for name, rate in (("one", 0.1), ("other", 0.2)):
        written(tmp_path / name, text, garbled(generator, text, rate), "s")
    return [Aligned.load(tmp_path / name) for name in ("one", "other")]


def test_what_was_aligned_is_read_back(tmp_path):
    generator = random.Random(1)
    text = random_text(generator)
    text["u05"] = []
    hyps = garbled(generator, text, 0.15) | {"u03": []}
    scored = written(tmp_path / "x", text, hyps, "s")
    found = Aligned.load(tmp_path / "x")
    assert list(found.rows) == scored.utts
    assert [found.reference(utt) for utt in scored.utts] == scored.refs
    assert np.array_equal(found.errors(), scored.table[:, 1:].sum(1))
    assert np.array_equal(found.tokens(), scored.table[:, 0])
    lines = (tmp_path / "x/per_utt").read_text().splitlines()
    assert len({len(line.split()) for line in lines[:3]}) == 1
    assert lines[3].split()[1] == "#csid"


def test_paired_bootstrap_is_what_resampling_one_by_one_gives():
    """Every sample drawn from 3 units, all 27 of them as likely: the exact distribution."""
    one, other, tokens = np.array([[4, 1, 3]]), np.array([[2, 3, 1]]), np.array([10, 20, 10])
    exact = []
    for drawn in itertools.product(range(3), repeat=3):
        errors = sum(int(other[0][n] - one[0][n]) for n in drawn)
        exact.append(100 * errors / sum(int(tokens[n]) for n in drawn))
    found = paired_bootstrap(one, other, tokens)
    assert found.difference == pytest.approx(100 * (6 - 8) / 40)
    assert found.lower == pytest.approx(np.mean(np.array(exact) < 0), abs=0.02)
    assert found.interval == pytest.approx((min(exact), max(exact)))


def test_pairing_sees_what_separate_intervals_cannot():
    """A system that is a little better for every speaker, where speakers differ by far more."""
    base = np.arange(10, 60, 2)[None]
    found = paired_bootstrap(base, base - 1, np.full(25, 100))
    assert (found.difference, found.lower) == (-1.0, 1.0)
    assert found.interval == pytest.approx((-1.0, -1.0))


def test_seeds_that_differ_widen_the_interval():
    base, tokens = np.full((3, 20), 10.0), np.full(20, 100)
    other = base + np.array([[-3], [0], [3]])
    low, high = paired_bootstrap(base, other, tokens).interval
    assert -3 <= low < -1.5 and 1.5 < high <= 3
    assert paired_bootstrap(base, base, tokens).interval == (0.0, 0.0)


def plain_segments(one, other):
    """By words: each token is good (g) or bad (b), and so is each gap with an insertion; parted by two good tokens."""
    text = "".join(
        ("B" if a or b else "G") if n % 2 else ("b" if a or b else "") for n, (a, b) in enumerate(zip(one, other))
    )
    places = [n for n, (a, b) in enumerate(zip(one, other)) if n % 2 or a or b]
    result = []
    for part in re.finditer(r"[Bb](?:G?[Bb])*", text):
        inside = places[part.start() : part.end()]
        result.append((sum(one[n] for n in inside), sum(other[n] for n in inside)))
    return result


def test_segments_are_those_of_a_plain_search():
    generator = random.Random(5)
    for _ in range(300):
        length = 2 * generator.randrange(12) + 1
        one, other = (generator.choices([0, 1, 2], [12, 2, 1], k=length) for _ in range(2))
        assert list(segments(one, other)) == plain_segments(one, other)
    assert list(segments([0, 1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0])) == [(2, 0)]
    assert list(segments([0, 1, 0, 0, 0, 0, 0, 1, 0], [0] * 9)) == [(1, 0), (1, 0)]


def test_matched_pairs_by_hand(two):
    z = []
    for utt in two[0].rows:
        slots = []
        for side in two:
            gaps, tokens = [0], []
            for op in side.rows[utt][2]:
                if op == "I":
                    gaps[-1] += 1
                else:
                    tokens.append(op in "SD")
                    gaps.append(0)
            slots.append([x for pair in itertools.zip_longest(gaps, tokens) for x in pair if x is not None])
        z += [b - a for a, b in plain_segments(*slots)]
    mean = sum(z) / len(z)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in z) / (len(z) - 1))
    tail = 1 - 0.5 * (1 + math.erf(abs(mean) / (deviation / math.sqrt(len(z))) / math.sqrt(2)))
    found = matched_pairs(*two)
    assert (found.segments, found.mean) == (len(z), pytest.approx(mean))
    assert found.p == pytest.approx(2 * tail, rel=1e-6)
    assert matched_pairs(two[0], two[0]) is None


def test_what_cannot_be_paired_is_refused(tmp_path, two):
    with pytest.raises(UserError, match="per_utt: no such file; it was decoded by an earlier version"):
        Aligned.load(tmp_path)
    path = tmp_path / "one/per_utt"
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[:6]))
    with pytest.raises(UserError, match="utterance u01: damaged"):
        Aligned.load(tmp_path / "one")
    path.write_text("".join(text[4:]))
    with pytest.raises(UserError, match=r"one: scored on other utterances or references than .*other \(first u00\)"):
        check_same(two[1], Aligned.load(tmp_path / "one"))
    speakers = tmp_path / "one/utt2spk"
    speakers.write_text("".join(speakers.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"one/utt2spk: utterance u\d+ has no speaker; decode again"):
        Aligned.load(tmp_path / "one")
