"""Choose decoding weights on dev, score test once with them, write what came out.

Shared by every system that decodes: give the hypotheses per weight, get decode directories and the PER file. All of it
twice: with silence as Kaldi scores it, optional, and with silence taken out, each at the weights that are best for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frenchpress.common import atomic_dir, atomic_path, is_done, locked_dir, mark_done, read_yaml
from frenchpress.score.breakdown import per_speaker, per_token, per_utt
from frenchpress.score.counts import Units, units
from frenchpress.score.scoring import Scored, Scoring
from frenchpress.score.transcripts import Transcripts, read_transcripts, read_utt2spk, write_transcripts
from frenchpress.score.unit import PHONE, UNITS
from frenchpress.score.weights import AXES, Grid, HypsByWeights, Weights, Widening, best_of

PER, SILENT = "PER", "without_silence"
"""The two measures; `PER`, with silence optional, is the one that everything else goes by."""

_FORM = 2  # of a decode directory; one that was written in another form is made again


@dataclass(frozen=True)
class Split:
    """The references of dev or test, and where they came from (for messages)."""

    name: str
    refs: Transcripts
    utt2spk: dict[str, str]
    source: str

    @classmethod
    def load(cls, directory: Path | str, name: str) -> Split:
        """Read `text` and `utt2spk` of a data directory."""
        text = Path(directory) / "text"
        return cls(name, read_transcripts(text), read_utt2spk(text.with_name("utt2spk")), str(text))


Search = Callable[[Split, Grid], HypsByWeights]
"""Decodes a set: words per utterance at every acoustic scale and LM weight of a grid."""


@dataclass(frozen=True)
class Tuned:
    """What was tried on dev. `scores` and `chosen` weights by measure; `line`: how the grid grew, if it did."""

    hyps: HypsByWeights
    scores: dict[str, dict[Weights, Scored]]
    chosen: dict[str, Weights]
    grid: Grid
    line: str


def evaluate(
    out: Path,
    scoring: Scoring,
    dev: Split,
    test: Split,
    search: Search,
    grid: Grid,
    key: dict[str, Any],
) -> str | None:
    """Decode dev on all of `grid`, choose the weights, decode and score test once with them, write it all to `out`.

    Writes decode_dev, decode_test and PER, of words WER. `key` names everything that the hypotheses depend on; what is
    done already for it is kept. Returns the text of PER, or None when it said so already. Takes the lock of `out`.
    """
    with locked_dir(out):
        stats = evaluate_dev(out, scoring, dev, search, grid, key)
        chosen = {PER: _weights(stats)}
        if SILENT in stats:
            chosen[SILENT] = _weights(stats[SILENT])
        tried = Grid.of((w.acoustic_scale for w in chosen.values()), stats["tried"]["lm_weight"])
        test_key = key | {"form": _FORM, "weights": {name: str(w) for name, w in chosen.items()}, "tried": vars(tried)}
        test_stats = _finished(out / "decode_test", test_key)
        if test_stats is None:
            test_stats = _write_test(out, scoring, test, search(test, tried), chosen, test_key)
        text = per_text({"dev": stats, "test": test_stats})
        path = out / scoring.unit.rate
        if path.exists() and path.read_text("utf-8") == text:
            return None
        with atomic_path(path) as temporary:
            temporary.write_text(text, "utf-8")
        return text


def evaluate_dev(
    out: Path, scoring: Scoring, dev: Split, search: Search, grid: Grid, key: dict[str, Any]
) -> dict[str, Any]:
    """The part of `evaluate` that is of dev: decode on all of `grid`, choose the weights, write decode_dev.

    Returns what its `stats.yaml` says. The caller has the lock of `out`.
    """
    key = key | {"form": _FORM, "grid": vars(grid)}
    stats = _finished(out / "decode_dev", key)
    if stats is None:
        tuned = tune(scoring, dev, search, grid)
        extra = _silent(tuned.scores, tuned.chosen, dev) | {
            "tried": {axis: list(values) for axis, values in vars(tuned.grid).items()},
            "widened": tuned.line,
        }
        weights = tuned.chosen[PER]
        scored, hyps = tuned.scores[PER][weights], tuned.hyps[weights]
        stats = write_decoded(out / "decode_dev", dev, scored, hyps, weights, key, extra)
    return stats


def _write_test(
    out: Path, scoring: Scoring, test: Split, hyps: HypsByWeights, chosen: dict[str, Weights], key: dict[str, Any]
) -> dict[str, Any]:
    """Score test at the chosen weights and write decode_test."""
    weights = chosen[PER]
    near = {w: words for w, words in hyps.items() if w.acoustic_scale == weights.acoustic_scale}
    scores = score_all(scoring, test, near)
    if SILENT in chosen:
        scores[SILENT] = score_all(scoring, test, {chosen[SILENT]: hyps[chosen[SILENT]]})[SILENT]
    extra = {"oracle": oracle(scores[PER]), **_silent(scores, chosen, test)}
    return write_decoded(out / "decode_test", test, scores[PER][weights], hyps[weights], weights, key, extra)


def _silent(scores: Mapping[str, Mapping[Weights, Scored]], chosen: Mapping[str, Weights], split: Split) -> dict:
    """What the statistics say of the rate without silence, where it is known."""
    if SILENT not in chosen:
        return {}
    scored = scores[SILENT][chosen[SILENT]]
    return {SILENT: summary(scored, chosen[SILENT], units(scored.utts, split.utt2spk))}


def _finished(directory: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The statistics of a decode directory that is done for this key."""
    return read_yaml(directory / "stats.yaml") if is_done(directory, key) else None


