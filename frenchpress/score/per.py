"""Score one file of hypotheses against one of references.

python -m frenchpress.score.per --ref data/test/text --hyp exp/tri3/decode_test/hyp.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import run_main
from frenchpress.score.align import SCORERS
from frenchpress.score.scoring import Scoring
from frenchpress.score.transcripts import read_transcripts


def main() -> None:
    """Print the rate in Kaldi's form, its interval, and the size of the set."""
    parser = argparse.ArgumentParser(description="Phone error rate of a hypothesis file.")
    parser.add_argument("--ref", type=Path, required=True, help="Kaldi text: utterance and reference phones")
    parser.add_argument("--hyp", type=Path, required=True, help="Kaldi text: utterance and recognised phones")
    parser.add_argument("--score-map", type=Path, help="lines 'phone scored-as'; 'phone' alone is not scored")
    parser.add_argument("--optional", type=Path, help="scored phones that may be left out, one per line")
    parser.add_argument(
        "--count-as", choices=sorted(SCORERS), help="default: sclite with --optional tokens, else compute-wer"
    )
    args = parser.parse_args()
    scoring = Scoring.load(args.score_map, args.optional, SCORERS.get(args.count_as))
    scored = scoring.score(read_transcripts(args.ref), read_transcripts(args.hyp), str(args.ref), str(args.hyp))
    low, high = scored.interval
    print(scored.counts.line())
    print(
        f"95 % interval [{low:.2f}, {high:.2f}], {len(scored.utts)} utterances, "
        f"{scored.counts.tokens} phones, counted as {scoring.used_costs.name}"
    )


if __name__ == "__main__":
    run_main(main)
