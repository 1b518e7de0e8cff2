"""Score maps, optional tokens, choosing weights, tables, and every way the input can be wrong."""

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from frenchpress.common import UserError, locked_dir
from frenchpress.score.align import SCLITE
from frenchpress.score.breakdown import per_speaker, per_token
from frenchpress.score.choose import Split, evaluate, tune, write_decoded
from frenchpress.score.counts import MIN_SPEAKERS, Counts, bootstrap_interval, units
from frenchpress.score.scoring import Scoring
from frenchpress.score.transcripts import read_score_map, read_tokens, read_transcripts
from frenchpress.score.weights import Grid, Weights, best_of, beyond, edges

MAP = {"sil": "sil", "cl": "sil", "ix": "ih", "ih": "ih", "t": "t", "q": None}
REFS = {"u1": ["sil", "ix", "t", "q", "sil"], "u2": ["ih", "cl", "t"]}
HYPS = {"u1": ["ih", "t"], "u2": ["ix", "t", "t"]}


def test_map_merges_and_removes_on_both_sides():
    scored = Scoring(MAP).score(REFS, HYPS)
    assert scored.refs == [["sil", "ih", "t", "sil"], ["ih", "sil", "t"]]
    assert scored.hyps == [["ih", "t"], ["ih", "t", "t"]]
    assert scored.counts == Counts(7, insertions=0, deletions=2, substitutions=1)


def test_optional_tokens_switch_to_sclite_and_forgive():
    scoring = Scoring(MAP, frozenset({"sil"}))
    assert scoring.used_costs.name == "sclite"
    assert scoring.score(REFS, HYPS).counts == Counts(7, 0, 0, 1)


def test_kaldi_line():
    assert Counts(4867, 292, 623, 720).line() == "%WER 33.59 [ 1635 / 4867, 292 ins, 623 del, 720 sub ]"


def test_interval_matches_theory_and_is_reproducible():
    rng = np.random.default_rng(0)
    tokens = np.full(400, 30)
    errors = rng.binomial(30, 0.2, 400)
    table = np.stack([tokens, np.zeros(400, int), np.zeros(400, int), errors], axis=1)
    low, high = bootstrap_interval(table)
    spread = 1.96 * 100 * (errors / 30).std() / np.sqrt(400)
    middle = 100 * errors.sum() / tokens.sum()
    assert abs(low - (middle - spread)) < 0.1
    assert abs(high - (middle + spread)) < 0.1
    assert bootstrap_interval(table) == (low, high)


def test_tables_add_up():
    scored = Scoring(MAP, frozenset({"sil"})).score(REFS, HYPS)
    speakers = per_speaker(scored, {"u1": "anna", "u2": "bert"}).splitlines()
    assert [line.split() for line in speakers[1:]] == [
        ["anna", "1", "4", "0.00", "0", "0", "0"],
        ["bert", "1", "3", "33.33", "0", "0", "1"],
        ["all", "2", "7", "14.29", "0", "0", "1"],
    ]
    phones = [line.split() for line in per_token(scored).splitlines()[1:]]
    assert phones[0] == ["sil", "3", "0", "1", "0", "2", "0", "33.3", "t:1"]
    assert sum(int(row[1]) for row in phones) == scored.counts.tokens


def test_per_speaker_wants_every_speaker():
    with pytest.raises(UserError, match="u2 has no speaker"):
        per_speaker(Scoring(MAP).score(REFS, HYPS), {"u1": "anna"})


def split(refs=REFS):
    return Split("dev", refs, {u: u for u in refs}, "data/dev/text")


def test_fewest_errors_then_inside_then_the_smaller_weights():
    grid = Grid.of([0.1], [1, 2, 3, 4])
    assert list(grid) == [Weights(0.1, w) for w in (1, 2, 3, 4)]
    assert best_of({w: 5 for w in grid}, grid) == Weights(0.1, 2)
    assert best_of({w: 5 - (w.lm_weight == 4) for w in grid}, grid) == Weights(0.1, 4)


def test_an_end_is_one_only_where_nothing_else_does_as_well():
    grid = Grid.of([0.1, 0.2], [1, 2, 3])

    def ends(best):
        return edges({w: 9 - best.get((w.acoustic_scale, w.lm_weight), 0) for w in grid}, grid)

    assert ends({(0.1, 3): 2}) == {"acoustic_scale": 0, "lm_weight": -1}
    assert ends({(0.2, 1): 2, (0.1, 2): 1}) == {"acoustic_scale": -1, "lm_weight": 0}
    assert ends({(0.1, 3): 2, (0.2, 2): 2}) == {}
    assert ends({(0.1, 2): 2}) == {"acoustic_scale": 0}
    fixed = Grid.of([0.7], [2])
    assert edges({w: 1 for w in fixed}, fixed) == {}


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((1, 2, 15), [0.5], [15 + 13]),
        ((1, 1.25, 4, 5), [0.75, 0.5], [6, 7, 8, 9, 10]),
        ((0.5, 0.7), [0.3], [0.9, 1.1, 1.3]),
        ((8, 10), [6, 4], [12, 14, 16, 18, 20]),
    ],
)
def test_a_grid_goes_on_in_its_last_step(values, low, high):
    assert (beyond(values, 0), beyond(values, -1)) == (pytest.approx(low), pytest.approx(high))


