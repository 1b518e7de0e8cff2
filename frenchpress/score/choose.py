"""Choose decoding weights on dev, score test once with them, write what came out.

Shared by every system that decodes: give the hypotheses per weight, get decode directories and the PER file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frenchpress.common import UserError, atomic_dir, atomic_path, is_done, locked_dir, mark_done, read_lines, read_yaml
from frenchpress.score.breakdown import per_phone, per_speaker
from frenchpress.score.scoring import Scored, Scoring
from frenchpress.score.transcripts import Transcripts, read_transcripts, write_transcripts


@dataclass(frozen=True, order=True)
class Weights:
    """Log-likelihoods are scaled by `acoustic_scale` in the search; when the lattice is rescored, graph costs
    count `lm_weight` times against the unscaled acoustic costs."""

    acoustic_scale: float
    lm_weight: float

    def __str__(self) -> str:
        return f"acoustic_scale={self.acoustic_scale:g} lm_weight={self.lm_weight:g}"


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
        return cls(name, read_transcripts(text), _read_utt2spk(text.with_name("utt2spk")), str(text))


HypsByWeights = Mapping[Weights, Transcripts]


Search = Callable[[Split, Sequence[float]], HypsByWeights]
"""Decodes a set at some acoustic scales: words per utterance at every scale and LM weight."""


def evaluate(
    out: Path,
    scoring: Scoring,
    dev: Split,
    test: Split,
    search: Search,
    scales: Sequence[float],
    key: dict[str, Any],
) -> str | None:
    """Decode dev at all `scales`, choose the weights, decode and score test once with them, write it all to `out`.

    Writes decode_dev, decode_test and PER. `key` names everything that the hypotheses depend on; what is done
    already for it is kept. Returns the text of PER, or None when it said so already. Takes the lock of `out`.
    """
    with locked_dir(out):
        stats = evaluate_dev(out, scoring, dev, search, scales, key)
        weights = Weights(stats["acoustic_scale"], stats["lm_weight"])
        test_key = key | {"weights": str(weights)}
        test_stats = _finished(out / "decode_test", test_key)
        if test_stats is None:
            hyps = search(test, [weights.acoustic_scale])
            _, scores = choose(scoring, test, hyps)
            extra = {"oracle": oracle(scores)}
            test_stats = write_decoded(
                out / "decode_test", test, scores[weights], hyps[weights], weights, test_key, extra
            )
        text = per_text({"dev": stats, "test": test_stats})
        if (out / "PER").exists() and (out / "PER").read_text("utf-8") == text:
            return None
        with atomic_path(out / "PER") as temporary:
            temporary.write_text(text, "utf-8")
        return text


def evaluate_dev(
    out: Path, scoring: Scoring, dev: Split, search: Search, scales: Sequence[float], key: dict[str, Any]
) -> dict[str, Any]:
    """The part of `evaluate` that is of dev: decode at all `scales`, choose the weights, write decode_dev.

    Returns what its `stats.yaml` says. The caller has the lock of `out`.
    """
    stats = _finished(out / "decode_dev", key)
    if stats is None:
        hyps = search(dev, scales)
        weights, scores = choose(scoring, dev, hyps)
        stats = write_decoded(out / "decode_dev", dev, scores[weights], hyps[weights], weights, key)
    return stats


def _finished(directory: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The statistics of a decode directory that is done for this key."""
    return read_yaml(directory / "stats.yaml") if is_done(directory, key) else None


def choose(scoring: Scoring, split: Split, hyps: HypsByWeights) -> tuple[Weights, dict[Weights, Scored]]:
    """The weights of fewest errors on a set, the smaller ones when equal; and all scores."""
    scores = {w: scoring.score(split.refs, hyps[w], split.source, f"hypotheses at {w}") for w in sorted(hyps)}
    return min(scores, key=lambda w: (scores[w].counts.errors, w)), scores


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

    hyp.txt (as decoded), hyp.mapped and ref (as scored), per_speaker, per_phone, stats.yaml.
    """
    stats = summary(scored, weights) | dict(extra or {})
    with atomic_dir(directory) as temporary:
        write_transcripts(temporary / "hyp.txt", raw)
        write_transcripts(temporary / "hyp.mapped", dict(zip(scored.utts, scored.hyps)))
        write_transcripts(temporary / "ref", dict(zip(scored.utts, scored.refs)))
        (temporary / "per_speaker").write_text(per_speaker(scored, split.utt2spk), "utf-8")
        (temporary / "per_phone").write_text(per_phone(scored), "utf-8")
        (temporary / "stats.yaml").write_text(yaml.safe_dump(stats, sort_keys=False), "utf-8")
        mark_done(temporary, key)
    return stats


def summary(scored: Scored, weights: Weights) -> dict[str, Any]:
    """Rate, interval, counts and weights as plain data."""
    counts, (low, high) = scored.counts, scored.interval
    return {
        "line": counts.line(),
        "per": round(counts.rate, 4),
        "interval": [round(low, 4), round(high, 4)],
        "errors": counts.errors,
        "phones": counts.tokens,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
        "substitutions": counts.substitutions,
        "utterances": len(scored.utts),
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
    """The PER file: a line per set in Kaldi's form, with what is needed to judge it."""
    lines = []
    for name, found in stats.items():
        low, high = found["interval"]
        weights = Weights(found["acoustic_scale"], found["lm_weight"])
        lines.append(
            f"{found['line']} {name} 95%=[{low:.2f}, {high:.2f}] utterances={found['utterances']} "
            f"phones={found['phones']} {weights}"
        )
        if best := found.get("oracle"):
            weights = Weights(best["acoustic_scale"], best["lm_weight"])
            lines.append(f"{best['line']} {name} oracle, LM weight chosen on {name} itself: no result; {weights}")
    return "".join(line + "\n" for line in lines)


def _read_utt2spk(path: Path) -> dict[str, str]:
    result = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2:
            raise UserError(f"{path}:{number}: expected an utterance and its speaker, found '{line}'")
        result[fields[0]] = fields[1]
    return result
