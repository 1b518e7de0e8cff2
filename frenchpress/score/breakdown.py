"""Where the errors are: text tables per speaker, per utterance and per phone or word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from frenchpress.common import UserError
from frenchpress.score.align import CORRECT, DELETION, INSERTION, OMISSION, SUBSTITUTION, paired
from frenchpress.score.counts import Counts, total
from frenchpress.score.scoring import Scored


def per_speaker(scored: Scored, utt2spk: Mapping[str, str]) -> str:
    """A line per speaker and one for all: utterances, phones, rate, insertions, deletions, substitutions."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, utt in enumerate(scored.utts):
        if utt not in utt2spk:
            raise UserError(f"utt2spk: utterance {utt} has no speaker; add a line for it")
        rows_of[utt2spk[utt]].append(row)
    lines = [_speaker_cells(spk, len(r), total(scored.table[r])) for spk, r in sorted(rows_of.items())]
    lines.append(_speaker_cells("all", len(scored.utts), scored.counts))
    return _table(["speaker", "utts", scored.unit.many, scored.unit.rate, "ins", "del", "sub"], lines)


_OPS = {CORRECT: "C", SUBSTITUTION: "S", INSERTION: "I", DELETION: "D", OMISSION: "O"}


def per_utt(scored: Scored) -> str:
    """Every utterance aligned, in the form of Kaldi's `wer_per_utt_details.pl`: lines ref, hyp, op and #csid.

    `***` stands where one side has nothing. Beside Kaldi's C, S, I and D, an op is O where an optional phone is left
    out, which is no error; `#csid` does not count it.
    """
    lines = []
    for utt, ops, ref, hyp in zip(scored.utts, scored.alignments, scored.refs, scored.hyps):
        pairs = [(said or "***", heard or "***") for said, heard in paired(ops, ref, hyp)]
        rows = [*zip(*pairs)] or [(), ()]
        letters = [_OPS[op] for op in ops.tolist()]
        counts = [str(letters.count(op)) for op in "CSID"]
        for name, cells in (("ref", rows[0]), ("hyp", rows[1]), ("op", letters), ("#csid", counts)):
            lines.append(" ".join([utt, name, *cells]) + "\n")
    return "".join(lines)


def per_token(scored: Scored, top: int = 3) -> str:
    """A line per phone or word, most errors first: how often it was there, right, and what it was taken for.

    `ins` counts one where nothing was said; `omitted` an optional one left out, which is no error.
    """
    by_op: dict[str, Counter[int]] = defaultdict(Counter)
    taken_for: dict[str, Counter[str]] = defaultdict(Counter)
    for ops, ref, hyp in zip(scored.alignments, scored.refs, scored.hyps):
        for op, (said, heard) in zip(ops.tolist(), paired(ops, ref, hyp)):
            by_op[said or heard or ""][op] += 1
            if op == SUBSTITUTION:
                taken_for[said or ""][heard or ""] += 1
    lines = []
    for token, ops in sorted(by_op.items(), key=lambda item: (-_errors(item[1]), item[0])):
        there = sum(ops.values()) - ops[INSERTION]
        rate = f"{100 * (ops[SUBSTITUTION] + ops[DELETION]) / there:.1f}" if there else "-"
        confusions = sorted(taken_for[token].items(), key=lambda item: (-item[1], item[0]))[:top]
        numbers = [there, ops[CORRECT], ops[SUBSTITUTION], ops[DELETION], ops[OMISSION], ops[INSERTION]]
        lines.append([token, *map(str, numbers), rate, " ".join(f"{t}:{n}" for t, n in confusions) or "-"])
    head = [scored.unit.name, "there", "right", "sub", "del", "omitted", "ins", "%sub+del", "taken for"]
    return _table(head, lines)


def _errors(ops: Counter[int]) -> int:
    return ops[SUBSTITUTION] + ops[DELETION] + ops[INSERTION]


def _speaker_cells(name: str, utts: int, counts: Counts) -> list[str]:
    rate = f"{counts.rate:.2f}" if counts.tokens else "-"
    numbers = [counts.insertions, counts.deletions, counts.substitutions]
    return [name, str(utts), str(counts.tokens), rate, *map(str, numbers)]


def _table(head: list[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first and any free text to the left, numbers to the right."""
    cells = [head, *rows]
    widths = [max(len(row[c]) for row in cells) for c in range(len(head))]
    left = {0, len(head) - 1} if head[-1] == "taken for" else {0}
    lines = []
    for row in cells:
        padded = [t.ljust(w) if c in left else t.rjust(w) for c, (t, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)
