"""Beam search through a decoding graph: per-frame log-likelihoods to words, for one or several LM weights.

Two searches of kaldi-decoder work together. `FasterDecoder` finds the best path at the acoustic scale; it keeps
between `min_active` and `max_active` states alive, as Kaldi's own lattice decoder does. `LatticeSimpleDecoder`
finds the alternatives within `lattice_beam`, from which other LM weights pick theirs. It prunes by `beam` alone, so
now and then its lattice lacks the path that the first search kept: that path stands beside the lattice's as a
candidate at every LM weight.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, read_lines
from frenchpress.decode.lattice import LatticeArcs, lightest_paths
from frenchpress.graph.fst import read_fst

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h: the signal to be sent when the parent dies


@dataclass(frozen=True)
class Decoded:
    """What the search found.

    `words` and `alignment` (int32 [T], the graph's input label at each frame) are the best path's at the acoustic
    scale; `graph_cost` and `acoustic_cost` (unscaled) its negative log-likelihoods. `by_lm_weight`: words per LM
    weight asked for. `reached_final` is False when the utterance ended inside the graph: the words are a guess.
    """

    words: list[str]
    alignment: NDArray[np.int32]
    graph_cost: float
    acoustic_cost: float
    reached_final: bool
    by_lm_weight: dict[float, list[str]] = field(default_factory=dict)


class Decoder:
    """A decoding graph with its search options.

    `tid2pdf` (int [ids + 1]) says which column of the log-likelihoods an input label of the graph reads, for graphs
    over transition-ids; None for graphs whose labels are columns counted from 1. Label 0 consumes no frame.
    """

    def __init__(
        self,
        hclg: Path | str,
        tid2pdf: NDArray[np.int32] | None,
        words: Path | str,
        beam: float = 13.0,
        lattice_beam: float = 8.0,
        max_active: int = 7000,
        min_active: int = 200,
    ) -> None:
        self.source = str(hclg)
        self.columns = None if tid2pdf is None else np.asarray(tid2pdf)[1:]
        self._words = read_symbols(words)
        self._graph = read_fst(hclg)
        self._labels = _largest_label(self._graph)
        if self.columns is not None and self._labels > len(self.columns):
            raise UserError(
                f"{hclg}: transition-id {self._labels}, but the model has {len(self.columns)}; "
                "graph and model must come from the same experiment"
            )
        if max_active < 2:
            raise UserError(f"max_active {max_active}: at least 2 states must stay alive")
        limits = {"max_active": max_active, "min_active": min(min_active, max_active - 1)}
        self._options = kaldi_decoder.FasterDecoderOptions(beam=beam, **limits)
        self._search = kaldi_decoder.FasterDecoder(self._graph, self._options)
        self._lattices = kaldi_decoder.LatticeSimpleDecoder(
            self._graph, kaldi_decoder.LatticeSimpleDecoderConfig(beam=beam, lattice_beam=lattice_beam)
        )

    def decode(
        self,
        loglikes: NDArray[np.float32],
        acoustic_scale: float,
        lm_weights: Sequence[float] = (),
        utt: str = "utterance",
    ) -> Decoded:
        """Decode [T, columns] log-likelihoods; UserError naming `utt` when they are empty or not finite.

        An LM weight w orders paths by w * graph cost + acoustic cost, so 1 / acoustic_scale gives the best path.
        """
        scores = kaldi_decoder.DecodableCtc(self._columns(loglikes, utt) * np.float32(acoustic_scale))
        best = self._best_path(scores, acoustic_scale, utt)
        if not lm_weights:
            return best
        return replace(best, by_lm_weight=self._by_lm_weight(scores, acoustic_scale, lm_weights, best))

    def stream(self, acoustic_scale: float) -> StreamSearch:
        """A search of its own that takes frames as they come and gives the path that `decode` would."""
        return StreamSearch(self, acoustic_scale)

    def _columns(self, loglikes: NDArray[np.float32], utt: str) -> NDArray[np.float32]:
        """A column for each input label of the graph."""
        if loglikes.ndim != 2 or not len(loglikes):
            raise UserError(f"{utt}: nothing to decode (log-likelihoods of shape {loglikes.shape})")
        if not np.isfinite(loglikes).all():
            raise UserError(f"{utt}: log-likelihoods are not finite; check the features and the model")
        needed = self._labels if self.columns is None else int(self.columns.max()) + 1
        if loglikes.shape[1] < needed:
            raise UserError(
                f"{utt}: {loglikes.shape[1]} columns of log-likelihoods, but {self.source} needs {needed}; "
                "graph and model must come from the same experiment"
            )
        chosen = loglikes if self.columns is None else np.take(loglikes, self.columns, axis=1)
        return np.ascontiguousarray(chosen, np.float32)

    def _best_path(self, scores: kaldi_decoder.DecodableCtc, scale: float, utt: str) -> Decoded:
        self._search.decode(scores)
        found, path = self._search.get_best_path()
        if not found:
            raise UserError(f"{utt}: no path through {self.source} survives the search; widen the beam")
        _, labels, words, cost = kaldifst.get_linear_symbol_sequence(path)
        return Decoded(
            self._spell(words),
            np.array(labels, np.int32),
            cost.value1,
            cost.value2 / scale,
            self._search.reached_final(),
        )

    def _by_lm_weight(
        self, scores: kaldi_decoder.DecodableCtc, scale: float, lm_weights: Sequence[float], best: Decoded
    ) -> dict[float, list[str]]:
        self._lattices.decode(scores)
        found, lattice = self._lattices.get_raw_lattice()
        if not found:
            return dict.fromkeys(lm_weights, best.words)
        result = {}
        arcs = LatticeArcs.of(lattice)
        for weight, (words, cost) in lightest_paths(arcs, scale, sorted(set(lm_weights))).items():
            known = weight * best.graph_cost + best.acoustic_cost
            result[weight] = best.words if known <= cost else self._spell(words)
        return result

    def _spell(self, words: Sequence[int]) -> list[str]:
        try:
            return [self._words[word] for word in words]
        except KeyError as error:
            raise UserError(f"{self.source}: word {error.args[0]} is not in its words.txt") from None


class StreamSearch:
    """The search for the best path, frames in as they come."""

    def __init__(self, decoder: Decoder, acoustic_scale: float) -> None:
        self._decoder, self._scale, self.frames = decoder, np.float32(acoustic_scale), 0
        self._search = kaldi_decoder.FasterDecoder(decoder._graph, decoder._options)
        self._search.init_decoding()

    def push(self, loglikes: NDArray[np.float32], utt: str = "utterance") -> None:
        """The next frames' log-likelihoods [n, columns]; UserError naming `utt` when they are not finite."""
        if not len(loglikes):
            return
        scores = self._decoder._columns(loglikes, utt) * self._scale
        self._search.advance_decoding(kaldi_decoder.DecodableCtc(scores, self.frames))
        self.frames += len(scores)

    def path(self, over: bool, utt: str = "utterance") -> NDArray[np.int32]:
        """The graph's input label at each frame of the best path so far, int32 [T]; `over`: no frame will follow."""
        found, path = self._search.get_best_path(over)
        if not found:
            raise UserError(f"{utt}: no path through {self._decoder.source} survives the search; widen the beam")
        return np.array(kaldifst.get_linear_symbol_sequence(path)[1], np.int32)


def decode_all(
    decoder: Decoder,
    items: Iterable[tuple[str, NDArray[np.float32]]],
    acoustic_scale: float,
    lm_weights: Sequence[float] = (),
    nj: int = 1,
) -> Iterator[tuple[str, Decoded]]:
    """Decode utterances in order with `nj` processes; what comes out does not depend on `nj`.

    Only a few utterances' log-likelihoods are in memory at a time.
    """
    for utt, found in decode_grid(decoder, items, [acoustic_scale], lm_weights, nj):
        yield utt, found[acoustic_scale]


def decode_grid(
    decoder: Decoder,
    items: Iterable[tuple[str, NDArray[np.float32]]],
    acoustic_scales: Sequence[float],
    lm_weights: Sequence[float] = (),
    nj: int = 1,
) -> Iterator[tuple[str, dict[float, Decoded]]]:
    """As `decode_all`, at several acoustic scales: utterance and what was found at each."""
    if nj < 1:
        raise UserError(f"--nj {nj}: at least one job is needed")
    if nj == 1:
        for utt, loglikes in items:
            yield utt, {s: decoder.decode(loglikes, s, lm_weights, utt) for s in acoustic_scales}
        return
    options = (decoder, acoustic_scales, lm_weights)
    waiting: deque[tuple[str, Future[dict[float, Decoded]]]] = deque()
    # Forked, so that every worker has the graph without reading or pickling it.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(nj, context, _Worker.start, options) as pool:
        for utt, loglikes in items:
            waiting.append((utt, pool.submit(_Worker.decode, utt, loglikes)))
            if len(waiting) > 2 * nj:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


class _Worker:
    """What a process of `decode_grid` holds."""

    options: tuple[Decoder, Sequence[float], Sequence[float]]

    @classmethod
    def start(cls, decoder: Decoder, acoustic_scales: Sequence[float], lm_weights: Sequence[float]) -> None:
        cls.options = (decoder, acoustic_scales, lm_weights)
        # Waiting for work, it would not notice that its parent was killed, and would keep the parent's locks for ever.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    @classmethod
    def decode(cls, utt: str, loglikes: NDArray[np.float32]) -> dict[float, Decoded]:
        decoder, scales, lm_weights = cls.options
        return {scale: decoder.decode(loglikes, scale, lm_weights, utt) for scale in scales}


def read_symbols(path: Path | str) -> dict[int, str]:
    """A Kaldi symbol table (`word number` per line) as number -> word."""
    result: dict[int, str] = {}
    for line_number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdecimal():
            raise UserError(f"{path}:{line_number}: expected a word and its number, found '{line}'")
        if int(fields[1]) in result:
            raise UserError(f"{path}:{line_number}: number {fields[1]} is there twice")
        result[int(fields[1])] = fields[0]
    return result


def _largest_label(graph: kaldifst.StdFst) -> int:
    return max(
        (arc.ilabel for state in kaldifst.StateIterator(graph) for arc in kaldifst.ArcIterator(graph, state)),
        default=0,
    )
