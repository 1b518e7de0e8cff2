"""Interpolated Witten-Bell bigram over phones: counts to an ARPA file, an ARPA file to G.fst, perplexity.

Source: Witten and Bell, "The zero-frequency problem", IEEE Trans. Information Theory 37(4), 1991, method C, each order
interpolated with the one below it and the unigrams with a uniform distribution.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from frenchpress.common import UserError, atomic_path, read_lines, run_main
from frenchpress.graph.fst import arcs_from_rows
from frenchpress.kaldi.scp import read_table

BEGIN, END = "<s>", "</s>"
_NEVER = -99.0


@dataclass
class Bigram:
    """A back-off bigram, in log10 as an ARPA file has it: `backoff` of each history, probabilities of the rest."""

    unigram: dict[str, float]
    backoff: dict[str, float]
    bigram: dict[tuple[str, str], float]

    def log10(self, history: str, word: str) -> float:
        """log10 P(word | history); UserError for a word that the model does not know."""
        if (history, word) in self.bigram:
            return self.bigram[history, word]
        if word not in self.unigram:
            raise UserError(f"language model: no word {word!r}; its words are {' '.join(sorted(self.unigram))}")
        return self.backoff.get(history, 0.0) + self.unigram[word]

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Per word, with the sentence end counted as one."""
        total, count = 0.0, 0
        for sentence in sentences:
            words = [BEGIN, *sentence, END]
            total += sum(self.log10(h, w) for h, w in zip(words, words[1:]))
            count += len(words) - 1
        if not count:
            raise UserError("perplexity of no sentences is undefined; give at least one")
        return 10 ** (-total / count)

    def arpa(self) -> str:
        """The text of an ARPA file, six decimals, sorted in the C locale."""
        lines = ["\\data\\", f"ngram 1={len(self.unigram)}", f"ngram 2={len(self.bigram)}", "", "\\1-grams:"]
        order = sorted(self.unigram, key=lambda w: (w != BEGIN, w))
        for word in order:
            probability = "-99" if word == BEGIN else f"{self.unigram[word]:.6f}"
            tail = f"\t{self.backoff[word]:.6f}" if word in self.backoff else ""
            lines.append(f"{probability}\t{word}{tail}")
        lines += ["", "\\2-grams:"]
        pairs = sorted(self.bigram, key=lambda pair: (pair[0] != BEGIN, pair))
        lines += [f"{self.bigram[pair]:.6f}\t{pair[0]} {pair[1]}" for pair in pairs]
        return "\n".join([*lines, "", "\\end\\", ""])


def estimate(sentences: Iterable[Sequence[str]], vocabulary: Iterable[str] = ()) -> Bigram:
    """Estimate from sentences (lists of phones); `vocabulary` adds phones that may not occur in them."""
    pairs: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        words = [BEGIN, *sentence, END]
        pairs.update(zip(words, words[1:]))
    if not pairs:
        raise UserError("language model: no training sentences; the text is empty")
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for (history, word), count in pairs.items():
        counts[word] += count
        totals[history] += count
    types = Counter(history for history, _ in pairs)
    words = {*counts, *vocabulary}
    # T types seen in N tokens leave T / (N + T) to the order below, here a uniform one over the words.
    tokens, seen = sum(counts.values()), len(counts)
    low = {word: (counts[word] + seen / len(words)) / (tokens + seen) for word in words}
    unigram = {word: math.log10(p) for word, p in low.items()}
    unigram[BEGIN] = _NEVER
    backoff = {h: math.log10(types[h] / (types[h] + totals[h])) for h in totals}
    bigram = {
        (h, w): math.log10((count + types[h] * low[w]) / (types[h] + totals[h])) for (h, w), count in pairs.items()
    }
    return Bigram(unigram, backoff, bigram)


def estimate_bigram(sentences: Iterable[Sequence[str]], vocabulary: Iterable[str] = ()) -> str:
    """`estimate`, as the text of an ARPA file."""
    return estimate(sentences, vocabulary).arpa()


def read_arpa(path: Path | str) -> Bigram:
    """Read an ARPA file of order 1 or 2."""
    model = Bigram({}, {}, {})
    order = 0
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not fields or line.startswith(("\\data\\", "ngram ")):
            continue
        if line.startswith("\\"):
            order = {"\\1-grams:": 1, "\\2-grams:": 2, "\\end\\": 3}.get(line.strip(), 4)
            if order == 4:
                raise UserError(f"{path}:{number}: {line.strip()!r}; only unigrams and bigrams are supported")
            continue
        try:
            _add_entry(model, order, fields)
        except (ValueError, IndexError):
            raise UserError(f"{path}:{number}: {line.strip()!r} is not an entry of order {order}") from None
    if order != 3 or not model.unigram:
        raise UserError(f"{path}: not a whole ARPA file: no \\end\\ or no unigrams")
    return model


def _add_entry(model: Bigram, order: int, fields: list[str]) -> None:
    words = fields[1 : 1 + order]
    if order not in (1, 2) or len(words) != order or len(fields) > order + 2:
        raise ValueError
    if order == 1:
        model.unigram[words[0]] = float(fields[0])
        if len(fields) == 3:
            model.backoff[words[0]] = float(fields[2])
    else:
        model.bigram[words[0], words[1]] = float(fields[0])


def grammar_fst(model: Bigram, words: dict[str, int]) -> kaldifst.StdVectorFst:
    """G: an acceptor of word ids, one state per history and one to back off through, by `#0` to epsilon.

    `words` is the word table; it must hold `#0` and every word of the model but the sentence marks.
    """
    missing = sorted(w for w in model.unigram if w not in words and w not in (BEGIN, END))
    if missing:
        raise UserError(f"language model: words {' '.join(missing[:5])} are not in the word table")
    histories = sorted(set(model.backoff) - {BEGIN, END})
    state = {BEGIN: 0, **{h: 2 + i for i, h in enumerate(histories)}}
    back = 1
    cost = -math.log(10)
    arcs = [(state[h], words["#0"], 0, cost * model.backoff.get(h, 0.0), back) for h in state]
    finals = np.full(len(state) + 1, np.inf, np.float32)
    entries = [(back, w, p) for w, p in model.unigram.items() if w != BEGIN]
    entries += [(state[h], w, p) for (h, w), p in model.bigram.items()]
    for source, word, probability in entries:
        if word == END:
            finals[source] = cost * probability
        else:
            arcs.append((source, words[word], words[word], cost * probability, state.get(word, back)))
    fst = arcs_from_rows(0, finals, sorted(arcs)).build()
    kaldifst.connect(fst)
    kaldifst.arcsort(fst, "ilabel")
    return fst


def read_sentences(text: Path | str) -> list[list[str]]:
    """The transcripts of a Kaldi `text` file, without utterance ids."""
    return [rest.split() for rest in read_table(text).values()]


def main() -> None:
    """Estimate from a Kaldi `text`, write ARPA; or print the perplexity of one."""
    parser = argparse.ArgumentParser(description="Interpolated Witten-Bell phone bigram from a Kaldi text file.")
    parser.add_argument("text", type=Path, help="Kaldi text: utterance id and phones per line")
    parser.add_argument("arpa", type=Path, help="ARPA file to write, or to read with --perplexity")
    parser.add_argument("--perplexity", action="store_true", help="print the perplexity of text under arpa")
    args = parser.parse_args()
    if args.perplexity:
        print(f"{read_arpa(args.arpa).perplexity(read_sentences(args.text)):.4f}")
        return
    text = estimate_bigram(read_sentences(args.text))
    with atomic_path(args.arpa) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
