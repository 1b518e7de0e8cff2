"""How learning rates go from step to step: warm-up, then halving by what dev gains, or a cosine to the end."""

from __future__ import annotations

import math

from frenchpress.config import TrainConfig


def rate_at(config: TrainConfig, epoch: int, done: float, halved: float) -> float:
    """What the first rates are multiplied by, after the share `done` of `epoch` (counted from 0).

    A linear warm-up over the first `warmup` epochs (Goyal et al. 2017, sec. 2.2); times `halved`, what `halving` has
    made of the rates, or with `cosine` half a cosine from 1 to `final` at the end of the last epoch (Loshchilov &
    Hutter 2017, arXiv 1608.03983, eq. 5).
    """
    now, warmup = epoch + done, config.warmup or 0.0
    warm = min(1.0, (now + 0.01) / (warmup + 0.01))  # not from zero: a first step should do something
    if config.cosine is None:
        return warm * halved
    final = config.cosine.final
    share = (now - warmup) / (config.epochs - warmup)
    return warm * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, share)))))


def relative_gain(before: float, now: float) -> float:
    """By how much of itself an error fell; 1 where there is none before to fall from."""
    return (before - now) / before if 0 < before < math.inf else 1.0


def next_halved(config: TrainConfig, halved: float, gain: float) -> float:
    """`halved` after an epoch in which dev frame error fell by `gain`, relative; `cosine` halves nothing."""
    if config.cosine is not None or gain >= config.halving.threshold:
        return halved
    return halved * config.halving.factor
