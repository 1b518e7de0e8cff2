"""Files of chips: those of the project load, and what is wrong is said in one line with file, line and key."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from packed_models import random_model

from frenchpress.common import UserError
from frenchpress.hardware.chip import load_chip
from frenchpress.hardware.cost import frame_cost
from frenchpress.hardware.dataflows import DATAFLOWS
from frenchpress.hardware.energy import Scale, add_pj, multiply_pj, sram_pj
from frenchpress.packed.index import Level
from frenchpress.packed.write import write_model

CHIPS = Path(__file__).parents[2] / "chips"
HCGS = {"levels": (Level(8, 1, 4), Level(4, 1, 2)), "cells": (32, 32), "outputs": 24, "bits": 6}
SMALL = HCGS | {"levels": (Level(8, 1, 4), Level(2, 1, 4))}


def changed(tmp_path, old, new, name="hcgs65"):
    """A chip of the project with something in it changed."""
    text = (CHIPS / f"{name}.yaml").read_text()
    assert old in text
    path = tmp_path / "x.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_chips_of_the_project_load_and_every_dataflow_has_one():
    chips = [load_chip(path) for path in sorted(CHIPS.glob("*.yaml"))]
    assert {type(chip.dataflow) for chip in chips} == set(DATAFLOWS.values())


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("clock_mhz: 80", "clock_mhz: -80", r"x.yaml:10: clock_mhz: -80.0 is out of range; it must be above 0"),
        ("clock_mhz: 80\n", "", "x.yaml: clock_mhz: missing, such as"),
        ("voltage", "voltag", "x.yaml:9: voltag: unknown key; did you mean voltage?"),
        ("gates: 4", "gate: 4", "x.yaml:11: dataflow.gate: unknown key; did you mean gates?"),
        ("kind: blocks", "kind: block", "x.yaml:11: dataflow.kind: unknown 'block', did you mean 'blocks'?"),
        ("kind: blocks", "kind: [blocks]", r"x.yaml:11: dataflow.kind: unknown \['blocks'\]"),
        ("dataflow: {kind: blocks, gates", "dataflow: {gates", "x.yaml:11: dataflow: expected a section with kind"),
        ("weights: {banks", "weights: {bank", "x.yaml:14: memories.weights.bank: unknown key"),
        ("sums: {banks: 16", "sums: {banks: 4", "x.yaml:17: memories.sums.banks: 4, but a step has 16 sums"),
        ("cells:", "energy: {multiply_pj: 1}\ncells:", "x.yaml:12: energy: source: missing"),
        ("  index: {words: 2048, word_bits: 32}\n", "", "x.yaml:13: memories: index: missing"),
    ],
)
def test_refuses(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        load_chip(changed(tmp_path, old, new))


@pytest.mark.parametrize(
    "old,new,model,message",
    [
        ("words: 6144", "words: 3", HCGS, r"x.yaml: memories.weights: the model needs 34 words in a bank .* kB\)$"),
        ("words: 6144", "words: 3", SMALL, r"25 % of what it stores is kept, .*blocks: \[32, 4\]}, fill its 4 x 4$"),
        ("word_bits: 64}\n  sums", "word_bits: 8}\n  sums", HCGS, "lstm0 input: activations of 16 bits"),
        ("kind", "kind", {"levels": 0.1}, "x.yaml: lstm0 input: not blocks in blocks; dataflow blocks takes"),
        ("kind", "kind", {"bits": 1}, "x.yaml: lstm0 input: weights of one bit"),
    ],
)
def test_refuses_models_that_do_not_fit(tmp_path, old, new, model, message):
    chip = load_chip(changed(tmp_path, old, new))
    with pytest.raises(UserError, match=message):
        frame_cost(random_model(1, **model), chip)


def test_a_file_may_extend_another(tmp_path):
    base = changed(tmp_path, "title", "title")
    other = tmp_path / "fast.yaml"
    other.write_text(f"base: {base.name}\nclock_mhz: 160\nmemories: {{weights: {{words: 99}}}}\n")
    chip = load_chip(other)
    assert (chip.file.clock_mhz, chip.memories.weights.words, chip.memories.weights.banks) == (160.0, 99, 6)


def test_energy_meets_the_rows_of_the_table_and_scales():
    table = Scale(45, 0.9)
    assert multiply_pj(8, 8, table) == pytest.approx(0.2) and multiply_pj(32, 32, table) == pytest.approx(3.1)
    assert [add_pj(bits, table) for bits in (8, 16, 32)] == pytest.approx([0.03, 0.05, 0.1])
    kilobytes = {8: 10, 32: 20, 1024: 100}
    assert [sram_pj(k * 128, 64, table) for k in kilobytes] == pytest.approx(list(kilobytes.values()))
    assert multiply_pj(4, 4, table) < multiply_pj(6, 13, table) < multiply_pj(8, 16, table)
    assert Scale(90, 1.8).energy == pytest.approx(8) and Scale(90, 1.8).area == pytest.approx(4)


def command(*arguments):
    call = [sys.executable, "-m", "frenchpress.hardware", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True)


def test_the_command(tmp_path):
    write_model(tmp_path / "model.press", random_model(1, **HCGS))
    done = command(tmp_path, "--chip", CHIPS / "hcgs65.yaml", "--simulate", 2, "--json", tmp_path / "cost.json")
    assert done.returncode == 0, done.stderr
    assert "simulated 2 frames: logits equal the runtime's to the bit" in done.stdout
    assert "differ by 0.00 %" in done.stdout
    assert '"energy_uj"' in (tmp_path / "cost.json").read_text()
    done = command(tmp_path / "none", "--chip", CHIPS / "hcgs65.yaml")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    done = command(tmp_path / "empty", "--chip", CHIPS / "hcgs65.yaml")
    assert (
        done.stderr
        == f"error: {tmp_path}/empty: no model.press; python -m frenchpress.export.pack {tmp_path}/empty makes it\n"
    )


def test_two_queues_that_are_deep_wait_only_for_the_fullest_element():
    flow = DATAFLOWS["columns"](2, 1000)
    entries = np.array([[9, 0, 1], [0, 1, 9]])
    assert flow.timing(entries) == 1 + 9 + 1 + 1  # a cycle to send; a column without entries takes one
    # The third activation is sent when the first element has taken the second, in cycle 10.
    assert DATAFLOWS["columns"](2, 1).timing(entries) == 10 + 1 + 9