def peaked(best, asked):
    """A search whose hypotheses are the better the nearer the LM weight lies to `best`."""

    def search(split, grid):
        asked.append(grid)
        return {w: {"u": ["t"] * 9 + ["x"] * round(4 * abs(w.lm_weight - best))} for w in grid}

    return search


@pytest.mark.parametrize(
    ("best", "chosen", "rounds", "said"),
    [
        (7, 7, 1, ""),
        (22, 22, 2, "end of 1 to 15: tried 1 to 30, chose 22"),
        (45, 45, 3, "end of 1 to 15: tried 1 to 60, chose 45"),
        (90, 60, 3, "end of 1 to 15: tried 1 to 60, chose 60 (limit)"),
        (0.5, 0.5, 3, "end of 1 to 15: tried 0.25 to 15, chose 0.5"),
        (0.1, 0.25, 3, "end of 1 to 15: tried 0.25 to 15, chose 0.25 (limit)"),
    ],
)  # fmt: skip
def test_a_grid_grows_where_the_best_lies_at_its_end(best, chosen, rounds, said):
    asked = []
    dev = Split("dev", {"u": ["t"] * 9}, {"u": "s"}, "data/dev/text")
    tuned = tune(Scoring(), dev, peaked(best, asked), Grid.of([0.1], range(1, 16)))
    assert tuned.chosen == {"PER": Weights(0.1, chosen)}
    said = said.replace("end of", "the best LM weight lay at the end of")
    assert (len(asked), tuned.line) == (rounds, said.replace(" (limit)", ", at the limit of what is tried"))
    every = [w for grid in asked for w in grid]
    assert len(every) == len(set(every)) and set(every) == set(tuned.grid)


def test_silence_left_out_is_chosen_for_itself():
    """Where silence is optional an inserted one is an error; with it taken out it is none."""
    scoring = Scoring(MAP, frozenset({"sil"}))
    dev = Split("dev", {"u": ["sil", "t", "ih", "t"]}, {"u": "s"}, "data/dev/text")
    hyps = {1: ["t"], 2: ["t", "t", "t"], 3: ["t", "sil", "ih", "sil", "t", "sil"], 4: ["t"]}
    tuned = tune(scoring, dev, lambda _, grid: {w: {"u": hyps[w.lm_weight]} for w in grid}, Grid.of([0.1], hyps))
    assert {name: w.lm_weight for name, w in tuned.chosen.items()} == {"PER": 2, "without_silence": 3}
    assert tuned.scores["PER"][Weights(0.1, 2)].counts == Counts(4, 0, 0, 1)
    assert tuned.scores["without_silence"][Weights(0.1, 3)].counts == Counts(3, 0, 0, 0)


def test_the_line_on_a_wider_grid_names_both_choices():
    """As LM weights grow, inserted silence goes; the phones are right from 6 on."""
    dev = Split("dev", {"u": ["sil", "t", "ih", "t"]}, {"u": "s"}, "data/dev/text")

    def search(_, grid):
        said = {w: ["t", "ih", "t"] if w.lm_weight >= 6 else ["t"] for w in grid}
        return {w: {"u": words + ["sil"] * round(max(9 - w.lm_weight, 0))} for w, words in said.items()}

    tuned = tune(Scoring(MAP, frozenset({"sil"})), dev, search, Grid.of([0.1], [1, 2, 3, 4, 5]))
    assert tuned.line == (
        "the best LM weight lay at the end of 1 to 5: tried 1 to 10, chose 9 (6 without silence)"
    )  # fmt: skip


def test_without_silence_counts_as_taking_it_out_by_hand():
    scored = Scoring(MAP, frozenset({"sil"})).without_silence().score(REFS, HYPS)
    assert scored.refs == [["ih", "t"], ["ih", "t"]]
    assert scored.counts == Scoring(None, costs=SCLITE).score(
        {"u1": ["ih", "t"], "u2": ["ih", "t"]}, {"u1": ["ih", "t"], "u2": ["ih", "t", "t"]}
    ).counts  # fmt: skip
    assert Scoring({"a": "a", "sil": None}).without_silence() == Scoring({"a": "a", "sil": None})
    assert Scoring({"a": "a", "sil": "sil"}).without_silence() is None


