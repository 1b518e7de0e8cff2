"""A space.yaml, and one clear line with file and line for each mistake in it."""

import pytest
from made_space import RUNGS, SPACE, write_space

from frenchpress.common import UserError
from frenchpress.explore.load import load_space
from frenchpress.explore.space import run_name
from frenchpress.explore.variables import Variable


def test_a_design_is_a_configuration(tmp_path):
    space = load_space(write_space(tmp_path, SPACE + RUNGS))
    values = {"bits": 3, "structure": "bank", "bank": 8, "train.lr.lstm": 0.002}
    short, long = space.config(values, "short"), space.config(values, "long", "abc")
    assert short.compress["lstm*"].weight_bits == 3 and short.compress["lstm*"].mask["bank"] == 8
    assert short.train.lr.lstm == 0.002 and short.train.init is None
    assert (long.train.init, long.train.epochs) == ("abc", 2)
    assert run_name(short, "task") == run_name(space.config(values, "short"), "task") != run_name(short, "other")


def test_conditions(tmp_path):
    space = load_space(write_space(tmp_path))
    dense, bank = {"bits": 2, "structure": "dense"}, {"bits": 2, "structure": "bank"}
    assert [name for name, _ in space.active(dense)] == ["bits", "structure", "train.lr.lstm"]
    assert [name for name, _ in space.active(bank)] == ["bits", "structure", "bank", "train.lr.lstm"]


def test_grid_of_numbers():
    assert Variable(low=2, high=8, step=3).grid() == [2, 5, 8]
    assert Variable(low=0.0, high=0.3, step=0.1).grid() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert Variable(choices=[[32, 2], [64, 4]]).grid() == ["[32, 2]", "[64, 4]"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('{weight_bits: "{bits}"}', '{weight_bit: "{bits}"}', r"space.yaml:5: compress.lstm\*.weight_bit: unknown key"),
        ("[2, 3, 4, 5, 6, 8]", "[2, 3, 99]", r"space.yaml:.*weight_bits: 99 is not a number of bits"),
        ("train.lr.lstm: ", "train.lr.lsmt: ", r"space.yaml:13: train.lr.lsmt: unknown key; did you mean lstm\?"),
        ("bits: {", "bitz: {", r"space.yaml:7: vary.bitz: changes nothing"),
        ("when: {structure: bank}", "when: {structure: banks}", r"vary.bank: when: structure: no choice 'banks'; did"),
        ("when: {structure: bank}", "when: {form: bank}", r"vary.bank: when: no choices of form are said before it"),
        (", when: {structure: bank}", "", None),
        ("dense: {}", 'dense: {train: {batch: "{bank}"}}', r"space.yaml:10: train.batch: \{bank\}: is not chosen here"),
        ("low: 1e-4, high: 1e-2", "low: 1e-2, high: 1e-4", r"space.yaml:13: vary.train.lr.lstm.low: 0.01 must be"),
        ("low: 1e-4", "low: 0", r"low must be above 0"),
        ("minimise: [dev_frame_error, ", "minimise: [dev_frame_eror, ", r"unknown metric 'dev_frame_eror'"),
        ("minimise: [dev_frame_error, ", "minimise: [cycles, ", r"cycles: is of a chip; say which: `chip: "),
        ("trials: 6", "trials: 0", r"space.yaml:16: trials: 0 is out of range; it must be at least 1"),
        ("trials: 6", "trial: 10", r"space.yaml:16: trial: unknown key; did you mean trials\?"),
        ("trials: 6", "", r"trials: missing, such as `trials: 60`"),
        ("base: ../small.cfg", "base: ../smal.cfg", r"space.yaml:2: base: no file .*smal.cfg"),
        ("population: 3", "population: 3, sampler: tpa", r"search.sampler: expected nsga2 or tpe or random or grid"),
        ("population: 3", "sampler: grid", r"vary.train.lr.lstm: a grid needs choices, whole numbers or a step"),
        ("population: 3", "sampler: random, beside: random", r"beside: random is the sampler itself; use none"),
        ("trials: 6", "trials: 6\nconstraints: {stored_bytes: <= 0 B}", r"space.yaml:17: constraints.stored_bytes: "),
        ("trials: 6", 'trials: 6\nrungs: {one: {overrides: {train: {init: "{below}"}}}}', r"the lowest rung has none"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, old, new, said):
    assert old in SPACE
    recipe = write_space(tmp_path, SPACE.replace(old, new))
    if said is None:
        load_space(recipe)
        return
    with pytest.raises(UserError, match=said) as caught:
        load_space(recipe)
    assert "\n" not in str(caught.value)