def score_all(scoring: Scoring, split: Split, hyps: HypsByWeights) -> dict[str, dict[Weights, Scored]]:
    """A set scored at all weights, by measure."""

    def by_weights(how: Scoring) -> dict[Weights, Scored]:
        return {w: how.score(split.refs, hyps[w], split.source, f"hypotheses at {w}") for w in sorted(hyps)}

    scores, silent = {PER: by_weights(scoring)}, scoring.without_silence()
    if silent is not None:
        scores[SILENT] = scores[PER] if silent is scoring else by_weights(silent)
    return scores


def tune(scoring: Scoring, dev: Split, search: Search, grid: Grid) -> Tuned:
    """Search on `grid`, and on a wider one where the best weights lie at its end; choose for each measure."""
    state: Widening | None = Widening.none(grid)
    hyps: dict[Weights, Transcripts] = {}
    scores: dict[str, dict[Weights, Scored]] = {}
    new, parts = state, [grid]
    while new is not None:
        state = new
        for part in parts:
            found = search(dev, part)
            hyps |= found
            for name, more in score_all(scoring, dev, found).items():
                scores.setdefault(name, {}).update(more)
        counts = {name: {w: s.counts.errors for w, s in each.items()} for name, each in scores.items()}
        new = state.further(counts.values())
        parts = [] if new is None else new.fresh(state.grid)
    chosen = {name: best_of(errors, state.grid) for name, errors in counts.items()}
    return Tuned(hyps, scores, chosen, state.grid, state.line(chosen, counts))


def write_decoded(
    directory: Path,
    split: Split,
    scored: Scored,
    raw: Transcripts,
    weights: Weights,
    key: dict[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a decode directory whole, stamped with `key`; returns what `stats.yaml` says.

    hyp.txt (as decoded), hyp.mapped and ref (as scored), per_speaker, per_phone or per_word, per_utt, stats.yaml.
    """
    stats = summary(scored, weights, units(scored.utts, split.utt2spk)) | dict(extra or {})
    with atomic_dir(directory) as temporary:
        write_transcripts(temporary / "hyp.txt", raw)
        write_transcripts(temporary / "hyp.mapped", dict(zip(scored.utts, scored.hyps)))
        write_transcripts(temporary / "ref", dict(zip(scored.utts, scored.refs)))
        write_transcripts(temporary / "utt2spk", {utt: [split.utt2spk[utt]] for utt in scored.utts})
        (temporary / "per_speaker").write_text(per_speaker(scored, split.utt2spk), "utf-8")
        (temporary / f"per_{scored.unit.name}").write_text(per_token(scored), "utf-8")
        (temporary / "per_utt").write_text(per_utt(scored), "utf-8")
        (temporary / "stats.yaml").write_text(yaml.safe_dump(stats, sort_keys=False, width=1000), "utf-8")
        mark_done(temporary, key)
    return stats


def summary(scored: Scored, weights: Weights, by: Units) -> dict[str, Any]:
    """Rate, interval, counts and weights as plain data; `per` and `phones` are rate and number of the `unit`."""
    counts, (low, high) = scored.counts, scored.interval(by)
    return {
        "line": counts.line(),
        "unit": scored.unit.name,
        "per": round(counts.rate, 4),
        "interval": [round(low, 4), round(high, 4)],
        "interval_over": by.over,
        "errors": counts.errors,
        "phones": counts.tokens,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
        "substitutions": counts.substitutions,
        "utterances": len(scored.utts),
        "speakers": by.speakers,
        "acoustic_scale": weights.acoustic_scale,
        "lm_weight": weights.lm_weight,
    }


def oracle(scores: Mapping[Weights, Scored]) -> dict[str, Any]:
    """The best rate over the weights, chosen on the very set that it is of. Older tables quote it; no result."""
    best = min(scores, key=lambda w: (scores[w].counts.errors, w))
    return {
        "line": scores[best].counts.line(),
        "per": round(scores[best].counts.rate, 4),
        "acoustic_scale": best.acoustic_scale,
        "lm_weight": best.lm_weight,
    }


def per_text(stats: Mapping[str, Mapping[str, Any]]) -> str:
    """The file PER, or WER: lines in Kaldi's form per set, with what is needed to judge them.

    Where no silence is scored at all, the rate without it is the same and has no line.
    """
    lines = []
    for name, found in stats.items():
        lines.append(_per_line(found, name))
        silent = found.get(SILENT)
        if silent and any(found[key] != value for key, value in silent.items()):
            lines.append(_per_line(silent, f"{name} without silence"))
        if best := found.get("oracle"):
            lines.append(
                f"{best['line']} {name} oracle, LM weight chosen on {name} itself: no result; {_weights(best)}"
            )
        if said := found.get("widened"):
            lines.append(f"{name}: {said}")
    return "".join(line + "\n" for line in lines)


def _per_line(found: Mapping[str, Any], name: str) -> str:
    (low, high), unit = found["interval"], UNITS[found.get("unit", PHONE.name)]
    return (
        f"{found['line']} {name} 95%=[{low:.2f}, {high:.2f}] over={found['interval_over']} "
        f"speakers={found['speakers']} utterances={found['utterances']} {unit.many}={found['phones']} {_weights(found)}"
    )


def _weights(found: Mapping[str, Any]) -> Weights:
    return Weights(*(found[axis] for axis in AXES))
