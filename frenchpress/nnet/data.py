"""Frames in memory, and batches of pieces of utterances cut from them without a loop over frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frenchpress.common import UserError

IGNORED = -1


def splice(feats: Tensor, frames: Tensor, first: Tensor, last: Tensor, offsets: range) -> Tensor:
    """Frames with their neighbours: `feats` [N, D], `frames` int64 [...] -> [..., len(offsets) * D].

    Where a neighbour lies outside `first`..`last` (broadcast against `frames`), the outermost is repeated.
    """
    around = torch.tensor(offsets, device=feats.device)
    index = (frames.unsqueeze(-1) + around).clamp(first.unsqueeze(-1), last.unsqueeze(-1))
    return feats[index].flatten(-2)


@dataclass(frozen=True)
class Batch:
    """Pieces of similar length side by side.

    `inputs`: float32 [B, T, offsets * D]; `lengths`: int64 [B]; `cd`, `mono`: int64 targets of the real
    frames, piece after piece [sum(lengths)]; `rows`: int64, where these are among all frames. `utts`, the utterance of
    each piece, and `whole`, its length, int64, are of a whole batch, of which a worker may have a share, `mine`.
    """

    inputs: Tensor
    lengths: Tensor
    cd: Tensor
    mono: Tensor
    rows: Tensor
    utts: list[str]
    whole: np.ndarray
    mine: slice

    @property
    def frames(self) -> int:
        """Real frames, padding left out."""
        return len(self.cd)

    @property
    def whole_frames(self) -> int:
        """Real frames of the whole batch."""
        return int(self.whole.sum())


class Frames:
    """All frames of one split on one device: features [N, D], targets [N], where each utterance starts.

    `places`: where it does among all frames, of which `nnet.shards` has only some in memory.
    """

    def __init__(
        self,
        utterances: Iterable[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
        device: torch.device | str = "cpu",
    ) -> None:
        """`utterances`: (id, features float32 [T, D], tied states int [T], phones int [T]) each."""
        self.utts, feats, cd, mono = [], [], [], []
        for utt, matrix, states, phones in utterances:
            if not len(matrix) == len(states) == len(phones):
                raise UserError(f"{utt}: {len(matrix)} frames, but {len(states)} tied states and {len(phones)} phones")
            self.utts.append(utt)
            feats.append(np.asarray(matrix, np.float32))
            cd.append(np.asarray(states, np.int32))
            mono.append(np.asarray(phones, np.int32))
        if not self.utts:
            raise UserError("no utterance has frame targets; make the task again (stage 3)")
        self.lengths = np.array([len(f) for f in feats])
        self.starts = self.places = np.cumsum(self.lengths) - self.lengths
        self.device = torch.device(device)
        self.feats, self.cd, self.mono = (
            torch.from_numpy(np.concatenate(part)).to(self.device) for part in (feats, cd, mono)
        )

    def __len__(self) -> int:
        return int(self.lengths.sum())

    def shards(self, key: Sequence[int] | None) -> list[np.ndarray]:
        """The utterances that are in memory together; `key` decides which, where they are not all."""
        return [np.arange(len(self.utts))]

    def hold(self, utts: np.ndarray) -> None:
        """Have utterances of these numbers in memory."""

    def parts(self) -> Iterator[Frames]:
        """Itself, once with each shard in memory, in order."""
        for utts in self.shards(None):
            self.hold(utts)
            yield self

    def epoch_order(self, longest: int, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Batches of all pieces, shard after shard, in an order that (seed, epoch) alone decides."""
        pieces, shards = self.pieces(longest), self.shards([seed, epoch])
        if len(shards) == 1:
            return epoch_order(pieces, batch, seed, epoch)
        return [
            rows
            for number, utts in enumerate(shards)
            for rows in epoch_order(_of(pieces, utts), batch, seed, epoch, number)
        ]

    def in_order(self, batch: int) -> list[np.ndarray]:
        """Batches of whole utterances, shard after shard."""
        pieces = self.pieces(int(self.lengths.max()))
        return [rows for utts in self.shards(None) for rows in in_order(_of(pieces, utts), batch)]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation [D] of each feature over all frames, float64; of one frame the deviation is 0."""
        wide = (part.feats.double() for part in self.parts())
        counts, means, squares = zip(*((len(x), x.mean(0), x.var(0, correction=0) * len(x)) for x in wide))
        mean = sum(count * part for count, part in zip(counts, means)) / sum(counts)
        whole = sum(s + count * (part - mean).square() for s, count, part in zip(squares, counts, means))
        return mean, (whole / max(1, sum(counts) - 1)).sqrt()

    def pieces(self, longest: int) -> np.ndarray:
        """Every utterance in the fewest pieces of at most `longest` frames, about equal: int64 [P, 3].

        Columns: utterance, first frame within it, length. Equal pieces need little padding.
        """
        counts = -(-self.lengths // longest)
        utt = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(utt)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = self.lengths[utt] * number // counts[utt]
        end = self.lengths[utt] * (number + 1) // counts[utt]
        return np.stack([utt, begin, end - begin], axis=1)

    def batch(self, pieces: np.ndarray, offsets: range, mine: slice = slice(None)) -> Batch:
        """The batch of these rows of `pieces`, or `mine` of them, padded to the longest of all.

        Neighbours, `offsets` from each frame, are those beyond a piece's ends too.
        """
        self.hold(pieces[:, 0])
        utt, begin, length = (torch.from_numpy(np.ascontiguousarray(c)).to(self.device) for c in pieces[mine].T)
        first, place = (torch.from_numpy(x).to(self.device)[utt] for x in (self.starts, self.places))
        last = first + torch.from_numpy(self.lengths).to(self.device)[utt] - 1
        steps = torch.arange(int(pieces[:, 2].max()), device=self.device)
        frames = (first + begin).unsqueeze(1) + steps.minimum(length.unsqueeze(1) - 1)
        mask = steps < length.unsqueeze(1)
        real, rows = frames[mask], (frames + (place - first).unsqueeze(1))[mask]
        inputs = splice(self.feats, frames, first.unsqueeze(1), last.unsqueeze(1), offsets)
        utts = [self.utts[u] for u in pieces[:, 0]]
        targets = self.cd[real].long(), self.mono[real].long()
        return Batch(inputs, length, *targets, rows, utts, pieces[:, 2], mine)


def _of(pieces: np.ndarray, utts: np.ndarray) -> np.ndarray:
    """The rows of `pieces` that are of `utts`."""
    return pieces[np.isin(pieces[:, 0], utts)]


def epoch_order(pieces: np.ndarray, batch: int, *key: int) -> list[np.ndarray]:
    """Rows of `pieces` in batches of similar length, in an order that `key`, seed and epoch, alone decides."""
    random = np.random.default_rng(key)
    # A little noise on the lengths, so that the same pieces do not meet in every epoch.
    noisy = pieces[:, 2] * random.uniform(0.95, 1.05, len(pieces))
    groups = np.array_split(np.argsort(noisy, kind="stable"), -(-len(pieces) // batch))
    return [pieces[groups[i]] for i in random.permutation(len(groups))]


def in_order(pieces: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Rows of `pieces` in batches, shortest first: for evaluation, where the order does not matter."""
    order = np.argsort(pieces[:, 2], kind="stable")
    for start in range(0, len(order), batch):
        yield pieces[order[start : start + batch]]
