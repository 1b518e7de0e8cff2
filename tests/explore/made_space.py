"""A small space, and experiments that are computed and not trained: a search is a matter of moments."""

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from frenchpress.explore.experiment import Experiments, Failed

CFG = """
model: {context: [1, 1], lstm: {cells: 16}}
compress:
  "lstm*": {weight_bits: 8, act_bits: 13}
  "head_*": {weight_bits: 8, act_bits: 13}
train: {epochs: 1, batch: 8, threads: 1, device: cpu, sequence_length: {start: 30}, average: 0.9}
decode: {acoustic_scales: [0.5], lm_weights: [2.0]}
"""
SPACE = """\
title: A small space
base: ../small.cfg
overrides:
  compress:
    "lstm*": {weight_bits: "{bits}"}
vary:
  bits: {choices: [2, 3, 4, 5, 6, 8]}
  structure:
    choices:
      dense: {}
      bank: {compress: {"lstm*": {mask: {method: bank, bank: "{bank}", keep: 1/4, after_epoch: 0}}}}
  bank: {choices: [4, 8, 16], when: {structure: bank}}
  train.lr.lstm: {low: 1e-4, high: 1e-2, log: true}
minimise: [dev_frame_error, stored_bytes]
search: {population: 3}
trials: 6
"""
RUNGS = """\
rungs:
  short: {}
  long: {keep: 1/2, overrides: {train: {epochs: 2, init: "{below}"}}}
"""


def write_space(directory: Path, text: str = SPACE, **changes: str) -> Path:
    """A recipe with `text` as its space; `changes`: lines of its own for these keys."""
    lines = textwrap.dedent(text).splitlines()
    for key, value in changes.items():
        lines = [line for line in lines if not line.startswith(f"{key}:")] + [f"{key}: {value}"]
    recipe = directory / "recipe"
    recipe.mkdir(parents=True, exist_ok=True)
    (directory / "small.cfg").write_text(CFG)
    (recipe / "space.yaml").write_text("\n".join(lines) + "\n")
    return recipe


@dataclass(frozen=True)
class Computed(Experiments):
    """Experiments whose frame error is a formula. `trained`: all that were asked for, in order."""

    trained: list = field(default_factory=list)
    interrupt_at: int = -1
    failing: tuple = ()

    def train(self, run, config):
        if len(self.trained) == self.interrupt_at:
            self.trained.append("interrupted")
            raise KeyboardInterrupt
        self.trained.append(run)
        self.place(run).mkdir(parents=True, exist_ok=True)
        (self.place(run) / "final.pt").touch()
        if config.compress["lstm*"].weight_bits in self.failing:
            raise Failed("this one fails")

    def finish(self, run, config, decode):
        self.train(run, config)
        press = config.compress["lstm*"]
        error = 40 + 20 * abs(config.train.lr.lstm - 0.002) + 100 * 2.0**-press.weight_bits - config.train.epochs
        cost = 1000.0 * press.weight_bits / (4 if press.mask else 1) + (press.mask or {}).get("bank", 0)
        return {"dev_frame_error": error + (8 if press.mask else 0), "stored_bytes": cost, "macs": cost}

    def decode_test(self, run):
        for split in ("dev", "test"):
            place = self.place(run) / f"decode_{split}"
            place.mkdir(parents=True, exist_ok=True)
            (place / "stats.yaml").write_text(yaml.safe_dump({"per": 30.0, "interval": [29.0, 31.0]}))
