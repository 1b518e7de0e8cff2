"""Score one file of hypotheses against one of references.

python -m frenchpress.score.per --ref data/test/text --hyp exp/tri3/decode_test/hyp.txt
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from frenchpress.common import run_main
from frenchpress.score.align import SCORERS
from frenchpress.score.counts import units
from frenchpress.score.scoring import Scored, Scoring
from frenchpress.score.transcripts import read_tokens, read_transcripts, read_utt2spk
from frenchpress.score.unit import PHONE, UNITS


def main() -> None:
    """Print the rate in Kaldi's form, its interval, and the size of the set; the same without silence, if optional."""
    parser = argparse.ArgumentParser(description="Phone or word error rate of a hypothesis file.")
    parser.add_argument("--ref", type=Path, required=True, help="Kaldi text: utterance and reference phones or words")
    parser.add_argument("--hyp", type=Path, required=True, help="Kaldi text: utterance and what was recognised")
    parser.add_argument("--score-map", type=Path, help="lines 'phone scored-as'; 'phone' alone is not scored")
    parser.add_argument("--optional", type=Path, help="scored phones that may be left out, one per line")
    parser.add_argument("--unit", choices=sorted(UNITS), default=PHONE.name, help="what is scored (phone)")
    parser.add_argument("--not-scored", type=Path, help="what is taken out of both sides, one per line")
    parser.add_argument(
        "--count-as", choices=sorted(SCORERS), help="default: sclite with --optional tokens, else compute-wer"
    )
    parser.add_argument("--utt2spk", type=Path, help="speakers, for an interval that resamples them")
    args = parser.parse_args()
    scoring = Scoring.load(args.score_map, args.optional, SCORERS.get(args.count_as))
    left_out = read_tokens(args.not_scored) if args.not_scored else frozenset()
    scoring = replace(scoring, left_out=left_out, unit=UNITS[args.unit])
    utt2spk = None if args.utt2spk is None else read_utt2spk(args.utt2spk)
    refs, hyps = read_transcripts(args.ref), read_transcripts(args.hyp)
    print_rate("", scoring, scoring.score(refs, hyps, str(args.ref), str(args.hyp)), utt2spk)
    silent = scoring.without_silence()
    if silent not in (None, scoring):
        print_rate("without silence: ", silent, silent.score(refs, hyps, str(args.ref), str(args.hyp)), utt2spk)


def print_rate(name: str, scoring: Scoring, scored: Scored, utt2spk: Mapping[str, str] | None) -> None:
    """Two lines on a scored set."""
    by = units(scored.utts, utt2spk)
    low, high = scored.interval(by)
    speakers = "" if by.speakers is None else f"{by.speakers} speakers, "
    print(f"{name}{scored.counts.line()}")
    print(
        f"95 % interval [{low:.2f}, {high:.2f}] over {by.over}, {speakers}{len(scored.utts)} utterances, "
        f"{scored.counts.tokens} {scored.unit.many}, counted as {scoring.used_costs.name}"
    )


if __name__ == "__main__":
    run_main(main)
