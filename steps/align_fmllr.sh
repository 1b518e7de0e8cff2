#!/usr/bin/env bash
# Speaker-adapted features and alignments of train, dev and test with the system in <exp>/tri3.
#
#   steps/align_fmllr.sh [options] <data> <exp>
#   e.g.: steps/align_fmllr.sh --nj 4 data exp
#
#   --nj J             processes side by side (1)
#   --train NAME       name of the training set in <data> (train)
# The transforms of dev and test are those that decoding found, without a look at the transcripts.
# Writes <exp>/tri3_ali_{train,dev,test} and <data>/fmllr-tri3/{train,dev,test}.
set -euo pipefail

nj=1
train=train

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
data=$1 exp=$2

for f in "$data/dict/sil_prob" "$exp/tri3/final.mdl" "$exp/tri3/trans_dev" "$exp/tri3/trans_test"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; train and decode tri3 first" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
sil_prob=$(cat "$data/dict/sil_prob")
for set in "$train" dev test; do
  transforms=()
  [ "$set" = "$train" ] || transforms=(--transforms "$exp/tri3/trans_$set")
  python -m frenchpress.gmm.align --nj "$nj" --sil-prob "$sil_prob" "${transforms[@]}" \
    "$data/$set" "$data/lang" "$exp/tri3" "$exp/tri3_ali_$set"
  python -m frenchpress.gmm.make_fmllr_feats \
    "$data/$set" "$exp/tri3" "$exp/tri3_ali_$set/trans" "$data/fmllr-tri3/$set"
done