def test_speakers_are_resampled_if_there_are_enough():
    utts = [f"u{n}" for n in range(12)]
    by = units(utts, {utt: f"s{n % MIN_SPEAKERS}" for n, utt in enumerate(utts)})
    table = np.arange(48).reshape(12, 4)
    assert (by.over, by.speakers) == ("speakers", MIN_SPEAKERS)
    assert np.array_equal(by.sums(table), [table[n::MIN_SPEAKERS].sum(0) for n in range(MIN_SPEAKERS)])
    few = units(utts, {utt: f"s{n % (MIN_SPEAKERS - 1)}" for n, utt in enumerate(utts)})
    assert (few.over, few.speakers) == ("utterances", MIN_SPEAKERS - 1)
    assert np.array_equal(few.sums(table), table)
    assert units(utts, None).speakers is None


def test_speakers_that_differ_widen_the_interval():
    """Ten speakers of ten utterances each, with a rate of their own: ten measurements and not a hundred."""
    rates = np.repeat(np.arange(10) * 4 + 2, 10)
    table = np.stack([np.full(100, 40), rates * 0, rates * 0, rates // 4], axis=1)
    by = units([str(n) for n in range(100)], {str(n): str(n // 10) for n in range(100)})
    narrow, wide = bootstrap_interval(table), bootstrap_interval(by.sums(table))
    assert 2.5 < (wide[1] - wide[0]) / (narrow[1] - narrow[0]) < 3.6  # the root of 10


def test_decode_directory_and_per_file(tmp_path):
    weights = Weights(0.1, 2)
    scored = Scoring(MAP).score(REFS, HYPS)
    stats = write_decoded(tmp_path / "decode_dev", split(), scored, HYPS, weights, {"k": 1}, {"beam": 13.0})
    names = {p.name for p in (tmp_path / "decode_dev").iterdir()}
    assert names == {
        "hyp.txt",
        "hyp.mapped",
        "ref",
        "per_speaker",
        "per_phone",
        "per_utt",
        "utt2spk",
        "stats.yaml",
        ".done",
    }
    assert read_transcripts(tmp_path / "decode_dev/hyp.txt") == HYPS
    assert yaml.safe_load((tmp_path / "decode_dev/stats.yaml").read_text()) == stats
    assert stats["beam"] == 13.0


TEST_REFS = {"u3": ["t", "t"], "u4": ["ih"]}
SEARCHED = {
    "dev": {
        Weights(0.1, 1): {u: [] for u in REFS},
        Weights(0.1, 2): HYPS,
        Weights(0.1, 3): {u: [] for u in REFS},
        Weights(0.2, 1): {u: [] for u in REFS},
        Weights(0.2, 2): {u: [] for u in REFS},
        Weights(0.2, 3): {u: [] for u in REFS},
    },
    "test": {Weights(0.1, 1): TEST_REFS, Weights(0.1, 2): {"u3": ["t"], "u4": ["t"]}, Weights(0.1, 3): TEST_REFS},
}


class FakeSearch:
    """Hands out SEARCHED and remembers what it was asked."""

    def __init__(self, fail_on=None):
        self.asked, self.fail_on = [], fail_on

    def __call__(self, split, grid):
        self.asked.append((split.name, list(grid.acoustic_scale)))
        if split.name == self.fail_on:
            raise KeyboardInterrupt
        return {w: SEARCHED[split.name].get(w, {u: [] for u in split.refs}) for w in grid}


def run_evaluate(out, search, key="a"):
    test = Split("test", TEST_REFS, {u: u for u in TEST_REFS}, "data/test/text")
    return evaluate(out, Scoring(MAP), split(), test, search, Grid.of([0.1, 0.2], [1, 2, 3]), {"k": key})


def test_weights_are_chosen_on_dev_and_test_is_scored_once(tmp_path):
    search = FakeSearch()
    text = run_evaluate(tmp_path, search)
    assert search.asked == [("dev", [0.1, 0.2]), ("dev", [0.05]), ("test", [0.1])]
    dev, widened, test, oracle = text.splitlines()
    assert re.fullmatch(
        r"%WER 42\.86 \[ 3 / 7, 0 ins, 2 del, 1 sub \] dev 95%=\[[\d.]+, [\d.]+\] over=utterances speakers=2 "
        r"utterances=2 phones=7 "
        r"acoustic_scale=0.1 lm_weight=2",
        dev,
    )
    assert test.startswith("%WER 66.67 [ 2 / 3, 0 ins, 1 del, 1 sub ] test ")
    assert oracle.startswith("%WER 0.00 [ 0 / 3, 0 ins, 0 del, 0 sub ] test oracle")
    assert "no result; acoustic_scale=0.1 lm_weight=1" in oracle
    assert (tmp_path / "PER").read_text() == text


def test_a_finished_directory_says_what_was_tried(tmp_path):
    text = run_evaluate(tmp_path, FakeSearch())
    stats = yaml.safe_load((tmp_path / "decode_dev/stats.yaml").read_text())
    assert stats["tried"] == {"acoustic_scale": [0.05, 0.1, 0.2], "lm_weight": [1, 2, 3]}
    assert f"dev: {stats['widened']}\n" in text
    assert (stats["speakers"], stats["interval_over"]) == (2, "utterances")


def test_interrupted_evaluation_goes_on_and_ends_alike(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(tmp_path / "a", FakeSearch(fail_on="test"))
    search = FakeSearch()
    text = run_evaluate(tmp_path / "a", search)
    assert search.asked == [("test", [0.1])]
    assert text == run_evaluate(tmp_path / "b", FakeSearch())
    for file in ("decode_dev/stats.yaml", "decode_test/stats.yaml", "decode_test/per_phone", "PER"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    again = FakeSearch()
    assert run_evaluate(tmp_path / "a", again) is None
    (tmp_path / "a/PER").write_text("of an older model\n")
    assert run_evaluate(tmp_path / "a", again) == text
    assert again.asked == []
    run_evaluate(tmp_path / "a", again, key="another model")
    assert [name for name, _ in again.asked] == ["dev", "dev", "test"]


def test_second_writer_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("frenchpress.common.files.LOCK_PATIENCE", 0.0)
    with locked_dir(tmp_path), pytest.raises(UserError, match="another run is writing here"):
        run_evaluate(tmp_path, FakeSearch())


@pytest.mark.parametrize(
    ("refs", "hyps", "message"),
    [
        (REFS, {"u1": ["t"]}, "1 of 2 utterances of reference are missing, first u2"),
        (REFS, HYPS | {"u9": []}, "1 utterances are not in reference, first u9"),
        (REFS, HYPS | {"u2": ["zz"]}, "utterance u2: phone zz is not in the score map"),
        ({"u1": ["q"]}, {"u1": ["t"]}, "not one scored phone"),
    ],
)
def test_what_cannot_be_scored_is_refused(refs, hyps, message):
    with pytest.raises(UserError, match=message):
        Scoring(MAP).score(refs, hyps)


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_transcripts, "u1 a\nu1 b\n", ":2: utterance u1 is there twice"),
        (read_transcripts, "u1 a\n\n", ":2: empty line"),
        (read_transcripts, "", "no utterances"),
        (read_score_map, "a b c\n", ":1: expected a phone and what"),
        (read_score_map, "a b\na c\n", ":2: phone a is there twice"),
        (read_score_map, "a\n", "no phone is scored"),
        (read_tokens, "a b\n", ":1: expected one token"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, reader, text, message):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}.*{message}"):
        reader(path)


def test_optional_token_must_be_a_scored_phone(tmp_path):
    (tmp_path / "map").write_text("cl sil\nt t\n")
    (tmp_path / "optional").write_text("cl\n")
    with pytest.raises(UserError, match="cl is no scored phone"):
        Scoring.load(tmp_path / "map", tmp_path / "optional")


def run_per(*arguments):
    command = [sys.executable, "-m", "frenchpress.score.per", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_line(tmp_path):
    (tmp_path / "ref").write_text("u1 sil a b\nu2 a\n")
    (tmp_path / "hyp").write_text("u1 a b\nu2 b\n")
    (tmp_path / "map").write_text("sil sil\na a\nb b\n")
    (tmp_path / "optional").write_text("sil\n")
    both = ("--ref", tmp_path / "ref", "--hyp", tmp_path / "hyp")
    plain = run_per(*both)
    assert plain.stdout.splitlines()[0] == "%WER 50.00 [ 2 / 4, 0 ins, 1 del, 1 sub ]"
    lenient = run_per(*both, "--score-map", tmp_path / "map", "--optional", tmp_path / "optional")
    assert lenient.stdout.splitlines()[0] == "%WER 25.00 [ 1 / 4, 0 ins, 0 del, 1 sub ]"
    assert "over utterances, 2 utterances, 4 phones, counted as sclite" in lenient.stdout
    assert "without silence: %WER 33.33 [ 1 / 3, 0 ins, 0 del, 1 sub ]" in lenient.stdout
    bad = run_per("--ref", tmp_path / "ref", "--hyp", tmp_path / "nowhere")
    assert (bad.returncode, bad.stderr) == (1, f"error: {tmp_path / 'nowhere'}: no such file\n")
