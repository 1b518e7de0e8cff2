"""Which hypothesis token answers which reference token: minimum edit distance, for many utterances at once.

Two scorers are in use around Kaldi and both are reproduced, down to how they break ties, since the split of
the errors into insertions, deletions and substitutions depends on it: compute-wer counts every error as 1;
NIST sclite weighs a substitution 4, an insertion or deletion 3, and an omitted optional token 2.
Algorithm: R. A. Wagner and M. J. Fischer, "The string-to-string correction problem", JACM 21(1), 1974.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

CORRECT, SUBSTITUTION, INSERTION, DELETION, OMISSION = range(5)
"""Operations of an alignment; an omission is an optional reference token left out, which is no error."""

_MAX_CELLS = 4_000_000  # of a batch's distance tables: 16 MB


@dataclass(frozen=True)
class Costs:
    """What each error costs while aligning, and what is tried first when tracing back from the end."""

    name: str
    substitution: int
    insertion: int
    deletion: int
    omission: int
    order: tuple[int, int, int]  # SUBSTITUTION stands for the diagonal step, correct or not


COMPUTE_WER = Costs("compute-wer", 1, 1, 1, 0, (INSERTION, DELETION, SUBSTITUTION))
SCLITE = Costs("sclite", 4, 3, 3, 2, (SUBSTITUTION, INSERTION, DELETION))
SCORERS = {costs.name: costs for costs in (COMPUTE_WER, SCLITE)}


def align(
    refs: Sequence[Sequence[str]],
    hyps: Sequence[Sequence[str]],
    optional: Collection[str] = (),
    costs: Costs = COMPUTE_WER,
) -> list[np.ndarray]:
    """Operations (uint8, first token first) that turn each reference into its hypothesis at least cost.

    Tokens in `optional` may be missing from the hypothesis without an error; inserting one is still an error.
    """
    if len(refs) != len(hyps):
        raise ValueError(f"{len(refs)} references but {len(hyps)} hypotheses")
    numbers: dict[str, int] = {}
    coded = [
        [np.array([numbers.setdefault(t, len(numbers)) for t in line], np.int64) for line in side]
        for side in (refs, hyps)
    ]
    free = np.array([numbers[t] for t in optional if t in numbers], np.int64)
    order = sorted(range(len(refs)), key=lambda n: (len(refs[n]), len(hyps[n])))
    result: list[np.ndarray] = [np.zeros(0, np.uint8)] * len(refs)
    for batch in _batches(order, refs, hyps):
        parts = _align_batch([coded[0][n] for n in batch], [coded[1][n] for n in batch], free, costs)
        for n, ops in zip(batch, parts):
            result[n] = ops
    return result


def paired(ops: np.ndarray, ref: Sequence[str], hyp: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """The alignment as (reference token, hypothesis token); None where one side has nothing."""
    r, h = iter(ref), iter(hyp)
    dropped = (DELETION, OMISSION)
    return [(None if op == INSERTION else next(r), None if op in dropped else next(h)) for op in ops]


def _batches(order: list[int], refs: Sequence[Sequence[str]], hyps: Sequence[Sequence[str]]) -> list[list[int]]:
    batches: list[list[int]] = []
    rows = columns = 0
    for n in order:
        rows, columns = max(rows, len(refs[n]) + 1), max(columns, len(hyps[n]) + 1)
        if not batches or (len(batches[-1]) + 1) * rows * columns > _MAX_CELLS:
            batches.append([])
            rows, columns = len(refs[n]) + 1, len(hyps[n]) + 1
        batches[-1].append(n)
    return batches


def _pad(lines: list[np.ndarray], filler: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(line) for line in lines])
    padded = np.full((len(lines), max(int(lengths.max()), 1)), filler, np.int64)
    for row, line in zip(padded, lines):
        row[: len(line)] = line
    return padded, lengths


def _align_batch(refs: list[np.ndarray], hyps: list[np.ndarray], free: np.ndarray, costs: Costs) -> list[np.ndarray]:
    ref, ref_lengths = _pad(refs, -1)
    hyp, hyp_lengths = _pad(hyps, -2)
    omit = np.isin(ref, free)
    drop = np.where(omit, costs.omission, costs.deletion).astype(np.int32)
    table = _distances(ref, hyp, drop, costs)
    return _trace_back(table, ref, hyp, omit, drop, ref_lengths, hyp_lengths, costs)


def _distances(ref: np.ndarray, hyp: np.ndarray, drop: np.ndarray, costs: Costs) -> np.ndarray:
    """Least cost [utterance, reference prefix, hypothesis prefix]; one step per reference position.

    Insertions chain along a row: with column j brought down by j insertions, a running minimum resolves them.
    """
    count, rows = ref.shape
    inserted = np.arange(hyp.shape[1] + 1, dtype=np.int32) * costs.insertion
    table = np.empty((count, rows + 1, hyp.shape[1] + 1), np.int32)
    table[:, 0] = inserted
    for i in range(rows):
        row = table[:, i] + drop[:, i, None]
        diagonal = table[:, i, :-1] + np.where(ref[:, i, None] == hyp, 0, costs.substitution)
        np.minimum(row[:, 1:], diagonal, out=row[:, 1:])
        table[:, i + 1] = np.minimum.accumulate(row - inserted, axis=1) + inserted
    return table


def _trace_back(
    table: np.ndarray,
    ref: np.ndarray,
    hyp: np.ndarray,
    omit: np.ndarray,
    drop: np.ndarray,
    ref_lengths: np.ndarray,
    hyp_lengths: np.ndarray,
    costs: Costs,
) -> list[np.ndarray]:
    """Walk all utterances of the batch back from their ends together, one operation per step."""
    n, i, j = np.arange(len(ref)), ref_lengths.copy(), hyp_lengths.copy()
    steps: list[np.ndarray] = []
    while (i + j).any():
        here, up, left = table[n, i, j], np.maximum(i - 1, 0), np.maximum(j - 1, 0)
        same = ref[n, up] == hyp[n, left]
        possible = {
            SUBSTITUTION: (i > 0) & (j > 0) & (here == table[n, up, left] + np.where(same, 0, costs.substitution)),
            DELETION: (i > 0) & (here == table[n, up, j] + drop[n, up]),
            INSERTION: (j > 0) & (here == table[n, i, left] + costs.insertion),
        }
        op = np.select([possible[step] for step in costs.order], costs.order, default=255)
        vertical, horizontal = (op == DELETION), (op == INSERTION)
        diagonal = op == SUBSTITUTION
        op[diagonal & same] = CORRECT
        op[vertical & omit[n, up]] = OMISSION
        i, j = i - (vertical | diagonal), j - (horizontal | diagonal)
        steps.append(op.astype(np.uint8))
    if not steps:
        return [np.zeros(0, np.uint8)] * len(ref)
    walked = np.stack(steps[::-1], axis=1)
    return [row[row != 255] for row in walked]
