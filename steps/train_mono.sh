#!/usr/bin/env bash
# Monophone GMM system from MFCC with differences, starting from nothing.
#
#   steps/train_mono.sh [options] <train-data> <lang> <exp-dir>
#   e.g.: steps/train_mono.sh --nj 4 --sil-prob 0.1 data/train data/lang exp/mono
#
#   --nj J             threads; the result does not depend on it (1)
#   --sil-prob P       of optional silence between phones and at the ends (0: only where the text has it)
#   --gauss N          Gaussians in all (1000)
#   --first-silence W  optional silence in the first alignment: "coin", at any place by a coin, as Kaldi does, or "ends",
#                      of utterances, which can give better systems, see docs/real_speech.md (coin)
# Writes final.mdl, tree and ali.1.gz (the alignment by the final model).
set -euo pipefail

nj=1
sil_prob=0
gauss=1000
first_silence=coin

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 3 ] || { fp_usage >&2; exit 1; }
data=$1 lang=$2 exp=$3

for f in "$data/feats.scp" "$data/text" "$lang/phones.txt" "$lang/topo"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
python -m frenchpress.gmm.train_mono --nj "$nj" --sil-prob "$sil_prob" --gauss "$gauss" \
  --first-silence "$first_silence" "$data" "$lang" "$exp"
