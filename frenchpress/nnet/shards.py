"""Frames of a split that is larger than memory: one shard of it is there at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from frenchpress.common import UserError
from frenchpress.nnet.data import Frames
from frenchpress.nnet.task import TaskSplit

SHARD = 2**21
"""Frames that are in memory at once: 5.8 hours, 336 MB of 40 features."""


class ShardedFrames(Frames):
    """`Frames` of which at most about `most` are in memory, those of the shard that the last batch is from.

    Each order of batches goes through one shard after the other. In training a shard has utterances from anywhere in
    the corpus, others in each epoch. What is asked for out of order is read from the disk again and again.
    """

    def __init__(self, split: TaskSplit, most: int = SHARD, device: torch.device | str = "cpu") -> None:
        self._split, self._most = split, most
        self.utts, self.device = split.aligned, torch.device(device)
        if not self.utts:
            raise UserError(f"{split.path}: no utterance has frame targets; make the task again (stage 3)")
        self.lengths = np.array([split.pdfs.length(utt) for utt in self.utts])
        self.places = np.cumsum(self.lengths) - self.lengths
        self.starts = np.full(len(self.utts), -1)
        self._shard_of = np.zeros(len(self.utts), np.int64)

    def shards(self, key: Sequence[int] | None) -> list[np.ndarray]:
        """Utterances in runs of at most `most` frames, or of one utterance; in an order that `key` decides, if any."""
        count = len(self.utts)
        order = np.arange(count) if key is None else np.random.default_rng([*key, 2]).permutation(count)
        ends, begin, frames = [], 0, np.cumsum(self.lengths[order])
        while begin < count:
            before = frames[begin - 1] if begin else 0
            begin = max(begin + 1, int(np.searchsorted(frames, before + self._most, side="right")))
            ends.append(begin)
        shards = np.split(order, ends[:-1])
        for number, utts in enumerate(shards):
            self._shard_of[utts] = number
        return shards

    def hold(self, utts: np.ndarray) -> None:
        """Have utterances of these numbers in memory, in place of those before: their shard, where they are of one."""
        if (self.starts[utts] >= 0).all():
            return
        chosen = np.flatnonzero(self._shard_of == self._shard_of[utts[0]])
        self._read(chosen if np.isin(utts, chosen).all() else np.unique(utts))

    def _read(self, chosen: np.ndarray) -> None:
        ends = np.cumsum(self.lengths[chosen])
        self.starts = np.full(len(self.utts), -1)
        self.starts[chosen] = ends - self.lengths[chosen]
        self.feats = self.cd = self.mono = torch.empty(0)  # let go of the last ones first
        held: list[np.ndarray] = []
        for utt, begin, end in zip(chosen, self.starts[chosen], ends):
            values = self._split.frames(self.utts[utt])
            if not held:
                held = [np.empty((ends[-1], *v.shape[1:]), np.float32 if v.ndim == 2 else np.int32) for v in values]
            for part, value in zip(held, values):
                part[begin:end] = value
        self.feats, self.cd, self.mono = (torch.from_numpy(part).to(self.device) for part in held)
