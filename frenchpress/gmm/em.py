"""Expectation-maximisation of diagonal-covariance mixtures on frames whose tied state is known.

Sources: Rabiner and Juang, "Fundamentals of Speech Recognition", 1993, section 6.6, for the update; Young, Odell and
Woodland, "Tree-based state tying for high accuracy acoustic modelling", HLT 1994, for mixtures that grow by splitting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.progress import progress
from frenchpress.gmm.gmms import Array, GmmSet

MIN_VARIANCE = 1e-3
MIN_WEIGHT = 1e-5
MIN_OCCUPANCY = 10.0  # frames below which a Gaussian is removed
MIN_SPLIT_COUNT = 20.0  # frames per Gaussian below which a mixture grows no further
_CHUNK = 8192  # frames per matrix product


@dataclass
class PdfFrames:
    """Which frames belong to which pdf: those of pdf p are order[starts[p]:starts[p + 1]]."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def sort(cls, pdfs: NDArray[np.integer], num_pdfs: int) -> PdfFrames:
        """From the pdf of every frame; frames of pdf -1 are left out."""
        order = np.argsort(pdfs, kind="stable")
        return cls(order, np.searchsorted(pdfs[order], np.arange(num_pdfs + 1)))

    @property
    def counts(self) -> Array:
        """Frames per pdf."""
        return np.diff(self.starts).astype(np.float64)


@dataclass
class EmStats:
    """Occupancy [G], first and second order sums [G, D], and the log-likelihood summed over all frames."""

    occupancy: Array
    sums: Array
    squares: Array
    loglike: float
    frames: float


def accumulate(
    gmms: GmmSet,
    feats: NDArray[np.float32],
    frames: PdfFrames,
    threads: int = 1,
    stats_feats: NDArray[np.float32] | None = None,
) -> EmStats:
    """Statistics of `feats` [F, D]; `stats_feats` [F, D'] gives the sums where they are of other features.

    Each pdf is worked on by one thread in a fixed order, so the numbers do not depend on `threads`.
    """
    import torch  # here, so that a stage that is done says so without the seconds that this takes

    # Cloned, so that matrix products start at the same alignment in memory in every run.
    coefficients, constants = (torch.from_numpy(a).clone() for a in gmms.linear_form())
    out_dim = (feats if stats_feats is None else stats_feats).shape[1]
    occupancy = np.zeros(gmms.num_gauss)
    sums, squares = np.zeros((2, gmms.num_gauss, out_dim))
    loglikes = np.zeros(gmms.num_pdfs)

    def work(pdf: int) -> None:
        rows = slice(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        for begin in range(frames.starts[pdf], frames.starts[pdf + 1], _CHUNK):
            index = frames.order[begin : min(begin + _CHUNK, frames.starts[pdf + 1])]
            x = torch.from_numpy(feats[index]).double()
            scores = torch.addmm(constants[rows], torch.cat([x, x * x], 1), coefficients[rows].T)
            total = torch.logsumexp(scores, 1, keepdim=True)
            posts = torch.exp(scores - total).T
            y = x if stats_feats is None else torch.from_numpy(stats_feats[index]).double()
            occupancy[rows] += posts.sum(1).numpy()
            sums[rows] += (posts @ y).numpy()
            squares[rows] += (posts @ (y * y)).numpy()
            loglikes[pdf] += float(total.sum())

    largest_first = np.argsort(-frames.counts, kind="stable").tolist()
    run_threads(work, largest_first, threads, "statistics of the Gaussians", frames.counts[largest_first].tolist())
    return EmStats(occupancy, sums, squares, float(loglikes.sum()), float(frames.counts.sum()))


def run_threads(work: Callable[[int], None], items: list[int], threads: int, what: str, sizes: Sequence[float]) -> None:
    """Call `work` on every item in `threads` threads, each of which computes with one core.

    `what` this is, and the `sizes` of the items, are for those who wait.
    """
    import torch

    with ThreadPoolExecutor(max(threads, 1), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        done = zip(pool.map(work, items), sizes)
        for _ in progress(done, what, sum(sizes), size=lambda item: item[1]):
            pass


def update(gmms: GmmSet, stats: EmStats, min_occupancy: float = MIN_OCCUPANCY, remove: bool = True) -> GmmSet:
    """Maximum-likelihood weights, means and floored variances.

    A Gaussian with too few frames goes (never a pdf's last one), or with `remove` off keeps its mean and variance.
    """
    pdf_of = np.repeat(np.arange(gmms.num_pdfs), np.diff(gmms.offsets))
    pdf_total = np.bincount(pdf_of, stats.occupancy, gmms.num_pdfs)[pdf_of]
    size = np.diff(gmms.offsets)[pdf_of]
    share = np.where(pdf_total > 0, stats.occupancy / np.maximum(pdf_total, 1e-300), 1.0 / size)
    good = (stats.occupancy > min_occupancy) & (share > MIN_WEIGHT)
    means, variances = _moments(stats, good, gmms)
    weights = np.where(good, share, np.maximum(share, MIN_WEIGHT))
    keep = good | (not remove)
    # A pdf without any good Gaussian keeps the one with most frames.
    for pdf in np.flatnonzero(np.bincount(pdf_of, keep, gmms.num_pdfs) == 0):
        first = gmms.offsets[pdf]
        keep[first + stats.occupancy[first : gmms.offsets[pdf + 1]].argmax()] = True
    pdf_of = pdf_of[keep]
    weights = weights[keep] / np.bincount(pdf_of, weights[keep], gmms.num_pdfs)[pdf_of]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pdf_of, minlength=gmms.num_pdfs))])
    return GmmSet(offsets.astype(np.int64), weights, means[keep], variances[keep])


