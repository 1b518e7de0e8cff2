#!/usr/bin/env bash
# MFCC and per-speaker CMVN statistics of a data directory.
#
#   steps/make_mfcc.sh [options] <data-dir>
#   e.g.: steps/make_mfcc.sh --nj 4 data/train
#
#   --nj J             processes side by side (1)
#   --config FILE      options in Kaldi's syntax (conf/mfcc.conf)
#   --allow-pipes      run wav.scp entries that are shell pipes
# Writes <data-dir>/mfcc/{feats,cmvn}.ark, <data-dir>/feats.scp and <data-dir>/cmvn.scp.
set -euo pipefail

nj=1
config=conf/mfcc.conf
allow_pipes=false

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 1 ] || { fp_usage >&2; exit 1; }
data=$1

for f in "$config" "$data/wav.scp" "$data/utt2spk"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
pipes=(); [ "$allow_pipes" = false ] || pipes=(--allow-pipes)
python -m frenchpress.feats.make_mfcc --nj "$nj" --config "$config" "${pipes[@]}" "$data"
