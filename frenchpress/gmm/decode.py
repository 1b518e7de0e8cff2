"""Decode dev and test with a GMM system and score them:

    python -m frenchpress.gmm.decode --nj 2 data data/lang exp/tri3

A speaker-adapted system decodes twice: with its speaker-independent mixtures first, to find each speaker's fMLLR.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, digest, read_lines, run_main
from frenchpress.common.progress import progress
from frenchpress.decode.search import Decoder, decode_all
from frenchpress.gmm.adapted import Transforms, compose_transforms, speaker_transforms
from frenchpress.gmm.corpus import Corpus, Frames, read_symbols
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.loglikes import LogLikes
from frenchpress.gmm.model import System
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.stage import data_digest, system_digest
from frenchpress.gmm.train import silence_free
from frenchpress.kaldi.io import write_mats
from frenchpress.score.choose import Split, evaluate
from frenchpress.score.scoring import Scoring
from frenchpress.score.transcripts import read_score_map
from frenchpress.score.weights import Grid, HypsByWeights, Weights

ACOUSTIC_SCALE = 0.1
LM_WEIGHTS = tuple(float(weight) for weight in range(1, 16))


@dataclass
class GmmDecoder:
    """A system, its graph, and where data and transforms lie."""

    system: System
    decoder: Decoder
    silence: int
    data: Path
    out: Path
    nj: int = 1
    seen: dict[str, tuple[Corpus, Frames]] = field(default_factory=dict)

    def search(self, split: Split, grid: Grid) -> HypsByWeights:
        """Words per utterance at every LM weight (what `evaluate` asks for)."""
        if split.name not in self.seen:  # a wider grid needs no other transforms
            self.seen[split.name] = self.features(split)
        corpus, feats = self.seen[split.name]
        hyps: dict[Weights, dict[str, list[str]]] = {weights: {} for weights in grid}
        for scale in grid.acoustic_scale:
            items = self.loglikes(corpus, feats, self.system.model.gmms)
            decoded = decode_all(self.decoder, items, scale, grid.lm_weight, self.nj)
            for utt, found in progress(decoded, f"decoding {split.name}", len(corpus.utts)):
                for weight in grid.lm_weight:
                    hyps[Weights(scale, weight)][utt] = found.by_lm_weight[weight]
        return hyps

    def features(self, split: Split) -> tuple[Corpus, Frames]:
        """A set and its features, adapted if the system is speaker-adapted; the transforms are written."""
        corpus = Corpus.load(self.data / split.name)
        feats = self.system.front_end(corpus)
        if self.system.speaker_independent is not None:
            transforms = self.adapt(corpus, feats)
            write_mats(self.out / f"trans_{split.name}", None, sorted(transforms.items()))
            feats = corpus.adapt(feats, transforms)
        return corpus, feats

    def adapt(self, corpus: Corpus, feats: Frames) -> Transforms:
        """fMLLR of each speaker: from a first pass with unadapted features, and once more from a second pass."""
        model, independent = self.system.model, self.system.speaker_independent
        pdfs = self.recognised(corpus, feats, independent)
        first = speaker_transforms(corpus, feats, pdfs, model.gmms, independent)
        adapted = corpus.adapt(feats, first)
        pdfs = self.recognised(corpus, adapted, model.gmms)
        second = speaker_transforms(corpus, adapted, pdfs, model.gmms)
        return compose_transforms(second, first)

    def recognised(self, corpus: Corpus, feats: Frames, gmms: GmmSet) -> NDArray[np.int32]:
        """The pdf of each frame on the best path, -1 for silence."""
        tids = np.zeros(len(feats), np.int32)
        rows = dict(zip(corpus.utts, map(corpus.rows, range(len(corpus.utts)))))
        items = self.loglikes(corpus, feats, gmms)
        decoded = decode_all(self.decoder, items, ACOUSTIC_SCALE, nj=self.nj)
        for utt, found in progress(decoded, "decoding for fMLLR", len(corpus.utts)):
            tids[rows[utt]] = found.alignment
        return silence_free(self.system.model.transitions, tids, self.silence)

    def loglikes(self, corpus: Corpus, feats: Frames, gmms: GmmSet) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Log-likelihoods [T, pdfs] of every utterance."""
        scores = LogLikes(gmms)
        return ((utt, scores(part).numpy()) for utt, part in corpus.split(feats))


def scoring_of(lang: Path, phones: PhoneSet) -> Scoring:
    """By the lang directory's score map. Words that are no phones do not count; to omit a scored silence is free."""
    words = [word for word in read_symbols(lang / "words.txt") if word not in phones.symbols]
    silence = {symbol for symbol, number in phones.symbols.items() if number == phones.silence}
    if (lang / "score_map.txt").exists():
        table = read_score_map(lang / "score_map.txt")
    else:
        table = {symbol: None if symbol in silence else symbol for symbol in phones.symbols}
    optional = {table[phone] for phone in silence if table.get(phone)}
    given = [lang / "optional_tokens.txt", lang.parent / "dict" / "optional_tokens.txt"]
    for path in filter(Path.exists, reversed(given)):
        optional = {line.strip() for line in read_lines(path) if line.strip()}
    return Scoring(dict.fromkeys(words) | table, frozenset(token for token in optional if token))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Decode and score dev and test with a GMM system.")
    parser.add_argument("--nj", type=int, default=1, help="processes that search (1)")
    parser.add_argument("--graph", type=Path, help="decoding graph (OUT/graph)")
    parser.add_argument("data", type=Path, help="directory of dev and test")
    parser.add_argument("lang", type=Path, help="lang directory, for silence and the score map")
    parser.add_argument("out", type=Path, help="experiment directory with a trained system")
    args = parser.parse_args()
    graph = args.graph or args.out / "graph"
    if not (graph / "HCLG.fst").exists():
        raise UserError(f"{graph}/HCLG.fst: no such file; make the graph of {args.out} first")
    key = {
        "stage": "decode",
        "system": system_digest(args.out),
        "graph": digest(graph / "HCLG.fst", graph / "words.txt"),
        "data": [data_digest(args.data / name) for name in ("dev", "test")],
        "lm_weights": LM_WEIGHTS,
        "scored": digest(*(path for path in [args.lang / "score_map.txt"] if path.exists())),
    }
    phones, system = PhoneSet.load(args.lang), System.load(args.out)
    decoder = Decoder(graph / "HCLG.fst", system.model.transitions.tid2pdf, graph / "words.txt")
    worker = GmmDecoder(system, decoder, phones.silence, args.data, args.out, args.nj)
    dev, test = (Split.load(args.data / name, name) for name in ("dev", "test"))
    scoring = scoring_of(args.lang, phones)
    text = evaluate(args.out, scoring, dev, test, worker.search, Grid.of([ACOUSTIC_SCALE], LM_WEIGHTS), key)
    print(f"{args.out}/PER is up to date" if text is None else text, end="\n" if text is None else "")


if __name__ == "__main__":
    run_main(main)