def _moments(stats: EmStats, good: NDArray[np.bool_], gmms: GmmSet) -> tuple[Array, Array]:
    counts = np.where(good, stats.occupancy, 1.0)[:, None]
    means = np.where(good[:, None], stats.sums / counts, 0.0)
    variances = np.maximum(stats.squares / counts - means**2, MIN_VARIANCE)
    if gmms.dim != stats.sums.shape[1]:
        return means, variances
    return np.where(good[:, None], means, gmms.means), np.where(good[:, None], variances, gmms.vars)


def split_targets(counts: Array, total: int, power: float, min_count: float = MIN_SPLIT_COUNT) -> NDArray[np.int64]:
    """Gaussians per pdf, `total` in sum, in proportion to count ** power; at least one, `min_count` frames each."""
    targets = np.ones(len(counts), np.int64)
    heap = [(-(count**power), pdf) for pdf, count in enumerate(counts)]
    heapq.heapify(heap)
    have = len(counts)
    while have < total and heap:
        _, pdf = heapq.heappop(heap)
        if (targets[pdf] + 1) * min_count >= counts[pdf]:
            continue
        targets[pdf] += 1
        have += 1
        heapq.heappush(heap, (-(counts[pdf] ** power) / targets[pdf], pdf))
    return targets


def mix_up(gmms: GmmSet, counts: Array, total: int, power: float, seed: int, perturb: float = 0.01) -> GmmSet:
    """Split the heaviest Gaussians of each pdf until there are `total` in all, as `split_targets` shares them.

    The halves stand `perturb` standard deviations, in a random direction, to either side of the old mean.
    """
    rng = np.random.default_rng(seed)
    targets = split_targets(counts, total, power)
    return GmmSet.pack([_split(part, target, perturb, rng) for part, target in zip(gmms.parts(), targets)])


def _split(
    part: tuple[Array, Array, Array], target: int, perturb: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    weights, means, variances = (list(array) for array in part)
    while len(weights) < target:
        heaviest = int(np.argmax(weights))
        weights[heaviest] /= 2
        step = perturb * rng.standard_normal(len(means[heaviest])) * np.sqrt(variances[heaviest])
        weights.append(weights[heaviest])
        variances.append(variances[heaviest])
        means.append(means[heaviest] + step)
        means[heaviest] = means[heaviest] - step
    return np.array(weights), np.array(means), np.array(variances)
