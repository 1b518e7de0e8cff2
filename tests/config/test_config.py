"""Configurations: what may be said, how files extend each other, and what is said about bad ones."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_cfg import write_cfg

from frenchpress.common import UserError
from frenchpress.config import (
    config_differences,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    layer_presses,
    load_config,
)

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "conf").glob("*.cfg"))


def test_empty_file_is_the_published_float_model(tmp_path):
    config = load_config(write_cfg(tmp_path, "# nothing\n"))
    assert (config.seed, config.model.context, config.model.lstm.cells) == (2234, (5, 5), 512)
    assert all(press.weight_bits == 32 and press.hcgs is None for press in layer_presses(config).values())


def test_base_cfg_says_what_the_schema_defaults_to():
    written, default = load_config(ROOT / "conf/base.cfg"), config_from_dict({}, "defaults")
    differing = {key for key, _, _ in config_differences(config_to_dict(written), config_to_dict(default))}
    assert differing == {"compress.lstm*", "compress.head_*"}  # spelled out there, though all are float
    assert layer_presses(written) == layer_presses(default)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_files_load_and_survive_being_written_out(path, tmp_path):
    config = load_config(path)
    assert load_config(write_cfg(tmp_path, config_to_yaml(config))) == config
    assert config_from_dict(config_to_dict(config), "x") == config


def test_shipped_points_are_the_published_ones():
    presses = layer_presses(load_config(ROOT / "conf/w8a16_hcgs10x.cfg"))
    lstm, head = presses["lstm1"].hcgs, presses["head_mono"].hcgs
    assert (lstm.blocks, lstm.asked_density) == ((32, 4), pytest.approx(1 / 10.667, rel=1e-4))
    assert (head.blocks, head.asked_density) == ((64, 4), pytest.approx(1 / 2.667, rel=1e-3))
    presses = layer_presses(load_config(ROOT / "conf/w6a13_hcgs16x.cfg"))
    for press in presses.values():
        assert (press.weight_bits, press.act_bits, press.hcgs.asked_density) == (6, 13, 1 / 16)


def test_extension_merges_key_by_key(tmp_path):
    text = "train: {epochs: 3, lr: {lstm: 0.1}}\ncompress: {'lstm*': {weight_bits: 8, act_bits: 9}}\n"
    write_cfg(tmp_path, text, "a.cfg")
    write_cfg(tmp_path, "base: a.cfg\ntrain: {lr: {head_cd: 0.2}}\ncompress: {'lstm*': {act_bits: 4}}\n", "b.cfg")
    config = load_config(write_cfg(tmp_path, "base: b.cfg\nmodel: {context: [1, 2]}\n"))
    assert (config.train.epochs, config.train.lr.lstm, config.train.lr.head_cd) == (3, 0.1, 0.2)
    press = layer_presses(config)["lstm0"]
    assert (press.weight_bits, press.act_bits, config.model.context) == (8, 4, (1, 2))


def test_exact_name_then_pattern_then_default(tmp_path):
    text = "compress: {default: {weight_bits: 3}, 'lstm*': {weight_bits: 4}, lstm1: {weight_bits: 5}}"
    presses = layer_presses(load_config(write_cfg(tmp_path, text)))
    assert {name: press.weight_bits for name, press in presses.items()} == {
        "lstm0": 4,
        "lstm1": 5,
        "head_cd": 3,
        "head_mono": 3,
    }


def test_a_default_that_is_left_no_layer_is_refused_after_the_patterns(tmp_path):
    write_cfg(tmp_path, "compress: {'lstm*': {weight_bits: 8}, 'head_*': {weight_bits: 4}}\n", "a.cfg")
    with pytest.raises(UserError, match=r"x\.cfg:2: compress\.default: lstm\* and head_\* leave no layer to it"):
        load_config(write_cfg(tmp_path, "base: a.cfg\ncompress: {default: {weight_bits: 6}}\n"))
    write_cfg(tmp_path, "compress: {default: {weight_bits: 2}, 'lstm*': {weight_bits: 8}}\n", "c.cfg")
    write_cfg(tmp_path, "base: c.cfg\ncompress: {'head_*': {weight_bits: 4}}\n", "d.cfg")
    load_config(tmp_path / "d.cfg")
    with pytest.raises(UserError, match=r"x\.cfg:2: compress\.default: lstm\* and head_\* leave no layer to it"):
        load_config(write_cfg(tmp_path, "base: d.cfg\ncompress: {default: {weight_bits: 6}}\n"))
    # In a base it is what was there before.
    write_cfg(tmp_path, "compress: {default: {weight_bits: 6}}\n", "b.cfg")
    load_config(write_cfg(tmp_path, "base: b.cfg\ncompress: {'lstm*': {weight_bits: 8}, 'head_*': {weight_bits: 4}}"))


def test_a_pattern_that_is_left_no_layer_is_refused_after_their_names(tmp_path):
    write_cfg(tmp_path, "compress: {'lstm*': {weight_bits: 8}}\n", "a.cfg")
    write_cfg(tmp_path, "base: a.cfg\ncompress: {lstm0: {weight_bits: 4}, lstm1: {weight_bits: 2}}\n", "b.cfg")
    said = r"compress\.lstm\*: lstm0 and lstm1 leave no layer to it; say it of them"
    with pytest.raises(UserError, match=rf"x\.cfg:2: {said}"):
        load_config(write_cfg(tmp_path, "base: b.cfg\ncompress: {'lstm*': {act_bits: 4}}\n"))
    with pytest.raises(UserError, match=rf"--set compress\.lstm\*\.act_bits=4: {said}"):
        load_config(tmp_path / "b.cfg", ["compress.lstm*.act_bits=4"])
    with pytest.raises(UserError, match=rf"x\.cfg:1: {said}"):
        load_config(write_cfg(tmp_path, "compress: {lstm0: {}, lstm1: {}, 'lstm*': {act_bits: 4}}\n"))
    # What was legal is so when it is written out as one file.
    config = load_config(tmp_path / "b.cfg")
    (tmp_path / "c.cfg").write_text(config_to_yaml(config))
    assert layer_presses(load_config(tmp_path / "c.cfg")) == layer_presses(config)


@pytest.mark.parametrize("keep", ["[4/16, 0.25]", "['4/16', 1/4]"])
def test_fractions_both_ways(tmp_path, keep):
    config = load_config(write_cfg(tmp_path, f"compress: {{lstm0: {{hcgs: {{blocks: [32, 2], keep: {keep}}}}}}}"))
    assert config.compress["lstm0"].hcgs.keep == (Fraction(1, 4), Fraction(1, 4))


@pytest.mark.parametrize("said", ["fp16", "{method: top_k, ratio: 1/16}", "{method: power_sgd, rank: 2}"])
def test_traffic_is_a_word_or_a_section(tmp_path, said):
    config = load_config(write_cfg(tmp_path, f"train: {{workers: 2, traffic: {said}}}"))
    assert config.train.traffic == yaml.safe_load(said)
    assert config_from_dict(config_to_dict(config), "x") == config


def test_numbers_without_a_dot_are_numbers(tmp_path):
    assert load_config(write_cfg(tmp_path, "train: {eps: 1e-8, alpha: 0, clip: 5}")).train.eps == 1e-8


def test_overrides(tmp_path):
    path = write_cfg(tmp_path, "compress: {'lstm*': {weight_bits: 8}}")
    config = load_config(path, ["train.epochs=2", "compress.lstm*.weight_bits=4", "train.eps=1e-6", "seed=1"])
    assert (config.train.epochs, config.train.eps, config.seed) == (2, 1e-6, 1)
    assert config.compress["lstm*"].weight_bits == 4


BAD = {
    "unknown key": ("train:\n  epoch: 3", [":2: train.epoch: unknown key; did you mean epochs?"]),
    "option of a method": (
        "compress: {'lstm*': {weight_bits: 4, range: mse}}",
        ["range: unknown key; it is one of quantizer_options or act_options"],
    ),
    "star without quotes": (
        "compress: {*: {weight_bits: 4}}",
        [":1: not YAML: a name that begins with * needs quotes"],
    ),
    "stars without quotes": ("compress:\n  *lstm: {cell_bits: 4}", [":2: not YAML: a name that begins with *"]),
    "unknown section": ("trian: {}", [":1: trian: unknown key; did you mean train?"]),
    "unknown key, nothing near": (
        "model: {lstm: {zzz: 1}}",
        ["model.lstm.zzz", "the keys here are layers, cells"],
    ),
    "bool for int": ("train: {epochs: true}", ["train.epochs: expected a whole number, got true"]),
    "yes for int": ("train: {epochs: yes}", ["train.epochs: expected a whole number, got true"]),
    "int for bool": ("model: {lstm: {batch_norm: 1}}", ["batch_norm: expected true or false, got 1"]),
    "string for number": ("train: {alpha: high}", ["train.alpha: expected a number, got 'high'"]),
    "quoted number": ("train: {alpha: '0.5'}", ["train.alpha: expected a number, got '0.5'"]),
    "float for int": ("train: {epochs: 2.5}", ["train.epochs: expected a whole number, got 2.5"]),
    "list for number": ("train: {epochs: [1]}", ["train.epochs: expected a whole number, got the list [1]"]),
    "null": ("seed:", [":1: seed: expected a whole number, got nothing"]),
    "empty section": ("train:\nseed: 1", [":1: train: expected a section with the keys epochs"]),
    "number for section": ("train: 3", ["train: expected a section"]),
    "short list": ("model: {context: [5]}", ["model.context: expected a list of 2, got the list [5]"]),
    "no stride": ("model: {time_stride: 0}", ["model.time_stride: 0 is out of range; it must be at least 1"]),
    "stride past the last": (
        "model:\n  time_stride: 3",
        [":2: model.time_stride: 3 must divide both numbers of context: [5, 5]; say 1 or 5, or another context"],
    ),
    "context that ends before it begins": (
        "model: {context: [-5, 4]}",
        ["context: [-5, 4] ends before it begins; say"],
    ),
    "context of the past alone": ("model: {context: [5, -1]}", ["context: [5, -1] ends before the current frame; say"]),
    "stride that jumps over the frame": ("model: {context: [4, 6], time_stride: 5}", ["[4, 6]; say 1 or 2, or"]),
    "key of another section": ("model: {cells: 5}", ["model.cells: unknown key; it is one of model.lstm"]),
    "key of the section around": (
        "model: {lstm: {time_stride: 5}}",
        ["lstm.time_stride: unknown key; it is one of model"],
    ),
    "stride of nothing": ("model: {context: [0, 0], time_stride: 2}", ["context: [0, 0]; say 1, or another context"]),
    "not a mapping": ("- 1\n- 2", [":1: expected `key: value` lines"]),
    "not yaml": ("train: [1,\nx: }", ["not YAML"]),
    "bad word": ("train: {optimizer: adam}", ["train.optimizer: expected rmsprop, got 'adam'"]),
    "nan": ("train: {alpha: .nan}", ["train.alpha: nan is out of range"]),
    "inf": ("train: {eps: .inf}", ["train.eps: inf is out of range"]),
    "zero epochs": ("train: {epochs: 0}", [":1: train.epochs: 0 trains nothing; it must be at least 1"]),
    "less than no epochs": ("train: {epochs: -1}", ["train.epochs: -1 is out of range; it must be at least 0"]),
    "nothing to start from": ("train: {init: ''}", [":1: train.init: expected the directory of a trained"]),
    "no teacher": ("train:\n  distill: {weight: 0.5}", [":2: train.distill: needs `teacher`"]),
    "a teacher twice": ("train: {distill: {teacher: [a, b, a]}}", ["distill.teacher: a, b, a: one of them is named"]),
    "no name": ("train: {distill: {teacher: [a, '']}}", ["train.distill: needs `teacher`"]),
    "no word": ("train: {distill: {teacher: 3}}", ["train.distill.teacher: expected a word, got 3"]),
    "no distillation": ("train: {distill: {teacher: a, weight: 0}}", ["train.distill.weight: 0.0 is out of range"]),
    "too much of it": ("train: {distill: {teacher: a, weight: 1.5}}", ["train.distill.weight: 1.5 is out of range"]),
    "cold": ("train: {distill: {teacher: a, temperature: 0}}", ["train.distill.temperature: 0.0 is out of range"]),
    "dropout": (
        "model:\n  lstm:\n    dropout_over: sequence",
        [":3: model.lstm.dropout_over: sequence would do nothing: dropout is 0"],
    ),
    "dropout of what": ("model: {lstm: {dropout_over: time}}", ["dropout_over: expected frame or sequence"]),
    "nothing to keep": ("train: {epochs: 0, init: a, keep_epochs: true}", ["train.keep_epochs: would do nothing"]),
    "nobody to teach": ("train: {epochs: 0, init: a, distill: {teacher: a}}", ["train.distill: would do nothing"]),
    "duplicate": ("seed: 1\ntrain: {}\nseed: 2", [":3: duplicate key seed (first on line 1)"]),
    "nested duplicate": (
        "train:\n  batch: 1\n  batch: 1",
        [":3: duplicate key train.batch (first on line 2)"],
    ),
    "0 bits": ("compress:\n  lstm0:\n    weight_bits: 0", [":3: compress.lstm0.weight_bits: 0", "1 to 32"]),
    "33 bits": ("compress: {lstm0: {act_bits: 33}}", ["compress.lstm0.act_bits: 33", "1 to 32"]),
    "keep 0": ("compress: {lstm0: {hcgs: {keep: [0, 1]}}}", ["compress.lstm0.hcgs.keep: 0 is out of range"]),
    "keep 5/4": (
        "compress: {lstm0: {hcgs: {keep: [5/4, 1]}}}",
        ["compress.lstm0.hcgs.keep: 5/4 is out of range"],
    ),
    "keep text": (
        "compress: {lstm0: {hcgs: {keep: [half, 1]}}}",
        ["'half' is not a fraction; write 4/16 or 0.25"],
    ),
    "levels": (
        "compress: {lstm0: {hcgs: {blocks: [8], keep: [1, 1]}}}",
        ["compress.lstm0.hcgs", "1 block sizes, 2 keep"],
    ),
    "no such layer": (
        "compress:\n  'lsmt*': {}",
        [":2: compress.lsmt*: matches no layer, did you mean 'lstm*'?; the layers are lstm0, lstm1, head_cd"],
    ),
    "two patterns": ("compress: {'lstm*': {}, '*0': {}}", ["lstm* and *0 both match lstm0"]),
    "misspelt quantizer": (
        "compress:\n  'lstm*':\n    weight_bits: 8\n    quantizer: unifrom",
        [":4: compress.lstm*.quantizer: unknown 'unifrom', did you mean 'uniform'? (known: uniform, ceil, "],
    ),
    "misspelt quantizer of activations": (
        "compress:\n  lstm1:\n    act_quantizer: dynamci",
        [":3: compress.lstm1.act_quantizer: unknown 'dynamci', did you mean 'dynamic'? (known: fixed, "],
    ),
    "misspelt quantizer of one matrix": (
        "compress:\n  lstm1:\n    input:\n      weight_bits: 2\n      quantizer: trenary",
        [":5: compress.lstm1.input.quantizer: unknown 'trenary', did you mean 'ternary'?"],
    ),
    "misspelt option": (
        "compress:\n  lstm1:\n    weight_bits: 8\n    quantizer_options:\n      per_rwo: true",
        [":4: compress.lstm1.quantizer_options: uniform: unknown option 'per_rwo', did you mean 'per_row'?"],
    ),
    "misspelt value of an option": (
        "compress:\n  lstm1:\n    act_bits: 8\n    act_options:\n      range: msee",
        [":5: compress.lstm1.act_options.range: unknown 'msee', did you mean 'mse'?"],
    ),
    "misspelt mask": (
        "compress:\n  lstm1:\n    mask:\n      method: guied",
        [":4: compress.lstm1.mask.method: unknown 'guied', did you mean 'guided'? (known: hcgs, "],
    ),
    "mask without a method": (
        "compress:\n  lstm1:\n    mask: {keep: 1/2}",
        [":3: compress.lstm1.mask: method is missing; use one of hcgs, "],
    ),
    "mask that keeps too much": (
        "compress:\n  lstm1:\n    mask:\n      method: hcgs\n      blocks: [4]\n      keep: [5/4]",
        [":6: compress.lstm1.mask.keep: 5/4 is out of range"],
    ),
    "a method that is called as its key is": (
        "compress:\n  lstm1:\n    mask:\n      method: block\n      block: 4\n      keep: 2",
        [":6: compress.lstm1.mask.keep: 2 is out of range"],
    ),
    "pieces longer than the longest": (
        "train: {sequence_length: {start: 2000}}",
        [":1: train.sequence_length.start: 2000 is above max: 1000"],
    ),
    "misspelt where no layer looks": (
        "compress: {'lstm*': {quantizer: unifrom}, lstm0: {weight_bits: 8}, lstm1: {weight_bits: 8}}",
        ["compress.lstm*", "did you mean 'uniform'"],
    ),
    "a tag that does not fit": ("seed: !!int ''", [":1: seed: cannot read"]),
    "more states than can be counted": ("decode: {max_active: 3000000000}", ["decode.max_active", "out of range"]),
    "block in a smaller one": (
        "compress:\n  lstm1:\n    hcgs:\n      blocks: [2, 4]",
        [":4: compress.lstm1.hcgs.blocks: 4 lies inside 2"],
    ),
    "bits that a quantizer cannot have": (
        "compress:\n  lstm1:\n    quantizer: ternary\n    weight_bits: 3",
        [":4: compress.lstm1.weight_bits: 3: quantizer ternary takes 2 bits"],
    ),
    "misspelt traffic": ("train: {traffic: fp61}", [":1: train.traffic: unknown 'fp61', did you mean 'fp16'?"]),
    "misspelt traffic in a section": (
        "train:\n  traffic:\n    method: top_l\n    ratio: 1/2",
        [":3: train.traffic.method: unknown 'top_l', did you mean 'top_k'?"],
    ),
    "traffic that sends too much": (
        "train:\n  traffic:\n    method: top_k\n    ratio: 2",
        [":4: train.traffic.ratio: 2 is out of range"],
    ),
    "traffic that is a number": ("train: {traffic: 16}", [":1: train.traffic: expected a word, got 16"]),
    "base not there": ("base: nowhere.cfg", [":1: base: no file", "nowhere.cfg"]),
    "base misspelt": ("base: xx.cfg", [":1: base: no file", "xx.cfg (names", "with .cfg); did you mean x?"]),
    "base not a name": ("base: [1]", [":1: base: expected the name of a .cfg file"]),
}


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(tmp_path, text, words):
    path = write_cfg(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    for word in words:
        assert word in message


def test_what_a_file_of_patterns_said_is_kept_and_a_change_is_seen(tmp_path):
    patterns = tmp_path / "shapes.npy"
    np.save(patterns, np.array([[[1, 0], [0, 1]], [[1, 1], [0, 0]]], np.int8))
    said = f"{{method: pattern, dictionary: {patterns}, place: random}}"
    path = write_cfg(tmp_path, f'compress:\n  "lstm*": {{weight_bits: 8, mask: {said}}}\n')
    config = load_config(path)
    assert layer_presses(config)["lstm1"].mask["dictionary"] == ["10/01", "11/00"]
    np.save(patterns, np.array([[[1, 0], [0, 1]]], np.int8))
    assert list(config_differences(config_to_dict(config), config_to_dict(load_config(path)))) == [
        ("compress.lstm*.mask.dictionary", ["10/01", "11/00"], ["10/01"])
    ]
    patterns.unlink()
    assert config_from_dict(yaml.safe_load(config_to_yaml(config)), "config.yaml") == config
    with pytest.raises(UserError, match=r"x.cfg:2: compress.lstm\*.mask.dictionary: .*shapes.npy: no such file"):
        load_config(path)


def test_circular_base(tmp_path):
    write_cfg(tmp_path, "base: b.cfg", "a.cfg")
    write_cfg(tmp_path, "base: c.cfg", "b.cfg")
    write_cfg(tmp_path, "\nbase: a.cfg", "c.cfg")
    with pytest.raises(UserError, match=r"c\.cfg:2: base: circular: .*a\.cfg -> .*b\.cfg -> .*c\.cfg -> .*a\.c"):
        load_config(tmp_path / "a.cfg")
    with pytest.raises(UserError, match="circular"):
        load_config(write_cfg(tmp_path, "base: self.cfg", "self.cfg"))


def test_error_names_the_file_that_says_it(tmp_path):
    base = write_cfg(tmp_path, "train:\n  epochs: -1\n", "a.cfg")
    with pytest.raises(UserError, match=f"^{base}:2: train.epochs: -1"):
        load_config(write_cfg(tmp_path, "base: a.cfg"))


@pytest.mark.parametrize(
    "text, word",
    [
        ("train.epochs", "section.key=value"),
        ("train.epoch=1", "did you mean epochs"),
        ("=3", "section.key=value"),
        ("train.epochs=two", "expected a whole number"),
        ("train=1", "expected a section"),
        ("seed=", "nothing"),
    ],
)
def test_bad_overrides(tmp_path, text, word):
    with pytest.raises(UserError, match=word) as error:
        load_config(write_cfg(tmp_path, ""), [text])
    assert str(error.value).startswith(f"--set {text}")


def test_records_of_runs_say_hcgs_as_they_always_did():
    said = config_to_dict(load_config(ROOT / "conf/w6a13_hcgs16x.cfg"))["compress"]["lstm*"]
    assert said["hcgs"] == {"blocks": [32, 2], "keep": ["1/4", "1/4"], "share_gates": True} and "mask" not in said


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_config(tmp_path / "none.cfg")


def test_differences_name_the_key_and_both_values(tmp_path):
    one, other = (config_to_dict(load_config(write_cfg(tmp_path, f"train: {{epochs: {n}}}"))) for n in (2, 3))
    assert list(config_differences(one, other)) == [("train.epochs", 2, 3)]


def test_show_prints_what_will_be_used():
    command = [sys.executable, "-m", "frenchpress.config.show", "conf/w8a16.cfg"]
    good = subprocess.run([*command, "--set", "train.epochs=2"], cwd=ROOT, capture_output=True, text=True)
    assert yaml.safe_load(good.stdout)["train"]["epochs"] == 2
    bad = subprocess.run([*command, "--set", "train.epochs=x"], cwd=ROOT, capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stderr.startswith("error: --set") and bad.stderr.count("\n") == 1


def test_an_error_of_two_keys_names_the_places_of_both(tmp_path):
    (tmp_path / "base.cfg").write_text("model:\n  context: [0, 5]\n  time_stride: 5\n")
    (tmp_path / "mine.cfg").write_text("base: base.cfg\n\nmodel: {context: [3, 3]}\n")
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "mine.cfg")
    said = "model.time_stride: 5 must divide both numbers of context: [3, 3]; say 1 or 3, or another context"
    assert str(error.value) == f"{tmp_path}/base.cfg:3: {said} (context: {tmp_path}/mine.cfg:3)"
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "base.cfg", ["model.time_stride=2"])
    assert str(error.value).endswith(f"or another context (context: {tmp_path}/base.cfg:2)")
