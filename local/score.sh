#!/usr/bin/env bash
# Scores one file of hypotheses against a data directory's text; with --optional, once more without silence.
#
#   local/score.sh [options] <data-dir> <hyp-file>
#   e.g.: local/score.sh --score-map exp/task/score_map.txt exp/task/test exp/lstm512/decode_test/hyp.txt
#         local/score.sh --unit word --not-scored exp/task/not_scored exp/task/test exp/lstm512/decode_test/hyp.txt
#
#   --score-map FILE   what each phone is scored as, two columns; a phone alone is not scored
#   --optional FILE    scored phones whose omission is no error, one per line
#   --unit UNIT        phone or word: what is scored (phone)
#   --not-scored FILE  what is taken out of both sides, one per line
#   --count-as NAME    compute-wer or sclite (sclite with --optional, else compute-wer)
set -euo pipefail

score_map=
optional=
unit=
not_scored=
count_as=

. "$(dirname "$0")/../steps/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
data=$1 hyp=$2

for f in "$data/text" "$hyp"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
options=(); [ ! -f "$data/utt2spk" ] || options=(--utt2spk "$data/utt2spk")
[ -z "$score_map" ] || options+=(--score-map "$score_map")
[ -z "$optional" ] || options+=(--optional "$optional")
[ -z "$unit" ] || options+=(--unit "$unit")
[ -z "$not_scored" ] || options+=(--not-scored "$not_scored")
[ -z "$count_as" ] || options+=(--count-as "$count_as")
python -m frenchpress.score.per --ref "$data/text" --hyp "$hyp" "${options[@]}"
