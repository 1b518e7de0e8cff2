#!/usr/bin/env bash
# All GMM systems, one after the other: train, make the decoding graph, decode and score dev and test.
#
#   steps/train_gmm.sh [options] <data> <exp>
#   e.g.: steps/train_gmm.sh --nj 4 --leaves 1200 --gauss 8000 data exp
#
#   --nj J             threads and processes side by side (1)
#   --leaves N         tied states of tri1, tri2, tri3 (1200)
#   --gauss N          Gaussians of each of them (8000)
#   --mono-gauss N     Gaussians of mono (1000)
#   --first-silence W  optional silence in the first alignment: "coin", at any place by a coin, as Kaldi does, or "ends",
#                      of utterances, which can give better systems, see docs/real_speech.md (coin)
# Writes <exp>/{mono,tri1,tri2,tri3}, a PER file in each. Called again it does what is not done yet.
set -euo pipefail

nj=1
leaves=1200
gauss=8000
mono_gauss=1000
first_silence=coin

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
data=$1 exp=$2

for f in "$data/train/feats.scp" "$data/lang/L.fst" "$data/dict/sil_prob"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; run the stages before this one" >&2; exit 1; }
done

steps=$(dirname "$0")
"$steps/summary.sh" --leaves "$leaves" --gauss "$gauss" "$data" > /dev/null
begin=$SECONDS
common=(--nj "$nj" --sil-prob "$(cat "$data/dict/sil_prob")")
sizes=(--leaves "$leaves" --gauss "$gauss")
say() { printf '%4d s  %s\n' $((SECONDS - begin)) "$*"; }
decode() {
  "$steps/mkgraph.sh" "$data/lang" "$exp/$1" "$exp/$1/graph"
  "$steps/decode_gmm.sh" --nj "$nj" "$data" "$data/lang" "$exp/$1"
}

say "mono: phones without context"
"$steps/train_mono.sh" "${common[@]}" --gauss "$mono_gauss" --first-silence "$first_silence" \
  "$data/train" "$data/lang" "$exp/mono"
decode mono
say "tri1: triphones, MFCC with differences"
"$steps/train_deltas.sh" "${common[@]}" "${sizes[@]}" "$data/train" "$data/lang" "$exp/mono" "$exp/tri1"
decode tri1
say "tri2: triphones, LDA and MLLT"
"$steps/train_lda_mllt.sh" "${common[@]}" "${sizes[@]}" "$data/train" "$data/lang" "$exp/tri1" "$exp/tri2"
decode tri2
say "tri3: speaker-adapted triphones"
"$steps/train_sat.sh" "${common[@]}" "${sizes[@]}" "$data/train" "$data/lang" "$exp/tri2" "$exp/tri3"
decode tri3
say "done"
