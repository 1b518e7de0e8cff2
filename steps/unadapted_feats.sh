#!/usr/bin/env bash
# Features without speaker adaptation of train, dev and test: a lone file has them too.
#
#   steps/unadapted_feats.sh [options] <lda|fbank> <data> <exp>
#   e.g.: steps/unadapted_feats.sh --nj 4 lda data exp
#
#   --nj J             processes side by side (1)
#   --train NAME       name of the training set in <data> (train); the mean is always that of train
#   --allow-pipes      run wav.scp entries that are shell pipes (fbank)
# lda: spliced MFCC through the LDA+MLLT matrix of <exp>/tri3; fbank: 40 log mel filterbanks. A running mean is taken off.
# Writes <data>/{lda,fbank}-tri3/{train,dev,test}.
set -euo pipefail

nj=1
train=train
allow_pipes=false

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 3 ] || { fp_usage >&2; exit 1; }
features=$1 data=$2 exp=$3

[[ $features =~ ^(lda|fbank)$ ]] || { echo "error: $0: features '$features', expected lda or fbank" >&2; exit 1; }
for f in "$data/train/feats.scp" "$exp/tri3/final.mat"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; run the stages before this one" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
pipes=(); [ "$allow_pipes" = false ] || pipes=(--allow-pipes)
sets=$(printf '%s\n' train "$train" dev test | uniq)
for set in $sets; do
  [ $features = lda ] || python -m frenchpress.feats.make_mfcc --kind fbank --nj "$nj" "${pipes[@]}" "$data/$set"
done
for set in "$train" dev test; do
  python -m frenchpress.gmm.make_unadapted_feats \
    "$features" "$data/train" "$exp/tri3" "$data/$set" "$data/$features-tri3/$set"
done
