"""What the learning curves say: metrics.jsonl, an entry per epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, read_lines
from frenchpress.config import Config
from frenchpress.report.diagnose.findings import Finding, what_is_off

History = list[dict[str, float]]

CURVES = ("epoch", "loss_cd", "loss_mono", "dev_loss", "dev_frame_error_cd", "dev_frame_error_mono", "lr_lstm")
"""What learning curves are drawn of."""

FALLING = 0.01  # of dev loss and of dev frame error in the last epoch, both relative: worth going on
POINTS = 0.002  # and of dev frame error, absolute
RISEN = 0.02  # of dev loss above its least, relative: overfitted
JUMP = 0.05  # of the training loss from one epoch to the next, relative: unstable
LITTLE = 0.7  # of what guessing by priors alone would cost: little was learnt


def read_history(experiment: Path, needed: Sequence[str] = ()) -> History:
    """An entry per epoch; empty where nothing was trained; UserError for a damaged file, and for one in which an epoch
    has no number under a key that is `needed`.
    """
    path = experiment / "metrics.jsonl"
    history = [_entry(path, line) for line in read_lines(path)] if path.exists() else []
    for number, entry in enumerate(history, 1):
        for key in needed:
            value = entry.get(key)
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise UserError(f"{path}:{number}: {key}: expected a number; train again (--restart)")
    return history


def _entry(path: Path, line: str) -> dict[str, float]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict):
        raise UserError(f"{path}: not a JSON object in each line; train again (--restart)")
    return entry


def curve_findings(history: History, pdf_counts: NDArray[np.int64], config: Config) -> list[Finding]:
    """Overfitted, still falling, unstable, underfitted; by what is known of the epochs and frames per tied state."""
    if not history:
        return []
    found = [
        _overfitted(history, config),
        _still_falling(history),
        _unstable(history, config),
        _underfitted(history, pdf_counts),
    ]
    return [finding for finding in found if finding is not None]


def _overfitted(history: History, config: Config) -> Finding | None:
    dev = [entry["dev_loss"] for entry in history]
    best = int(np.argmin(dev))
    train_falls = _train_loss(history[-1]) < _train_loss(history[best])
    if dev[-1] <= dev[best] * (1 + RISEN) or not train_falls:
        return None
    others = what_is_off(config, "model.lstm.dropout: 0.2", "train.augment: {}")
    return Finding(
        "overfitted",
        f"dev loss was least after epoch {best + 1} ({dev[best]:.3f}) and is {dev[-1]:.3f} after epoch {len(dev)}, "
        f"while the training loss went on falling to {_train_loss(history[-1]):.3f}.",
        f"train.epochs: {best + 1}; or {', '.join([*others, 'fewer cells'])}, or more training data.",
    )


def _still_falling(history: History) -> Finding | None:
    if len(history) < 2:
        return None
    before, after = history[-2:]
    gains = {key: (before[key] - after[key]) / max(before[key], 1e-9) for key in ("dev_loss", "dev_frame_error_cd")}
    if min(gains.values()) <= FALLING or before["dev_frame_error_cd"] - after["dev_frame_error_cd"] <= POINTS:
        return None
    return Finding(
        "still falling",
        f"in the last epoch dev loss fell by {100 * gains['dev_loss']:.1f} % and dev frame error by "
        f"{100 * gains['dev_frame_error_cd']:.1f} %, both relative. The training ended too early.",
        f"train.epochs: {len(history) + max(2, len(history) // 2)} in a new .cfg (more epochs in the old one are "
        "refused, since the result would differ).",
    )


def _unstable(history: History, config: Config) -> Finding | None:
    for before, after in zip(history, history[1:]):
        rise = _train_loss(after) / _train_loss(before) - 1
        pruned = after.get("density", 1.0) < before.get("density", 1.0)
        if rise > JUMP and not pruned:
            return Finding(
                "unstable",
                f"the training loss rose by {100 * rise:.0f} % in epoch {after['epoch']:.0f}, from "
                f"{_train_loss(before):.3f} to {_train_loss(after):.3f}.",
                ", or ".join(["half the rates in train.lr", *what_is_off(config, "train.clip: 5")]) + ".",
            )
    return None


def _underfitted(history: History, pdf_counts: NDArray[np.int64]) -> Finding | None:
    share = pdf_counts[pdf_counts > 0] / pdf_counts.sum()
    guessing = float(-(share * np.log(share)).sum())
    loss = history[-1]["loss_cd"]
    if not math.isfinite(loss) or loss <= LITTLE * guessing:
        return None
    return Finding(
        "underfitted",
        f"the training loss of the tied states is {loss:.3f}; guessing by their frequencies costs {guessing:.3f}. "
        "The network has learnt little, of the training set too.",
        "more epochs, higher rates in train.lr, more cells or milder compression. If float models do no better: "
        "features and alignments that do not belong together (see the findings about targets).",
    )


def _train_loss(entry: dict[str, float]) -> float:
    """Of both heads, as dev loss is."""
    return entry["loss_cd"] + entry["loss_mono"]
