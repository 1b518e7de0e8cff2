"""Systems held against each other: what is paired, taken together, and refused."""

import random
import sys

import numpy as np
import pytest
import yaml

from frenchpress.common import UserError, digest, mark_done
from frenchpress.report import compare
from frenchpress.score.choose import Split, write_decoded
from frenchpress.score.scoring import Scoring
from frenchpress.score.weights import Weights

generator = random.Random(2)
REFS = {f"u{n:02}": generator.choices("abc", k=12) for n in range(24)}
SPEAKERS = {utt: f"s{int(utt[1:]) % 6}" for utt in REFS}


def decoded(exp, name, wrong, seed=1, config=None, refs=REFS):
    """An experiment whose result has `b` for every `a` of the utterances of the speakers in `wrong`."""
    place = exp / name
    place.mkdir(parents=True)
    if config is not None:
        (place / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "decode": {}, **config}))
        (place / "final.pt").write_bytes(name.encode())
        (place / "train.yaml").write_text(yaml.safe_dump({"epochs": 3, "seconds": 60}))
    hyps = {utt: [p if SPEAKERS[utt] not in wrong or p != "a" else "b" for p in refs[utt]] for utt in refs}
    key = {"model": digest(place / "final.pt")} if config is not None else {}
    for split in ("dev", "test"):
        scored = Scoring().score(refs, hyps)
        write_decoded(place / f"decode_{split}", Split(split, refs, SPEAKERS, "text"), scored, hyps, Weights(1, 1), key)
    mark_done(place, {})


def said(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    compare.main()
    return capsys.readouterr().out


def row(text, name):
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_two_systems(tmp_path, monkeypatch, capsys):
    decoded(tmp_path, "one", ["s0"], config={"train": {"epochs": 3}})
    decoded(tmp_path, "other", ["s0", "s1", "s2"], seed=7, config={"train": {"epochs": 4, "init": "one"}})
    text = said(monkeypatch, capsys, tmp_path / "one", tmp_path / "other")
    assert "# test: speakers 6, utterances 24, phones 288\n" in text
    assert "the same\n  speakers for both. An" in text and "too narrow" not in text
    wrong = {s: sum(REFS[u].count("a") for u in REFS if SPEAKERS[u] == s) for s in ("s0", "s1", "s2")}
    more = wrong["s1"] + wrong["s2"]
    found = row(text, str(tmp_path / "other"))
    assert found[1:5] == ["1", "3 of 6", "one", f"{100 * sum(wrong.values()) / 288:.2f}"]
    assert found[5].startswith(f"{100 * more / 288:+.2f} [+")
    assert found[6] == "0 %" and float(found[7].split()[0]) < 0.001
    assert "- `train.epochs`: 3 -> 4" in text and "- `train.init`: None -> one" in text and "- `seed`: 1 -> 7" in text
    assert "Speakers: 0 better, 2 worse, 4 the same." in text and "- epochs: 3 -> 3 of 6" in text
    assert row(text, "s1")[-1] == f"{100 * wrong['s1'] / 48:+.1f}"
    counts = [str(n) for n in (sum(r.count("a") for r in REFS.values()), wrong["s0"], sum(wrong.values()), 0, 0)]
    assert row(text, "a") == ["a", *counts, f"+{more}"]


def test_seeds_are_one_system_by_their_mean(tmp_path, monkeypatch, capsys):
    for seed, wrong in ((1, ["s0"]), (2, ["s0", "s1"])):
        decoded(tmp_path, f"a_seed{seed}", wrong, seed, {"x": 1})
        decoded(tmp_path, f"b_seed{seed}", ["s2"], seed, {"x": 2})
    places = [tmp_path / f"{name}_seed{seed}" for name in "ab" for seed in (1, 2)]
    systems = compare.read_systems(places, "test")
    assert [s.name for s in systems] == [str(tmp_path / "a"), str(tmp_path / "b")]
    text = said(monkeypatch, capsys, *places)
    errors = [np.mean([sum(a.errors()) for a in s.aligned]) for s in systems]
    assert row(text, str(tmp_path / "a"))[1:] == ["2", "3", "-", f"{100 * errors[0] / 288:.2f}", "-", "-", "-"]
    found = row(text, str(tmp_path / "b"))
    assert found[5].startswith(f"{100 * (errors[1] - errors[0]) / 288:+.2f} [") and found[7] == "-"
    assert "and seeds of each" in text and "- `x`: 1 -> 2" in text and "- `seed`" not in text


def test_systems_without_a_configuration(tmp_path, monkeypatch, capsys):
    decoded(tmp_path, "tri3", ["s0"])
    decoded(tmp_path, "lstm", [], config={"x": 1})
    text = said(monkeypatch, capsys, "--split", "dev", tmp_path / "tri3", tmp_path / "lstm")
    assert row(text, str(tmp_path / "lstm"))[5].startswith("-") and "has no configuration" in text
    assert "# dev: speakers 6" in text


def test_what_cannot_be_compared_is_refused(tmp_path):
    decoded(tmp_path, "a_seed1", [], 1, {"x": 1})
    decoded(tmp_path, "a_seed2", [], 2, {"x": 1})
    decoded(tmp_path, "short", [], 1, {"x": 1}, {utt: REFS[utt] for utt in sorted(REFS)[:20]})
    one = tmp_path / "a_seed1"
    with pytest.raises(UserError, match="expected at least two systems"):
        compare.read_systems([one, tmp_path / "a_seed2"], "test")
    with pytest.raises(UserError, match=r"short/decode_test: scored on other utterances .*first u20"):
        compare.read_systems([one, tmp_path / "short"], "test")
    with pytest.raises(UserError, match="nowhere: no decode_test in it"):
        compare.read_systems([one, tmp_path / "nowhere"], "test")
    (tmp_path / "short/final.pt").write_bytes(b"new")
    with pytest.raises(UserError, match="short: trained anew since it was decoded"):
        compare.read_systems([one, tmp_path / "short"], "test")
